use std::process::ExitCode;
fn main() -> ExitCode {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let w: Vec<&str> = a.iter().map(|s| s.as_str()).collect();
    let r = match w.as_slice() {
        ["internal", "pane", b] => { mosaic::terminal::placeholder::run(Some(b)).unwrap(); Ok(()) }
        ["internal", "holder", "--state", s] => mosaic::terminal::holder::become_server(s.as_ref()).map(drop),
        ["internal", "holder-ready", "--state", s] => mosaic::terminal::holder::ready(s.as_ref()),
        ["internal", "orphans", "--state", s] => mosaic::terminal::holder::orphans(s.as_ref()),
        ["agent", "run", "--state", s, n] => mosaic::terminal::run::run(s.as_ref(), n, mosaic::terminal::run::Terminal::Pane).map(drop),
        ["internal", "started", ..] => Ok(()),
        ["internal", "stopped", "--state", s, n] => mosaic::terminal::stopped::stopped(s.as_ref(), n, &mosaic::terminal::stopped::Ending::from_env(&|k| std::env::var(k).ok())),
        ["exp", prefix] => {
            // experiment: install with bash agents
            use mosaic::*;
            let paths = paths::Paths::from_env(None).unwrap();
            let install = install::Install { version: 1, mode: install::Mode::Systemd, unit_prefix: prefix.to_string(), socket_name: "mosaic-factory".into(), socket: paths::tmux_socket("mosaic-factory", std::env::var_os("TMUX_TMPDIR").as_ref().map(|s| s.as_ref()), rustix::process::getuid().as_raw()).unwrap(), holder_session: "_holder".into(), tmux: "/usr/bin/tmux".into(), mosaic: std::env::current_exe().unwrap(), path: std::env::var("PATH").unwrap(), paths: paths.clone() };
            host::files::write_atomic(&paths.install(), host::files::to_json(&install).as_bytes(), 0o600).unwrap();
            host::files::write_atomic(&paths.tmux_conf(), terminal::holder::conf(&install, 20000).as_bytes(), 0o600).unwrap();
            for u in unit::templates(&install) { host::files::write_atomic(&paths.units.join(&u.path), u.text.as_bytes(), 0o644).unwrap(); }
            for n in ["a", "ab", "c"] {
                let agent = fleet::Agent { name: names::AgentName::new(n).unwrap(), runtime: "shell".into(), spec: Default::default(), class: "x".into(), working_directory: "/tmp".into(), command: vec!["bash".into(), "--norc".into()], enabled: true, permissions: Default::default(), model_hint: None, persistent_persona: Default::default(), reset_between_tasks: false, kickstart: None, kickstart_on: Default::default(), env: Default::default(), env_files: vec![], limits: fleet::Limits{memory_max: Some(1<<29), ..Default::default()}, sandbox: Default::default(), restart: Default::default(), restart_delay_ms: 200, start_limit: Default::default(), ready_timeout_ms: 0, resume: Default::default() };
                let d = unit::agent_dropin(&install, &agent);
                host::files::write_atomic(&paths.units.join(&d.path), d.text.as_bytes(), 0o644).unwrap();
                let l = launch::Launch { version: 1, agent, program: None, path: std::env::var("PATH").unwrap(), env_files_digest: "".into() };
                host::files::write_atomic(&paths.launch(n), host::files::to_json(&l).as_bytes(), 0o600).unwrap();
            }
            Ok(())
        }
        _ => panic!("{w:?}"),
    };
    match r { Ok(()) => ExitCode::SUCCESS, Err(e) => { eprintln!("{e} {:?}", e.hints); ExitCode::from(e.kind.exit_code()) } }
}
