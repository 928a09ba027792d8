//! Gets messages into agents, with proof, and empties their context between tasks.
//!
//! A message is cleaned ([`sanitise`]), put together ([`compose`]), pasted piece by piece into a box
//! that is seen to be empty ([`guard`]), and submitted only once the box is seen to hold it
//! ([`held`]). What is known at the end is a [`receipt`]. [`send`] is the way in; [`reset`] uses the
//! same way for the runtime's own command; [`ready`] waits until an agent can be sent anything.

pub mod channel;
pub mod codex;
pub mod compose;
pub mod guard;
pub mod held;
pub mod kickstart;
pub mod pi;
pub mod ready;
pub mod receipt;
pub mod reset;
pub mod sanitise;
pub mod send;
pub mod stop;

pub use ready::{Ready, wait_ready};
pub use receipt::{Receipt, Rung};
pub use reset::{
    Mode, Permitted, ResetOptions, ResetReport, forget_conversation, kickstart, permitted, reset,
};
pub use send::{Message, host_name, send, sender};
