//! What a request and an event take in instructions: valgrind counts them, and no other work on the
//! machine changes that.

use std::fs;
use std::io;
use std::time::Duration;

use crate::load::Plan;
use crate::target::{Place, Target};

/// Counts for each of these targets and prints a table, in thousands.
pub async fn print(targets: &[Target], place: &Place) -> io::Result<()> {
    println!("| thousand instructions | 2 KB request | event of a stream |\n|---|---|---|");
    for target in targets {
        let requests = |millis| Plan::Requests {
            connections: 1,
            body: 2 << 10,
            time: Duration::from_millis(millis),
            limited: false,
        };
        let stream = |events| Plan::Streams {
            clients: 1,
            rounds: 1,
            events,
            gap: Duration::from_millis(5),
            limited: false,
        };
        let request = difference(target, place, requests(500), requests(3000)).await?;
        let event = difference(target, place, stream(50), stream(450)).await?;
        println!("| {} | {request:.1} | {event:.1} |", target.name);
    }
    Ok(())
}

/// What one more answer or event takes: the start and the first ones are in both runs.
async fn difference(target: &Target, place: &Place, few: Plan, many: Plan) -> io::Result<f64> {
    let (few, many) = (counted(target, place, few).await?, counted(target, place, many).await?);
    Ok((many.0 - few.0) / (many.1 - few.1) / 1e3)
}

/// Instructions in all, and answers or events.
async fn counted(target: &Target, place: &Place, plan: Plan) -> io::Result<(f64, f64)> {
    let log = place.scratch.join("valgrind.log");
    let mut target = target.clone();
    let words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let to_log = format!("--log-file={}", log.display());
    target.command.splice(0..0, words.map(str::to_owned).into_iter().chain([to_log]));
    let process = target.start(place).await?;
    let seen = plan.run(&target.address, || {}).await;
    drop(process);
    let said = fs::read_to_string(&log)?;
    let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.parse().ok());
    let count = count.ok_or_else(|| io::Error::other(format!("no count in {}", log.display())))?;
    let done = if seen.events.is_empty() { seen.answers.len() } else { seen.events.len() };
    Ok((count, done as f64))
}
