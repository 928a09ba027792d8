//! Placing over stand-ins.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::gateway::stand_in::{gateway, serve};
use crate::routing::pins::Ledger;
use crate::routing::placement::Wish;

#[tokio::test]
async fn a_target_of_another_dialect_waits_for_its_own_chat() {
    let ok = || axum::routing::get(|| async { "ok" });
    let node = serve(axum::Router::new().route("/system_info", ok())).await;
    let under = gateway(&[
        ("goose", Dialect::Goosed, node),
        ("open", Dialect::Opencode, 1),
    ])
    .await;
    let target = |to: &'static str| {
        let gateway = under.gateway.clone();
        async move {
            let set: crate::error::Result<()> = gateway
                .pins(move |pins| pins.set_next_target(Some(&to.parse().unwrap())))
                .await;
            set.unwrap();
        }
    };
    let made = async || {
        let wish = Wish::default();
        create(&under.gateway, Dialect::Goosed, wish, of_node, |_| async {
            Ok::<Made<()>, _>(Made::Chat {
                native: uuid::Uuid::new_v4().to_string(),
                value: (),
            })
        })
        .await
        .map(|placed| placed.live.node.id.clone())
        .map_err(|answer| answer.status())
    };
    let left = async || {
        let ledger: crate::error::Result<Ledger> = under.gateway.pins(|pins| pins.ledger()).await;
        ledger.unwrap().history.next_target.map(|t| t.to_string())
    };
    target("open").await;
    assert_eq!(made().await, Ok("goose".to_owned()));
    assert_eq!(left().await.as_deref(), Some("open"));
    target("goose").await;
    assert_eq!(made().await, Ok("goose".to_owned()));
    assert_eq!(left().await, None);
}

#[tokio::test]
async fn a_target_of_a_chat_that_may_have_been_made_is_used_up() {
    let ok = || axum::routing::get(|| async { "ok" });
    let node = serve(axum::Router::new().route("/system_info", ok())).await;
    let under = gateway(&[("goose", Dialect::Goosed, node)]).await;
    let made = async |failure: fn(String) -> Failure| {
        let set: crate::error::Result<()> = under
            .gateway
            .pins(|pins| pins.set_next_target(Some(&"goose".parse().unwrap())))
            .await;
        set.unwrap();
        let make = |_| async { Err::<Made<()>, _>(failure("no answer".to_owned())) };
        let wish = Wish::default();
        let made = create(&under.gateway, Dialect::Goosed, wish, of_node, make).await;
        // Also when the place that it took counts no more.
        let db = rusqlite::Connection::open(under.directory.path().join("pins.db")).unwrap();
        db.execute("UPDATE pin SET created = 0", []).unwrap();
        let ledger: crate::error::Result<Ledger> = under.gateway.look(|pins| pins.ledger()).await;
        let left = ledger.unwrap().history.next_target.is_some();
        (
            made.map(|placed| placed.chat)
                .map_err(|answer| answer.status()),
            left,
        )
    };
    assert_eq!(
        made(Failure::NoAnswer).await,
        (Err(StatusCode::GATEWAY_TIMEOUT), false)
    );
    let nobody = (Err(StatusCode::SERVICE_UNAVAILABLE), true);
    assert_eq!(made(Failure::NotSent).await, nobody);
}

/// A gateway with one node of goosed, of which every session is called `1`, and what a chat of a given name
/// comes to there; before that, `meanwhile` is done to the pins.
async fn given(
    chat: &str,
    known: bool,
    meanwhile: impl Fn(&rusqlite::Connection),
) -> (
    crate::gateway::stand_in::Under,
    Result<Option<Placing>, StatusCode>,
) {
    let ok = || axum::routing::get(|| async { "ok" });
    let node = serve(axum::Router::new().route("/system_info", ok())).await;
    let under = gateway(&[("goose", Dialect::Goosed, node)]).await;
    let set: crate::error::Result<()> = under
        .gateway
        .pins(|pins| pins.set_next_target(Some(&"goose".parse().unwrap())))
        .await;
    set.unwrap();
    let db = rusqlite::Connection::open(under.directory.path().join("pins.db")).unwrap();
    let nodes = under.gateway.nodes.speaking(Dialect::Goosed);
    let name = Name::Given {
        chat: chat.to_owned(),
        known,
    };
    let made = create_among(&under.gateway, nodes, Wish::default(), name, |_| async {
        meanwhile(&db);
        Ok::<Made<()>, _>(Made::Chat {
            native: "1".to_owned(),
            value: (),
        })
    });
    let made = made.await.map(|p| p.pin).map_err(|answer| answer.status());
    (under, made)
}

const BROKEN: &str = "CREATE TRIGGER broken BEFORE INSERT ON pin WHEN NEW.standing = 'held'
    BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_cannot_be_written_is_written_a_little_later() {
    let (_under, made) = given("ISSUE-12", true, |db| {
        db.execute_batch(BROKEN).unwrap();
        let path = db.path().unwrap().to_owned();
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(500));
            let db = rusqlite::Connection::open(path).unwrap();
            db.execute_batch("DROP TRIGGER broken").unwrap();
        });
    })
    .await;
    let Ok(Some(Placing::New(pin))) = made else {
        panic!("{made:?}");
    };
    assert_eq!(pin.native.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_of_a_chat_whose_pin_cannot_be_written_is_used_up() {
    let broken = |db: &rusqlite::Connection| db.execute_batch(BROKEN).unwrap();
    // Also where the name looks like one of the node's own, by which nobody would find it.
    for chat in ["ISSUE-12", "goose.x"] {
        let (under, made) = given(chat, true, broken).await;
        assert_eq!(made, Err(StatusCode::GATEWAY_TIMEOUT), "{chat}");
        let db = rusqlite::Connection::open(under.directory.path().join("pins.db")).unwrap();
        db.execute("UPDATE pin SET created = 0", []).unwrap();
        let ledger: crate::error::Result<Ledger> = under.gateway.look(|pins| pins.ledger()).await;
        assert_eq!(ledger.unwrap().history.next_target, None, "{chat}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_was_pinned_meanwhile_gets_the_session_that_was_made() {
    let (_under, made) = given("ISSUE-12", true, |db| {
        let pin = "INSERT INTO pin (chat, node, dialect, standing, created, used)
            VALUES ('ISSUE-12', 'goose', '\"goosed\"', 'held', 0, 0)";
        db.execute_batch(pin).unwrap();
    })
    .await;
    let Ok(Some(Placing::Was(pin))) = made else {
        panic!("{made:?}");
    };
    assert_eq!(pin.native.as_deref(), Some("1"));
}
