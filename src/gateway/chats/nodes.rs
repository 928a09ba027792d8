//! `GET /nodes`: what there is, and how it is.

use axum::Json;
use axum::extract::{Path, State};

use super::Api;
use super::wire::{Node, Nodes, Problem};
use crate::gateway::reply::Reply;
use crate::routing::pins::Ledger;

/// All nodes, as they were observed last.
#[utoipa::path(get, path = "/nodes", operation_id = "list_nodes", tag = "nodes",
    responses((status = 200, body = Nodes)))]
pub async fn list(State(api): State<Api>) -> Result<Json<Nodes>, Reply> {
    let ledger = ledger(&api).await?;
    let nodes = api.gateway.nodes.all();
    let nodes = nodes.values().map(|live| Node::of(live, &ledger)).collect();
    Ok(Json(Nodes { nodes }))
}

/// One node, as it was observed last.
#[utoipa::path(get, path = "/nodes/{id}", operation_id = "show_node", tag = "nodes",
    params(("id" = String, Path, description = "Name of the node")),
    responses((status = 200, body = Node), (status = 404, body = Problem)))]
pub async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Node>, Reply> {
    let live = api
        .gateway
        .nodes
        .get(&id)
        .ok_or_else(|| Reply::missing(format!("no node `{id}`")))?;
    Ok(Json(Node::of(&live, &ledger(&api).await?)))
}

async fn ledger(api: &Api) -> Result<Ledger, Reply> {
    api.gateway
        .look(|pins| pins.ledger().map_err(Reply::from))
        .await
}
