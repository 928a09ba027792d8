//! Connections to nodes, byte by byte: which of them are used again, and what becomes of a request where one
//! ends.

#![allow(clippy::unwrap_used)]

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;
use crate::gateway::lock;
use crate::routing::node::Dialect;

/// Longest wait for what takes milliseconds.
const LONG: Duration = Duration::from_secs(20);

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

/// What a node does with a request.
#[derive(Clone, Copy)]
enum Then {
    /// Answers, and keeps the connection.
    Fine,
    /// Answers and closes, without having said so.
    Closes,
    /// Takes it and closes.
    Nothing,
    /// Answers in pieces, and waits for the test before each of them.
    Pieces,
    /// Answers before the body has come, and closes.
    Early,
}

/// A node that counts.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    ended: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

impl Seen {
    fn requests(&self) -> Vec<String> {
        lock(&self.requests).clone()
    }

    async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is(self) {
            assert!(begun.elapsed() < LONG, "{what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

struct Node {
    seen: Arc<Seen>,
    endpoint: Endpoint,
    /// How many more pieces may come.
    go: Arc<Semaphore>,
}

async fn node(then: Then) -> Node {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Seen::default());
    let go = Arc::new(Semaphore::new(0));
    let (own, may) = (Arc::clone(&seen), Arc::clone(&go));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            own.connections.fetch_add(1, Ordering::Relaxed);
            let (seen, may) = (Arc::clone(&own), Arc::clone(&may));
            tokio::spawn(async move {
                let _ = serve(stream, &seen, then, &may).await;
                seen.ended.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    Node {
        seen,
        endpoint: Endpoint::new("a", Dialect::Goosed, port, "s3cret"),
        go,
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: &Seen,
    then: Then,
    may: &Semaphore,
) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let head = String::from_utf8(head).unwrap();
        lock(&seen.requests).push(head);
        match then {
            Then::Fine => stream.write_all(FINE.as_bytes()).await?,
            Then::Closes => return stream.write_all(FINE.as_bytes()).await,
            Then::Nothing => return Ok(()),
            Then::Early => {
                let no = "HTTP/1.1 413 No\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";
                return stream.write_all(no.as_bytes()).await;
            }
            Then::Pieces => {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
                for n in 0..3 {
                    let mut end = [0];
                    tokio::select! {
                        may = may.acquire() => may.unwrap().forget(),
                        _ = stream.read(&mut end) => return Ok(()),
                    }
                    stream.write_all(format!("1\r\n{n}\r\n").as_bytes()).await?;
                }
                stream.write_all(b"0\r\n\r\n").await?;
            }
        }
    }
}

fn upstream() -> Upstream {
    Upstream::connecting(Metrics::new(), Owners::seen_by(|_| None))
}

async fn ask(upstream: &Upstream, node: &Node) -> Result<Response<NodeBody>, Failure> {
    let request = Request::post("/x?y=1").header("content-length", "0");
    let request = request.body(Body::empty()).unwrap();
    upstream.send(&node.endpoint, request, LONG).await
}

async fn whole(answer: Response<NodeBody>) -> Bytes {
    let body = tokio::time::timeout(LONG, answer.into_body().collect());
    body.await.unwrap().unwrap().to_bytes()
}

fn free(upstream: &Upstream, node: &Node) -> usize {
    upstream.pools[workers::seat()].count(node.endpoint.port)
}

#[tokio::test]
async fn a_connection_is_used_again_once_its_answer_was_read() {
    let (upstream, node) = (upstream(), node(Then::Fine).await);
    for _ in 0..3 {
        assert_eq!(whole(ask(&upstream, &node).await.unwrap()).await, "fine");
        assert_eq!(free(&upstream, &node), 1);
    }
    assert_eq!(node.seen.connections.load(Ordering::Relaxed), 1);
    let port = node.endpoint.port;
    let want = format!(
        "POST /x?y=1 HTTP/1.1\r\ncontent-length: 0\r\nhost: 127.0.0.1:{port}\r\nx-secret-key: s3cret\r\n\r\n"
    );
    assert_eq!(node.seen.requests(), vec![want; 3]);
    // Several at once have one each.
    let (one, other) = tokio::join!(ask(&upstream, &node), ask(&upstream, &node));
    assert_eq!(node.seen.connections.load(Ordering::Relaxed), 2);
    assert_eq!(whole(one.unwrap()).await, "fine");
    assert_eq!(whole(other.unwrap()).await, "fine");
    assert_eq!(free(&upstream, &node), 2);
}

#[tokio::test]
async fn a_line_with_a_host_in_it_reaches_the_node_without() {
    let (upstream, node) = (upstream(), node(Then::Fine).await);
    for line in ["http://elsewhere:1/x?y=1", "http://elsewhere:1"] {
        let request = Request::get(line).header("host", "elsewhere:1");
        let request = request.body(Body::empty()).unwrap();
        let answer = upstream.send(&node.endpoint, request, LONG).await;
        assert_eq!(answer.unwrap().status(), 200);
    }
    let requests = node.seen.requests();
    assert!(
        requests[0].starts_with("GET /x?y=1 HTTP/1.1\r\n"),
        "{requests:?}"
    );
    assert!(
        requests[1].starts_with("GET / HTTP/1.1\r\n"),
        "{requests:?}"
    );
    assert!(!requests.concat().contains("elsewhere"), "{requests:?}");
}

#[tokio::test]
async fn a_request_is_not_lost_on_a_connection_that_its_node_has_closed() {
    let (upstream, node) = (upstream(), node(Then::Closes).await);
    for n in 1..=20 {
        assert_eq!(whole(ask(&upstream, &node).await.unwrap()).await, "fine");
        let ended = |seen: &Seen| seen.ended.load(Ordering::Relaxed) == n;
        node.seen.until("it closes", ended).await;
        assert_eq!(node.seen.requests().len(), n);
    }
}

#[tokio::test]
async fn what_a_node_may_have_taken_is_sent_once() {
    let (upstream, node) = (upstream(), node(Then::Nothing).await);
    let failure = ask(&upstream, &node).await.unwrap_err();
    assert!(matches!(failure, Failure::NoAnswer(_)), "{failure:?}");
    assert_eq!(node.seen.requests().len(), 1);
    assert_eq!(free(&upstream, &node), 0);
}

#[tokio::test]
async fn nobody_listening_is_not_sent() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let to = Endpoint::new("a", Dialect::Goosed, port, "s");
    let request = Request::get("/").body(Body::empty()).unwrap();
    let failure = upstream().send(&to, request, LONG).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::NotSent(why) if why.contains("refused")),
        "{failure:?}"
    );
}

#[tokio::test]
async fn an_answer_comes_in_pieces_and_then_the_connection_is_free() {
    let (upstream, node) = (upstream(), node(Then::Pieces).await);
    let mut body = ask(&upstream, &node).await.unwrap().into_body();
    for n in 0..3 {
        // Nothing before it was sent: the reader sleeps, and is woken.
        let early = tokio::time::timeout(Duration::from_millis(20), body.frame()).await;
        assert!(early.is_err(), "{early:?}");
        let reader = tokio::spawn(async move {
            let frame = body.frame().await.unwrap().unwrap();
            (frame.into_data().unwrap(), body)
        });
        tokio::task::yield_now().await;
        node.go.add_permits(1);
        let (data, rest) = tokio::time::timeout(LONG, reader).await.unwrap().unwrap();
        assert_eq!(data, n.to_string());
        body = rest;
    }
    assert_eq!(free(&upstream, &node), 0);
    assert!(body.frame().await.is_none());
    drop(body);
    assert_eq!(free(&upstream, &node), 1);
}

#[tokio::test]
async fn an_answer_that_nobody_wants_closes_its_connection() {
    let (upstream, node) = (upstream(), node(Then::Pieces).await);
    drop(ask(&upstream, &node).await.unwrap());
    let ended = |seen: &Seen| seen.ended.load(Ordering::Relaxed) == 1;
    node.seen.until("it is closed", ended).await;
    assert_eq!(free(&upstream, &node), 0);
}

#[tokio::test]
async fn an_answer_that_came_whole_and_that_nobody_reads_frees_its_connection() {
    let (upstream, node) = (upstream(), node(Then::Fine).await);
    for _ in 0..3 {
        drop(ask(&upstream, &node).await.unwrap());
        assert_eq!(free(&upstream, &node), 1);
    }
    assert_eq!(node.seen.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_request_that_was_not_written_comes_back() {
    let node = node(Then::Fine).await;
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, node.endpoint.port));
    let stream = stream.await.unwrap();
    rustix::net::shutdown(&stream, rustix::net::Shutdown::Both).unwrap();
    stream.readable().await.unwrap();
    let wire = Wire::over(stream).await.unwrap();
    let home = Home {
        pool: std::sync::Weak::new(),
        port: node.endpoint.port,
    };
    let request = Request::post("/once").body(Body::from("said")).unwrap();
    let Err(Unanswered::Unsent(_, back)) = wire.ask(request, home).await else {
        panic!("it was taken for sent");
    };
    assert_eq!(back.uri().path(), "/once");
    assert_eq!(back.into_body().collect().await.unwrap().to_bytes(), "said");
}

/// What is left of a runtime's tasks is dropped when it ends, and each of them may give a connection back.
#[test]
fn a_runtime_ends_with_answers_that_were_not_dropped() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    // The node goes on.
    let nodes = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let node = nodes.block_on(node(Then::Fine));
    let ending = runtime();
    let (upstream, done) = (upstream(), std::sync::mpsc::channel());
    ending.block_on(async {
        let answers = [ask(&upstream, &node).await, ask(&upstream, &node).await];
        tokio::spawn(async move {
            let _held = answers;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
    });
    std::thread::spawn(move || {
        drop(ending);
        done.0.send(()).unwrap();
    });
    assert_eq!(done.1.recv_timeout(LONG), Ok(()), "it does not end");
    drop(upstream);
}

#[tokio::test]
async fn a_node_that_answers_before_the_end_of_a_request_is_heard() {
    let (upstream, node) = (upstream(), node(Then::Early).await);
    let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let request = Request::post("/").body(Body::from_stream(never)).unwrap();
    let answer = upstream.send(&node.endpoint, request, LONG).await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(whole(answer).await, "no");
    assert_eq!(free(&upstream, &node), 0);
}

#[tokio::test]
async fn many_requests_of_one_task_are_all_answered() {
    let (upstream, node) = (upstream(), node(Then::Fine).await);
    let all = async {
        let tens = (0..10).map(|_| async {
            for _ in 0..200 {
                assert_eq!(whole(ask(&upstream, &node).await.unwrap()).await, "fine");
            }
        });
        futures_util::future::join_all(tens).await;
    };
    tokio::time::timeout(LONG, all).await.unwrap();
    assert_eq!(node.seen.requests().len(), 2000);
    assert!(node.seen.connections.load(Ordering::Relaxed) <= 10);
}

/// The runtime makes a task that goes on and on pause, at whatever it does next. Nothing may get lost in that.
#[tokio::test]
async fn a_pause_in_the_midst_of_a_request_is_not_its_end() {
    let (upstream, node) = (upstream(), node(Then::Fine).await);
    for used in 0..128 {
        let mut one = pin!(async { whole(ask(&upstream, &node).await.unwrap()).await });
        let late = futures_util::future::poll_fn(|cx| {
            for _ in 0..used {
                let step = pin!(tokio::task::coop::consume_budget());
                if step.poll(cx).is_pending() {
                    break;
                }
            }
            one.as_mut().poll(cx)
        });
        let said = tokio::time::timeout(LONG, late).await;
        assert_eq!(
            said.unwrap_or_else(|_| panic!("after {used} steps")),
            "fine"
        );
    }
}

#[tokio::test]
async fn what_nobody_uses_is_closed_after_a_while() {
    let node = node(Then::Fine).await;
    let pool = Arc::new(Pool::keeping(Duration::from_millis(300)));
    let upstream = Upstream {
        pools: std::array::from_fn(|_| Arc::clone(&pool)),
        ..upstream()
    };
    for n in 1..=2 {
        let (one, other) = tokio::join!(ask(&upstream, &node), ask(&upstream, &node));
        whole(one.unwrap()).await;
        whole(other.unwrap()).await;
        assert_eq!(free(&upstream, &node), 2);
        // The second time too: whoever closed the first ones has gone by then.
        let ended = |seen: &Seen| seen.ended.load(Ordering::Relaxed) == 2 * n;
        node.seen.until("they are closed", ended).await;
        assert_eq!(free(&upstream, &node), 0);
    }
}
