//! What does claude-proxy do? Shows it in a few seconds: the real program between a simulated
//! Anthropic and a simulated Bedrock, on this machine, without any account.
//!
//! Must not show what did not happen: every word in the table is read from an answer, or from what
//! the simulated upstreams have received.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, ensure};
use function::clock;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use testing::{
    answer::limited,
    client::{Call, Reply},
    world::{World, program},
};
use tokio::time::{Instant, sleep};

/// What the simulated 429 says, in seconds; a real one may say hours.
const RETRY_AFTER: i64 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the proxy's settings have no place for it")]
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let mut out = io::stdout();
    let colour = out.is_terminal() && !plain;
    match show(&mut out, colour).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _nobody_reads = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Plays the five scenes, each as it happens.
///
/// # Errors
///
/// Where the proxy does not do what the scene is about, or nobody reads `out`.
pub(crate) async fn show(out: &mut impl Write, colour: bool) -> anyhow::Result<()> {
    let program = program();
    ensure!(program.exists(), "{} is missing: run scripts/demo", program.display());
    // The default is 30 s: the demo would be a long one.
    let world = World::with("RETRY_THRESHOLD_SECONDS", "1").start();
    // The port is taken a moment before the proxy is ready.
    world.call(Call::new("GET", "/healthz")).await;
    let mut scene = Scene { world, out, colour, begun: Instant::now() };
    writeln!(scene.out, "{HEAD}")?;

    let reply = scene.ask().await;
    scene.row(1, "answers", &reply)?;

    sleep(Duration::from_millis(500)).await;
    scene.world.anthropic.next([limited(RETRY_AFTER)]);
    let reply = scene.ask().await;
    let until: Timestamp =
        reply.header("x-claude-proxy-until").parse().context("no limit is remembered")?;
    scene.limit(until)?;
    scene.row(3, "  the same request", &reply)?;

    sleep(Duration::from_secs(1)).await;
    let reply = scene.ask().await;
    ensure!(scene.world.anthropic.messages().len() == 2, "Anthropic was asked during the limit");
    scene.row(4, "is not even asked", &reply)?;

    let left = until.duration_since(clock::now()) + SignedDuration::from_millis(100);
    sleep(left.try_into().unwrap_or_default()).await;
    let reply = scene.ask().await;
    scene.row(5, "answers again", &reply)?;

    writeln!(scene.out, "{TAIL}")?;
    Ok(())
}

const HEAD: &str = "
claude-proxy: Claude Code keeps working when Anthropic says 429.

Here the real proxy runs between a simulated Anthropic and a simulated Bedrock.
One request is sent again and again, streamed, the way Claude Code does it:

  POST /v1/messages?beta=true   claude-sonnet-5-5   \"What is 6 times 7?\"

      TIME ANTHROPIC             THE CLIENT GETS      FIRST BYTE  WHY BEDROCK";

const TAIL: &str = "
Four requests, four answers: the client never saw the 429.

Now with Claude Code and your own AWS account: scripts/serve
";

/// The running world, and where it is shown.
struct Scene<'a, W> {
    world: World,
    out: &'a mut W,
    colour: bool,
    begun: Instant,
}

impl<W: Write> Scene<'_, W> {
    async fn ask(&self) -> Reply {
        let call = Call::message()
            .model("claude-sonnet-5-5")
            .header("user-agent", "claude-cli/2.1.330 (external, cli)")
            .header("x-app", "cli")
            .header("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14")
            .says("What is 6 times 7?");
        self.world.call(call).await
    }

    /// Shows one answer: who gave it, how soon, and why not Anthropic.
    fn row(&mut self, number: u8, anthropic: &str, reply: &Reply) -> anyhow::Result<()> {
        let upstream = reply.upstream();
        let wanted = if matches!(number, 3 | 4) { "bedrock" } else { "anthropic" };
        ensure!(reply.status == 200 && reply.broken.is_none(), "the client got no answer");
        ensure!(upstream == wanted, "scene {number} was answered by {upstream}, not by {wanted}");
        ensure!(reply.text() == format!("{wanted} heard: What is 6 times 7?"), "a wrong answer");
        let first = reply.pieces.first().context("an empty answer")?.0.as_millis();
        let gets = self.painted(if wanted == "bedrock" { "36" } else { "32" }, upstream, 9);
        let time = if number == 3 { " ".repeat(7) } else { self.time() };
        let why = reply.reason();
        let row = format!("{number}  {time} {anthropic:<21} 200 from {gets} {first:>9} ms  {why}");
        writeln!(self.out, "{}", row.trim_end())?;
        Ok(self.out.flush()?)
    }

    /// Shows the 429, which no client gets to see.
    fn limit(&mut self, until: Timestamp) -> anyhow::Result<()> {
        let says = self.painted("33", &format!("429, retry-after: {RETRY_AFTER}"), 21);
        let until = until.to_zoned(TimeZone::UTC).strftime("%H:%M:%S");
        writeln!(self.out, "2  {} {says} -> limit remembered until {until} UTC", self.time())?;
        Ok(self.out.flush()?)
    }

    fn time(&self) -> String {
        format!("{:>5.1} s", self.begun.elapsed().as_secs_f64())
    }

    /// The text, filled up to `width`, in a colour of the terminal's (ECMA-48 SGR).
    fn painted(&self, colour: &str, text: &str, width: usize) -> String {
        if self.colour {
            return format!("\x1b[{colour}m{text:<width$}\x1b[0m");
        }
        format!("{text:<width$}")
    }
}
