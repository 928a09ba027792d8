//! Each filter, each preference, each tie; and what holds for any nodes.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::routing::node::Load;

fn node(id: &str) -> Node {
    Node {
        id: id.to_owned(),
        host: "h1".to_owned(),
        class: "agent".to_owned(),
        runtime: "demo".to_owned(),
        dialect: Dialect::Tui,
        labels: Default::default(),
        model_hint: None,
        working_directory: "/w".into(),
        priority: 0,
        max_chats: None,
    }
}

fn advert(id: &str) -> Advert {
    Advert {
        id: id.to_owned(),
        observed: now(),
        health: Health::Healthy,
        load: Load {
            cpu_load_pct: 10.0,
            memory_used_pct: 20.0,
            disk_available_bytes: 1 << 40,
            ..Load::default()
        },
        rtt_ms: 1.0,
        state: String::new(),
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

type Change = fn(&mut Node, &mut Advert, &mut u32);

/// Places among nodes `a`, `b`, `c`, each changed by `change`.
fn chosen(
    change: impl Fn(&mut Node, &mut Advert, &mut u32),
    wish: &Wish,
    history: &History,
    policy: &Policy,
) -> Result<(String, Reason), Empty> {
    let mut all: Vec<(Node, Advert, u32)> = ["a", "b", "c"]
        .map(|id| (node(id), advert(id), 0))
        .into_iter()
        .collect();
    for (node, advert, chats) in &mut all {
        change(node, advert, chats);
    }
    let candidates: Vec<Candidate<'_>> = all
        .iter()
        .map(|(node, advert, chats)| Candidate {
            node,
            advert: Some(advert),
            chats: *chats,
            drained: false,
        })
        .collect();
    let rules = Rules {
        policy,
        wish,
        history,
        now: now(),
    };
    place(&candidates, &rules).map(|p| (p.node.id.clone(), p.reason))
}

fn plain(change: impl Fn(&mut Node, &mut Advert, &mut u32)) -> Result<String, Empty> {
    chosen(
        change,
        &Wish::default(),
        &History::default(),
        &Policy::default(),
    )
    .map(|(id, _)| id)
}

#[test]
fn the_score_is_the_weighted_sum() {
    let (policy, wish, history) = (Policy::default(), Wish::default(), History::default());
    let rules = Rules {
        policy: &policy,
        wish: &wish,
        history: &history,
        now: now(),
    };
    let (n, mut a) = (node("a"), advert("a"));
    a.rtt_ms = 3.0;
    let verdicts = explain(
        &[Candidate {
            node: &n,
            advert: Some(&a),
            chats: 2,
            drained: false,
        }],
        &rules,
    );
    // 1.0·3 + 15.0·2 + 0.7·10 + 0.5·20
    assert_eq!(verdicts[0].score, Some(50.0));
    assert_eq!(verdicts[0].terms.unwrap().active_chats, 30.0);
}

#[test]
fn the_lowest_score_wins_and_ties_go_by_priority_host_id() {
    assert_eq!(plain(|_, _, _| ()).unwrap(), "a");
    assert_eq!(
        plain(|n, a, _| if n.id == "b" {
            a.rtt_ms = 0.5
        })
        .unwrap(),
        "b"
    );
    assert_eq!(plain(|n, _, c| *c = u32::from(n.id != "c")).unwrap(), "c");
    assert_eq!(
        plain(|n, _, _| if n.id == "c" {
            n.priority = 1
        })
        .unwrap(),
        "c"
    );
    assert_eq!(
        plain(|n, _, _| if n.id == "b" {
            n.host = "h0".into()
        })
        .unwrap(),
        "b"
    );
}

#[test]
fn each_filter_rejects_and_says_so() {
    let cases: [(Filter, Change, &str); 6] = [
        (
            Filter::Stale,
            |_, a, _| a.observed = now() - jiff::SignedDuration::from_secs(21),
            "3 of 3 nodes: each was observed 21 s ago, more than 20 s",
        ),
        (
            Filter::Health,
            |_, a, _| a.health = Health::Refused("exited".into()),
            "3 of 3 nodes: each is refused: exited",
        ),
        (
            Filter::Cpu,
            |_, a, _| a.load.cpu_load_pct = 95.1,
            "more than 95 %",
        ),
        (
            Filter::Memory,
            |_, a, _| a.load.memory_used_pct = f64::NAN,
            "more than 95 %",
        ),
        (
            Filter::Disk,
            |_, a, _| a.load.disk_available_bytes = 10 * 1024 * 1024 * 1024 - 1,
            "less than 10G",
        ),
        (
            Filter::MaxChats,
            |n, _, c| {
                n.max_chats = Some(2);
                *c = 2;
            },
            "has 2 chats, as many as it may",
        ),
    ];
    for (filter, change, why) in cases {
        let empty = plain(change).unwrap_err();
        assert_eq!(empty.filter, Some(filter));
        assert!(empty.to_string().contains(why), "{empty}");
    }
    // At the limit is within it.
    assert!(
        plain(|n, a, c| {
            a.load.cpu_load_pct = 95.0;
            a.load.memory_used_pct = 95.0;
            a.load.disk_available_bytes = 10 * 1024 * 1024 * 1024;
            a.observed = now() - jiff::SignedDuration::from_secs(20);
            n.max_chats = Some(1);
            *c = 0;
        })
        .is_ok()
    );
}

#[test]
fn the_filter_that_took_the_last_node_is_named() {
    let empty = plain(|n, a, _| match n.id.as_str() {
        "a" => a.health = Health::Timeout("nothing in 1 s".into()),
        "b" => a.load.cpu_load_pct = 99.0,
        _ => a.observed = Timestamp::UNIX_EPOCH,
    })
    .unwrap_err();
    assert_eq!(empty.filter, Some(Filter::Cpu));
    assert_eq!(empty.last.len(), 1);
    assert_eq!(empty.last[0].0, "b");
    assert_eq!(
        place(
            &[],
            &Rules {
                policy: &Policy::default(),
                wish: &Wish::default(),
                history: &History::default(),
                now: now()
            }
        )
        .unwrap_err()
        .to_string(),
        "the fleet has no nodes"
    );
}

#[test]
fn the_one_shot_target_leads_and_is_never_replaced_by_another() {
    let history = History {
        next_target: Some("b".parse().unwrap()),
        ..History::default()
    };
    let worse = |n: &mut Node, _: &mut Advert, c: &mut u32| *c = u32::from(n.id == "b") * 9;
    let policy = Policy {
        default_host_preference: Some("h2".into()),
        ..Policy::default()
    };
    assert_eq!(
        chosen(worse, &Wish::default(), &history, &policy).unwrap(),
        ("b".to_owned(), Reason::NextTarget)
    );
    let empty = chosen(
        |n, a, _| {
            if n.id == "b" {
                a.health = Health::Refused("exited".into());
            }
        },
        &Wish::default(),
        &history,
        &policy,
    )
    .unwrap_err();
    assert_eq!(empty.filter, Some(Filter::Health));
}

#[test]
fn the_preferred_host_leads_while_it_has_an_eligible_node() {
    let policy = Policy {
        default_host_preference: Some("h2".into()),
        ..Policy::default()
    };
    let place = |up: bool| {
        chosen(
            |n, a, c| {
                if n.id == "c" {
                    n.host = "h2".into();
                    *c = 5;
                    if !up {
                        a.health = Health::Refused(String::new());
                    }
                }
            },
            &Wish::default(),
            &History::default(),
            &policy,
        )
        .unwrap()
    };
    assert_eq!(place(true), ("c".to_owned(), Reason::HostPreference));
    assert_eq!(
        place(false),
        ("a".to_owned(), Reason::Strategy(Strategy::Balanced))
    );
}

#[test]
fn strategies() {
    let with = |strategy, last: Option<&str>, last_host: Option<&str>| {
        let wish = Wish {
            strategy: Some(strategy),
            ..Wish::default()
        };
        let history = History {
            last_node: last.map(str::to_owned),
            last_host: last_host.map(str::to_owned),
            next_target: None,
        };
        chosen(
            |n, a, c| match n.id.as_str() {
                "a" => *c = 1,
                "b" => a.load.cpu_load_pct = 90.0,
                _ => {
                    n.host = "h2".into();
                    *c = 3;
                }
            },
            &wish,
            &history,
            &Policy::default(),
        )
        .unwrap()
        .0
    };
    assert_eq!(with(Strategy::Balanced, None, None), "a");
    assert_eq!(with(Strategy::LeastChats, None, None), "b");
    assert_eq!(with(Strategy::RoundRobin, None, None), "a");
    assert_eq!(with(Strategy::RoundRobin, Some("a"), None), "b");
    assert_eq!(with(Strategy::RoundRobin, Some("c"), None), "a");
    assert_eq!(with(Strategy::RoundRobin, Some("bb"), None), "c");
    assert_eq!(with(Strategy::StickyHost, None, Some("h2")), "c");
    assert_eq!(with(Strategy::StickyHost, None, Some("gone")), "a");
}
