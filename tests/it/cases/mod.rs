//! The claims, one file per subject.

mod conversation;
mod envfile;
mod isolation;
mod lifecycle;
mod managers;
mod outputs;
mod recovery;
mod units;
mod verify;
