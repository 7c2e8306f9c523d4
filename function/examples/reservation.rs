//! What does a reservation add to the first byte of an answer of Bedrock? Prints it, for a table
//! that takes five milliseconds for a write.
//!
//! A fallback with a cap and one without take turns, on the loopback and between fakes, so that
//! what is printed is the difference that a reservation makes, and nothing else.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use testing::{
    answer::{limited, ok},
    client::Call,
    dynamo::FakeDynamo,
    fake::Received,
    world::World,
};
use tokio::time::Instant;

/// What the table takes for a write.
const WRITE: Duration = Duration::from_millis(5);
/// Of so many answers of each kind the median is taken.
const ROUNDS: usize = 100;
/// Prompts of so many bytes.
const PROMPTS: [usize; 3] = [2_000, 200_000, 2_000_000];

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut out = io::stdout();
    let (fakes, worlds): (Vec<_>, Vec<_>) =
        [None, Some("1000000")].map(capped_at).into_iter().unzip();
    writeln!(out, "| bytes of a prompt | without a cap, ms | with a cap | added |")?;
    writeln!(out, "|---|---|---|---|")?;
    for bytes in PROMPTS {
        let mut taken = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (world, taken) in worlds.iter().zip(&mut taken) {
                taken.push(first_byte(world, bytes).await);
            }
        }
        let [plain, capped] = taken.map(median);
        writeln!(out, "| {bytes} | {plain:.2} | {capped:.2} | {:.2} |", capped - plain)?;
    }
    drop(fakes);
    Ok(())
}

/// A proxy with this cap, on a table of its own, whose client is limited already.
fn capped_at(cap: Option<&str>) -> (FakeDynamo, World) {
    let fake = FakeDynamo::start();
    fake.direct(Arc::new(|call: &Received| {
        let is_write = call.header("x-amz-target").ends_with("UpdateItem");
        is_write.then(|| ok().head_after(WRITE))
    }));
    let mut plan = World::with("RATE_LIMIT_STORE", "dynamodb")
        .with("RATE_LIMIT_TABLE_NAME", "limits")
        .with("LOG_LEVEL", "off")
        .with("AWS_ENDPOINT_URL_DYNAMODB", &fake.url());
    if let Some(cap) = cap {
        plan = plan.with("BUDGET_USER_MONTH_USD", cap);
    }
    let world = plan.start();
    world.anthropic.always(limited(3600));
    (fake, world)
}

/// How long the first byte of an answer takes, in milliseconds.
async fn first_byte(world: &World, bytes: usize) -> f64 {
    let call = Call::message().says(&"a ".repeat(bytes / 2)).with("max_tokens", 16);
    let begun = Instant::now();
    let mut answer = call.open(world.address()).await;
    answer.next().await;
    let taken = begun.elapsed();
    answer.finish().await;
    taken.as_secs_f64() * 1000.0
}

fn median(mut taken: Vec<f64>) -> f64 {
    taken.sort_by(f64::total_cmp);
    taken[taken.len() / 2]
}
