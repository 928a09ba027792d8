//! Pins against a model: whatever is done to them in whatever order, and however often the file is opened
//! anew, they are what plain maps would be.

#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Just, ProptestConfig, any, prop_assert, prop_assert_eq, prop_oneof};
use proptest::strategy::Strategy;
use proptest::test_runner::TestCaseError;
use proptest::{collection, option};

use super::tests::node;
use super::*;
use crate::routing::placement::History;

/// Something that is done; nodes, chats and reservations by number.
#[derive(Debug, Clone)]
enum Op {
    Place(u8, u8),
    Reserve(u8),
    Confirm(usize, u8),
    Abandon(usize),
    Adopt(u8, u8),
    Release(u8),
    Drain(u8, bool),
    /// `true`: by somebody who saw the last change.
    Move(u8, u8, bool),
    NextTarget(Option<u8>),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let (chat, place) = (|| 0..4u8, || 0..3u8);
    prop_oneof![
        3 => (chat(), place()).prop_map(|(c, n)| Op::Place(c, n)),
        3 => place().prop_map(Op::Reserve),
        2 => (0..4usize, chat()).prop_map(|(r, c)| Op::Confirm(r, c)),
        2 => (0..4usize).prop_map(Op::Abandon),
        1 => (chat(), place()).prop_map(|(c, n)| Op::Adopt(c, n)),
        2 => chat().prop_map(Op::Release),
        1 => (place(), any::<bool>()).prop_map(|(n, d)| Op::Drain(n, d)),
        2 => (chat(), place(), any::<bool>()).prop_map(|(c, n, s)| Op::Move(c, n, s)),
        1 => option::of(place()).prop_map(Op::NextTarget),
        1 => Just(Op::Reopen),
    ]
}

/// What there should be.
#[derive(Debug, Default)]
struct Model {
    /// Node and revision by chat, and whether the node's own name of it is known.
    pins: BTreeMap<String, (String, i64, bool)>,
    /// With the target that each took.
    reserved: Vec<(Reservation, Option<String>)>,
    drained: BTreeSet<String>,
    target: Option<String>,
    last: Option<String>,
}

impl Model {
    fn ledger(&self) -> Ledger {
        let mut chats = BTreeMap::new();
        let held = self.pins.values().map(|(node, ..)| node);
        for node in held.chain(self.reserved.iter().map(|(r, _)| &r.node)) {
            *chats.entry(node.clone()).or_insert(0) += 1;
        }
        Ledger {
            chats,
            drained: self.drained.clone(),
            history: History {
                last_node: self.last.clone(),
                last_host: self.last.as_ref().map(|_| "h".to_owned()),
                next_target: self.target.as_ref().map(|t| t.parse().unwrap()),
            },
        }
    }
}

fn id(n: u8) -> String {
    format!("n{n}")
}

fn chat(n: u8) -> String {
    format!("chat-{n}")
}

/// Does it to both.
fn step(pins: &mut Pins, path: &Path, model: &mut Model, op: &Op) -> Result<(), TestCaseError> {
    match op {
        Op::Place(c, n) => {
            let (chat, expected) = (chat(*c), model.ledger());
            let mut seen = None;
            let placing = pins
                .place(&chat, |ledger| {
                    seen = Some(ledger.clone());
                    Ok::<_, Error>(node(&id(*n)))
                })
                .unwrap();
            match model.pins.get(&chat) {
                Some((node, revision, _)) => {
                    prop_assert!(matches!(&placing, Placing::Was(_)) && seen.is_none());
                    prop_assert_eq!(&placing.pin().node, node);
                    prop_assert_eq!(placing.pin().revision, *revision);
                }
                None => {
                    prop_assert!(matches!(&placing, Placing::New(pin) if pin.node == id(*n)));
                    prop_assert_eq!(seen, Some(expected));
                    model.pins.insert(chat, (id(*n), 0, false));
                    model.target.take_if(|target| *target == id(*n));
                    model.last = Some(id(*n));
                }
            }
        }
        Op::Reserve(n) => {
            let expected = model.ledger();
            let reserved = pins.reserve(|ledger| {
                assert_eq!(*ledger, expected);
                Ok::<_, Error>(node(&id(*n)))
            });
            model
                .reserved
                .push((reserved.unwrap(), model.target.take_if(|t| *t == id(*n))));
            model.last = Some(id(*n));
        }
        Op::Confirm(r, c) if *r < model.reserved.len() => {
            let (reservation, _) = model.reserved.remove(*r);
            let confirmed = pins.confirm(&reservation, &chat(*c), Some("x"));
            let entry = model.pins.entry(chat(*c));
            let held = entry.or_insert((reservation.node.clone(), 0, true));
            if held.0 == reservation.node && !held.2 {
                *held = (reservation.node.clone(), held.1 + 1, true);
            }
            match confirmed {
                Ok(pin) => {
                    prop_assert_eq!(&reservation.node, &held.0);
                    prop_assert_eq!((&pin.node, pin.revision), (&held.0, held.1));
                }
                Err(_) => prop_assert!(reservation.node != held.0),
            }
        }
        Op::Abandon(r) if *r < model.reserved.len() => {
            let (reservation, took) = model.reserved.remove(*r);
            pins.abandon(&reservation).unwrap();
            model.target = model.target.take().or(took);
        }
        Op::Confirm(..) | Op::Abandon(_) => {}
        Op::Adopt(c, n) => {
            let adopted = pins.adopt(&chat(*c), &node(&id(*n)), None);
            let held = model.pins.entry(chat(*c)).or_insert((id(*n), 0, false));
            prop_assert_eq!(adopted.is_ok(), held.0 == id(*n));
        }
        Op::Release(c) => {
            let released = pins.release(&chat(*c)).unwrap();
            prop_assert_eq!(released, model.pins.remove(&chat(*c)).is_some());
        }
        Op::Drain(n, drained) => {
            let changed = match drained {
                true => model.drained.insert(id(*n)),
                false => model.drained.remove(&id(*n)),
            };
            prop_assert_eq!(pins.drain(&id(*n), *drained).unwrap(), changed);
        }
        Op::Move(c, n, seen) => {
            let held = model.pins.get_mut(&chat(*c));
            let revision = held.as_ref().map_or(0, |h| h.1) - i64::from(!seen);
            let moved = pins.move_to(&chat(*c), &node(&id(*n)), revision);
            prop_assert_eq!(moved.is_ok(), held.is_some() && *seen);
            if let (Some(held), true) = (held, seen) {
                *held = (id(*n), held.1 + 1, false);
            }
        }
        Op::NextTarget(n) => {
            model.target = n.map(id);
            let target = n.map(|n| id(n).parse().unwrap());
            pins.set_next_target(target.as_ref()).unwrap();
        }
        Op::Reopen => *pins = Pins::at(path).unwrap(),
    }
    Ok(())
}

proptest::proptest! {
    // Each step is a write to the disk.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pins_are_what_plain_maps_would_be(ops in collection::vec(op(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pins.db");
        let mut pins = Pins::at(&path).unwrap();
        let mut model = Model::default();
        for op in &ops {
            step(&mut pins, &path, &mut model, op)?;
            prop_assert_eq!(pins.ledger().unwrap(), model.ledger());
        }
        let list: Vec<(String, (String, i64, bool))> = Pins::at(&path)
            .unwrap()
            .list()
            .unwrap()
            .into_iter()
            .map(|p| (p.chat, (p.node, p.revision, p.native.is_some())))
            .collect();
        prop_assert_eq!(list, model.pins.into_iter().collect::<Vec<_>>());
    }
}
