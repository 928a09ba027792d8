//! The roster: YAML text to the [`crate::fleet::Fleet`] that everything else reads.
//!
//! [`parse()`] turns text into a [`document::Roster`] and keeps every place; [`resolve()`] applies
//! defaults, runtimes and environment files. Both are pure and report all problems of a text in one
//! run. [`load()`] is the one door to the file system.

mod agent;
mod agent_command;
mod agent_paths;
mod check;
mod check_routing;
mod check_runtime;
pub mod de;
pub mod definitions;
pub mod document;
pub mod envfile;
pub mod load;
mod mend;
pub mod overrides;
pub mod parse;
mod paths;
mod policy;
pub mod profile;
pub mod reference;
pub mod resolve;
pub mod routing;
mod runtimes;
pub mod schema;
pub mod source;
pub mod suggest;
mod syntax;
pub mod tree;
pub mod values;
mod warn;
pub mod words;

#[cfg(test)]
mod tests;

pub use load::{Loaded, load};
pub use parse::{Parsed, parse, parse_runtime};
pub use resolve::{Environment, Warning, resolve};
pub use runtimes::load_runtime;
