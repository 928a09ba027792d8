//! Screen rules of the measured agent CLIs, for tests.
#![allow(clippy::unwrap_used)]

use super::screen::Rules;
use crate::runtime::{RuntimeSpec, ScreenRules, builtin};

/// The screen rules of `claude`, `pi` or `demo`.
pub fn screen(name: &str) -> ScreenRules {
    builtin::get(name).unwrap().screen.clone().unwrap()
}

/// The same, compiled.
pub fn rules(name: &str) -> Rules {
    Rules::compile(&screen(name)).unwrap()
}

/// The definition itself.
pub fn spec(name: &str) -> RuntimeSpec {
    builtin::get(name).unwrap().clone()
}
