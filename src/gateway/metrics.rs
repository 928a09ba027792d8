//! What the gateway counts and measures, in Prometheus' text format at `/metrics`. Requests are counted as
//! they are answered; what can be read off the state is read when somebody asks.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::reply::Reply;
use super::{Gateway, Shared, access};
use crate::error::Error;

/// Upper bounds in seconds: from a look-up on loopback to a chat that loads its extensions.
const BOUNDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0,
];

/// What came of placing a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)]
pub enum Placement {
    /// It is on a node.
    placed,
    /// A node certainly did not take it, and another one was asked.
    elsewhere,
    /// No node is eligible.
    no_node,
    /// The node answered that it does not make it.
    refused,
    /// The node gave no answer: it may have made it.
    unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    dialect: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Node {
    node: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Placed {
    result: Placement,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeHealth {
    node: String,
    health: &'static str,
}

/// The counters; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Request, Counter>,
    upstream: Family<Node, Histogram, fn() -> Histogram>,
    placements: Family<Placed, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        Self {
            requests: Family::default(),
            upstream: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
            placements: Family::default(),
        }
    }

    /// Counts an answer.
    pub fn answered(&self, path: &str, status: StatusCode) {
        let status = match status.as_u16() {
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            500..600 => "5xx",
            _ => "1xx",
        };
        let dialect = access::dialect(path);
        self.requests
            .get_or_create(&Request { dialect, status })
            .inc();
    }

    /// Notes how long a node took to begin its answer.
    pub fn took(&self, node: &str, time: Duration) {
        let node = Node {
            node: node.to_owned(),
        };
        self.upstream
            .get_or_create(&node)
            .observe(time.as_secs_f64());
    }

    /// Counts what came of placing a chat.
    pub fn placed(&self, result: Placement) {
        self.placements.get_or_create(&Placed { result }).inc();
    }
}

/// `GET /metrics`.
pub async fn show(State(gateway): State<Gateway>) -> Response {
    match text(&gateway).await {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(e) => Reply::from(e).into_response(),
    }
}

async fn text(gateway: &Shared) -> Result<String, Error> {
    let ledger = gateway.look(super::Reader::ledger).await?;
    let counted = &gateway.metrics;
    let mut registry = Registry::with_prefix("mosaic_gateway");
    let pins = Family::<Node, Gauge>::default();
    let health = Family::<NodeHealth, Gauge>::default();
    let rtt = Family::<Node, Gauge<f64, AtomicU64>>::default();
    let streams = Gauge::<i64>::default();
    registry.register(
        "requests",
        "Requests answered, by dialect and class of status",
        counted.requests.clone(),
    );
    registry.register_with_unit(
        "upstream_latency",
        "Time until a node began its answer",
        Unit::Seconds,
        counted.upstream.clone(),
    );
    registry.register(
        "placements",
        "Chats placed, by what came of it",
        counted.placements.clone(),
    );
    registry.register("pins", "Chats on each node", pins.clone());
    registry.register(
        "node_health",
        "1 for the state that each node was observed in last",
        health.clone(),
    );
    registry.register_with_unit(
        "node_rtt",
        "Round trip to each node as the observer measured it",
        Unit::Seconds,
        rtt.clone(),
    );
    registry.register(
        "open_streams",
        "Answers of nodes that are being passed on",
        streams.clone(),
    );
    for live in gateway.nodes.all().values() {
        let node = || Node {
            node: live.node.id.clone(),
        };
        let chats = ledger.chats.get(&live.node.id).copied().unwrap_or(0);
        pins.get_or_create(&node()).set(i64::from(chats));
        if let Some(advert) = live.advert() {
            let of = NodeHealth {
                node: live.node.id.clone(),
                health: advert.health.as_str(),
            };
            health.get_or_create(&of).set(1);
            rtt.get_or_create(&node()).set(advert.rtt_ms / 1000.0);
        }
    }
    streams.set(i64::try_from(gateway.stopping.waiting()).unwrap_or(i64::MAX));
    let mut out = String::new();
    encode(&mut out, &registry)
        .map_err(|e| Error::bug(format!("the metrics cannot be written: {e}")))?;
    Ok(out)
}
