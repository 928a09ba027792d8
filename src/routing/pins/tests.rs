//! Pins on a real file: compare-and-set, reservations, what a crash leaves.

#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::sync::Barrier;

use super::reader::READ;
use super::*;
use crate::host::owner::Owner;
use crate::host::procfs;

pub(super) fn node(id: &str) -> Node {
    Node {
        id: id.to_owned(),
        host: "h".to_owned(),
        class: "agent".to_owned(),
        runtime: "demo".to_owned(),
        dialect: Dialect::Goosed,
        labels: BTreeMap::new(),
        model_hint: None,
        working_directory: "/w".into(),
        priority: 0,
        max_chats: None,
    }
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/pins.db");
    (dir, path)
}

/// The node with the fewest chats.
fn fewest(ledger: &Ledger) -> Result<Node> {
    let chats = |id: &str| ledger.chats.get(id).copied().unwrap_or(0);
    let least = ["a", "b", "c"].into_iter().min_by_key(|id| chats(id));
    Ok(node(least.unwrap()))
}

#[test]
fn the_second_placer_gets_the_first_ones_pin() {
    let (_dir, path) = file();
    let mut pins = Pins::at(&path).unwrap();
    let first = pins
        .place("ISSUE-12", |_| Ok::<_, Error>(node("a")))
        .unwrap();
    assert!(matches!(&first, Placing::New(pin) if pin.node == "a"));
    let again = pins
        .place("ISSUE-12", |_| -> Result<Node> { panic!("it is pinned") })
        .unwrap();
    assert_eq!(again, Placing::Was(first.pin().clone()));
    assert_eq!(first.pin().dialect, Dialect::Goosed);
    // Refused: nothing is left.
    let no = pins.place("x", |_| Err::<Node, _>(Error::no("none")));
    assert_eq!(no.unwrap_err().message, "none");
    assert_eq!(pins.list().unwrap().len(), 1);
}

#[test]
fn parallel_reservations_count_each_other() {
    let (_dir, path) = file();
    Pins::at(&path).unwrap();
    let barrier = Barrier::new(12);
    let nodes: Vec<String> = std::thread::scope(|s| {
        let all: Vec<_> = (0..12)
            .map(|_| {
                s.spawn(|| {
                    let mut pins = Pins::at(&path).unwrap();
                    barrier.wait();
                    pins.reserve(fewest).unwrap().node
                })
            })
            .collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for id in ["a", "b", "c"] {
        assert_eq!(nodes.iter().filter(|n| *n == id).count(), 4, "{nodes:?}");
    }
}

#[test]
fn one_chat_placed_by_many_has_one_node() {
    let (_dir, path) = file();
    Pins::at(&path).unwrap();
    let placed: Vec<Placing> = std::thread::scope(|s| {
        let all: Vec<_> = ["a", "b", "c", "d"]
            .into_iter()
            .map(|id| {
                let path = &path;
                s.spawn(move || {
                    let mut pins = Pins::at(path).unwrap();
                    pins.place("chat", |_| Ok::<_, Error>(node(id))).unwrap()
                })
            })
            .collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let new = placed.iter().filter(|p| matches!(p, Placing::New(_)));
    assert_eq!(new.count(), 1);
    assert!(placed.iter().all(|p| p.pin().node == placed[0].pin().node));
}

#[test]
fn a_reservation_becomes_a_pin_or_gives_everything_back() {
    let (_dir, path) = file();
    let mut pins = Pins::at(&path).unwrap();
    pins.set_next_target(Some(&"b".parse().unwrap())).unwrap();
    let seen = |ledger: &Ledger| {
        assert_eq!(
            ledger.history.next_target.as_ref().map(ToString::to_string),
            Some("b".to_owned())
        );
        Ok::<_, Error>(node("b"))
    };
    let failed = pins.reserve(seen).unwrap();
    assert_eq!(pins.ledger().unwrap().history.next_target, None);
    assert_eq!(pins.ledger().unwrap().chats["b"], 1);
    pins.abandon(&failed).unwrap();
    assert_eq!(pins.ledger().unwrap().chats.get("b"), None);
    let made = pins.reserve(seen).unwrap();
    let pin = pins
        .confirm(&made, "b.20261121_1", Some("20261121_1"))
        .unwrap();
    assert_eq!(
        (pin.node.as_str(), pin.standing, pin.native.as_deref()),
        ("b", Standing::Held, Some("20261121_1"))
    );
    assert_eq!(pin.dialect, Dialect::Goosed);
    let ledger = pins.ledger().unwrap();
    assert_eq!(ledger.history.next_target, None);
    assert_eq!(ledger.history.last_node.as_deref(), Some("b"));
    assert_eq!(ledger.chats["b"], 1);
    // The same name from elsewhere.
    let other = pins.reserve(|_| Ok::<_, Error>(node("a"))).unwrap();
    let refused = pins.confirm(&other, "b.20261121_1", None).unwrap_err();
    assert!(refused.message.contains("pinned to `b`"), "{refused}");
}

#[test]
fn what_a_dead_placer_reserved_is_given_back() {
    let (_dir, path) = file();
    let mut pins = Pins::at(&path).unwrap();
    pins.set_next_target(Some(&"a".parse().unwrap())).unwrap();
    pins.reserve(|_| Ok::<_, Error>(node("a"))).unwrap();
    let dead = json(&Owner {
        pid: i32::MAX,
        start_ticks: 1,
        boot: procfs::boot_id(),
    });
    pins.db
        .execute("UPDATE pin SET owner = ?1", [dead])
        .unwrap();
    let ledger = pins.ledger().unwrap();
    assert!(ledger.chats.is_empty());
    assert!(ledger.history.next_target.is_some());
}

#[test]
fn a_reservation_that_was_cleaned_up_becomes_a_pin_of_its_dialect() {
    let (_dir, path) = file();
    let mut pins = Pins::at(&path).unwrap();
    let reservation = pins.reserve(|_| Ok::<_, Error>(node("a"))).unwrap();
    pins.db.execute("DELETE FROM pin", []).unwrap();
    let pin = pins.confirm(&reservation, "a.1", Some("1")).unwrap();
    assert_eq!(pin.dialect, Dialect::Goosed);
    assert!(pin.is_its_nodes());
}

#[test]
fn who_only_reads_waits_for_nobody() {
    let (_dir, path) = file();
    let mut pins = Pins::at(&path).unwrap();
    pins.place("x", |_| Ok::<_, Error>(node("a"))).unwrap();
    let reader = Reader::of(&path).unwrap();
    let other = Pins::at(&path).unwrap();
    other.db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(pins.ledger().unwrap().chats["a"], 1);
    assert_eq!(reader.ledger().unwrap(), pins.ledger().unwrap());
    assert_eq!(reader.list().unwrap(), pins.list().unwrap());
    assert!(reader.pin("x").unwrap().is_some());
    assert!(begun.elapsed() < READ, "{:?}", begun.elapsed());
    // And who writes waits as long as it was told.
    pins.wait_at_most(Duration::from_millis(50)).unwrap();
    let refused = pins.reserve(|_| Ok::<_, Error>(node("a"))).unwrap_err();
    assert_eq!(refused.kind, crate::error::Kind::Busy);
    other.db.execute_batch("ROLLBACK").unwrap();
    // What is written is seen at once.
    pins.release("x").unwrap();
    assert!(reader.pin("x").unwrap().is_none());
}

#[test]
fn a_move_is_made_by_who_saw_the_last_change() {
    let (_dir, path) = file();
    let mut pins = Pins::at(&path).unwrap();
    let pin = pins
        .place("x", |_| Ok::<_, Error>(node("a")))
        .unwrap()
        .pin()
        .clone();
    let moved = pins.move_to("x", &node("b"), pin.revision).unwrap();
    assert_eq!((moved.node.as_str(), moved.revision), ("b", 1));
    let late = pins.move_to("x", &node("c"), pin.revision).unwrap_err();
    assert!(late.message.contains("changed meanwhile"));
    assert!(pins.release("x").unwrap() && !pins.release("x").unwrap());
}

#[test]
fn a_nodes_own_name_is_not_noted_for_another_node() {
    let (_dir, path) = file();
    let mut pins = Pins::at(&path).unwrap();
    let placed = pins.place("x", |_| Ok::<_, Error>(node("a"))).unwrap();
    // It was moved while its session was made.
    pins.move_to("x", &node("b"), placed.pin().revision)
        .unwrap();
    assert!(!pins.set_native("x", "a", "20261121_1").unwrap());
    assert_eq!(pins.pin("x").unwrap().unwrap().native, None);
    assert!(pins.set_native("x", "b", "20261121_7").unwrap());
    // Made twice: the first one holds.
    assert!(!pins.set_native("x", "b", "20261121_8").unwrap());
    let pin = pins.pin("x").unwrap().unwrap();
    assert_eq!(pin.native.as_deref(), Some("20261121_7"));
    assert!(!pins.set_native("y", "b", "20261121_9").unwrap());
}

#[test]
fn a_conversation_that_a_server_made_is_its_nodes() {
    let pin = |chat: &str, dialect, native: Option<&str>| Pin {
        chat: chat.to_owned(),
        node: "a".to_owned(),
        dialect,
        standing: Standing::Held,
        native: native.map(str::to_owned),
        revision: 0,
        created: Timestamp::UNIX_EPOCH,
        used: Timestamp::UNIX_EPOCH,
    };
    assert!(pin("a.20261121_1", Dialect::Goosed, None).is_its_nodes());
    assert!(pin("ses_1", Dialect::Opencode, Some("ses_1")).is_its_nodes());
    assert!(!pin("ISSUE-12", Dialect::Opencode, None).is_its_nodes());
    assert!(!pin("a.b", Dialect::Tui, None).is_its_nodes());
    assert!(!pin("ab.c", Dialect::Goosed, None).is_its_nodes());
}

#[test]
fn unused_pins_expire_and_used_ones_do_not() {
    let (_dir, path) = file();
    let mut pins = Pins::at(&path).unwrap();
    for chat in ["old", "new"] {
        pins.place(chat, |_| Ok::<_, Error>(node("a"))).unwrap();
        let hour_ago = (Timestamp::now() - SignedDuration::from_hours(1)).as_millisecond();
        pins.db
            .execute(
                "UPDATE pin SET used = ?1 WHERE chat = ?2",
                params![hour_ago, chat],
            )
            .unwrap();
    }
    pins.used(["new"]).unwrap();
    let gone = pins.expire(SignedDuration::from_mins(30), Timestamp::now());
    assert_eq!(gone.unwrap(), 1);
    assert!(pins.pin("old").unwrap().is_none() && pins.pin("new").unwrap().is_some());
}

#[test]
fn names_of_chats_are_checked() {
    for good in ["ISSUE-12", "a.20261121_1", "ses_0abc", "me@host"] {
        assert!(checked(good).is_ok(), "{good}");
    }
    for bad in ["", "..", "a/b", "a b", "placing:x", "é", "a\n"] {
        assert!(checked(bad).is_err(), "{bad}");
    }
    assert!(checked(&"x".repeat(257)).is_err());
}

#[test]
fn drained_nodes_are_in_the_ledger() {
    let (_dir, path) = file();
    let pins = Pins::at(&path).unwrap();
    assert!(pins.drain("a", true).unwrap() && !pins.drain("a", true).unwrap());
    assert!(pins.ledger().unwrap().drained.contains("a"));
    assert!(pins.drain("a", false).unwrap() && !pins.drain("a", false).unwrap());
}
