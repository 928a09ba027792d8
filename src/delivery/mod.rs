//! Gets messages into agents, with proof.
pub mod compose;
pub mod held;
pub mod sanitise;
