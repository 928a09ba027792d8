//! The agents themselves: the real CLIs from npm under the built binary, a real tmux and a
//! private user manager, with a model stand-in on loopback; and agents that are servers.
//!
//! `scripts/real-agents` installs the CLIs and runs this with `MOSAIC_REAL_AGENTS=1`; without that,
//! what needs them is skipped loudly, since they are some 1.7 GB. `GOOSED_BIN` names a real goosed to
//! use in place of the stand-in.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic and speak, and starts what it likes"
)]

mod acp;
mod agents;
mod cli;
mod codex;
mod gateway_chats;
mod goosed;
#[path = "../goosed/mod.rs"]
mod goosed_stand_in;
mod kickstart;
#[allow(dead_code, reason = "shared by two suites, each of which uses a part")]
#[path = "../matrix/mod.rs"]
mod matrix;
mod matrix_run;
mod model;
mod nodes;
mod opencode;
mod opencode_gateway;
mod pasted;
mod runtimes;
mod stand_in;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the real-process suite, which uses more of it"
)]
#[path = "../it/support/mod.rs"]
mod support;
