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
