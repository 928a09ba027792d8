//! Nodes that are made up: what the threads do with what they see.

#![allow(clippy::unwrap_used)]

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::gateway::guard::Secret;
use crate::gateway::stand_in::{node, well};
use crate::gateway::{Gateway, Shared};
use crate::routing::node::Dialect;
use crate::routing::pins::Pins;

struct Made {
    nodes: Vec<(Node, Option<Endpoint>)>,
    next: Receiver<Vec<Advert>>,
    asked: Sender<()>,
}

impl Source for Made {
    fn refresh(&mut self) -> Result<()> {
        Err(Error::busy("a file is damaged"))
    }
    fn nodes(&self) -> Vec<(Node, Option<Endpoint>)> {
        self.nodes.clone()
    }
    fn observe(&mut self, _wait: Duration) -> Vec<Advert> {
        let _ = self.asked.send(());
        self.next
            .recv_timeout(Duration::from_secs(30))
            .unwrap_or_default()
    }
}

fn gateway(dir: &std::path::Path, policy: Policy) -> Gateway {
    let pins = Pins::at(&dir.join("pins.db")).unwrap();
    Shared::new(None, policy, pins, Secret::new("s"))
}

fn ill(id: &str, health: Health) -> Advert {
    Advert { health, ..well(id) }
}

#[test]
fn a_late_node_is_asked_again_soon_and_cut_when_it_is_late_again() {
    let dir = tempfile::tempdir().unwrap();
    // Hours, so that only doubt makes a second observation.
    let policy = Policy {
        publish_interval_secs: 3600,
        ..Policy::default()
    };
    let gateway = gateway(dir.path(), policy);
    let (say, next) = channel();
    let (asked, was_asked) = channel();
    let endpoint = Endpoint::new("a", Dialect::Goosed, 1, "s");
    let source = Made {
        nodes: vec![
            (node("a", Dialect::Goosed), Some(endpoint)),
            (node("b", Dialect::Tui), None),
        ],
        next,
        asked,
    };
    let late = || Health::Timeout("nothing".to_owned());
    say.send(vec![ill("a", late()), well("b"), well("stranger")])
        .unwrap();
    let watch = Watch::begin(&gateway, Box::new(source), None).unwrap();
    was_asked.recv_timeout(Duration::ZERO).unwrap();
    let a = gateway.nodes.get("a").unwrap();
    assert_eq!(a.advert().unwrap().health, late());
    assert!(
        gateway
            .nodes
            .get("b")
            .unwrap()
            .advert()
            .unwrap()
            .health
            .is_healthy()
    );
    assert!(gateway.nodes.get("stranger").is_none());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cut = runtime.spawn(a.streams.wait());
    // Let it begin to wait, and see that the first lateness has not cut.
    runtime.block_on(tokio::task::yield_now());
    assert!(!cut.is_finished());
    was_asked.recv_timeout(Duration::from_secs(20)).unwrap();
    say.send(vec![ill("a", late()), well("b")]).unwrap();
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), cut).await })
        .unwrap()
        .unwrap();
    watch.end(Duration::from_secs(20));
}

#[test]
fn a_node_is_cut_when_it_refuses_and_not_when_it_is_late_now_and_then() {
    let live = crate::gateway::nodes::Live::new(node("a", Dialect::Goosed), None);
    let late = || ill("a", Health::Timeout(String::new()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let cuts = |adverts: Vec<Advert>| {
        let cut = runtime.spawn(live.streams.wait());
        runtime.block_on(tokio::task::yield_now());
        for advert in adverts {
            live.observed(advert);
        }
        runtime.block_on(tokio::task::yield_now());
        runtime.block_on(tokio::task::yield_now());
        let done = cut.is_finished();
        cut.abort();
        done
    };
    assert!(!cuts(vec![late(), well("a"), late(), well("a")]));
    assert!(cuts(vec![ill("a", Health::Refused(String::new()))]));
    assert!(!cuts(vec![ill("a", Health::Unfit(String::new())), late()]));
    assert!(cuts(vec![late()]));
}

#[test]
fn the_house_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths {
        home: dir.path().into(),
        roster: dir.path().join("r"),
        state: dir.path().join("s"),
        runtime: dir.path().join("t"),
        units: dir.path().join("u"),
    };
    std::fs::create_dir_all(&paths.state).unwrap();
    let gateway = gateway(dir.path(), Policy::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let held = |gateway: &Gateway| -> usize {
        runtime
            .block_on(gateway.pins(|pins| pins.list()))
            .unwrap()
            .len()
    };
    runtime
        .block_on(gateway.pins(|pins| pins.adopt("a.1", &node("a", Dialect::Goosed), None)))
        .unwrap();
    let mut house = House::new(&paths);
    let policy = |text: &str| std::fs::write(paths.routing_policy(), text).unwrap();
    policy(r#"{"version":1,"pin_ttl_secs":60}"#);
    house.keep(&gateway);
    assert_eq!(gateway.policy().pin_ttl_secs, Some(60));
    // A damaged one changes nothing.
    policy("{ not JSON at all");
    house.keep(&gateway);
    assert_eq!(gateway.policy().pin_ttl_secs, Some(60));
    let now = Timestamp::now();
    House::expire(&gateway, now);
    assert_eq!(held(&gateway), 1);
    House::expire(&gateway, now + SignedDuration::from_secs(120));
    assert_eq!(held(&gateway), 0);
}
