//! What the cases stand on: a sandbox with its own directories, manager and tmux sockets, commands with
//! deadlines, waits for conditions, and plain questions to systemd, tmux and `/proc`.

mod account;
mod command;
mod facts;
mod far;
pub mod gateway;
mod manager;
pub mod proc;
mod roster;
mod sandbox;
mod wait;

pub use account::Account;
pub use command::{Output, Running};
pub use facts::{HOLDER, Place, unit_name};
pub use manager::UserManager;
pub use roster::{Agent, Roster};
pub use sandbox::{Sandbox, tmux};
pub use wait::{eventually, eventually_some};

/// What a test cannot be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// tmux.
    Tmux,
    /// tmux and a private user manager.
    Manager,
}

/// True when all that is needed is here. Says loudly what is missing, and fails the test in CI.
#[track_caller]
pub fn available(needs: Needs) -> bool {
    let missing = match needs {
        Needs::Tmux => sandbox::tmux().err(),
        Needs::Manager => sandbox::tmux().and_then(|_| manager::requirements()).err(),
    };
    let Some(why) = missing else { return true };
    skip(&why);
    false
}

/// Says that something is not tested, and why; a failure in CI.
#[track_caller]
pub fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{name} cannot be skipped in CI: {why}"
    );
    eprintln!("SKIPPED {name}: {why}");
}
