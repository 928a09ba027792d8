//! Which nodes a request means by the directory or the node that it names.
//!
//! A server of opencode opens any directory of its machine that a client names. Behind the gateway the
//! nodes that work in it are meant, or else above it; where there are none, all nodes are, and open it as
//! opencode does. Who names nothing means all nodes, each in its own directory.

use std::path::Path;
use std::sync::Arc;

use super::named::Named;
use crate::gateway::nodes::Live;
use crate::gateway::reply::Reply;
use crate::gateway::{Gateway, place};
use crate::routing::node::{Dialect, Node};

/// Nodes that a request means, by id; never none.
///
/// # Errors
/// 404: the node that it names is none. 503: there are no nodes.
pub fn of(gateway: &Gateway, named: &Named) -> Result<Vec<Arc<Live>>, Reply> {
    let nodes = gateway.nodes.speaking(Dialect::Opencode);
    if let Some(id) = &named.node {
        let found = nodes.into_iter().find(|live| live.node.id == *id);
        return found
            .map(|live| vec![live])
            .ok_or_else(|| Reply::missing(format!("no node `{id}` speaks opencode")));
    }
    if nodes.is_empty() {
        return Err(Reply::new(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            "no node of the fleet speaks opencode",
        ));
    }
    let Some(directory) = &named.directory else {
        return Ok(nodes);
    };
    let all = nodes
        .iter()
        .map(|live| live.node.working_directory.as_path());
    let Some(meant) = nearest(all, Path::new(directory)).map(Path::to_owned) else {
        return Ok(nodes);
    };
    Ok(nodes
        .into_iter()
        .filter(|live| live.node.working_directory == meant)
        .collect())
}

/// Whether a node is one of those.
pub fn contains(scope: &[Arc<Live>], node: &Node) -> bool {
    scope.iter().any(|live| live.node.id == node.id)
}

/// The directory itself, or the nearest one above it.
fn nearest<'a>(all: impl Iterator<Item = &'a Path>, directory: &Path) -> Option<&'a Path> {
    all.filter(|known| directory.starts_with(known))
        .max_by_key(|known| known.components().count())
}

/// Those of a scope that are read from, the first one first: always the same one, as long as it is well.
pub fn to_read_from(mut scope: Vec<Arc<Live>>) -> Vec<Arc<Live>> {
    let ill = |live: &Arc<Live>| live.advert().is_none_or(|a| !a.health.is_healthy());
    scope.sort_by_key(ill);
    scope
}

/// The one node of a scope.
///
/// # Errors
/// 409: there are several, and how to say which.
pub fn single(scope: Vec<Arc<Live>>, what: &str) -> Result<Arc<Live>, Reply> {
    let names: Vec<String> = scope
        .iter()
        .map(|live| format!("`{}`", live.node.id))
        .collect();
    match <[Arc<Live>; 1]>::try_from(scope) {
        Ok([live]) => Ok(live),
        Err(_) => Err(Reply::new(
            axum::http::StatusCode::CONFLICT,
            format!(
                "`{what}` is for one node, and it could be {}: name it with `?node=`",
                names.join(", ")
            ),
        )),
    }
}

/// Whether every node of a scope is there and takes its secret; asks all at once.
///
/// # Errors
/// 503: which one is not, and that nothing was done.
pub async fn all_there(gateway: &Gateway, scope: &[Arc<Live>]) -> Result<(), Reply> {
    let probes = scope.iter().map(|live| async move {
        let health = place::probe(gateway, live).await.err()?;
        live.found(health.clone());
        Some(format!(
            "`{}` ({}: {})",
            live.node.id,
            health.as_str(),
            health.why()
        ))
    });
    let ill: Vec<String> = futures_util::future::join_all(probes)
        .await
        .into_iter()
        .flatten()
        .collect();
    match ill.is_empty() {
        true => Ok(()),
        false => Err(Reply::new(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "this changes every node or none, and {} {} not there; nothing was changed",
                ill.join(", "),
                if ill.len() == 1 { "is" } else { "are" },
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_directory_counts() {
        let all = ["/w", "/w/a", "/x"].map(Path::new);
        for (directory, want) in [
            ("/w", Some("/w")),
            ("/w/a", Some("/w/a")),
            ("/w/a/b", Some("/w/a")),
            ("/w/ab", Some("/w")),
            ("/y", None),
            ("relative", None),
        ] {
            assert_eq!(
                nearest(all.into_iter(), Path::new(directory)),
                want.map(Path::new),
                "{directory}"
            );
        }
    }
}
