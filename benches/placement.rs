//! What a placement costs, against the least that any placement must do: one pass over the nodes that
//! only sums the fields it is decided by. Both run in turn, so that they see the same machine; nothing
//! fails here, since a busy machine must not turn a build red.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark may panic and speak"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use mosaic::routing::node::{Advert, Dialect, Health, Load, Node};
use mosaic::routing::placement::{Candidate, History, Rules, Wish, place};
use mosaic::routing::policy::{Policy, Strategy};

/// Passes of each, in turn; the median is what counts.
const ROUNDS: usize = 401;

fn main() {
    // `cargo bench -- placement` runs those of that name only, as in the other benchmarks.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    if !wanted.is_empty() && !wanted.iter().any(|w| "placement".contains(w.as_str())) {
        return;
    }
    println!(
        "{:<58} {:>10} {:>10} {:>7}  goal",
        "", "mosaic", "floor", "ratio"
    );
    for count in [1_000, 10_000, 100_000] {
        let goal = match count {
            10_000 => "at most 3",
            _ => "grows as the floor does",
        };
        let wish = Wish::default();
        row(
            &format!("placement over {count} nodes, all eligible"),
            count,
            &wish,
            goal,
        );
    }
    let of_a_class = Wish {
        selector: "class:c3".parse().unwrap(),
        ..Wish::default()
    };
    row(
        "placement over 10000 nodes, one in ten of the class",
        10_000,
        &of_a_class,
        "at most 3",
    );
    let round_robin = Wish {
        strategy: Some(Strategy::RoundRobin),
        ..Wish::default()
    };
    row(
        "placement over 10000 nodes, round-robin",
        10_000,
        &round_robin,
        "",
    );
}

/// Numbers that look random and are the same in every run (a linear congruence).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % most
    }
}

fn nodes(count: usize, now: Timestamp) -> Vec<(Node, Advert, u32)> {
    let mut numbers = Numbers(7);
    (0..count)
        .map(|n| {
            let node = Node {
                id: format!("node-{n:06}"),
                host: format!("host-{}", n % 40),
                class: format!("c{}", n % 10),
                runtime: "goosed".to_owned(),
                dialect: Dialect::Goosed,
                labels: BTreeMap::new(),
                model_hint: None,
                working_directory: "/srv/work".into(),
                priority: 0,
                max_chats: Some(64),
            };
            let advert = Advert {
                id: node.id.clone(),
                observed: now - SignedDuration::from_secs(numbers.below(10) as i64),
                health: Health::Healthy,
                load: Load {
                    cpu_load_pct: numbers.below(900) as f64 / 10.0,
                    memory_used_pct: numbers.below(900) as f64 / 10.0,
                    disk_available_bytes: (20 << 30) + numbers.below(1 << 40),
                    ..Load::default()
                },
                rtt_ms: numbers.below(1000) as f64 / 100.0,
                state: "idle".to_owned(),
            };
            let chats = numbers.below(30) as u32;
            (node, advert, chats)
        })
        .collect()
}

fn row(what: &str, count: usize, wish: &Wish, goal: &str) {
    let now = Timestamp::now();
    let nodes = nodes(count, now);
    let candidates: Vec<Candidate<'_>> = nodes
        .iter()
        .map(|(node, advert, chats)| Candidate {
            node,
            advert: Some(advert),
            chats: *chats,
            drained: false,
        })
        .collect();
    let policy = Policy::default();
    let history = History::default();
    let rules = Rules {
        policy: &policy,
        wish,
        history: &history,
        now,
    };
    let placed = || {
        timed(|| {
            let _ = black_box(place(black_box(&candidates), &rules));
        })
    };
    let summed = || {
        timed(|| {
            black_box(sum(black_box(&candidates)));
        })
    };
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        left.push(placed());
        right.push(summed());
    }
    let (mosaic, floor) = (median(&mut left), median(&mut right));
    println!(
        "{what:<58} {mosaic:>7.1} us {floor:>7.1} us {:>7.2}  {goal}",
        mosaic / floor
    );
}

/// The floor.
fn sum(candidates: &[Candidate<'_>]) -> f64 {
    let mut total = 0.0;
    for c in candidates {
        let Some(advert) = c.advert else { continue };
        total += advert.rtt_ms
            + f64::from(c.chats)
            + advert.load.cpu_load_pct
            + advert.load.memory_used_pct
            + advert.load.disk_available_bytes as f64
            + advert.observed.as_second() as f64
            + f64::from(c.node.max_chats.unwrap_or(0));
    }
    total
}

fn timed(run: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    run();
    begun.elapsed()
}

fn median(all: &mut [Duration]) -> f64 {
    all.sort();
    all[all.len() / 2].as_secs_f64() * 1e6
}
