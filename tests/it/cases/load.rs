//! Many senders at once: a thousand messages to eight agents, none lost, doubled, merged or misrouted.
//!
//! `MOSAIC_LOAD` is the number of messages.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::{Agent, Roster, Sandbox};

const AGENTS: [&str; 8] = ["a", "ab", "abc", "b", "ba", "c", "d", "e"];
const SENDERS: usize = 16;

/// A thousand take a minute and a half on two idle cores.
const DEADLINE: Duration = Duration::from_secs(1800);

/// How long nothing may arrive. A message takes a second on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one sender sends: to all agents into the mailbox, then straight to two of them; until it has
/// sent so many. Each with the text that the agents are to get.
fn sender(s: &Sandbox, number: usize, messages: usize) -> Vec<(&'static str, String)> {
    let mut sent = Vec::new();
    let mut round = 0;
    while sent.len() < messages {
        let left = messages - sent.len();
        let text = format!("s{number:02} round {round} for all.\nIts second line.");
        let to = &AGENTS[..left.min(AGENTS.len())];
        let mut args = vec!["agent", "send", "--queue", "-m", &text];
        args.extend(to);
        s.mosaic(&args).ok();
        sent.extend(to.iter().map(|agent| (*agent, text.clone())));
        for k in 0..2 {
            if sent.len() == messages {
                break;
            }
            let agent = AGENTS[(number + round * 2 + k) % AGENTS.len()];
            let text = format!("s{number:02} round {round} straight {k}.");
            let args = [
                "agent",
                "send",
                agent,
                "--json",
                "--timeout",
                "50",
                "-m",
                &text,
            ];
            let out = s.mosaic(&args);
            let receipt = out.json()["receipt"].clone();
            // On a busy machine its turn may come later than its sender waits.
            let told = match out.status.code() {
                Some(0) => receipt == "accepted" || receipt == "answered",
                code => code == Some(75) && receipt == "queued",
            };
            assert!(told, "{out:?}");
            sent.push((agent, text));
        }
        round += 1;
    }
    sent
}

#[test]
fn a_thousand_messages_from_sixteen_senders() {
    let few = std::env::var_os("MOSAIC_TEST_USER").is_some();
    let count = std::env::var("MOSAIC_LOAD")
        .ok()
        .and_then(|n| n.parse().ok());
    let count: usize = count.unwrap_or(if few { 160 } else { 1000 });
    let Some(s) = Sandbox::lasting(DEADLINE) else {
        return;
    };
    Roster::new(AGENTS.map(|a| Agent::demo(a).env("MOSAIC_DEMO_THINK_MS", "0"))).up(&s);
    let begun = Instant::now();
    let share = |n: usize| count / SENDERS + usize::from(n < count % SENDERS);
    let sent: Vec<(&str, String)> = std::thread::scope(|scope| {
        let s = &s;
        let all: Vec<_> = (0..SENDERS)
            .map(|n| scope.spawn(move || sender(s, n, share(n))))
            .collect();
        all.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(sent.len(), count);
    let accepted = begun.elapsed();
    // As long as something moves there is hope.
    let arrived = || AGENTS.iter().map(|a| s.messages(a).len()).sum::<usize>();
    let (mut before, mut moved) = (arrived(), Instant::now());
    while before < count {
        std::thread::sleep(Duration::from_millis(50));
        let now = arrived();
        if now > before {
            (before, moved) = (now, Instant::now());
        }
        if moved.elapsed() > PATIENCE {
            break;
        }
    }
    let took = begun.elapsed();
    println!(
        "{count} messages from {SENDERS} senders to {} agents in {:.1} s: {:.1} a second; the last sender ended after {:.1} s",
        AGENTS.len(),
        took.as_secs_f64(),
        count as f64 / took.as_secs_f64(),
        accepted.as_secs_f64()
    );
    let mut wanted: BTreeMap<(&str, String), i32> = BTreeMap::new();
    for (agent, text) in sent {
        *wanted.entry((agent, text)).or_default() += 1;
    }
    for agent in AGENTS {
        for message in s.messages(agent) {
            let (head, text) = message.split_once("] ").expect("a preamble");
            assert!(
                head.ends_with(&format!(":{agent}")),
                "`{agent}` got {message:?}"
            );
            let left = wanted.get_mut(&(agent, text.to_owned()));
            *left.unwrap_or_else(|| panic!("`{agent}` got {message:?}, which nobody sent")) -= 1;
        }
    }
    wanted.retain(|_, left| *left != 0);
    // What the mailbox says of those tells why.
    let listed = s.mosaic(&["agent", "inbox", "list", "--all", "--json"]);
    let rows = listed.json()["messages"].clone();
    let rows = rows.as_array().into_iter().flatten();
    let concerned: Vec<_> = rows
        .filter(|row| {
            let is = |key: &str, text: &str| row[key].as_str() == Some(text);
            let mut wrong = wanted.keys();
            wrong.any(|(agent, text)| is("agent", agent) && is("text", text))
        })
        .collect();
    assert!(
        wanted.is_empty(),
        "lost (above 0) or doubled (below 0): {wanted:?}; in the mailbox: {concerned:?}"
    );
}
