//! The node API's own documents. Times are RFC 3339.

mod chats;
mod messages;
mod nodes;

use serde::Serialize;
use utoipa::ToSchema;

pub use chats::{Begin, Chat, Chats};
pub use messages::{
    Cancelled, Delta, Message, Messages, Role, Say, Sent, StateChange, Until, idle,
};
pub use nodes::{Node, Nodes};

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// In words, naming node and chat.
    pub message: String,
}
