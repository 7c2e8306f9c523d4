//! Are events found wherever the network cuts the stream, and is not one byte of it changed?

use bytes::Bytes;
use function::wire::sse::{self, Ending, MAX_EVENT, PING, Splitter, Tail};
use function::wire::usage::Usage;
use proptest::collection::vec;
use proptest::prelude::*;

const STREAMS: [&str; 3] = [
    include_str!("../golden/answers/text.sse"),
    include_str!("../golden/answers/thinking_tool.sse"),
    include_str!("../golden/answers/overloaded.sse"),
];

#[test]
fn a_stream_gives_the_same_events_at_every_chunk_size() {
    for stream in line_ends(STREAMS) {
        let whole = split(&stream, stream.len());
        assert!(whole.len() >= 4);
        for size in 1..stream.len() {
            assert_eq!(split(&stream, size), whole, "chunks of {size}");
        }
    }
}

#[test]
fn an_event_that_a_chunk_holds_whole_is_not_copied() {
    let chunk = Bytes::from_static(STREAMS[0].as_bytes());
    let mut splitter = Splitter::default();
    splitter.push(chunk.clone());
    for event in splitter {
        assert!(chunk.as_ptr_range().contains(&event.as_ptr()));
    }
}

#[test]
fn the_unfinished_tail_is_the_rest() {
    let mut splitter = Splitter::default();
    splitter.push(Bytes::from_static(b"event: a\n\nevent: "));
    assert_eq!(splitter.next().unwrap(), "event: a\n\n");
    assert_eq!(splitter.next(), None);
    splitter.push(Bytes::from_static(b"b\n"));
    splitter.push(Bytes::from_static(b": not yet looked at\n\n"));
    assert_eq!(splitter.rest(), "event: b\n: not yet looked at\n\n");
}

#[test]
fn an_event_of_more_than_the_maximum_is_no_longer_split() {
    let mut splitter = Splitter::default();
    splitter.push(Bytes::from(vec![b'x'; MAX_EVENT]));
    assert_eq!(splitter.next(), None);
    assert!(!splitter.is_overlong());
    splitter.push(Bytes::from_static(b"y"));
    assert_eq!(splitter.next(), None);
    assert!(splitter.is_overlong());
    splitter.push(Bytes::from_static(b"\n\n"));
    assert_eq!(splitter.next(), None);
    assert_eq!(splitter.rest().len(), MAX_EVENT + 3);
}

#[test]
fn fields_are_read_as_the_standard_says() {
    for (block, name, data) in [
        ("event: a\ndata: 1\n\n", Some("a"), "1"),
        ("event:a\r\ndata:1\r\n\r\n", Some("a"), "1"),
        ("event:  a\ndata:  1\n\n", Some(" a"), " 1"),
        ("data: 1\ndata\ndata: 3\n\n", None, "1\n\n3"),
        ("event: a\nevent: b\n\n", Some("b"), ""),
        ("event\ndata\n\n", Some(""), ""),
        (": event: a\nevents: b\n event: c\n\n", None, ""),
        ("\u{feff}event: a\n\n", Some("a"), ""),
        ("\n", None, ""),
        ("", None, ""),
    ] {
        assert_eq!(sse::name(block.as_bytes()), name, "{block:?}");
        assert_eq!(sse::data(block.as_bytes()), data.as_bytes(), "{block:?}");
    }
    assert_eq!(sse::name(b"event: \xff\n\n"), None);
}

#[test]
fn what_is_written_is_one_event() {
    let event = sse::write("a\nevent: b", b"{\n\"x\":\r\n1}");
    assert_eq!(event, "event: a event: b\ndata: { \"x\":  1}\n\n");
    assert_eq!(sse::name(PING), Some("ping"));
    assert_eq!(*sse::data(PING), *br#"{"type": "ping"}"#);
    let comment = sse::comment("now\n\nbedrock");
    assert_eq!(comment, ": now  bedrock\n\n");
    assert_eq!(sse::name(&comment), None);
}

#[test]
fn a_complete_stream_is_forwarded_byte_for_byte_at_every_chunk_size() {
    for stream in line_ends(STREAMS) {
        for size in 1..=stream.len() {
            let (sent, tail) = forward(&stream, size);
            assert_eq!(sent, stream, "chunks of {size}");
            assert_eq!(tail.finish(), Ending::Complete(Bytes::new()));
        }
    }
}

#[test]
fn bytes_after_the_last_event_go_out_at_the_end() {
    let (sent, tail) = forward("event: message_stop\n\n: bye", 3);
    assert_eq!(sent, "event: message_stop\n\n");
    assert_eq!(tail.finish(), Ending::Complete(Bytes::from_static(b": bye")));
}

#[test]
fn a_stream_without_its_last_event_was_cut_and_ends_between_two_events() {
    for stream in STREAMS {
        for end in 0..stream.len() {
            let (sent, tail) = forward(&stream.as_bytes()[..end], 7);
            assert!(stream.starts_with(&sent));
            assert!(sent.is_empty() || sent.ends_with("\n\n"));
            assert!(tail.is_between_events());
            assert_eq!(tail.finish(), Ending::Cut, "cut at {end}");
        }
    }
}

#[test]
fn a_chunk_of_whole_events_is_forwarded_without_a_copy() {
    let chunk = Bytes::from_static(STREAMS[0].as_bytes());
    let mut tail = Tail::default();
    for _ in 0..2 {
        let sent = tail.push(chunk.clone());
        assert_eq!((sent.as_ptr(), sent.len()), (chunk.as_ptr(), chunk.len()));
    }
}

#[test]
fn an_overlong_event_is_forwarded_in_pieces_that_are_not_believed() {
    let mut tail = Tail::default();
    assert!(tail.push(Bytes::from(vec![b'x'; MAX_EVENT])).is_empty());
    assert_eq!(tail.push(Bytes::from_static(b"y")).len(), MAX_EVENT + 1);
    assert!(!tail.is_between_events());
    let piece = Bytes::from_static(b"event: message_stop\n");
    assert_eq!(tail.push(piece.clone()), piece);
    let end = Bytes::from_static(b"event: message_stop\n\n");
    assert_eq!(tail.push(end.clone()), end);
    assert!(tail.is_between_events());
    assert_eq!(tail.finish(), Ending::Cut);
}

#[test]
fn the_token_counts_of_a_stream_are_picked_up() {
    let counted = |stream, size| forward(stream, size).1.usage();
    for size in [1, 100, 100_000] {
        let usage = counted(STREAMS[0], size);
        assert_eq!(usage.input, Some(12));
        assert_eq!(usage.output, Some(18));
        assert_eq!((usage.cache_read, usage.cache_write), (Some(4096), Some(2048)));
    }
    let odd = "event: message_delta\ndata: {\"usage\":{\"output_tokens\":-1}}\n\n";
    assert_eq!(counted(odd, 9), Usage::default());
    assert_eq!(counted("event: message_start\ndata: nonsense\n\n", 9), Usage::default());
}

proptest! {
    #[test]
    fn any_bytes_come_out_as_they_went_in(pieces in vec(piece(), 0..40), size in 1_usize..9) {
        let stream = pieces.concat();
        let (blocks, rest) = blocks(&stream, size);
        let (whole, _) = blocks_at_once(&stream);
        prop_assert_eq!(&blocks, &whole);
        prop_assert_eq!([blocks.concat(), rest].concat(), stream);
    }

    #[test]
    fn what_a_tail_sends_is_what_came(pieces in vec(piece(), 0..40), size in 1_usize..9) {
        let stream = pieces.concat();
        let mut tail = Tail::default();
        let mut sent: Vec<u8> = Vec::new();
        for chunk in stream.chunks(size) {
            sent.extend_from_slice(&tail.push(Bytes::copy_from_slice(chunk)));
            let whole = sent.is_empty() || sent == b"\n" || sent == b"\r\n"
                || sent.ends_with(b"\n\n") || sent.ends_with(b"\n\r\n");
            prop_assert!(whole);
        }
        let (blocks, rest) = blocks_at_once(&stream);
        prop_assert_eq!(&sent, &blocks.concat());
        let ended =
            blocks.iter().any(|block| matches!(sse::name(block), Some("message_stop" | "error")));
        let ending = if ended { Ending::Complete(rest.into()) } else { Ending::Cut };
        prop_assert_eq!(tail.finish(), ending);
    }

    #[test]
    fn whatever_is_written_can_be_read(name in "[ -~]{0,20}", json in "[ -~]{0,40}") {
        let event = sse::write(&name, json.as_bytes());
        prop_assert_eq!(sse::name(&event), Some(name.as_str()));
        prop_assert_eq!(&*sse::data(&event), json.as_bytes());
    }
}

/// Bytes that matter to the format, and some that do not.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let telling =
        ["\n", "\r", "\r\n", "\n\n", ":", "event: message_stop", "event: error", "data: {}"];
    prop_oneof![
        proptest::sample::select(telling.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..4),
    ]
}

fn line_ends(streams: [&str; 3]) -> Vec<String> {
    streams.iter().flat_map(|stream| [stream.to_string(), stream.replace('\n', "\r\n")]).collect()
}

fn blocks_at_once(stream: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    blocks(stream, stream.len().max(1))
}

fn blocks(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut splitter = Splitter::default();
    let mut blocks = Vec::new();
    for chunk in stream.chunks(size) {
        splitter.push(Bytes::copy_from_slice(chunk));
        blocks.extend(splitter.by_ref().map(Vec::from));
    }
    (blocks, splitter.rest().into())
}

/// The events of a stream that ends with an event.
fn split(stream: &str, size: usize) -> Vec<(String, serde_json::Value)> {
    let (blocks, rest) = blocks(stream.as_bytes(), size);
    assert_eq!(blocks.concat(), stream.as_bytes());
    assert!(rest.is_empty());
    let read = |block: &Vec<u8>| {
        let name = sse::name(block).expect("every event has a name").to_owned();
        (name, serde_json::from_slice(&sse::data(block)).expect("the data is JSON"))
    };
    blocks.iter().map(read).collect()
}

fn forward(stream: impl AsRef<[u8]>, size: usize) -> (String, Tail) {
    let mut tail = Tail::default();
    let mut sent = Vec::new();
    for chunk in stream.as_ref().chunks(size) {
        sent.extend_from_slice(&tail.push(Bytes::copy_from_slice(chunk)));
    }
    (String::from_utf8(sent).expect("whole events are whole text"), tail)
}
