//! The watcher on files and processes alone: what these ask needs neither tmux nor a manager.

#![allow(clippy::unwrap_used)]

use std::process::Child;

use super::*;
use crate::desired;
use crate::host::{files, procfs};
use crate::install::Mode;
use crate::plan::tests::{Nothing, agent, install};
use crate::record::Run;
use crate::report::{self, What};
use crate::runtime::Reports;

/// What a change takes at most, here and on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    _dir: tempfile::TempDir,
    install: Install,
    children: Vec<Child>,
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut install = install(Mode::Supervisor);
        install.paths.state = dir.path().join("state");
        install.paths.runtime = dir.path().join("run");
        install.socket = dir.path().join("no-server");
        Self {
            _dir: dir,
            install,
            children: Vec::new(),
        }
    }

    fn install_agent(&self, name: &str) {
        let mut agent = agent(name);
        agent.spec.reports = Some(Reports::ClaudeHooks);
        let launch = desired::launch(&self.install, &agent, &Nothing);
        let text = files::to_json(&launch);
        files::write_record(&self.install.paths.launch(name), text.as_bytes()).unwrap();
    }

    /// A process stands for the agent.
    fn start(&mut self, name: &str) {
        let child = crate::host::process::command("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        self.children.push(child);
        let run = Run {
            version: 1,
            pid,
            start_ticks: procfs::stat(pid).unwrap().start,
            boot: procfs::boot_id(),
            digest: String::new(),
            pane: "%1".into(),
            tty: "/dev/pts/1".into(),
            placeholder: None,
            started: Timestamp::now() - Duration::from_secs(60),
            conversation: None,
            resumed: false,
        };
        let text = files::to_json(&run);
        files::write_record(&self.install.paths.run(name), text.as_bytes()).unwrap();
    }

    fn says(&self, name: &str, what: What) {
        report::append(&report::path(&self.install.paths, name), what).unwrap();
    }

    fn watcher(&self) -> Watcher {
        Watcher::new(&self.install, Whom::Everybody, Asks::Clients).unwrap()
    }
}

/// Changes until one fits, as `agent from -> to`.
fn until(watcher: &mut Watcher, agent: &str, to: State) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while Instant::now() < deadline {
        for change in watcher.next(&[], Some(deadline)).unwrap().changes {
            let from = change.from.map_or("-", State::as_str);
            seen.push(format!("{} {from} -> {}", change.agent, change.to));
            if change.agent == agent && change.to == to {
                return seen;
            }
        }
    }
    panic!("`{agent}` did not become {to}: {seen:?}");
}

#[test]
fn what_an_agent_writes_is_a_change_at_once() {
    let mut world = World::new();
    world.install_agent("a");
    world.start("a");
    world.says("a", What::Idle);
    let mut watcher = world.watcher();
    assert_eq!(until(&mut watcher, "a", State::Idle), ["a - -> idle"]);
    watcher.wait_for(BTreeSet::from(["a".to_owned()]));
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let begun = Instant::now();
        world.says("a", What::Working);
        assert_eq!(until(&mut watcher, "a", State::Working).len(), 1);
        world.says(
            "a",
            What::Waiting {
                question: "may I?".into(),
            },
        );
        assert_eq!(until(&mut watcher, "a", State::Waiting).len(), 1);
        world.says("a", What::Idle);
        assert_eq!(until(&mut watcher, "a", State::Idle).len(), 1);
        slowest = slowest.max(begun.elapsed());
    }
    // Three changes; the slow look alone would take five seconds for each.
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
}

#[test]
fn a_death_is_seen_without_any_file() {
    let mut world = World::new();
    world.install_agent("a");
    world.start("a");
    world.says("a", What::Working);
    let mut watcher = world.watcher();
    until(&mut watcher, "a", State::Working);
    let begun = Instant::now();
    world.children[0].kill().unwrap();
    assert_eq!(
        until(&mut watcher, "a", State::Exited),
        ["a working -> exited"]
    );
    assert!(begun.elapsed() < Duration::from_secs(3));
    // The zombie counts as dead; a new process is another one.
    world.start("a");
    world.says("a", What::Idle);
    assert_eq!(
        until(&mut watcher, "a", State::Idle).last().unwrap(),
        "a exited -> idle"
    );
}

#[test]
fn agents_come_and_go_with_their_launch_files() {
    let mut world = World::new();
    world.install_agent("a");
    let mut watcher = world.watcher();
    until(&mut watcher, "a", State::Exited);
    world.start("b");
    world.says("b", What::Idle);
    world.install_agent("b");
    until(&mut watcher, "b", State::Idle);
    files::remove(&world.install.paths.launch("b")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while watcher.agents().any(|n| n == "b") {
        assert!(Instant::now() < deadline);
        watcher.next(&[], Some(deadline)).unwrap();
    }
    assert_eq!(watcher.agents().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn only_those_asked_for_are_watched_and_the_time_ends_a_wait() {
    let world = World::new();
    world.install_agent("a");
    world.install_agent("b");
    let whom = Whom::Only(BTreeSet::from(["b".to_owned()]));
    let mut watcher = Watcher::new(&world.install, whom, Asks::Clients).unwrap();
    until(&mut watcher, "b", State::Exited);
    assert_eq!(watcher.agents().collect::<Vec<_>>(), ["b"]);
    assert!(watcher.state("a").is_none());
    let until = Instant::now() + Duration::from_millis(50);
    let woken = watcher.next(&[], Some(until)).unwrap();
    assert!(woken.is_empty() && Instant::now() >= until, "{woken:?}");
}

#[test]
fn files_of_the_callers_own_wake_it() {
    let world = World::new();
    world.install_agent("a");
    let mut watcher = world.watcher();
    until(&mut watcher, "a", State::Exited);
    let log = world.install.paths.events();
    watcher.also(&Topic::Log, BTreeSet::from([Wanted::File(log)]));
    let what = crate::record::What::Command {
        verb: "x".into(),
        detail: String::new(),
    };
    crate::record::event(&world.install.paths, "a", what);
    let deadline = Instant::now() + Duration::from_secs(4);
    let woken = watcher.next(&[], Some(deadline)).unwrap();
    assert_eq!(woken.topics, BTreeSet::from([Topic::Log]));
}
