//! The doors: everything that touches the machine goes through one of these modules. Elsewhere
//! there are pure functions, or code that calls these.

pub mod basic_auth;
pub mod control;
pub mod database;
pub mod files;
pub mod inotify;
pub mod interrupt;
pub mod linger;
pub mod listening;
pub mod load;
pub mod lock;
pub mod manager;
pub mod owner;
pub mod ping;
pub mod probe;
pub mod process;
pub mod procfs;
pub mod tmux;
pub mod tty;
pub mod unix_socket;
