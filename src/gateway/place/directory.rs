//! Where a chat works whose client names no directory.

use std::path::PathBuf;

use super::{Made, unavailable};
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::{Gateway, directory};

/// That of the gateway, else that of its node, looked at.
///
/// # Errors
/// It cannot be used, which is nothing that the client is to blame for: of the gateway's no other node would
/// make more, and without its own a node makes no chat.
pub async fn default_directory<T, R>(
    gateway: &Gateway,
    live: &Live,
    refused: impl FnOnce(Reply) -> R,
) -> Result<PathBuf, Made<T, R>> {
    let policy = gateway.policy();
    let path = policy.working_dir.as_ref();
    let path = path.unwrap_or(&live.node.working_directory);
    match directory::usable(path).await {
        Ok(_) => Ok(path.clone()),
        Err(bad) if policy.working_dir.is_some() => {
            Err(Made::Refused(refused(unavailable(&bad.message))))
        }
        Err(bad) => Err(Made::Unable(bad.message)),
    }
}
