//! Exact values: what a right roster becomes.

use super::*;
use crate::fleet::{
    Kickstart, KickstartOn, Limits, OnRestart, Permissions, Persona, Restart, Resume, Sandbox,
    StartLimit,
};
use crate::runtime::builtin;

fn fleet(text: &str) -> Fleet {
    fleet_on(&Machine::default(), text)
}

fn fleet_on(machine: &Machine, text: &str) -> Fleet {
    machine
        .resolve(text)
        .unwrap_or_else(|e| panic!("{}", shown(&e)))
        .0
}

#[test]
fn the_least_roster() {
    let fleet = fleet(&with_agents("  - name: coder0\n"));
    assert_eq!(
        (fleet.socket_name.as_str(), fleet.holder_session.as_str()),
        ("mosaic-factory", "_holder")
    );
    let agent = &fleet.agents[0];
    assert_eq!(
        *agent,
        crate::fleet::Agent {
            name: "coder0".parse().unwrap(),
            runtime: "claude".to_owned(),
            spec: builtin::get("claude").unwrap().clone(),
            class: "agent".to_owned(),
            working_directory: "/home/me/work".into(),
            command: vec!["claude".to_owned()],
            enabled: true,
            permissions: Permissions::Ask,
            model_hint: None,
            persistent_persona: Persona::Free,
            reset_between_tasks: false,
            kickstart: None,
            kickstart_on: KickstartOn::Reset,
            on_restart_message: None,
            on_restart: OnRestart::Interrupted,
            env: BTreeMap::new(),
            env_files: vec!["/etc/mosaic/agents/coder0.env".into()],
            limits: Limits::default(),
            sandbox: Sandbox::Off,
            restart: Restart::Always,
            restart_delay_ms: 1000,
            start_limit: StartLimit {
                burst: 5,
                interval_ms: 300_000
            },
            ready_timeout_ms: 20_000,
            resume: Resume::Last,
            on: crate::notices::On::default(),
            notify: crate::notices::Notify::Off,
            labels: Default::default(),
            priority: 0,
            max_chats: None,
        }
    );
}

#[test]
fn routing_with_and_without_its_keys() {
    use crate::routing::policy::{Policy, Strategy};
    let machine = Machine::with(&[("/etc/mosaic/c.pem", ""), ("/home/me/k.pem", "")]);
    let of = |section: &str| {
        let text = with_agents("  - name: a\n    labels: {gpu: yes, n: 1}\n    max_chats: 2\n");
        fleet_on(&machine, &(text + section))
    };
    assert_eq!(of("").routing, Policy::default());
    assert_eq!(of("routing: {}\n").routing, Policy::default());
    let fleet = of("routing:
  default_strategy: sticky-host
  default_host_preference: build1
  weight_rtt: 2
  weight_active_chats: 0
  weight_cpu_load: 0.25
  weight_memory_used: 1e1
  max_cpu_load_pct: 80%
  max_memory_used_pct: 99.5
  min_disk_available_bytes: 500M
  publish_interval_secs: 2
  stale_after_secs: 3
  require_healthy_goosed: false
  working_dir: ~/work
  pin_ttl: 7d
  gateway: true
  local_port: 8443
  listen: '::'
  tls_cert: c.pem
  tls_key: ~/k.pem
");
    assert_eq!(
        fleet.routing,
        Policy {
            version: crate::routing::policy::VERSION,
            default_strategy: Strategy::StickyHost,
            default_host_preference: Some("build1".into()),
            weight_rtt: 2.0,
            weight_active_chats: 0.0,
            weight_cpu_load: 0.25,
            weight_memory_used: 10.0,
            max_cpu_load_pct: 80.0,
            max_memory_used_pct: 99.5,
            min_disk_available_bytes: 500 << 20,
            publish_interval_secs: 2,
            stale_after_secs: 3,
            require_healthy_goosed: false,
            working_dir: Some("/home/me/work".into()),
            pin_ttl_secs: Some(7 * 86_400),
            gateway: true,
            listen: "::".parse().unwrap(),
            local_port: 8443,
            tls_cert: Some("/etc/mosaic/c.pem".into()),
            tls_key: Some("/home/me/k.pem".into()),
        }
    );
    let a = &fleet.agents[0];
    assert_eq!(
        (a.labels["gpu"].as_str(), a.labels["n"].as_str()),
        ("yes", "1")
    );
    assert_eq!(a.max_chats, Some(2));
}

#[test]
fn every_key() {
    let machine = Machine::with(&[("/etc/mosaic/x.env", ""), ("/etc/mosaic/go.md", "hi")]);
    let fleet = fleet_on(
        &machine,
        "version: 1
transport: tmux
tmux: {socket_name: s, holder_session: h}
defaults:
  runtime: pi
  class: d
  env: {A: 1, B: 2}
  env_file: x.env
  limits: {memory_max: 1G, cpu_quota: 50%}
  on: {waiting: d, failed: d}
  notify: desktop
agents:
  - name: a
    runtime: claude
    class: security_reviewers
    working_directory: sub
    enabled: false
    permissions: skip
    model_hint: opus
    persistent_persona: semi
    reset_between_tasks: true
    kickstart: {file: go.md}
    kickstart_on: both
    on_restart_message: go on, {agent}
    on_restart: always
    env: {B: 1.10, C: true, D: 0x10, E: ''}
    env_file: [./x.env]
    limits: {memory_max: 2G, tasks_max: 99}
    sandbox: off
    restart: never
    restart_delay: 500ms
    resume: none
    on:
      waiting: ''
      rate-limited: echo $MOSAIC_AGENT
    notify: off
",
    );
    assert_eq!(
        (fleet.socket_name.as_str(), fleet.holder_session.as_str()),
        ("s", "h")
    );
    let a = &fleet.agents[0];
    assert_eq!(a.class, "security_reviewers");
    assert_eq!(a.notify, crate::notices::Notify::Off);
    assert_eq!(
        a.on.commands().collect::<Vec<_>>(),
        [
            ("waiting", ""),
            ("failed", "d"),
            ("rate-limited", "echo $MOSAIC_AGENT")
        ]
    );
    assert_eq!(a.working_directory, Path::new("/etc/mosaic/sub"));
    assert_eq!(
        a.command,
        [
            "claude",
            "--dangerously-skip-permissions",
            "--model",
            "opus"
        ]
    );
    assert!(!a.enabled);
    assert_eq!(a.persistent_persona, Persona::Semi);
    assert!(a.reset_between_tasks);
    assert_eq!(
        a.kickstart,
        Some(Kickstart::File("/etc/mosaic/go.md".into()))
    );
    assert_eq!(a.kickstart_on, KickstartOn::Both);
    assert_eq!(a.on_restart_message.as_deref(), Some("go on, {agent}"));
    assert_eq!(a.on_restart, OnRestart::Always);
    let env: Vec<(&str, &str)> = a
        .env
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        env,
        [
            ("A", "1"),
            ("B", "1.10"),
            ("C", "true"),
            ("D", "0x10"),
            ("E", "")
        ]
    );
    let files: Vec<_> = a.env_files.iter().map(|p| p.to_str().unwrap()).collect();
    assert_eq!(
        files,
        [
            "/etc/mosaic/x.env",
            "/etc/mosaic/x.env",
            "/etc/mosaic/agents/a.env"
        ]
    );
    assert_eq!(
        a.limits,
        Limits {
            memory_max: Some(2 << 30),
            cpu_quota: Some(50),
            tasks_max: Some(99)
        }
    );
    assert_eq!(
        (a.sandbox, a.restart, a.restart_delay_ms, a.resume),
        (Sandbox::Off, Restart::Never, 500, Resume::None)
    );
}

#[test]
fn commands() {
    for (keys, want) in [
        ("command: my claude", vec!["my", "claude"]),
        ("command: [my claude, '']", vec!["my claude", ""]),
        ("command: ~/bin/x ~/y", vec!["/home/me/bin/x", "~/y"]),
        (
            "command: ./x\n    permissions: skip",
            vec!["./x", "--dangerously-skip-permissions"],
        ),
        ("model_hint: 4.5", vec!["claude", "--model", "4.5"]),
        ("runtime: goosed", vec!["goosed", "agent"]),
        ("runtime: demo", vec!["{mosaic}", "internal", "demo-agent"]),
        ("runtime: pi\n    permissions: skip", vec!["pi"]),
        (
            "runtime: codex\n    permissions: skip",
            vec!["codex", "--dangerously-bypass-approvals-and-sandbox"],
        ),
        (
            "runtime: gemini\n    permissions: skip",
            vec!["gemini", "--yolo"],
        ),
    ] {
        let fleet = fleet(&with_agents(&format!("  - name: a\n    {keys}\n")));
        assert_eq!(fleet.agents[0].command, want, "{keys}");
    }
}

#[test]
fn paths() {
    for (written, want) in [
        ("~", "/home/me"),
        ("~/work", "/home/me/work"),
        ("~//work/", "/home/me/work"),
        ("/home/me//work/.", "/home/me/work"),
        (".", "/etc/mosaic"),
        ("./sub/", "/etc/mosaic/sub"),
    ] {
        let fleet = fleet(&with_agents(&format!(
            "  - name: a\n    working_directory: {written}\n"
        )));
        assert_eq!(
            fleet.agents[0].working_directory,
            Path::new(want),
            "{written}"
        );
    }
}

#[test]
fn runtimes_are_changed_added_and_alike() {
    let fleet = fleet(
        "version: 1
runtimes:
  claude: {args: [--x], env: {A: a}}
  work: {like: claude, env: {B: b}}
  mine: {command: /opt/mine, permission_args: [-y]}
defaults: {working_directory: ~}
agents:
  - {name: a, runtime: claude}
  - {name: b, runtime: work}
  - {name: c, runtime: mine, permissions: skip}
",
    );
    let got: Vec<(String, Vec<&str>)> = fleet
        .agents
        .iter()
        .map(|a| {
            (
                a.command.join(" "),
                a.env.iter().flat_map(|(k, v)| [k.as_str(), v]).collect(),
            )
        })
        .collect();
    assert_eq!(
        got,
        [
            ("claude --x".to_owned(), vec!["A", "a"]),
            ("claude --x".to_owned(), vec!["A", "a", "B", "b"]),
            ("/opt/mine -y".to_owned(), vec![]),
        ]
    );
    assert_eq!(fleet.agents[1].runtime, "work");
    assert!(
        fleet.agents[1].spec.conversation.is_some() && fleet.agents[2].spec.conversation.is_none()
    );
}

#[test]
fn the_own_file_overrides_the_roster() {
    let machine = Machine::with(&[(
        "/etc/mosaic/agents/a.env",
        "MOSAIC_AGENT_RUNTIME=pi\nMOSAIC_AGENT_WORKDIR=~\nMOSAIC_AGENT_COMMAND=\"pi --x 'y z'\"\nKEY=1\n",
    )]);
    let text = with_agents(
        "  - name: a\n    runtime: gone\n    working_directory: /gone\n    command: gone\n  - name: b\n",
    );
    let fleet = fleet_on(&machine, &text);
    let a = &fleet.agents[0];
    assert_eq!(
        (a.runtime.as_str(), a.working_directory.as_path()),
        ("pi", Path::new("/home/me"))
    );
    assert_eq!(a.command, ["pi", "--x", "y z"]);
    assert!(a.env.is_empty(), "the file itself is read at the start");
    assert_eq!(fleet.agents[1].runtime, "claude");
}

#[test]
fn anchors_and_merges_work() {
    let fleet = fleet(
        "version: 1
defaults: {working_directory: ~}
agents:
  - &base {name: a, runtime: claude, class: x}
  - {<<: *base, name: b}
",
    );
    let got: Vec<_> = fleet
        .agents
        .iter()
        .map(|a| (a.name.as_str(), a.class.as_str()))
        .collect();
    assert_eq!(got, [("a", "x"), ("b", "x")]);
}

#[test]
fn line_ends_and_byte_order_marks_do_not_matter() {
    let text = with_agents("  - name: a\n    env: {A: 1.0}\n");
    let want = fleet(&text);
    assert_eq!(fleet(&text.replace('\n', "\r\n")), want);
    assert_eq!(fleet(&format!("\u{feff}{text}")), want);
}
