//! Placeholder until the supervisor lands.
use crate::error::{Error, Result};
use crate::host::manager::{Job, Unit};
use crate::install::Install;
use std::time::Duration;
pub fn start_server(_: &Install) -> Result<()> {
    Err(Error::bug("x"))
}
pub fn start(_: &Install, _: &[String], _: Duration) -> Result<Vec<Job>> {
    Err(Error::bug("x"))
}
pub fn stop(_: &Install, _: &[String], _: Duration) -> Result<Vec<Job>> {
    Err(Error::bug("x"))
}
pub fn restart(_: &Install, _: &[String], _: Duration) -> Result<Vec<Job>> {
    Err(Error::bug("x"))
}
pub fn remove(_: &Install, _: &str) -> Result<()> {
    Err(Error::bug("x"))
}
pub fn list(_: &Install) -> Result<Vec<Unit>> {
    Err(Error::bug("x"))
}
pub fn stop_all(_: &Install) -> Result<()> {
    Err(Error::bug("x"))
}
