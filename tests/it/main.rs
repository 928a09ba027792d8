//! The real-process suite: the built binary, a real tmux, a real private `systemd --user` manager, in
//! a directory of its own per test. `cargo test --test it` runs it; see `support` for what it needs
//! and for how it protects the machine it runs on.
//!
//! With `MOSAIC_TEST_USER=NAME` (as root) the manager and every command run as that account. A
//! missing tool skips tests loudly, and fails them when `CI=true`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic and speak, and starts what it likes"
)]

mod cases;
#[path = "../goosed/mod.rs"]
mod goosed;
#[allow(dead_code, reason = "shared by two suites, each of which uses a part")]
#[path = "../matrix/mod.rs"]
mod matrix;
mod support;

/// Not a test: what a stand-in's process runs; see [`goosed::process::install`].
#[test]
#[ignore = "what tests start as their goosed"]
fn goosed_stand_in() {
    goosed::process::run();
}
