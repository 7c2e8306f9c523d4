//! Does the demo show on one screen what the product does? Runs it, and looks at all of it.

use std::time::Duration;

use tokio::time::Instant;

#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../examples/demo.rs"]
mod demo;

const SCREEN: &str = r#"
claude-proxy: Claude Code keeps working when Anthropic says 429.

Here the real proxy runs between a simulated Anthropic and a simulated Bedrock.
One request is sent again and again, streamed, the way Claude Code does it:

  POST /v1/messages?beta=true   claude-sonnet-5-5   "What is 6 times 7?"

      TIME ANTHROPIC             THE CLIENT GETS      FIRST BYTE  WHY BEDROCK
1 # s answers               200 from anthropic # ms
2 # s 429, retry-after: 3   -> limit remembered until # UTC
3            the same request    200 from bedrock # ms  rate_limited
4 # s is not even asked     200 from bedrock # ms  cooldown
5 # s answers again         200 from anthropic # ms

Four requests, four answers: the client never saw the 429.

Now with Claude Code and your own AWS account: scripts/serve
"#;

#[tokio::test]
async fn the_demo_shows_the_product_on_one_screen_in_ten_seconds() {
    let begun = Instant::now();
    let mut shown = Vec::new();
    demo::show(&mut shown, false).await.expect("every scene plays");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let shown = String::from_utf8(shown).expect("the demo is text");
    assert!(shown.lines().count() <= 24 && shown.lines().all(|line| line.chars().count() <= 80));
    assert_eq!(without_times(&shown), SCREEN);
}

#[tokio::test]
async fn colour_changes_nothing_but_the_colour() {
    let (mut plain, mut coloured) = (Vec::new(), Vec::new());
    let (first, second) =
        tokio::join!(demo::show(&mut plain, false), demo::show(&mut coloured, true));
    first.and(second).expect("every scene plays");
    let [plain, coloured] = [plain, coloured].map(|shown| String::from_utf8(shown).expect("text"));
    let bare = ["\x1b[32m", "\x1b[33m", "\x1b[36m", "\x1b[0m"]
        .into_iter()
        .fold(coloured.clone(), |text, colour| text.replace(colour, ""));
    assert!(coloured.len() > bare.len() && !bare.contains('\x1b') && !plain.contains('\x1b'));
    assert_eq!(without_times(&bare), without_times(&plain));
}

/// The text with a `#` for each number that depends on the time, and for the space before it.
fn without_times(shown: &str) -> String {
    let mut lines = Vec::new();
    for line in shown.lines() {
        let mut words = Vec::new();
        let mut rest = line.split(' ').peekable();
        while let Some(word) = rest.next() {
            let measured = matches!(rest.peek(), Some(&("s" | "ms")));
            if measured {
                while words.last() == Some(&"") {
                    words.pop();
                }
            }
            let clock = word.len() == 8 && word.matches(':').count() == 2;
            words.push(if measured || clock { "#" } else { word });
        }
        lines.push(words.join(" "));
    }
    lines.join("\n")
}
