//! The built-in runtime definitions.
