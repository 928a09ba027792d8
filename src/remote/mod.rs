//! Other hosts, by OpenSSH: what is run there, how words are quoted for the shell there, and what an
//! end of the connection proves. And the embedded sender, for hosts without mosaic and for panes that
//! are no agent's.

pub mod exchange;
pub mod host;
pub mod quote;
pub mod sender;
pub mod ssh;

pub use exchange::{End, Exchange, exchange};
pub use host::Host;
pub use ssh::Ssh;
