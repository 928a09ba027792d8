//! The drop-in of one agent: limits, restart rule, sandbox.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::{UnitFile, exec_argument, exec_program, path_value};
use crate::fleet::{Agent, Restart, Sandbox};
use crate::install::Install;

/// What a start may take beside the wait for the prompt: a tmux server that is just coming back, and
/// a kickstart.
const START_MARGIN_MS: u64 = 70_000;

/// Renders `PREFIX-agent@NAME.service.d/50-roster.conf`.
pub fn agent_dropin(install: &Install, agent: &Agent) -> UnitFile {
    let mut t = String::from(
        "# Written by mosaic from the roster; changes are overwritten by `mosaic fleet apply`.\n",
    );
    // Durations are written in milliseconds: one unit, no rounding.
    let _ = writeln!(t, "[Unit]");
    let _ = writeln!(
        t,
        "StartLimitIntervalSec={}ms",
        agent.start_limit.interval_ms
    );
    let _ = writeln!(t, "StartLimitBurst={}", agent.start_limit.burst);
    let _ = writeln!(t, "\n[Service]");
    let restart = match agent.restart {
        Restart::Always => "always",
        Restart::Never => "no",
    };
    let _ = writeln!(t, "Restart={restart}");
    let _ = writeln!(t, "RestartSec={}ms", agent.restart_delay_ms);
    // The wait for the prompt and for the kickstart's receipt are part of the start.
    let start = agent.ready_timeout_ms.saturating_add(START_MARGIN_MS);
    let _ = writeln!(t, "TimeoutStartSec={start}ms");
    if agent.has_start_step() {
        // Waits until the agent stands at its prompt, so that a start that returned is a start that
        // worked, and sends the kickstart.
        let program = exec_program(&install.mosaic.to_string_lossy()).unwrap_or_default();
        let state = exec_argument(&install.paths.state.to_string_lossy());
        let _ = writeln!(
            t,
            "ExecStartPost={program} internal started --state {state} %i"
        );
    }
    if let Some(bytes) = agent.limits.memory_max {
        let _ = writeln!(t, "MemoryMax={bytes}");
    }
    if let Some(percent) = agent.limits.cpu_quota {
        let _ = writeln!(t, "CPUQuota={percent}%");
    }
    if let Some(tasks) = agent.limits.tasks_max {
        let _ = writeln!(t, "TasksMax={tasks}");
    }
    t.push_str(&sandbox(install, agent));
    let dir = install.agent_unit(agent.name.as_str()) + ".d";
    UnitFile {
        path: PathBuf::from(dir).join("50-roster.conf"),
        text: t,
    }
}

/// Only settings that take effect in a user manager. File-system settings do nothing in one before
/// systemd 257 unless `PrivateUsers=yes` is set, which is therefore always set with them.
/// `ProtectKernelTunables=` is left out: it adds nothing for an account that may not write there
/// anyway, and where a part of `/proc` is covered (containers) the unit fails with it, 226/NAMESPACE.
fn sandbox(install: &Install, agent: &Agent) -> String {
    const BASIC: &str = "\
NoNewPrivileges=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
";
    match agent.sandbox {
        Sandbox::Off => String::new(),
        Sandbox::Basic => BASIC.to_owned(),
        Sandbox::Strict => {
            let mut t = format!(
                "{BASIC}PrivateUsers=yes\nProtectSystem=strict\nProtectHome=read-only\nProtectControlGroups=yes\n"
            );
            let own = install.paths.agent_dir(agent.name.as_str());
            // Not the whole state directory: launch files and install record of the fleet are no
            // agent's to write.
            let state = |name: &str| install.paths.state.join(name);
            let writable = [
                agent.working_directory.clone(),
                own,
                state("conversations"),
                state("exits"),
                state("log"),
                state("nodes"),
                install.paths.runtime.clone(),
            ];
            // The dash (no error where the path is missing) stands inside the quotes.
            let list: Vec<String> = writable
                .iter()
                .filter_map(|p| path_value(&format!("-{}", p.display())))
                .collect();
            let _ = writeln!(t, "ReadWritePaths={}", list.join(" "));
            // The agents' own records of conversations and credentials live here.
            let _ = writeln!(
                t,
                "ReadWritePaths=-%h/.claude -%h/.claude.json -%h/.codex -%h/.pi -%h/.gemini -%h/.local/share/opencode -%h/.local/share/goose -%h/.config/goose -%h/.cache -/tmp -/var/tmp"
            );
            t
        }
    }
}
