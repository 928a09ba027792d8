//! What the user sees for each sort of bad input. `INSTA_UPDATE=always` rewrites the snapshots.

use super::*;

macro_rules! snapshots {
    ($($name:ident: $text:expr;)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), errors_of(&$text));
        }
    )*};
}

snapshots! {
    not_yaml: "version: 1\nagents:\n  - name: a\n   runtime: claude\n";
    tab_indentation: "version: 1\nagents:\n\t- name: a\n";
    unclosed_quote: "version: 1\nagents:\n  - name: \"a\n";
    empty: "# only a comment\n";
    not_a_mapping: "- a\n- b\n";
    some_other_file: "services:\n  web: {}\n";
    no_version: "agents: []\n";
    newer_version: "version: 2\nagents: {}\n";
    odd_version: "version: one\n";
    two_documents: "version: 1\nagents: []\n---\nversion: 1\n";
    unknown_keys: with_agents("  - name: a\n    runtme: claude\n    limits:\n      memory: 2G\n") + "tmuxx: {}\n";
    duplicate_keys: with_agents("  - name: a\n    class: x\n    class: y\n    env: {A: 1, A: 2}\n") + "version: 1\n";
    duplicate_names: with_agents("  - name: coder0\n  - name: rev0\n  - name: coder0\n");
    bad_names: with_agents("  - name: Coder 0!\n  - name: a.b\n  - name: ../x\n  - name: \"\"\n  - {}\n  - name: \"%$'\\n\"\n");
    unknown_runtime: with_agents("  - name: coder0\n    runtime: claud\n  - name: coder1\n    runtime: zzz\n");
    wrong_types: with_agents(
        "  - name: a\n    enabled: yes\n    permissions: skipp\n    persistent_persona: maybe\n    env: [A]\n    limits:\n      memory_max: lots\n      cpu_quota: 150\n      tasks_max: -1\n  - just-a-name\n  - name: b\n    kickstart: hello\n    kickstart_on: never\n    restart_delay: 2\n    sandbox: false\n    resume: {last: 1}\n"
    );
    kickstart_of_two_keys: with_agents("  - name: a\n    kickstart: {text: x, file: y}\n  - name: b\n    kickstart: {txt: x}\n");
    commands: with_agents("  - name: a\n    command: claude 'x\n  - name: b\n    command: ''\n  - name: c\n    command: []\n  - name: d\n    command: [\"a\\0b\"]\n  - name: e\n    command: [\"a\", \"b\\0\"]\n  - name: f\n    command: 5\n");
    escaping_values: with_agents(
        "  - name: a\n    working_directory: \"/x\\ny\"\n    class: \"a b\"\n    model_hint: \"m\\e[31m\"\n    env: {\"A B\": x, 1C: y, D: \"n\\0\"}\n    env_file: \"x\\u0085\"\n    kickstart: {file: \"\\r\"}\n"
    );
    directories: with_agents("  - name: a\n    working_directory: ~/nowhere\n  - name: b\n    working_directory: ~bob/x\n  - name: c\n    working_directory: \"it's here\"\n    env_file: no.env\n    kickstart: {file: no.md}\n");
    missing_everything: "version: 1\nagents:\n  - name: a\n";
    socket_names: "version: 1\ntmux: {socket_name: default, holder_session: -x}\nagents: []\n";
    bad_socket_name: "version: 1\ntmux: {socket_name: ../x}\nagents: []\n";
    holder_is_an_agent: with_agents("  - name: a\n") + "tmux: {holder_session: a}\n";
    notices: with_agents("  - name: a\n    on: {wating: x, idle: [a], failed: \"a\\0\"}\n    notify: dektop\n  - name: b\n    on: notify-send\n    notify: true\n");
    labels: with_agents("  - name: a\n    labels: {\"b c\": x, ok: \"1,2\", nl: \"x\\ny\", blank: \" x\", list: [1]}\n    max_chats: 0\n    priority: high\n");
    routing_values: with_agents("  - name: a\n") + "routing:\n  weight_rtt: -1\n  weight_cpu_load: .inf\n  weight_memory_used: much\n  max_cpu_load_pct: 101\n  max_memory_used_pct: 95 percent\n  min_disk_available_bytes: 10 GB\n  publish_interval_secs: 0\n  local_port: 0\n  listen: everywhere\n  pin_ttl: 1m\n  default_strategy: best\n  gateway: yes\n  default_host_preference: \"\"\n  wieght_rtt: 1\n";
    routing_working_dir: with_agents("  - name: a\n") + "routing:\n  working_dir: ~/nowhere\n  tls_cert: no.pem\n";
    routing_beyond_loopback: with_agents("  - name: a\n") + "routing:\n  listen: 0.0.0.0\n  stale_after_secs: 5\n";
    routing_slow: with_agents("  - name: a\n") + "routing:\n  publish_interval_secs: 60\n  tls_key: \"\"\n";
    routing_is_no_mapping: with_agents("  - name: a\n") + "routing: balanced\n";
    transport: "version: 1\ntransport: ssh\nagents: []\n";
    runtimes: "version: 1\nruntimes:\n  new: {args: [x]}\n  clade: {args: [x]}\n  \"B A D\": {command: x}\n  mine: {like: claud}\n  pi: {screen: {input: {top: '(', bottom: x}}, node: {port_env: A-B}, argz: 1}\n  x: {command: x, reset: {clear: \"/a\\n/b\"}}\nagents: []\n";
    runtime_of_a_broken_definition_is_not_unknown: with_agents("  - name: a\n    runtime: mine\n") + "runtimes:\n  mine: 5\n";
    permissions_without_arguments: with_agents("  - name: a\n    runtime: goosed\n    permissions: skip\n");
    agents_is_a_mapping: "version: 1\nagents: {a: {runtime: claude}}\n";
    alias_of_nothing: with_agents("  - name: *a\n");
    alias_in_itself: "version: 1\nagents: &a [*a]\n";
    a_nul_byte: "version: 1\nagents: [\0]\n";
    defaults_are_blamed_once: "version: 1\ndefaults:\n  runtime: claud\n  working_directory: ~/nowhere\n  env_file: x\n  permissions: skip\n  kickstart: {file: y}\nagents:\n  - name: a\n  - name: b\n  - {name: c, runtime: goosed}\n  - {name: d, runtime: goosed}\n";
    all_at_once: "version: 1\nfoo: 1\ndefaults:\n  runtime: claud\nagents:\n  - name: A\n    working_directory: ~/nowhere\n  - name: b\n    enabled: 3\n    workdir: x\n";
}

#[test]
fn overrides_of_the_own_file() {
    let machine = Machine::with(&[
        (
            "/etc/mosaic/agents/a.env",
            "# mine\nMOSAIC_AGENT_RUNTIME=claud\nMOSAIC_AGENT_WORKDIR=/nowhere\nMOSAIC_AGENT_COMMAND=\"a 'b\"\n",
        ),
        (
            "/etc/mosaic/agents/b.env",
            "MOSAIC_AGENT_COMMAND=\"  \"\nMOSAIC_AGENT_WORKDIR='a\nb'\n",
        ),
        ("/etc/mosaic/agents/c.env", "UNREADABLE"),
    ]);
    let text = with_agents("  - name: a\n  - name: b\n  - name: c\n");
    insta::assert_snapshot!("overrides_of_the_own_file", errors_on(&machine, &text));
}

#[test]
fn warnings() {
    let machine = Machine::with(&[("/etc/mosaic/agents/a.env", "SECRET=\u{1b}x\nno line\n")]);
    let mut text = with_agents(
        "  - name: a\n    limits: {memory_max: 100M}\n    env: {MOSAIC_AGENT_RUNTIME: pi}\n  - name: b\n    runtime: goose\n    model_hint: opus\n  - name: c\n    runtime: other\n  - name: d\n    runtime: other\n  - name: e\n    runtime: other\n    resume: none\n  - name: f\n    runtime: shell\n  - name: g\n    runtime: shell\n",
    );
    text.push_str("runtimes: {other: {command: other, reset: {clear: /clear}}}\n");
    let (_, warnings) = machine.resolve(&text).unwrap();
    insta::assert_snapshot!("warnings", shown_warnings(&warnings));
    let (_, warnings) = machine.resolve("version: 1\nagents: []\n").unwrap();
    insta::assert_snapshot!("warning_of_an_empty_fleet", shown_warnings(&warnings));
}

#[test]
fn many_problems_are_cut() {
    let agents: String = (0..500)
        .map(|i| format!("  - name: a{i}\n    bogus: 1\n"))
        .collect();
    let error = Machine::default()
        .resolve(&with_agents(&agents))
        .unwrap_err();
    assert!(error.others.len() < 70, "{}", error.others.len());
}
