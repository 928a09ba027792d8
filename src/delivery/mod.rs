//! Gets messages into agents, with proof, and empties their context between tasks.
//!
//! A message is cleaned ([`sanitise`]) and stored ([`mailbox`]); [`send`] is the way in. Whoever works on
//! an agent's queue ([`drain`]) delivers what waits there one by one ([`deliver`]), by the best way into
//! the agent ([`channel`]); where that is its terminal, it is put together ([`compose`]), pasted piece by
//! piece into a box that is seen to be empty ([`guard`]), and submitted only once the box is seen to
//! hold it ([`held`]). What broke off is found out about ([`recover`]). What is known at the end is a
//! [`receipt`]. [`reset`] uses the same way for the runtime's own command; [`ready`] waits until an agent
//! can be sent anything.

mod altered;
pub mod as_file;
pub mod channel;
pub mod codex;
pub mod compose;
pub mod deliver;
pub mod drain;
#[cfg(test)]
mod faults;
pub mod followed;
pub mod guard;
pub mod held;
pub mod kickstart;
pub mod machine;
pub mod mailbox;
pub mod opencode;
pub mod paste;
pub mod pi;
pub mod ready;
pub mod receipt;
pub mod recover;
pub mod reset;
pub mod restarted;
pub mod sanitise;
pub mod send;
pub mod silence;
pub mod stop;
pub mod task;
pub mod template;

pub use drain::{DrainOptions, Drained, drain};
pub use mailbox::{Journal, Mailbox};
pub use ready::{Ready, wait_ready};
pub use receipt::{Receipt, Rung};
pub use reset::{
    Mode, Permitted, ResetOptions, ResetReport, forget_conversation, permitted, reset,
};
pub use send::{Message, Post, host_name, post, send, sender};
