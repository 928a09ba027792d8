//! The claims, one file per subject.

mod isolation;
mod lifecycle;
mod recovery;
mod units;
