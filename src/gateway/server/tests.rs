//! The door from outside, byte by byte: who is let in, what is too much, and how it ends.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use super::*;
use crate::gateway::guard::Secret;
use crate::gateway::stand_in::{SECRET, serve as upstream, well};
use crate::gateway::upstream::ANSWER;
use crate::gateway::{Shared, ask, detached, stand_in, stream, tls};
use crate::resident::Listens;
use crate::routing::node::Dialect;
use crate::routing::pins::Pins;
use crate::routing::policy::Policy;

/// Longest wait for what takes milliseconds.
const LONG: Duration = Duration::from_secs(20);

struct Under {
    gateway: Gateway,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

fn limits() -> Limits {
    Limits {
        stall: Duration::from_millis(300),
        ..Limits::default()
    }
}

/// A gateway with routes of the test's own before one node at a port.
async fn under(limits: Limits, tls: Option<tls::Tls>, node: u16) -> Under {
    let directory = tempfile::tempdir().unwrap();
    let pins = Pins::at(&directory.path().join("pins.db")).unwrap();
    let gateway: Gateway = Shared::of(None, Policy::default(), pins, Secret::new(SECRET))
        .within(limits)
        .into();
    let known = crate::gateway::stand_in::node("a", Dialect::Goosed);
    let endpoint = crate::gateway::nodes::Endpoint::new("a", Dialect::Goosed, node, "s");
    gateway.nodes.set(vec![(known, Some(endpoint))]);
    gateway.nodes.get("a").unwrap().observed(well("a"));
    let routes = Router::new()
        .route("/metrics", get(crate::gateway::metrics::show))
        .route(
            "/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route(
            "/slow",
            get(|| async {
                tokio::time::sleep(Duration::from_millis(600)).await;
                "done"
            }),
        )
        .route("/up", get(up))
        .route("/made", post(made))
        .route("/node/{*path}", axum::routing::any(pass_on));
    let door = Door::to(&gateway, Default::default(), routes);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let ways = Ways {
        workers: Workers::begin().unwrap(),
        listener,
        tls: tls.map(|t| t.acceptor),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let shared = gateway.clone();
    let served = tokio::spawn(async move {
        serve(&shared, ways, door, async move {
            let _ = stopped.await;
        })
        .await;
    });
    Under {
        gateway,
        address,
        stop: Some(stop),
        served,
        _directory: directory,
    }
}

/// How far [`made`] is.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// Goes on when its client has gone.
async fn made(State(gateway): State<Gateway>) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    detached::to_the_end(&gateway, async {
        MADE.store(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(600)).await;
        MADE.store(2, Ordering::Relaxed);
        StatusCode::OK.into_response()
    })
    .await
}

/// Becomes something else, which takes a moment to end.
async fn up(
    State(gateway): State<Gateway>,
    mut request: axum::extract::Request,
) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    let upgrade = hyper::upgrade::on(&mut request);
    let stopped = gateway.stopping.wait();
    tokio::spawn(async move {
        let upgraded = upgrade.await;
        stopped.await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        drop(upgraded);
    });
    let headers = [("connection", "upgrade"), ("upgrade", "x")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

async fn pass_on(
    State(gateway): State<Gateway>,
    request: axum::extract::Request,
) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    let live = gateway.nodes.get("a").unwrap();
    gateway.used("a.chat");
    let endpoint = live.endpoint.as_ref().unwrap();
    match gateway.upstream.send(endpoint, request, ANSWER).await {
        Ok(answer) => {
            let (head, body) = answer.into_parts();
            let body = stream::passed_on(body, &[&gateway.stopping, &live.streams]);
            axum::response::Response::from_parts(head, body)
        }
        Err(failure) => {
            crate::gateway::reply::Reply::failed("a", "a.chat", &failure).into_response()
        }
    }
}

/// A node: an endless stream, and what tells when it is dropped.
async fn endless() -> (u16, tokio::sync::mpsc::UnboundedReceiver<()>) {
    struct Told(tokio::sync::mpsc::UnboundedSender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (send, gone) = tokio::sync::mpsc::unbounded_channel();
    let pieces = move |every: Duration, size: usize| {
        let told = Told(send.clone());
        Body::from_stream(futures_util::stream::unfold(told, move |told| async move {
            tokio::time::sleep(every).await;
            Some((Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; size])), told))
        }))
    };
    let fast = pieces.clone();
    let router = Router::new()
        .route(
            "/node/flood",
            get(|| async move { fast(Duration::ZERO, 256 * 1024) }),
        )
        .route(
            "/node/drops",
            get(|| async move { pieces(Duration::from_millis(50), 8) }),
        )
        .route(
            "/node/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        );
    (upstream(router).await, gone)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

async fn connected(to: &Under, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

fn head(request: &str, more: &str) -> String {
    format!("{request} HTTP/1.1\r\nhost: localhost\r\nx-secret-key: {SECRET}\r\n{more}\r\n")
}

/// Everything until the end of the connection.
async fn all(stream: &mut TcpStream) -> String {
    let mut out = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut out))
        .await
        .expect("the connection ends")
        .unwrap_or_default();
    String::from_utf8_lossy(&out).into_owned()
}

/// Until some text has come.
async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut out = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&out).contains(text) {
            let mut byte = [0; 1];
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "{out:?}");
            out.push(byte[0]);
        }
    };
    tokio::time::timeout(LONG, read).await.expect(text);
    String::from_utf8_lossy(&out).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

#[test]
fn only_who_may_is_let_in_and_is_counted() {
    runtime().block_on(async {
        let under = under(limits(), None, 1).await;
        let close = "connection: close\r\n";
        let table = [
            (head("GET /metrics", close), "200"),
            (
                format!("GET /status HTTP/1.1\r\nhost: x.localhost\r\n{close}\r\n"),
                "403",
            ),
            (
                format!("GET /status HTTP/1.1\r\nhost: localhost\r\n{close}\r\n"),
                "200",
            ),
            (
                format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\n{close}\r\n"),
                "401",
            ),
            (
                format!(
                    "GET /metrics HTTP/1.1\r\nhost: localhost\r\nx-secret-key: x\r\n{close}\r\n"
                ),
                "401",
            ),
            (
                format!("GET /features HTTP/1.1\r\nhost: localhost\r\n{close}\r\n"),
                "401",
            ),
            (head("GET /no", close), "404"),
            (
                head(
                    "GET /no",
                    &format!("origin: http://evil.example\r\n{close}"),
                ),
                "403",
            ),
            (
                format!(
                    "GET /no HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n{close}\r\n",
                    "y".repeat(300_000)
                ),
                "431",
            ),
            ("nonsense\r\n\r\n".to_owned(), "400"),
            (
                head("GET /slow", &format!("host: evil.example\r\n{close}")),
                "400",
            ),
            (
                head(
                    "GET /slow",
                    &format!("origin: null\r\norigin: http://evil.example\r\n{close}"),
                ),
                "400",
            ),
            (head("GET http://evil.example/slow", close), "400"),
            (head("GET http://localhost/status", close), "200"),
        ];
        for (request, want) in table {
            let mut stream = connected(&under, &request).await;
            let answer = all(&mut stream).await;
            assert_eq!(status(&answer), want, "{request:.200}: {answer}");
        }
        // A node that nobody listens for: certainly not taken.
        let mut stream = connected(&under, &head("GET /node/x", close)).await;
        let answer = all(&mut stream).await;
        assert_eq!(status(&answer), "503", "{answer}");
        assert!(answer.contains("the node `a` is not available"), "{answer}");
        let mut stream = connected(&under, &head("GET /metrics", close)).await;
        let text = all(&mut stream).await;
        for line in [
            r#"mosaic_gateway_requests_total{dialect="own",status="2xx"} 3"#,
            r#"mosaic_gateway_requests_total{dialect="own",status="4xx"} 3"#,
            r#"mosaic_gateway_requests_total{dialect="goosed",status="5xx"} 1"#,
            r#"mosaic_gateway_node_health{node="a",health="healthy"} 1"#,
            r#"mosaic_gateway_pins{node="a"} 0"#,
            "mosaic_gateway_open_streams 0",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains(SECRET));
    });
}

#[test]
fn bodies_that_are_too_long_or_stand_still_are_refused() {
    runtime().block_on(async {
        let (node, _gone) = endless().await;
        let limits = Limits {
            body: 100_000,
            ..limits()
        };
        let under = under(limits, None, node).await;
        for path in ["/length", "/node/length"] {
            let post = format!("POST {path}");
            let mut stream = connected(
                &under,
                &head(&post, "content-length: 5\r\nconnection: close\r\n"),
            )
            .await;
            stream.write_all(b"hello").await.unwrap();
            let answer = all(&mut stream).await;
            assert!(
                answer.ends_with("\r\n\r\n5") || answer.contains("\r\n5\r\n"),
                "{answer}"
            );

            // Nothing of it is waited for.
            let mut stream = connected(&under, &head(&post, "content-length: 100001\r\n")).await;
            assert_eq!(status(&all(&mut stream).await), "413", "{path}");

            let mut stream =
                connected(&under, &head(&post, "transfer-encoding: chunked\r\n")).await;
            let chunk = format!("c350\r\n{}\r\n", "x".repeat(50_000));
            for _ in 0..3 {
                stream.write_all(chunk.as_bytes()).await.unwrap();
            }
            assert_eq!(status(&all(&mut stream).await), "413", "{path}");

            let begun = Instant::now();
            let mut stream = connected(&under, &head(&post, "content-length: 10\r\n")).await;
            stream.write_all(b"hello").await.unwrap();
            assert_eq!(status(&all(&mut stream).await), "408", "{path}");
            assert!(begun.elapsed() >= under.gateway.limits.stall, "{path}");
        }
        // One that comes slowly and comes is let through.
        let mut stream = connected(
            &under,
            &head("POST /length", "content-length: 5\r\nconnection: close\r\n"),
        )
        .await;
        for byte in b"hello" {
            tokio::time::sleep(Duration::from_millis(120)).await;
            stream.write_all(&[*byte]).await.unwrap();
        }
        assert_eq!(status(&all(&mut stream).await), "200");
    });
}

#[test]
fn a_page_without_an_origin_gives_the_secret() {
    runtime().block_on(async {
        let under = under(limits(), None, 1).await;
        let null = "origin: null\r\nconnection: close\r\n";
        let secretless = |line: &str| format!("{line} HTTP/1.1\r\nhost: localhost\r\n{null}\r\n");
        for (request, want) in [
            (head("GET /metrics", null), "200"),
            (secretless("OPTIONS /metrics"), "204"),
            (secretless("GET /metrics"), "403"),
            (secretless("GET /status"), "403"),
            (secretless("OPTIONS /status"), "403"),
            (head("GET /status", null), "403"),
        ] {
            let mut stream = connected(&under, &request).await;
            let answer = all(&mut stream).await;
            assert_eq!(status(&answer), want, "{request}: {answer}");
            let may_read = answer.contains("access-control-allow-origin");
            assert_eq!(may_read, want != "403", "{request}: {answer}");
        }
    });
}

#[test]
fn refusals_of_the_framework_are_the_gateways() {
    runtime().block_on(async {
        let under = stand_in::gateway(&[]).await;
        let address: SocketAddr = under.url["http://".len()..].parse().unwrap();
        for (line, want) in [
            ("GET /chats/%ff", "400"),
            ("POST /metrics", "405"),
            ("PUT /chats", "405"),
            ("POST /sessions", "405"),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = head(line, "connection: close\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = all(&mut stream).await;
            assert_eq!(status(&answer), want, "{line}: {answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(body.starts_with(r#"{"message":""#), "{line}: {answer}");
            let allowed = head.to_ascii_lowercase().contains("\r\nallow: ");
            assert_eq!(allowed, want == "405", "{line}: {answer}");
        }
    });
}

#[test]
fn nothing_of_a_body_is_read_where_anybody_may_ask() {
    runtime().block_on(async {
        let under = under(limits(), None, 1).await;
        for more in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n"] {
            let head = format!("POST /status HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
            let mut stream = connected(&under, &head).await;
            assert_eq!(status(&all(&mut stream).await), "413", "{more}");
        }
    });
}

#[test]
fn a_body_that_only_trickles_is_refused() {
    runtime().block_on(async {
        let limits = Limits {
            stall: LONG,
            patience: Duration::from_millis(500),
            ..limits()
        };
        let under = under(limits, None, 1).await;
        let mut stream = connected(&under, &head("POST /length", "content-length: 100\r\n")).await;
        let trickle = async {
            for _ in 0..99 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                stream.write_all(b"x").await?;
                let mut some = [0; 16];
                let answer = stream.read(&mut some);
                if let Ok(read) = tokio::time::timeout(Duration::from_millis(1), answer).await {
                    let read = read?;
                    return Ok(String::from_utf8_lossy(&some[..read]).into_owned());
                }
            }
            Ok::<_, std::io::Error>("it was waited for".to_owned())
        };
        assert_eq!(status(&trickle.await.unwrap()), "408");
    });
}

#[test]
fn all_bodies_together_have_a_limit() {
    runtime().block_on(async {
        let limits = Limits {
            bodies: 100 * 1024,
            stall: LONG,
            ..limits()
        };
        let under = under(limits, None, 1).await;
        let post = head(
            "POST /length",
            "content-length: 70000\r\nconnection: close\r\n",
        );
        let mut first = connected(&under, &post).await;
        first.write_all(&[b'x'; 69_999]).await.unwrap();
        let taken = async {
            while under.gateway.bodies.left() > 100 - 69 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, taken).await.unwrap();
        let mut second = connected(&under, &post).await;
        second.write_all(&[b'x'; 70_000]).await.unwrap();
        let answer = all(&mut second).await;
        assert_eq!(status(&answer), "503", "{answer}");
        // What is done with takes nothing any more.
        first.write_all(b"x").await.unwrap();
        assert_eq!(status(&all(&mut first).await), "200");
        assert_eq!(under.gateway.bodies.left(), 100);
        let mut third = connected(&under, &post).await;
        third.write_all(&[b'x'; 70_000]).await.unwrap();
        assert_eq!(status(&all(&mut third).await), "200");
    });
}

#[test]
fn a_client_that_takes_nothing_does_not_hold_its_node() {
    runtime().block_on(async {
        let (node, mut gone) = endless().await;
        let under = under(limits(), None, node).await;
        let stream = connected(&under, &head("GET /node/flood", "")).await;
        let begun = Instant::now();
        tokio::time::timeout(LONG, gone.recv())
            .await
            .expect("the node's stream is closed");
        assert!(begun.elapsed() >= under.gateway.limits.stall);
        drop(stream);
        // One whose stream is merely quiet stays.
        let mut stream = connected(&under, &head("GET /node/drops", "")).await;
        until(&mut stream, "xxxxxxxx").await;
        tokio::time::sleep(under.gateway.limits.stall * 2).await;
        assert!(gone.try_recv().is_err());
        assert_eq!(under.gateway.stopping.waiting(), 1);
        // And its end is the node's at once.
        drop(stream);
        tokio::time::timeout(LONG, gone.recv()).await.unwrap();
    });
}

#[test]
fn connections_over_the_cap_wait_for_their_turn() {
    runtime().block_on(async {
        let limits = Limits {
            connections: 2,
            ..limits()
        };
        let under = under(limits, None, 1).await;
        let ask = head("GET /status", "");
        let mut first = connected(&under, &ask).await;
        until(&mut first, "ok").await;
        let mut second = connected(&under, &ask).await;
        until(&mut second, "ok").await;
        let mut third = connected(&under, &ask).await;
        let mut byte = [0; 1];
        let early = tokio::time::timeout(Duration::from_millis(300), third.read(&mut byte)).await;
        assert!(early.is_err(), "{early:?}");
        drop(first);
        until(&mut third, "ok").await;
        // Idle connections end in time, so that nobody waits for ever.
        until(&mut second, "").await;
    });
}

#[test]
fn a_connection_that_became_something_else_keeps_its_place_to_its_end() {
    runtime().block_on(async {
        let limits = Limits {
            connections: 1,
            ..limits()
        };
        let mut under = under(limits, None, 1).await;
        let up = head("GET /up", "connection: upgrade\r\nupgrade: x\r\n");
        let mut first = connected(&under, &up).await;
        until(&mut first, "101").await;
        let mut second = connected(&under, &head("GET /status", "")).await;
        let mut byte = [0; 1];
        let early = tokio::time::timeout(Duration::from_millis(300), second.read(&mut byte)).await;
        assert!(early.is_err(), "{early:?}");
        let begun = Instant::now();
        under.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(LONG, &mut under.served)
            .await
            .unwrap()
            .unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(400));
        assert!(begun.elapsed() < ENDING, "{:?}", begun.elapsed());
    });
}

#[test]
fn a_connection_that_asks_nothing_is_closed() {
    runtime().block_on(async {
        let limits = Limits {
            head: Duration::from_millis(200),
            ..limits()
        };
        let under = under(limits, None, 1).await;
        for begun in ["", "GET /status HTTP/1.1\r\nhost: loc"] {
            let mut stream = connected(&under, begun).await;
            assert_eq!(all(&mut stream).await.matches("200").count(), 0);
        }
    });
}

#[test]
fn the_end_is_orderly() {
    runtime().block_on(async {
        let (node, mut gone) = endless().await;
        let mut under = under(limits(), None, node).await;
        let mut idle = connected(&under, &head("GET /status", "")).await;
        until(&mut idle, "ok").await;
        let mut streaming = connected(&under, &head("GET /node/drops", "")).await;
        until(&mut streaming, "xxxxxxxx").await;
        let mut busy = connected(&under, &head("GET /slow", "")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        under.stop.take().unwrap().send(()).unwrap();
        // The stream ends, and not as if it were whole.
        let rest = all(&mut streaming).await;
        assert!(!rest.ends_with("0\r\n\r\n"), "{rest}");
        tokio::time::timeout(LONG, gone.recv()).await.unwrap();
        assert_eq!(all(&mut idle).await, "");
        let answer = all(&mut busy).await;
        assert!(answer.contains("done"), "{answer}");
        tokio::time::timeout(LONG, &mut under.served)
            .await
            .unwrap()
            .unwrap();
        assert!(begun.elapsed() < ENDING, "{:?}", begun.elapsed());
        assert!(TcpStream::connect(under.address).await.is_err());
    });
}

#[test]
fn what_has_no_client_any_more_is_waited_for_at_the_end() {
    runtime().block_on(async {
        let mut under = under(limits(), None, 1).await;
        let mut client = connected(&under, &head("POST /made", "")).await;
        let seen = async {
            while MADE.load(Ordering::Relaxed) < 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, seen).await.unwrap();
        client.shutdown().await.unwrap();
        drop(client);
        tokio::time::sleep(Duration::from_millis(100)).await;
        under.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(LONG, &mut under.served)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(MADE.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn by_tls_nothing_passes_in_plain() {
    let of = |name: &str| {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/gateway")
            .join(name)
    };
    let tls = tls::Tls::load(&of("cert.pem"), &of("key.pem")).unwrap();
    assert!(tls::Tls::load(&of("key.pem"), &of("cert.pem")).is_err());
    let runtime = runtime();
    let under = runtime.block_on(under(limits(), Some(tls), 1));
    let at = Listens {
        url: format!("https://{}", under.address),
        address: under.address,
        tls: Some((of("cert.pem"), of("key.pem"))),
    };
    let get = |path, secret| ask::get(&at, path, secret, LONG).unwrap();
    assert_eq!(get("/status", None).body, "ok");
    assert_eq!(get("/metrics", None).status, StatusCode::UNAUTHORIZED);
    assert_eq!(get("/metrics", Some(SECRET)).status, StatusCode::OK);
    let plain = Listens {
        tls: None,
        ..at.clone()
    };
    assert!(ask::get(&plain, "/status", None, LONG).is_err());
    // Another certificate than the gateway's is not taken.
    let other = tempfile::tempdir().unwrap();
    let swapped = other.path().join("cert.pem");
    let text = std::fs::read_to_string(of("cert.pem")).unwrap();
    std::fs::write(&swapped, text.replacen("MIIBuDCCAV", "MIIBuDCCAW", 1)).unwrap();
    let stranger = Listens {
        tls: Some((swapped, of("key.pem"))),
        ..at
    };
    assert!(ask::get(&stranger, "/status", None, LONG).is_err());
}
