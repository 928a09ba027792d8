//! What holds for any nodes, adverts, policies and wishes.

#![allow(clippy::unwrap_used)]
use proptest::prelude::{Just, ProptestConfig, any, prop_assert, prop_assert_eq, prop_oneof};
use proptest::strategy::Strategy as Generator;
use proptest::{collection, option, sample};

use super::*;
use crate::routing::node::Load;
use crate::routing::select::Term;

/// One node with all that is known of it, so that it can be moved about as one.
#[derive(Debug, Clone)]
struct Known {
    node: Node,
    advert: Option<Advert>,
    chats: u32,
    drained: bool,
}

#[derive(Debug, Clone)]
struct World {
    nodes: Vec<Known>,
    policy: Policy,
    wish: Wish,
    history: History,
}

impl World {
    fn candidates(&self) -> Vec<Candidate<'_>> {
        self.nodes
            .iter()
            .map(|k| Candidate {
                node: &k.node,
                advert: k.advert.as_ref(),
                chats: k.chats,
                drained: k.drained,
            })
            .collect()
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            policy: &self.policy,
            wish: &self.wish,
            history: &self.history,
            now: now(),
        }
    }

    /// Who is chosen, of how many that passed; or why nobody is.
    fn placed(&self) -> Result<(String, f64, Reason), Empty> {
        place(&self.candidates(), &self.rules()).map(|p| (p.node.id.clone(), p.score, p.reason))
    }

    fn node(&self, id: &str) -> &Known {
        self.nodes.iter().find(|k| k.node.id == id).unwrap()
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

/// Few values, so that there are ties; among them those at the limits, and one that is no number.
fn figure() -> impl Generator<Value = f64> {
    prop_oneof![
        6 => sample::select(vec![0.0, 10.0, 50.0, 95.0]),
        1 => sample::select(vec![95.1, 100.0, f64::NAN]),
    ]
}

fn health() -> impl Generator<Value = Health> {
    prop_oneof![
        6 => Just(Health::Healthy),
        1 => Just(Health::Refused("r".to_owned())),
        1 => Just(Health::Unfit("u".to_owned())),
    ]
}

fn advert() -> impl Generator<Value = Advert> {
    let disk = prop_oneof![6 => Just(1 << 40), 1 => Just(1 << 30)];
    let age = prop_oneof![6 => 0..20i64, 1 => 20..22i64];
    (health(), figure(), figure(), disk, age, figure()).prop_map(
        |(health, cpu, memory, disk, age, rtt)| Advert {
            id: String::new(),
            observed: now() - jiff::SignedDuration::from_secs(age),
            health,
            load: Load {
                cpu_load_pct: cpu,
                memory_used_pct: memory,
                disk_available_bytes: disk,
                ..Load::default()
            },
            rtt_ms: rtt,
            state: String::new(),
        },
    )
}

fn known() -> impl Generator<Value = Known> {
    (
        (0..3u8, 0..2u8, any::<bool>(), -1..2i32),
        option::weighted(0.9, advert()),
        option::weighted(0.3, 1..4u32),
        0..4u32,
        sample::select(vec![false, false, false, false, true]),
    )
        .prop_map(
            |((host, class, tui, priority), advert, most, chats, drained)| Known {
                node: Node {
                    id: String::new(),
                    host: format!("h{host}"),
                    class: format!("c{class}"),
                    runtime: "r".to_owned(),
                    dialect: if tui { Dialect::Tui } else { Dialect::Goosed },
                    labels: Default::default(),
                    model_hint: None,
                    working_directory: "/w".into(),
                    priority,
                    max_chats: most,
                },
                advert,
                chats,
                drained,
            },
        )
}

fn strategies() -> impl Generator<Value = Strategy> {
    sample::select(vec![
        Strategy::Balanced,
        Strategy::LeastChats,
        Strategy::RoundRobin,
        Strategy::StickyHost,
    ])
}

fn selector() -> impl Generator<Value = Selector> {
    prop_oneof![
        Just(Selector::default()),
        (0..2u8).prop_map(|c| Selector(vec![Term::Class(format!("c{c}"))])),
        (0..3u8).prop_map(|h| Selector(vec![Term::Host(format!("h{h}"))])),
    ]
}

fn world() -> impl Generator<Value = World> {
    let host = || option::of((0..3u8).prop_map(|h| format!("h{h}")));
    (
        collection::vec(known(), 0..9),
        (0..4u8, 0..4u8, any::<bool>(), strategies(), host()),
        (selector(), option::of(strategies()), host()),
        (
            option::of(0..9u8),
            host(),
            option::weighted(0.2, selector()),
        ),
    )
        .prop_map(|(mut nodes, policy, wish, history)| {
            for (n, known) in nodes.iter_mut().enumerate() {
                known.node.id = format!("n{n}");
            }
            World {
                nodes,
                policy: Policy {
                    weight_active_chats: f64::from(policy.0),
                    weight_cpu_load: f64::from(policy.1),
                    require_healthy_goosed: policy.2,
                    default_strategy: policy.3,
                    default_host_preference: policy.4,
                    ..Policy::default()
                },
                wish: Wish {
                    selector: wish.0,
                    strategy: wish.1,
                    host: wish.2,
                },
                history: History {
                    last_node: history.0.map(|n| format!("n{n}")),
                    last_host: history.1,
                    next_target: history.2,
                },
            }
        })
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_order_of_the_nodes_does_not_matter(world in world(), seed in any::<u64>()) {
        let mut other = world.clone();
        let mut seed = seed;
        for at in (1..other.nodes.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            other.nodes.swap(at, usize::try_from(seed >> 33).unwrap() % (at + 1));
        }
        // A score may be no number, which equals nothing.
        let said = |w: &World| format!("{:?} {:?}", w.placed(), explain(&w.candidates(), &w.rules()));
        prop_assert_eq!(said(&world), said(&other));
    }

    #[test]
    fn what_is_explained_is_what_is_done(world in world()) {
        let verdicts = explain(&world.candidates(), &world.rules());
        let eligible: Vec<&Verdict> = verdicts.iter().filter(|v| v.rejected.is_empty()).collect();
        match world.placed() {
            Ok((id, score, _)) => {
                let chosen = eligible.iter().find(|v| v.id == id);
                prop_assert!(chosen.is_some(), "{id} was rejected");
                let explained = chosen.and_then(|v| v.score).unwrap();
                prop_assert_eq!(explained.total_cmp(&score), Ordering::Equal);
            }
            Err(empty) => {
                prop_assert!(eligible.is_empty(), "{empty}");
                prop_assert_eq!(empty.nodes, world.nodes.len());
                // The filter that is named is one that somebody was rejected by first.
                let firsts = verdicts.iter().filter_map(|v| v.rejected.first());
                prop_assert_eq!(empty.filter, firsts.map(|r| r.filter).max());
            }
        }
    }

    #[test]
    fn nobody_who_is_better_is_passed_over(world in world()) {
        let Ok((id, score, reason)) = world.placed() else { return Ok(()) };
        let verdicts = explain(&world.candidates(), &world.rules());
        let strategy = world.wish.strategy.unwrap_or(world.policy.default_strategy);
        let host = world.wish.host.as_ref().or(world.policy.default_host_preference.as_ref());
        let preferred = |k: &Known| host == Some(&k.node.host);
        let chosen = world.node(&id);
        let others = verdicts.iter().filter(|v| v.rejected.is_empty() && v.id != id);
        for other in others {
            let known = world.node(&other.id);
            if preferred(known) != preferred(chosen) {
                prop_assert!(preferred(chosen), "{} is on the preferred host", other.id);
                continue;
            }
            let tie = match strategy {
                Strategy::Balanced => {
                    let ordering = score.total_cmp(&other.score.unwrap());
                    prop_assert!(ordering != Ordering::Greater, "{} scores lower", other.id);
                    ordering == Ordering::Equal
                }
                Strategy::LeastChats => {
                    prop_assert!(chosen.chats <= known.chats, "{} has fewer", other.id);
                    chosen.chats == known.chats
                }
                Strategy::RoundRobin | Strategy::StickyHost => false,
            };
            if tie {
                let rank = |k: &Known| (-k.node.priority, k.node.host.clone(), k.node.id.clone());
                prop_assert!(rank(chosen) < rank(known), "{} comes first", other.id);
            }
        }
        prop_assert_eq!(
            reason == Reason::NextTarget,
            world.history.next_target.is_some()
        );
    }

    #[test]
    fn round_robin_meets_every_eligible_node_once(world in world()) {
        let mut world = world;
        world.history.next_target = None;
        world.wish = Wish { strategy: Some(Strategy::RoundRobin), host: None, ..world.wish };
        world.policy.default_host_preference = None;
        let eligible = explain(&world.candidates(), &world.rules())
            .iter()
            .filter(|v| v.rejected.is_empty())
            .count();
        let mut met = std::collections::BTreeSet::new();
        for _ in 0..eligible {
            let (id, ..) = world.placed().unwrap();
            world.history.last_node = Some(id.clone());
            met.insert(id);
        }
        prop_assert_eq!(met.len(), eligible);
    }
}
