//! `agent run NAME`: becomes the agent. Checks everything that can be wrong before the service
//! manager is told that the agent runs, obtains the pane, takes its terminal over, says READY, and
//! replaces itself with the agent's program.
//!
//! Exit codes matter here: 78 says that trying again is useless (`RestartPreventExitStatus=`), any
//! other failure is tried again by the unit's restart rule.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use super::conversation::{self, Situation};
use super::{beside, environment, node, own_home, pane, supervise};
use crate::delivery::pi;
use crate::error::{Error, Result};
use crate::host::{files, process, procfs, tty};
use crate::install::Install;
use crate::launch::Launch;
use crate::paths::Paths;
use crate::record::{self, ConversationRecord, Run, What};
use crate::report;
use crate::roster::envfile;
use crate::runtime::{Reports, Store};
use crate::state::{goose, opencode};

/// Where the terminal comes from.
#[derive(Debug)]
pub enum Terminal {
    /// Find or make the agent's pane.
    Pane,
    /// A supervisor has the pane and gave its terminal up.
    Given {
        /// Pane id.
        pane: String,
        /// Terminal.
        tty: PathBuf,
    },
}

/// Everything that is ready for the exec.
struct Prepared {
    program: PathBuf,
    args: Vec<String>,
    env: BTreeMap<OsString, OsString>,
    directory: PathBuf,
    conversation: Option<conversation::Choice>,
    /// Arguments of the server that runs beside it.
    server: Option<Vec<String>>,
}

/// Becomes the agent; returns only on failure.
///
/// # Errors
/// Kind `Config` for what a new try cannot mend: no launch file, program or directory missing, a
/// foreign session. Others may pass: no tmux server, a port in use.
pub fn run(state: &Path, agent: &str, terminal: Terminal) -> Result<Infallible> {
    if let Terminal::Given { .. } = terminal {
        die_with_supervisor(agent)?;
    }
    let install = Install::require(state)?;
    let refuse = |e: Error| {
        record::event(&install.paths, agent, What::Refused { why: e.to_string() });
        e
    };
    let launch = Launch::load(&install.paths.launch(agent)).map_err(refuse)?;
    let prepared = prepare(&install, &launch).map_err(refuse)?;
    let free = match terminal {
        Terminal::Pane => {
            let banner = format!("mosaic: pane of agent {agent}");
            pane::obtain(&install, agent, &prepared.directory, &banner).map_err(refuse)?
        }
        Terminal::Given { pane, tty } => pane::Free {
            pane,
            tty,
            placeholder: None,
        },
    };
    let doing = |what: &str| {
        format!(
            "cannot {what} the terminal `{}` of `{agent}`",
            free.tty.display()
        )
    };
    let file = tty::open(&free.tty).map_err(|e| Error::io(doing("open"), e))?;
    node::wait_for_port(&install, &launch, &file).map_err(refuse)?;
    if let Some(server) = &prepared.server {
        let own = beside::Server {
            program: &prepared.program,
            args: server,
            env: &prepared.env,
            directory: &prepared.directory,
        };
        beside::start(&install, agent, &own).map_err(refuse)?;
    }
    tty::take_over(&file).map_err(|e| Error::io(doing("take over"), e))?;
    announce(&install, &launch, &prepared, &free);
    let error = exec(prepared);
    // The terminal is ours by now, so the user sees this in the pane.
    Err(Error::config(format!("cannot execute the program of `{agent}`")).because(error))
}

/// Sees to it that the agent does not outlive a supervisor that was killed: nobody would know of it,
/// and the next one would start a second agent beside it. The kernel keeps this over the exec, and
/// forgets it only for programs with privileges of their own (prctl(2)).
fn die_with_supervisor(agent: &str) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|e| Error::io(format!("cannot bind `{agent}` to its supervisor"), e))?;
    let parent = rustix::process::getppid().and_then(|p| procfs::stat(p.as_raw_nonzero().get()));
    if parent.is_none_or(|p| p.comm != supervise::NAME.to_string_lossy()) {
        return Err(Error::no(format!("the supervisor of `{agent}` is gone")));
    }
    Ok(())
}

/// What is good to have written, and no reason not to start.
fn spare(written: Result<()>) {
    if let Err(e) = written {
        tracing::warn!("{e}");
    }
}

/// Records the start, then tells the service manager.
fn announce(install: &Install, launch: &Launch, prepared: &Prepared, free: &pane::Free) {
    let agent = launch.agent.name.as_str();
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let resumed = prepared.conversation.as_ref().is_some_and(|c| c.resumed);
    let run = Run {
        version: 1,
        pid,
        start_ticks: procfs::stat(pid).map_or(0, |s| s.start),
        boot: procfs::boot_id(),
        digest: launch.digest(),
        pane: free.pane.clone(),
        tty: free.tty.clone(),
        placeholder: free.placeholder.clone(),
        started: jiff::Timestamp::now(),
        conversation: prepared.conversation.as_ref().map(|c| c.record.id.clone()),
        resumed,
    };
    // So that a plan can say what has changed since, however often the launch file is written.
    let launched = files::write_record(
        &install.paths.running_launch(agent),
        files::to_json(launch).as_bytes(),
    );
    let run = files::write_record(&install.paths.run(agent), files::to_json(&run).as_bytes());
    // On a full disk the agent comes back all the same; until its next start `send` refuses it.
    for written in [launched, run] {
        spare(written);
    }
    record::event(
        &install.paths,
        agent,
        What::Started {
            pid,
            pane: free.pane.clone(),
            resumed,
        },
    );
    let status = format!("agent on pane {} ({})", free.pane, free.tty.display());
    // Without a service manager there is nobody to tell, and that is no error.
    let _ = sd_notify::notify(&[
        sd_notify::NotifyState::Ready,
        sd_notify::NotifyState::Status(&status),
    ]);
}

fn exec(prepared: Prepared) -> std::io::Error {
    let mut command = process::command(&prepared.program);
    command
        .args(&prepared.args)
        .env_clear()
        .envs(&prepared.env)
        .current_dir(&prepared.directory);
    command.exec()
}

/// Resolves environment, program, directory, conversation and reporters.
fn prepare(install: &Install, launch: &Launch) -> Result<Prepared> {
    let a = &launch.agent;
    let paths = &install.paths;
    let name = a.name.as_str();
    let mut env = build_environment(install, launch)?;
    if let Some(home) = &a.spec.home {
        own_home::prepare(home, &paths.agent_dir(name), &mut env)?;
    }
    let path = env
        .get(&OsString::from("PATH"))
        .map(|p| p.to_string_lossy().into_owned())
        .unwrap_or_default();

    let directory = a.working_directory.clone();
    if !directory.is_dir() {
        return Err(Error::config(format!(
            "the working directory `{}` of `{name}` does not exist",
            directory.display()
        ))
        .hint("make it, or change `working_directory` in the roster and run `mosaic fleet apply`")
        .hint(format!("then `mosaic fleet start {name}`")));
    }
    let wanted = a.command.first().cloned().unwrap_or_default();
    let program = launch
        .program
        .clone()
        .filter(|p| process::find_program(&p.to_string_lossy(), &path, &directory).is_some())
        .or_else(|| process::find_program(&wanted, &path, &directory))
        .ok_or_else(|| {
            let mut e = Error::config(format!(
                "`{wanted}`, the program of `{name}`, is not installed"
            ))
            .because(format!("not an executable file, and not on PATH={path}"));
            if let Some(how) = &a.spec.install {
                e = e.hint(format!("install it: {how}"));
            }
            e.hint(format!(
                "then `mosaic fleet apply` and `mosaic fleet start {name}`"
            ))
        })?;

    let mut args: Vec<String> = a.command.iter().skip(1).cloned().collect();
    files::make_private_dir(&paths.agent_dir(name))?;
    args.extend(reporter_args(install, launch, &args)?);
    args.extend(port_args(install, launch)?);
    let mut server = None;
    if let Some(spec) = &a.spec.server {
        let fill = |args: &[String]| beside::fill(args, paths, name, &directory);
        args.extend(fill(&spec.attach));
        server = Some(fill(&spec.args));
    }
    let conversation = match &a.spec.conversation {
        Some(rule) => {
            let own = paths.agent_dir(name);
            files::make_private_dir(&own.join("conversation"))?;
            let choice = conversation::choose(
                &Situation {
                    rule,
                    resume: a.resume,
                    runtime: &a.runtime,
                    directory: &directory,
                    new_id: &uuid::Uuid::new_v4().to_string(),
                },
                current_conversation(paths, name)?,
                &|template, record| conversation::expand(template, record, &own, &env),
                &|place| match rule.store {
                    Store::File => conversation::stored(place, rule.holds.as_deref()),
                    Store::GooseSessions => goose::stored(place),
                    Store::OpencodeSessions => opencode::stored(place),
                },
            );
            let written = files::write_if_changed(
                &paths.conversation(name),
                files::to_json(&choice.record).as_bytes(),
                files::PRIVATE,
            );
            // One that is resumed is found again by the old record and the reports since; one that
            // begins would be lost.
            match choice.resumed {
                true => spare(written),
                false => written?,
            }
            args.extend(choice.args.iter().cloned());
            Some(choice)
        }
        None => None,
    };
    spare(report::trim(&report::path(paths, name)));
    Ok(Prepared {
        program,
        args,
        env,
        directory,
        conversation,
        server,
    })
}

/// The conversation record with what the agent reported since its start folded in.
///
/// # Errors
/// The record is damaged.
pub fn current_conversation(paths: &Paths, agent: &str) -> Result<Option<ConversationRecord>> {
    let Some(mut record) = files::read_json::<ConversationRecord>(&paths.conversation(agent))?
    else {
        return Ok(None);
    };
    if let Some((id, file)) = report::last_session(&report::read(&report::path(paths, agent))?) {
        // Neither: it stands between two conversations.
        let named = id.is_some() || file.is_some();
        if let Some(id) = id
            && id != record.id
        {
            record.take_up(id);
        }
        record.reported = named;
        record.file = file.or(record.file);
    }
    Ok(Some(record))
}

/// Reads the environment files and lays all layers over what this process was given.
fn build_environment(install: &Install, launch: &Launch) -> Result<BTreeMap<OsString, OsString>> {
    let a = &launch.agent;
    let name = a.name.as_str();
    let mut vars = Vec::new();
    for (index, file) in a.env_files.iter().enumerate() {
        match files::read_optional(file)? {
            Some(text) => {
                let parsed = envfile::parse(&text);
                for warning in &parsed.warnings {
                    tracing::warn!("{}: {warning:?}", file.display());
                }
                vars.extend(parsed.vars);
            }
            // The last one is `agents/NAME.env`, which need not exist.
            None if index + 1 == a.env_files.len() => {}
            None => {
                return Err(Error::config(format!(
                    "the environment file `{}` of `{name}` does not exist",
                    file.display()
                ))
                .hint(
                    "restore it, or change `env_file` in the roster and run `mosaic fleet apply`",
                ));
            }
        }
    }
    let mut marks = vec![
        ("MOSAIC_AGENT", name.to_owned()),
        (
            "MOSAIC_STATE",
            install.paths.state.to_string_lossy().into_owned(),
        ),
        (
            report::VARIABLE,
            report::path(&install.paths, name)
                .to_string_lossy()
                .into_owned(),
        ),
    ];
    let mut node_vars = Vec::new();
    if let Some(spec) = &a.spec.node {
        let node = node::record(&install.paths, name)?;
        if let Some(variable) = &spec.port_env {
            node_vars.push((variable.clone(), node.port.to_string()));
        }
        node_vars.push((spec.secret_env.clone(), node.secret));
    }
    vars.extend(node_vars);
    if a.spec.reports == Some(Reports::PiExtension) {
        let socket = pi::socket(&install.paths, name);
        // The extension makes the socket; a directory that cannot be made leaves the terminal.
        if let Some(dir) = socket.parent() {
            spare(files::make_private_dir(dir));
        }
        marks.push((pi::VARIABLE, socket.to_string_lossy().into_owned()));
    }
    if a.spec.reports == Some(Reports::OpencodePlugin) {
        let config = paths_of_plugin(&install.paths, name).1;
        marks.push((OPENCODE_CONFIG, config.to_string_lossy().into_owned()));
    }
    marks.retain(|(_, v)| !v.is_empty());
    Ok(environment::build(
        std::env::vars_os(),
        &launch.path,
        &a.env,
        &vars,
        &marks,
    ))
}

/// The variable that names one more configuration file of opencode's terminal interface, which is
/// laid over the user's own.
const OPENCODE_CONFIG: &str = "OPENCODE_TUI_CONFIG";

/// The plugin of opencode's terminal interface, and the configuration that names it.
fn paths_of_plugin(paths: &Paths, agent: &str) -> (PathBuf, PathBuf) {
    let own = paths.agent_dir(agent);
    (
        own.join("mosaic-opencode.ts"),
        own.join("opencode-tui.json"),
    )
}

/// The arguments that give an agent with HTTP its port.
///
/// # Errors
/// No port is free, or it cannot be recorded.
fn port_args(install: &Install, launch: &Launch) -> Result<Vec<String>> {
    let Some(spec) = launch
        .agent
        .spec
        .node
        .as_ref()
        .filter(|n| !n.port_args.is_empty())
    else {
        return Ok(Vec::new());
    };
    let port = node::record(&install.paths, launch.agent.name.as_str())?.port;
    let fill = |arg: &String| arg.replace("{port}", &port.to_string());
    Ok(spec.port_args.iter().map(fill).collect())
}

/// Writes what makes the agent report its state, and returns the arguments that load it. A person
/// who gives the same argument in the roster keeps theirs; the agent then does not report.
fn reporter_args(install: &Install, launch: &Launch, args: &[String]) -> Result<Vec<String>> {
    let own = install.paths.agent_dir(launch.agent.name.as_str());
    let given = |flag: &str| {
        args.iter()
            .any(|a| a == flag || a.starts_with(&format!("{flag}=")))
    };
    let (file, text, flag) = match launch.agent.spec.reports {
        Some(Reports::ClaudeHooks) => (
            "claude-settings.json",
            report::claude_settings(&install.mosaic),
            "--settings",
        ),
        Some(Reports::PiExtension) => (
            "mosaic-pi.ts",
            report::PI_EXTENSION.to_owned(),
            "--extension",
        ),
        Some(Reports::OpencodePlugin) => {
            let (plugin, config) = paths_of_plugin(&install.paths, launch.agent.name.as_str());
            let text = serde_json::json!({"plugin": [plugin]}).to_string();
            files::write_if_changed(&plugin, report::OPENCODE_PLUGIN.as_bytes(), files::PRIVATE)?;
            files::write_if_changed(&config, text.as_bytes(), files::PRIVATE)?;
            return Ok(Vec::new());
        }
        Some(
            Reports::DemoTranscript
            | Reports::CodexServer
            | Reports::GeminiChats
            | Reports::GooseSessions,
        )
        | None => return Ok(Vec::new()),
    };
    // pi takes the flag any number of times, claude once.
    if launch.agent.spec.reports == Some(Reports::ClaudeHooks) && given(flag) {
        return Ok(Vec::new());
    }
    let path = own.join(file);
    files::write_if_changed(&path, text.as_bytes(), files::PRIVATE)?;
    Ok(vec![flag.to_owned(), path.to_string_lossy().into_owned()])
}
