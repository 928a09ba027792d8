//! The canary: a small fleet of demo agents on a socket, with units and directories of its own, on
//! which recovery is tried for real. Everything of it is below one directory and one unit prefix,
//! both named after this process, and is removed at the end; what a killed verify left is removed
//! by the next one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Journal, Seen};
use crate::converge::Convergence;
use crate::delivery;
use crate::desired::MARK;
use crate::error::{Error, Result};
use crate::fleet::{Agent, Fleet, StartLimit};
use crate::host::interrupt::Interrupt;
use crate::host::manager::{Unit, Verb};
use crate::host::tmux::Pane;
use crate::host::{files, procfs};
use crate::install::{Install, Mode};
use crate::launch::Launch;
use crate::names::AgentName;
use crate::paths::Paths;
use crate::plan::{Options, Scope};
use crate::runtime::builtin;
use crate::services::Services;

/// Two agents of which one's name begins with the other's: what prefix matching would confuse.
const SHORT: &str = "canary";
const LONG: &str = "canary0";

/// Longest wait for anything the canary does; it takes tenths of a second.
const WAIT: Duration = Duration::from_secs(12);

const PREFIX: &str = "mosaic-verify-";

struct Canary {
    install: Install,
    dir: PathBuf,
}

/// Makes the checks, and removes the canary.
pub fn check(journal: &mut Journal<'_>, install: &Install) {
    remove_leftovers(install);
    let interrupt = journal.interrupt.clone();
    let canary = match Canary::new(install) {
        Ok(canary) => canary,
        Err(e) => {
            journal.check("canary fleet comes up", || Err(e));
            return;
        }
    };
    canary.run(journal, &interrupt);
    if let Err(e) = canary.remove() {
        // Told even after an interruption.
        tracing::warn!("the canary could not be removed whole: {e}");
    }
}

impl Canary {
    fn new(live: &Install) -> Result<Self> {
        let base = base_dir(live);
        let id = std::process::id();
        let dir = base.join(format!("{PREFIX}{id}"));
        let units = match live.mode {
            Mode::Systemd => base.join("systemd/user"),
            Mode::Supervisor => dir.join("units"),
        };
        files::make_private_dir(&dir)?;
        files::make_private_dir(&dir.join("work"))?;
        let install = Install {
            unit_prefix: format!("{PREFIX}{id}"),
            paths: Paths {
                home: live.paths.home.clone(),
                roster: dir.join("roster.yaml"),
                state: dir.join("state"),
                runtime: dir.join("run"),
                units,
            },
            socket_name: "canary".to_owned(),
            socket: dir.join("tmux/s"),
            // Of this mosaic, not of the one that installed the live fleet.
            mosaic: std::env::current_exe()
                .map_err(|e| Error::io("cannot find mosaic's own program", e))?,
            ..live.clone()
        };
        Ok(Self { install, dir })
    }

    fn fleet(&self) -> Result<Fleet> {
        let spec = builtin::get("demo").ok_or_else(|| Error::bug("no demo runtime"))?;
        let agent = |name: &str| -> Result<Agent> {
            let mut command = vec![spec.command.clone().unwrap_or_default()];
            command.extend(spec.args.clone().unwrap_or_default());
            let name = AgentName::new(name).map_err(|e| Error::bug(e.to_string()))?;
            Ok(Agent {
                spec: spec.clone(),
                env: BTreeMap::from([("MOSAIC_DEMO_THINK_MS".to_owned(), "50".to_owned())]),
                restart_delay_ms: 100,
                start_limit: StartLimit {
                    burst: 50,
                    interval_ms: 60_000,
                },
                ready_timeout_ms: 10_000,
                ..Agent::usual(name, "demo", command, self.dir.join("work"))
            })
        };
        Ok(Fleet {
            socket_name: self.install.socket_name.clone(),
            holder_session: self.install.holder_session.clone(),
            agents: vec![agent(SHORT)?, agent(LONG)?],
            routing: Default::default(),
        })
    }

    fn run(&self, journal: &mut Journal<'_>, interrupt: &Interrupt) {
        let up = journal.check("canary fleet comes up", || self.start());
        if !up {
            return;
        }
        let wait = |what: &str, done: &dyn Fn() -> Result<bool>| wait_for(what, interrupt, done);
        journal.check(
            "a message is submitted and stands in the transcript",
            || self.send(),
        );
        journal.check("a target matches exactly", || self.exact(&wait));
        journal.check("a restart leaves server and siblings alone", || {
            self.restart()
        });
        journal.check(
            "a killed agent comes back on its pane, with its conversation",
            || self.crash(&wait),
        );
        journal.check("a reset empties the context", || self.reset());
        if self.install.mode == Mode::Systemd {
            journal.check("a killed tmux server comes back with all agents", || {
                self.server_crash(&wait)
            });
        } else {
            journal.check("a killed tmux server comes back with all agents", || {
                Ok(Seen::skip(
                    "without systemd nobody restarts the tmux server",
                ))
            });
        }
    }

    fn start(&self) -> Result<Seen> {
        let fleet = self.fleet()?;
        crate::terminal::holder::prepare_socket_dir(&self.install.socket)?;
        let convergence = Convergence::new(&self.install, &fleet)?;
        let _lock = crate::converge::lock(&self.install.paths, "start the canary")?;
        let options = Options {
            scope: Scope::All,
            force: false,
            replace: false,
        };
        let plan = convergence.plan(options)?;
        let report = convergence.apply(&plan, &|| false);
        if let Some(failed) = report.outcomes.iter().find(|o| !o.ok) {
            let (verb, object) = failed.action.what.words();
            return Ok(Seen::fail(format!("{verb} {object}: {}", failed.detail)));
        }
        let again = convergence.plan(options)?;
        Ok(Seen::when(
            again.in_sync(),
            if again.in_sync() {
                format!("{} actions, then an empty plan", plan.actions.len())
            } else {
                format!(
                    "after {} actions the plan still has {}",
                    plan.actions.len(),
                    again.actions.len()
                )
            },
        ))
    }

    fn look(&self) -> Result<(Vec<Unit>, Vec<Pane>, i32)> {
        let services = Services::connect(&self.install)?;
        let tmux = self.install.tmux();
        Ok((services.details()?, tmux.panes()?, tmux.server_pid()?))
    }

    fn facts(&self, agent: &str) -> Result<Facts> {
        let (units, panes, server) = self.look()?;
        let name = self.install.agent_unit(agent);
        let unit = units
            .into_iter()
            .find(|u| u.name == name)
            .unwrap_or_default();
        let pane = panes.iter().find(|p| p.agent == agent);
        let in_place = unit.active == "active"
            && unit.main_pid > 0
            && crate::terminal::holder::on_a_pane_of(agent, unit.main_pid, &panes);
        Ok(Facts {
            pid: unit.main_pid,
            restarts: unit.restarts,
            pane: pane.map(|p| p.id.clone()).unwrap_or_default(),
            server,
            in_place,
        })
    }

    fn launch(&self, agent: &str) -> Result<Launch> {
        Launch::load(&self.install.paths.launch(agent))
    }

    fn deliver(&self, agent: &str, text: &str) -> Result<delivery::Receipt> {
        let launch = self.launch(agent)?;
        let message = delivery::Message {
            text: text.as_bytes().to_vec(),
            sender: "verify".to_owned(),
            host: delivery::host_name(),
            preamble: false,
            wait: Duration::from_secs(5),
            accept_wait: Duration::from_secs(2),
        };
        Ok(delivery::send(&self.install, &launch, &message))
    }

    fn transcript(&self, agent: &str) -> String {
        let dir = self.install.paths.agent_dir(agent).join("conversation");
        let mut all = String::new();
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            all.push_str(&std::fs::read_to_string(entry.path()).unwrap_or_default());
        }
        all
    }

    fn send(&self) -> Result<Seen> {
        let text = format!("canary message {}", uuid::Uuid::new_v4().simple());
        let receipt = self.deliver(LONG, &text)?;
        if !receipt.succeeded() {
            return Ok(Seen::fail(receipt.line()));
        }
        let stands = wait_quietly(|| self.transcript(LONG).contains(&text));
        Ok(Seen::when(
            stands,
            format!(
                "{}; {}",
                receipt.line(),
                if stands {
                    "in the transcript"
                } else {
                    "not in the transcript"
                }
            ),
        ))
    }

    /// With the shorter name's agent down, nothing meant for it may reach the longer one.
    fn exact(&self, wait: &Wait<'_>) -> Result<Seen> {
        let services = Services::connect(&self.install)?;
        services.jobs(Verb::Stop, &[SHORT.to_owned()])?;
        self.install.tmux().kill_session(SHORT)?;
        wait("the session to close", &|| {
            Ok(!self
                .install
                .tmux()
                .panes()?
                .iter()
                .any(|p| p.session == SHORT))
        })?;
        let text = format!("not for you {}", uuid::Uuid::new_v4().simple());
        let receipt = self.deliver(SHORT, &text)?;
        let strayed = self.transcript(LONG).contains(&text)
            || self
                .install
                .tmux()
                .panes()?
                .iter()
                .filter(|p| p.agent == LONG)
                .any(|p| {
                    self.install
                        .tmux()
                        .screen(&p.id)
                        .is_ok_and(|s| s.contains(&text))
                });
        services.jobs(Verb::Start, &[SHORT.to_owned()])?;
        Ok(Seen::when(
            !receipt.succeeded() && !strayed,
            format!(
                "`{SHORT}` down: {}; `{LONG}` {}",
                receipt.line(),
                if strayed { "GOT IT" } else { "saw nothing" }
            ),
        ))
    }

    fn restart(&self) -> Result<Seen> {
        let before = (self.facts(SHORT)?, self.facts(LONG)?);
        let services = Services::connect(&self.install)?;
        services.jobs(Verb::Restart, &[LONG.to_owned()])?;
        let after = (self.facts(SHORT)?, self.facts(LONG)?);
        let ok = before.0 == after.0
            && before.1.pid != after.1.pid
            && before.1.pane == after.1.pane
            && before.1.server == after.1.server
            && after.1.in_place;
        Ok(Seen::when(
            ok,
            format!(
                "server pid {}, sibling pid {} and pane {} as before; {} -> {} on pane {}",
                after.0.server, after.0.pid, after.0.pane, before.1.pid, after.1.pid, after.1.pane
            ),
        ))
    }

    fn crash(&self, wait: &Wait<'_>) -> Result<Seen> {
        let before = self.facts(LONG)?;
        let sibling = self.facts(SHORT)?;
        let conversation =
            crate::terminal::run::current_conversation(&self.install.paths, LONG)?.map(|c| c.id);
        let begun = Instant::now();
        kill(before.pid)?;
        wait("the agent to come back", &|| {
            let now = self.facts(LONG)?;
            Ok(now.in_place && now.pid != before.pid)
        })?;
        let after = self.facts(LONG)?;
        let same = crate::terminal::run::current_conversation(&self.install.paths, LONG)?
            .map(|c| c.id)
            == conversation;
        Ok(Seen::when(
            after.pane == before.pane
                && after.restarts > before.restarts
                && self.facts(SHORT)? == sibling
                && same,
            format!(
                "kill -9 {}: back as {} on pane {} after {} ms, restarts {} -> {}, conversation {}",
                before.pid,
                after.pid,
                after.pane,
                begun.elapsed().as_millis(),
                before.restarts,
                after.restarts,
                if same { "kept" } else { "LOST" }
            ),
        ))
    }

    fn reset(&self) -> Result<Seen> {
        let launch = self.launch(LONG)?;
        let report = delivery::reset(
            &self.install,
            &launch,
            delivery::Mode::Clear,
            &delivery::ResetOptions::new(delivery::host_name()),
            &|| Err(Error::bug("the demo agent needs no restart to be reset")),
        );
        Ok(Seen::when(report.reset, report.line()))
    }

    fn server_crash(&self, wait: &Wait<'_>) -> Result<Seen> {
        let before = self.facts(LONG)?;
        let begun = Instant::now();
        kill(before.server)?;
        wait("the server to come back with its agents", &|| {
            let (Ok(a), Ok(b)) = (self.facts(SHORT), self.facts(LONG)) else {
                return Ok(false);
            };
            Ok(a.in_place && b.in_place && a.server != before.server)
        })?;
        let after = self.facts(LONG)?;
        Ok(Seen::pass(format!(
            "kill -9 {}: server {} and both agents back after {} ms",
            before.server,
            after.server,
            begun.elapsed().as_millis()
        )))
    }

    fn remove(&self) -> Result<()> {
        remove(&self.install)?;
        std::fs::remove_dir_all(&self.dir)
            .map_err(|e| Error::io(format!("cannot remove `{}`", self.dir.display()), e))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    pid: i32,
    restarts: u32,
    pane: String,
    server: i32,
    in_place: bool,
}

type Wait<'a> = dyn Fn(&str, &dyn Fn() -> Result<bool>) -> Result<()> + 'a;

/// Waits for a condition, in small steps; ends with an error at the deadline or an interruption.
fn wait_for(what: &str, interrupt: &Interrupt, done: &dyn Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + WAIT;
    loop {
        // Questions fail while the server is away.
        if done().unwrap_or(false) {
            return Ok(());
        }
        if interrupt.is_set() {
            return Err(Error::busy("interrupted"));
        }
        if Instant::now() > deadline {
            return Err(Error::no(format!("waited {} s for {what}", WAIT.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

fn wait_quietly(done: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

fn kill(pid: i32) -> Result<()> {
    rustix::process::Pid::from_raw(pid)
        .filter(|_| pid > 1)
        .ok_or_else(|| Error::bug(format!("no process {pid}")))
        .and_then(|pid| {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)
                .map_err(|e| Error::io(format!("cannot kill process {}", pid.as_raw_nonzero()), e))
        })
}

fn base_dir(install: &Install) -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|d| d.is_dir())
        .unwrap_or_else(|| install.paths.state.clone())
}

/// Stops a canary's agents and server, and removes its units.
fn remove(install: &Install) -> Result<()> {
    let services = Services::connect(install);
    if let Ok(services) = &services {
        let agents = [SHORT.to_owned(), LONG.to_owned()];
        if install.mode == Mode::Systemd {
            let _ = services.jobs(Verb::Stop, &agents);
        }
        let _ = services.stop_server();
    }
    let _ = install.tmux().kill_server();
    if install.mode == Mode::Systemd {
        remove_units(&install.paths.units, &install.unit_prefix)?;
        if let Ok(services) = &services
            && let Some(manager) = services.manager()
        {
            let units: Vec<String> = [SHORT, LONG]
                .iter()
                .map(|a| install.agent_unit(a))
                .chain([install.holder_unit()])
                .collect();
            manager.reset_failed(&units)?;
            manager.reload()?;
        }
    }
    Ok(())
}

fn remove_units(dir: &Path, prefix: &str) -> Result<()> {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        // `mosaic-verify-12` must not take the files of `mosaic-verify-123` along.
        if !name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('-'))
        {
            continue;
        }
        let result = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else if files::read_optional(&path)?.is_some_and(|t| t.starts_with(MARK)) {
            std::fs::remove_file(&path)
        } else {
            Ok(())
        };
        result.map_err(|e| Error::io(format!("cannot remove `{}`", path.display()), e))?;
    }
    Ok(())
}

/// Removes canaries whose verify was killed.
fn remove_leftovers(live: &Install) {
    let base = base_dir(live);
    for entry in std::fs::read_dir(&base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name
            .strip_prefix(PREFIX)
            .and_then(|p| p.parse::<i32>().ok())
        else {
            continue;
        };
        if procfs::cmdline(pid).is_some_and(|w| w.iter().any(|w| w == "verify" || w == "up")) {
            continue;
        }
        if let Ok(Some(install)) = Install::load(&entry.path().join("state"))
            && let Err(e) = remove(&install)
        {
            tracing::warn!("cannot remove the canary of process {pid}: {e}");
        }
        let _ = std::fs::remove_dir_all(entry.path());
    }
}
