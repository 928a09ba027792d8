//! mosaic runs a fleet of long-lived coding agents.
pub mod demo;
pub mod error;
pub mod fleet;
pub mod names;
pub mod runtime;
