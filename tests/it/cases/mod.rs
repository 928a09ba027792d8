//! The claims, one file per subject.

mod lifecycle;
mod recovery;
mod units;
