//! Delivery under faults: several senders and a courier work on the queue of one scripted agent, a seed
//! decides who takes the next step, and every step may be the last one of its process. At the end each
//! message was delivered exactly once, or is still queued, or is called uncertain; none is doubled,
//! merged or lost, and no receipt lies.
//!
//! A seed replays exactly: `MOSAIC_FAULT_SEED=17 cargo test --lib faults -- --nocapture` runs that one and
//! prints every step. `MOSAIC_FAULT_SEEDS=100000` runs more of them.

mod agent;
mod place;
mod scenario;
mod world;

use scenario::{Store, play};

/// How many seeds to run: as told by the environment, else `usual`.
fn seeds(usual: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    match number("MOSAIC_FAULT_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("MOSAIC_FAULT_SEEDS").unwrap_or(usual)).collect(),
    }
}

#[allow(clippy::print_stderr)]
fn show(text: &str) {
    eprintln!("{text}");
}

fn run(store: Store, usual: u64) {
    let seeds = seeds(usual);
    let traced = seeds.len() == 1;
    let mut seen = scenario::Tally::default();
    for seed in &seeds {
        let played = play(*seed, store);
        if traced {
            show(&played.trace.join("\n"));
        }
        if let Err(why) = &played.verdict {
            let from = played.trace.len().saturating_sub(150);
            panic!(
                "seed {seed} ({store:?}): {why}\nreplay it with MOSAIC_FAULT_SEED={seed}; its last steps:\n{}",
                played.trace[from..].join("\n")
            );
        }
        seen.add(&played.tally);
    }
    if !traced {
        // A run in which nothing went wrong would prove nothing.
        assert!(
            seen.crashes > 0
                && seen.uncertain > 0
                && seen.taken_back > 0
                && seen.delivered > seen.uncertain * 4,
            "{seen:?}"
        );
        show(&format!("{} seeds, {store:?}: {seen:?}", seeds.len()));
    }
}

#[test]
fn every_step_may_be_the_last_one() {
    run(Store::Memory, 2_000);
}

#[test]
fn every_step_may_be_the_last_one_with_the_real_mailbox() {
    run(Store::Sqlite, 200);
}
