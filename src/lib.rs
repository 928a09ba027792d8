//! mosaic runs a fleet of long-lived coding agents.
pub mod error;
pub mod fleet;
pub mod names;
pub mod roster;
pub mod runtime;
