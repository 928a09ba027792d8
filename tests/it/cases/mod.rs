//! The claims, one file per subject.

mod lifecycle;
