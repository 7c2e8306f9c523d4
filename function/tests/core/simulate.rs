//! Does the core decide as the contract says, whatever happens in whatever order?
//!
//! Virtual time, random events: limits of every kind, refusals, overloads, a store that fails, days
//! that pass. The core (`route`, `judge`, hints, proofs, cooldowns, the store in memory) drives each
//! request; `model` says from the contract alone who must have been asked and what must be known
//! then. `scripts/simulate` runs a million sequences, a plain `cargo test` some thousands.

#![expect(clippy::unwrap_used, reason = "a simulation stops where its own material is broken")]

mod core;
mod model;
mod story;

use std::collections::BTreeMap;
use std::time::Instant;

use fastrand::Rng;

use self::core::Core;
use self::model::Model;
use self::story::{Policy, Request};

/// Requests of one sequence.
const LENGTH: usize = 14;

#[test]
fn the_core_and_the_contract_agree_on_every_sequence() {
    let sequences = number("SIMULATE_SEQUENCES", 4_000);
    let first = number("SIMULATE_SEED", 1);
    #[expect(clippy::disallowed_methods, reason = "the counts are printed with their time")]
    let begun = Instant::now();
    let mut counts = BTreeMap::new();
    for seed in first..first + sequences {
        sequence(seed, &mut counts);
    }
    println!("simulate: {sequences} sequences from seed {first}, {:?}", begun.elapsed());
    for (what, count) in &counts {
        println!("  {count:>10}  {what}");
    }
    if sequences >= 4_000 {
        let seen: Vec<_> = counts.keys().copied().collect();
        for what in story::EVERYTHING {
            assert!(seen.contains(what), "it never came to: {what}");
        }
    }
}

fn sequence(seed: u64, counts: &mut BTreeMap<&'static str, u64>) {
    let mut rng = Rng::with_seed(seed);
    let policy = Policy::any(&mut rng);
    let (mut core, mut model) = (Core::new(policy), Model::new(policy));
    let mut now = story::BEGIN + rng.i64(0..1_000_000_000);
    for step in 0..LENGTH {
        now += story::pause(&mut rng);
        let request = Request::any(&mut rng);
        let did = core.answer(&request, now);
        let right = model.answer(&request, now);
        assert_eq!(did, right, "seed {seed}, step {step}: {policy:#?} {request:#?}");
        now = did.ended;
        did.count(counts);
    }
}

#[expect(clippy::disallowed_methods, reason = "how long to run is said from outside")]
fn number(name: &str, usual: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}
