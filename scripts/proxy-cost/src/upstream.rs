//! An Anthropic and a Bedrock that say what they are told to, at no cost worth mentioning.
//!
//! What to say stands anywhere in the request, as `[[events=100 gap=20000]]`: the number of deltas,
//! microseconds between them; `limited=1` makes Anthropic answer 429, and Bedrock answer all the same.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::mark;
use crate::wire::{Reader, chunk};

/// Of a delta's text, beside its mark.
const WORDS: &str = " and so it went on for a while, word by word";
const START: &str = r#"{"type":"message_start","message":{"id":"msg_bench","type":"message","role":"assistant","model":"claude-sonnet-5-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}"#;
const BLOCK: &str =
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const PING: &str = r#"{"type": "ping"}"#;
const BLOCK_END: &str = r#"{"type":"content_block_stop","index":0}"#;
const DELTA: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":256}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;
const METERED_STOP: &str = r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":12,"outputTokenCount":256,"invocationLatency":900,"firstByteLatency":90}}"#;

#[derive(Clone, Copy, Debug)]
struct Told {
    events: usize,
    gap: Duration,
    limited: bool,
}

/// Where the upstream listens, and what a client has to trust.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub plain: u16,
    pub tls: u16,
    pub certificate: String,
}

/// Starts to serve on this thread's runtime.
pub async fn start() -> io::Result<Upstream> {
    let plain = TcpListener::bind(("127.0.0.1", 0)).await?;
    let tls = TcpListener::bind(("127.0.0.1", 0)).await?;
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let key = key.map_err(io::Error::other)?;
    let secret = PrivateKeyDer::try_from(key.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], secret.map_err(io::Error::other)?)
        .map_err(io::Error::other)?;
    let upstream = Upstream {
        plain: plain.local_addr()?.port(),
        tls: tls.local_addr()?.port(),
        certificate: key.cert.pem(),
    };
    tokio::task::spawn_local(async move {
        while let Ok((socket, _)) = plain.accept().await {
            let _unsupported = socket.set_nodelay(true);
            tokio::task::spawn_local(serve(socket));
        }
    });
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::task::spawn_local(async move {
        while let Ok((socket, _)) = tls.accept().await {
            let _unsupported = socket.set_nodelay(true);
            let acceptor = acceptor.clone();
            tokio::task::spawn_local(async move { serve(acceptor.accept(socket).await?).await });
        }
    });
    Ok(upstream)
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S) -> io::Result<()> {
    let mut reader = Reader::default();
    let mut body = Vec::new();
    let answer = whole(200, "", &message());
    while let Some(head) = reader.request(&mut socket).await? {
        if head.expects {
            socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        body.clear();
        reader.body(&mut socket, head.framing, |piece| body.extend_from_slice(piece)).await?;
        let told = Told::read(&body);
        let path = head.path.split('?').next().unwrap_or_default();
        let bedrock = path.starts_with("/model/");
        let wants_stream = match bedrock {
            true => path.ends_with("-stream"),
            false => contains(&body, "\"stream\":true") || contains(&body, "\"stream\": true"),
        };
        if told.limited && !bedrock {
            socket.write_all(&limited()).await?;
        } else if wants_stream {
            stream(&mut socket, told, bedrock).await?;
        } else {
            socket.write_all(&answer).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

async fn stream<S: AsyncWrite + Unpin>(to: &mut S, told: Told, bedrock: bool) -> io::Result<()> {
    let kind = if bedrock { "application/vnd.amazon.eventstream" } else { "text/event-stream" };
    let mut out = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nrequest-id: req_bench\r\n\
         transfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    let event = |out: &mut Vec<u8>, name: &str, json: &str| match bedrock {
        true => chunk(out, &framed(json)),
        false => chunk(out, format!("event: {name}\ndata: {json}\n\n").as_bytes()),
    };
    event(&mut out, "message_start", START);
    event(&mut out, "content_block_start", BLOCK);
    if !bedrock {
        event(&mut out, "ping", PING);
    }
    let begun = Instant::now();
    for index in 0..told.events {
        if !told.gap.is_zero() && index > 0 {
            tokio::time::sleep_until(begun + told.gap * index as u32).await;
        }
        let text = mark::written();
        let json = format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}{WORDS}"}}}}"#
        );
        event(&mut out, "content_block_delta", &json);
        to.write_all(&out).await?;
        to.flush().await?;
        out.clear();
    }
    event(&mut out, "content_block_stop", BLOCK_END);
    event(&mut out, "message_delta", DELTA);
    event(&mut out, "message_stop", if bedrock { METERED_STOP } else { STOP });
    out.extend_from_slice(b"0\r\n\r\n");
    to.write_all(&out).await
}

/// One message of the AWS event stream encoding.
fn framed(json: &str) -> Vec<u8> {
    let payload = format!(r#"{{"bytes":"{}","p":"abcdefgh"}}"#, BASE64.encode(json));
    let mut headers = Vec::new();
    for (name, value) in [
        (":event-type", "chunk"),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ] {
        headers.push(name.len() as u8);
        headers.extend_from_slice(name.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let length = 16 + headers.len() + payload.len();
    let mut message = Vec::with_capacity(length);
    message.extend_from_slice(&(length as u32).to_be_bytes());
    message.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message.extend_from_slice(&headers);
    message.extend_from_slice(payload.as_bytes());
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message
}

/// An answer of about 1 KB.
fn message() -> String {
    let text = WORDS.repeat(16);
    format!(
        r#"{{"id":"msg_bench","type":"message","role":"assistant","model":"claude-sonnet-5-5","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":256}}}}"#
    )
}

fn limited() -> Vec<u8> {
    let json = r#"{"type":"error","error":{"type":"rate_limit_error","message":"This is a limit."},"request_id":"req_bench"}"#;
    whole(
        429,
        "retry-after: 60\r\nanthropic-ratelimit-unified-status: rejected\r\n\
         anthropic-organization-id: 00000000-0000-0000-0000-000000000000\r\n",
        json,
    )
}

fn whole(status: u16, headers: &str, json: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\nrequest-id: req_bench\r\n\
         {headers}content-length: {}\r\n\r\n{json}",
        json.len()
    )
    .into_bytes()
}

impl Told {
    fn read(body: &[u8]) -> Self {
        let mut told = Self { events: 1, gap: Duration::ZERO, limited: false };
        let Some(start) = memchr::memmem::find(body, b"[[") else { return told };
        let said = &body[start + 2..];
        let Some(end) = memchr::memmem::find(&said[..said.len().min(200)], b"]]") else {
            return told;
        };
        for word in String::from_utf8_lossy(&said[..end]).split(' ') {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let value = value.parse().unwrap_or_default();
            match name {
                "events" => told.events = value as usize,
                "gap" => told.gap = Duration::from_micros(value),
                "limited" => told.limited = value == 1,
                _ => {}
            }
        }
        told
    }
}

fn contains(body: &[u8], text: &str) -> bool {
    memchr::memmem::find(body, text.as_bytes()).is_some()
}
