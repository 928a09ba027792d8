//! The channel against a scripted opencode: what is handed over when, and what is said when it goes
//! wrong.
