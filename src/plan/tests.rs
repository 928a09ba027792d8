//! The planner, on data alone. `World` plays the machine: what a plan does to it is what apply would
//! do, so that planning again can be checked.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{Options, Plan, Scope, What, decide};
use crate::desired::{self, Desired, Lookup, MARK};
use crate::fleet::{Agent, Fleet};
use crate::host::files;
use crate::host::manager::Unit;
use crate::install::{Install, Mode};
use crate::inventory::{FoundAgent, FoundFile, Inventory};
use crate::launch::Launch;
use crate::names::AgentName;
use crate::paths::Paths;

pub(crate) struct Nothing;

impl Lookup for Nothing {
    fn program(&self, name: &str, _: &str, _: &Path) -> Option<PathBuf> {
        Some(PathBuf::from("/bin").join(name))
    }
    fn canonical(&self, directory: &Path) -> PathBuf {
        directory.to_owned()
    }
    fn digest(&self, _: &[PathBuf]) -> String {
        "none".into()
    }
}

pub(crate) fn install(mode: Mode) -> Install {
    Install {
        version: 1,
        mode,
        unit_prefix: "mosaic".into(),
        paths: Paths {
            home: "/h".into(),
            roster: "/h/.config/mosaic/fleet/roster.yaml".into(),
            state: "/h/.local/state/mosaic/fleet".into(),
            runtime: "/run/user/7/mosaic/fleet".into(),
            units: "/h/.config/systemd/user".into(),
        },
        socket_name: "mosaic-factory".into(),
        socket: "/tmp/tmux-7/mosaic-factory".into(),
        holder_session: "_holder".into(),
        tmux: "/usr/bin/tmux".into(),
        mosaic: "/usr/bin/mosaic".into(),
        path: "/bin".into(),
    }
}

pub(crate) fn agent(name: &str) -> Agent {
    Agent::usual(
        AgentName::new(name).unwrap(),
        "shell",
        vec!["bash".into()],
        "/w".into(),
    )
}

pub(crate) fn fleet(agents: Vec<Agent>) -> Fleet {
    Fleet {
        socket_name: "mosaic-factory".into(),
        holder_session: "_holder".into(),
        agents,
        routing: Default::default(),
    }
}

const ALL: Options = Options {
    scope: Scope::All,
    force: false,
    replace: false,
};

/// A machine in memory.
struct World {
    install: Install,
    inventory: Inventory,
    launches: BTreeMap<String, Launch>,
}

impl World {
    fn empty(mode: Mode) -> Self {
        Self {
            install: install(mode),
            inventory: Inventory {
                files: BTreeMap::new(),
                links: BTreeMap::new(),
                agents: BTreeMap::new(),
                server: false,
                foreign_server: None,
                reload_pending: false,
                other_socket: None,
            },
            launches: BTreeMap::new(),
        }
    }

    fn desired(&self, fleet: &Fleet) -> Desired {
        desired::render(&self.install, fleet, &Nothing)
    }

    fn plan(&mut self, fleet: &Fleet, options: Options) -> Plan {
        let desired = self.desired(fleet);
        for name in desired.agents.keys() {
            self.inventory.agents.entry(name.clone()).or_default();
        }
        decide(
            &self.install,
            &desired,
            &self.inventory,
            &|name| self.launches.get(name).cloned(),
            options,
        )
    }

    /// Does what apply does.
    fn apply(&mut self, fleet: &Fleet, plan: &Plan) {
        let desired = self.desired(fleet);
        for action in &plan.actions {
            match &action.what {
                What::Write { path } => {
                    let digest = files::digest(desired.files[path].text.as_bytes());
                    self.inventory
                        .files
                        .insert(path.clone(), FoundFile { digest, ours: true });
                }
                What::Remove { path } => {
                    self.inventory.files.remove(path);
                }
                What::Link { path, target } => {
                    self.inventory.links.insert(path.clone(), target.clone());
                }
                What::Unlink { path } => {
                    self.inventory.links.remove(path);
                }
                What::Reload => self.inventory.reload_pending = false,
                What::StartServer => self.inventory.server = true,
                What::Stop { agent } => {
                    let found = self.inventory.agents.get_mut(agent).unwrap();
                    found.unit.active = "inactive".into();
                    found.digest = None;
                    found.occupied = None;
                }
                What::Close { agent } => {
                    let found = self.inventory.agents.get_mut(agent).unwrap();
                    found.pane = None;
                    found.foreign = false;
                }
                What::Start { agent } | What::Restart { agent } => {
                    let wanted = &desired.agents[agent];
                    let found = self.inventory.agents.get_mut(agent).unwrap();
                    found.unit.active = "active".into();
                    found.digest = Some(wanted.digest.clone());
                    found.pane = Some("%1".into());
                }
                What::Blocked { .. } | What::Deferred { .. } => {}
            }
        }
        // The launch files on disk are those of the last apply.
        self.launches = desired
            .agents
            .into_iter()
            .map(|(n, a)| (n, a.launch))
            .collect();
        self.inventory
            .agents
            .retain(|n, a| self.launches.contains_key(n) || a.up() || a.pane.is_some());
    }

    fn converge(&mut self, fleet: &Fleet, options: Options) -> Plan {
        let plan = self.plan(fleet, options);
        self.apply(fleet, &plan);
        plan
    }
}

fn show(plan: &Plan) -> String {
    let mut out = String::new();
    for action in &plan.actions {
        let (verb, object) = action.what.words();
        let _ = writeln!(out, "{verb} {object}: {}", action.reason);
    }
    out
}

#[test]
fn a_first_plan_is_everything_and_a_second_nothing() {
    let mut world = World::empty(Mode::Systemd);
    let fleet = fleet(vec![agent("coder0"), agent("coder1")]);
    let plan = world.converge(&fleet, ALL);
    insta::assert_snapshot!(show(&plan));
    assert_eq!(show(&world.plan(&fleet, ALL)), "");
}

#[test]
fn a_fleet_on_another_socket_is_left_alone_until_it_is_stopped() {
    let mut world = World::empty(Mode::Systemd);
    let fleet = fleet(vec![agent("coder0")]);
    world.converge(&fleet, ALL);
    world.inventory.server = false;
    world.inventory.other_socket = Some("/tmp/tmux-0/earlier".into());
    world.inventory.reload_pending = true;
    world.install.socket = "/tmp/tmux-0/later".into();
    insta::assert_snapshot!(show(&world.plan(&fleet, ALL)), @r"
    blocked socket: the fleet still runs on `/tmp/tmux-0/earlier`
    ");
}

#[test]
fn without_systemd_there_are_no_units() {
    let mut world = World::empty(Mode::Supervisor);
    let plan = world.converge(&fleet(vec![agent("coder0")]), ALL);
    insta::assert_snapshot!(show(&plan), @r"
    write /h/.local/state/mosaic/fleet/install.json: missing
    write /h/.local/state/mosaic/fleet/launch/coder0.json: missing
    write /h/.local/state/mosaic/fleet/routing.json: missing
    write /h/.local/state/mosaic/fleet/tmux.conf: missing
    start tmux server: no server answers on the socket
    start coder0: not running
    ");
}

#[test]
fn a_change_of_routing_restarts_nothing() {
    let mut world = World::empty(Mode::Systemd);
    let mut fleet = fleet(vec![agent("coder0")]);
    world.converge(&fleet, ALL);
    fleet.routing.weight_rtt = 2.0;
    insta::assert_snapshot!(show(&world.converge(&fleet, ALL)), @"write /h/.local/state/mosaic/fleet/routing.json: content differs");
    assert!(world.plan(&fleet, ALL).in_sync());
}

#[test]
fn an_edit_restarts_the_idle_and_spares_the_working() {
    let mut world = World::empty(Mode::Systemd);
    let mut agents = vec![agent("busy"), agent("idle"), agent("same")];
    world.converge(&fleet(agents.clone()), ALL);
    world.inventory.agents.get_mut("busy").unwrap().occupied = Some("working".into());
    agents[0].command = vec!["zsh".into()];
    agents[1].env.insert("A".into(), "1".into());
    agents[1].limits.memory_max = Some(1 << 30);
    agents[2].kickstart_on = crate::fleet::KickstartOn::Both;
    let edited = fleet(agents);
    let plan = world.plan(&edited, ALL);
    insta::assert_snapshot!(show(&plan), @r"
    deferred busy: working; command changed (`--force` restarts it now)
    write /h/.config/systemd/user/mosaic-agent@idle.service.d/50-roster.conf: content differs
    write /h/.local/state/mosaic/fleet/launch/busy.json: content differs
    write /h/.local/state/mosaic/fleet/launch/idle.json: content differs
    write /h/.local/state/mosaic/fleet/launch/same.json: content differs
    reload service manager: unit files change
    restart idle: env, limits changed
    ");
    world.apply(&edited, &plan);
    // What was put off stays in the plan until it is done.
    let again = world.plan(&edited, ALL);
    assert_eq!(
        show(&again),
        "deferred busy: working; its launch file changed since it started (`--force` restarts it now)\n"
    );
    let forced = world.plan(&edited, Options { force: true, ..ALL });
    assert_eq!(
        show(&forced),
        "restart busy: its launch file changed since it started\n"
    );
    world.inventory.agents.get_mut("busy").unwrap().occupied = None;
    world.converge(&edited, ALL);
    assert_eq!(show(&world.plan(&edited, ALL)), "");
}

#[test]
fn who_left_the_roster_is_stopped_and_removed() {
    let mut world = World::empty(Mode::Systemd);
    world.converge(&fleet(vec![agent("a"), agent("ab")]), ALL);
    let rest = fleet(vec![agent("ab")]);
    world.inventory.agents.get_mut("a").unwrap().occupied = Some("waiting".into());
    let spared = world.plan(&rest, ALL);
    assert_eq!(
        show(&spared),
        "deferred a: waiting; it is no longer in the roster and will be stopped (`--force` stops it now)\n"
    );
    let plan = world.converge(&rest, Options { force: true, ..ALL });
    insta::assert_snapshot!(show(&plan), @r"
    stop a: no longer in the roster
    close a: no longer in the roster
    remove /h/.config/systemd/user/mosaic-agent@a.service.d/50-roster.conf: no longer in the roster
    remove /h/.local/state/mosaic/fleet/launch/a.json: no longer in the roster
    unlink /h/.config/systemd/user/mosaic-fleet.target.wants/mosaic-agent@a.service: disabled or no longer in the roster
    reload service manager: unit files change
    ");
    assert_eq!(show(&world.plan(&rest, ALL)), "");
}

#[test]
fn what_mosaic_did_not_write_is_never_touched() {
    let mut world = World::empty(Mode::Systemd);
    let theirs = PathBuf::from("/h/.config/systemd/user/mosaic-fleet.target");
    let gone = PathBuf::from("/h/.config/systemd/user/mosaic-agent@x.service.d/50-roster.conf");
    for path in [&theirs, &gone] {
        world.inventory.files.insert(
            path.clone(),
            FoundFile {
                digest: "theirs".into(),
                ours: false,
            },
        );
    }
    let plan = world.plan(&fleet(vec![agent("a")]), ALL);
    for action in &plan.actions {
        match &action.what {
            What::Write { path } | What::Remove { path } => {
                assert!(*path != theirs && *path != gone, "{action:?}")
            }
            _ => {}
        }
    }
    assert!(
        show(&plan).starts_with("blocked /h/.config/systemd/user/mosaic-fleet.target"),
        "{}",
        show(&plan)
    );
    assert!(MARK.starts_with('#'));
}

#[test]
fn foreign_sessions_and_servers_block_until_told() {
    let mut world = World::empty(Mode::Systemd);
    let fleet = fleet(vec![agent("a")]);
    world.converge(
        &fleet,
        Options {
            scope: Scope::Files,
            ..ALL
        },
    );
    world.inventory.server = true;
    world.inventory.agents.get_mut("a").unwrap().foreign = true;
    assert_eq!(
        show(&world.plan(&fleet, ALL)),
        "blocked agent a: a session `a` on the fleet's socket was not made by mosaic\n"
    );
    assert_eq!(
        show(&world.plan(
            &fleet,
            Options {
                replace: true,
                ..ALL
            }
        )),
        "close a: a session of its name that mosaic did not make (`--replace`)\nstart a: not running\n"
    );
    world.inventory.foreign_server = Some(42);
    assert!(show(&world.plan(&fleet, ALL)).contains("process 42 holds"));
}

#[test]
fn stopped_by_hand_stays_down_and_failed_is_started() {
    let mut world = World::empty(Mode::Systemd);
    let fleet = fleet(vec![agent("a"), agent("b")]);
    world.converge(&fleet, ALL);
    let a = world.inventory.agents.get_mut("a").unwrap();
    (a.unit.active, a.held) = ("inactive".into(), true);
    let b = world.inventory.agents.get_mut("b").unwrap();
    b.unit = Unit {
        active: "failed".into(),
        result: "exit-code".into(),
        ..Unit::default()
    };
    assert_eq!(
        show(&world.plan(&fleet, ALL)),
        "start b: failed (exit-code)\n"
    );
}

#[test]
fn an_interrupted_apply_is_seen() {
    let mut world = World::empty(Mode::Systemd);
    let fleet = fleet(vec![agent("a")]);
    world.converge(&fleet, ALL);
    world.inventory.reload_pending = true;
    assert_eq!(
        show(&world.plan(&fleet, ALL)),
        "reload service manager: an earlier run wrote unit files and was interrupted\n"
    );
}

#[test]
fn a_fingerprint_changes_with_the_machine_but_not_with_the_clock() {
    let mut world = World::empty(Mode::Systemd);
    let fleet = fleet(vec![agent("a")]);
    world.converge(&fleet, ALL);
    let print = world.plan(&fleet, ALL).fingerprint;
    let a = world.inventory.agents.get_mut("a").unwrap();
    a.unit.main_pid = 99;
    a.unit.since_usec = 1;
    a.occupied = Some("working".into());
    assert_eq!(world.plan(&fleet, ALL).fingerprint, print);
    world.inventory.agents.get_mut("a").unwrap().unit.active = "failed".into();
    assert_ne!(world.plan(&fleet, ALL).fingerprint, print);
}

#[test]
fn a_stored_plan_is_read_again() {
    let mut world = World::empty(Mode::Systemd);
    let plan = world.plan(&fleet(vec![agent("a")]), ALL);
    let text = files::to_json(&plan);
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

/// An agent with any of a few values in what a plan looks at.
fn any_agent() -> impl Strategy<Value = Agent> {
    (0..4u8, any::<bool>(), 0..3u8, 0..3u8, any::<bool>()).prop_map(
        |(name, enabled, command, env, limit)| {
            let mut a = agent(&format!("a{name}"));
            a.enabled = enabled;
            a.command = vec![format!("c{command}")];
            a.env.insert("E".into(), env.to_string());
            a.limits.tasks_max = limit.then_some(7);
            a
        },
    )
}

fn any_fleet() -> impl Strategy<Value = Fleet> {
    proptest::collection::vec(any_agent(), 0..5).prop_map(|mut agents| {
        agents.sort_by(|a, b| a.name.cmp(&b.name));
        agents.dedup_by(|a, b| a.name == b.name);
        fleet(agents)
    })
}

proptest! {
    #[test]
    fn after_apply_the_plan_is_empty(
        fleets in proptest::collection::vec((any_fleet(), any::<bool>()), 1..5),
        busy in proptest::collection::vec(any::<bool>(), 4),
        systemd in any::<bool>(),
    ) {
        let mut world = World::empty(if systemd { Mode::Systemd } else { Mode::Supervisor });
        for (fleet, force) in &fleets {
            for (n, found) in world.inventory.agents.iter_mut() {
                let index: usize = n[1..].parse().unwrap();
                found.occupied = (busy[index] && found.up()).then(|| "working".to_owned());
            }
            world.converge(fleet, Options { force: *force, ..ALL });
            let again = world.plan(fleet, ALL);
            for action in &again.actions {
                prop_assert!(matches!(action.what, What::Deferred { .. }), "{}", show(&again));
            }
            if *force {
                prop_assert!(again.in_sync(), "{}", show(&again));
            }
        }
        // Once everybody is idle, one more apply leaves nothing to do.
        let last = &fleets[fleets.len() - 1].0;
        for found in world.inventory.agents.values_mut() {
            found.occupied = None;
        }
        world.converge(last, ALL);
        prop_assert_eq!(show(&world.plan(last, ALL)), "");
        let _ = FoundAgent::default();
    }
}
