//! The pane. tmux owns the screen, somebody else owns the process: a placeholder that tmux starts
//! in the pane gives its terminal up, and the agent's own process takes it over.
//!
//! ```text
//! tmux server ── pane ── placeholder (`mosaic internal pane`), holds the slave open, no terminal
//!                 │ pty
//! systemd ── unit ── `mosaic agent run NAME` ── take_over(tty) ── exec ── the agent (main process)
//! ```
//!
//! Without a service manager the pane's program is a [`supervise`]r, which starts the same
//! `agent run` as its child.

pub mod beside;
pub mod conversation;
pub mod environment;
pub mod holder;
pub mod node;
pub mod own_home;
pub mod pane;
pub mod placeholder;
pub mod run;
pub mod stopped;
pub mod supervise;
pub mod supervised;
