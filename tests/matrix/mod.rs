//! The delivery matrix: every kind of message in every situation an agent may be in, each judged by what
//! the model got. The real-process suite plays it with demo agents, the suite of real agents with the
//! CLIs; what differs between them is their [`Ground`].
//!
//! ```text
//! kinds × situations ─play─> what was said, what arrived ─verdict─> cells ─table─> docs/delivery.md
//! ```

pub mod cell;
mod kinds;
mod play;
mod sender;
mod situations;
pub mod table;
mod verdict;

use crate::support::Sandbox;

pub use cell::Cell;
pub use kinds::{Kind, Mark};
pub use play::play;
pub use sender::Sender;
pub use situations::Situation;
pub use verdict::Verdict;

/// A message as an agent's model got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The agent whose model it was.
    pub agent: String,
    /// Its text; several where the agent joined messages to one.
    pub blocks: Vec<String>,
}

/// Agents of one runtime, and what can be done to them and asked of their model without mosaic.
pub trait Ground: Sync {
    /// Where they run.
    fn sandbox(&self) -> &Sandbox;
    /// Every arrival of a message that holds a text, with any agent.
    fn holding(&self, text: &str) -> Vec<Arrival>;
    /// Begins a turn that lasts until [`Ground::rest`].
    fn work(&self, agent: &str);
    /// Ends that turn.
    fn rest(&self, agent: &str);
    /// Opens an approval dialog; `false` when this runtime never asks.
    fn ask(&self, agent: &str) -> bool;
    /// Answers it with no.
    fn deny(&self, agent: &str);
    /// Whether something was approved, or run, that nobody wanted.
    fn approved(&self, agent: &str) -> bool;
    /// Kills the agent's process, and returns as soon as it is gone; another one starts by itself.
    fn kill(&self, agent: &str);
}
