//! The description of this API (OpenAPI 3.1), made from the code.

use axum::Json;
use utoipa::OpenApi;

use super::{agentapi, events, messages, nodes, pinned, placing, wire};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "mosaic gateway: nodes and chats",
        description = "Chats with any node of a fleet of coding agents, plain terminals included. Every route but this one wants the gateway's secret, as `X-Secret-Key`, as a bearer token, or as `?token=` for event sources.",
    ),
    paths(
        nodes::list,
        nodes::show,
        placing::begin,
        pinned::list,
        pinned::show,
        pinned::release,
        messages::say,
        messages::list,
        messages::cancel,
        events::events,
        agentapi::status,
        agentapi::messages,
        agentapi::message,
        agentapi::events,
        description,
    ),
    components(schemas(
        wire::StateChange,
        wire::Message,
        wire::Delta,
        agentapi::MessageUpdate,
        agentapi::StatusChange,
    )),
    security(("secret" = []), ("bearer" = []), ("token" = [])),
    modifiers(&Secrets),
    tags(
        (name = "nodes", description = "What there is, and how it is"),
        (name = "chats", description = "Chats, each with a node for its life"),
        (name = "agentapi", description = "The verbs of coder/agentapi for each terminal node"),
        (name = "description", description = "This document"),
    ),
)]
struct Api;

/// The ways in which the gateway's secret can be given.
struct Secrets;

impl utoipa::Modify for Secrets {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{
            ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme,
        };
        let components = api.components.get_or_insert_default();
        let key = |key| SecurityScheme::ApiKey(key);
        components.add_security_scheme(
            "secret",
            key(ApiKey::Header(ApiKeyValue::new("X-Secret-Key"))),
        );
        components.add_security_scheme("token", key(ApiKey::Query(ApiKeyValue::new("token"))));
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", operation_id = "describe", tag = "description",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
pub async fn description() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::to_value(Api::openapi()).unwrap()
    }

    #[test]
    fn the_committed_description_is_fresh() {
        let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
        crate::golden::check("schema/gateway.openapi.json", &text);
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = document();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(move |method| (path.clone(), method.clone()))
            })
            .collect();
        let routes: BTreeSet<(String, String)> = crate::gateway::chats::routes()
            .into_iter()
            .map(|route| (route.path.to_owned(), route.method.to_owned()))
            .collect();
        assert_eq!(described, routes);
    }

    /// Every value with the pointer to it.
    fn walk<'a>(value: &'a Value, at: String, see: &mut dyn FnMut(&str, &'a Value)) {
        see(&at, value);
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    walk(value, format!("{at}/{key}"), see);
                }
            }
            Value::Array(all) => {
                for (n, value) in all.iter().enumerate() {
                    walk(value, format!("{at}/{n}"), see);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn the_description_holds_together() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let (mut references, mut ids) = (0, BTreeSet::new());
        walk(&document, String::new(), &mut |at, value| {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{at}: {reference}");
                references += 1;
            }
            if let Some(id) = value.get("operationId").and_then(Value::as_str) {
                assert!(ids.insert(id.to_owned()), "{at}: `{id}` twice");
            }
        });
        assert!(references > 20, "{references}");
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let at = format!("{method} {path}");
                assert!(operation["operationId"].is_string(), "{at}");
                assert!(operation["summary"].is_string(), "{at}");
                assert!(
                    !operation["responses"].as_object().unwrap().is_empty(),
                    "{at}"
                );
                // What stands in braces is described, and nothing else is.
                let in_path: BTreeSet<&str> = path
                    .split('/')
                    .filter_map(|p| p.strip_prefix('{')?.strip_suffix('}'))
                    .collect();
                let described: BTreeSet<&str> = operation["parameters"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|p| p["in"] == "path")
                    .filter_map(|p| p["name"].as_str())
                    .collect();
                assert_eq!(in_path, described, "{at}");
            }
        }
        for (name, schema) in schemas {
            let fields = schema["properties"].as_object().into_iter().flatten();
            for (field, about) in fields {
                let said = about["description"].is_string() || about.get("$ref").is_some();
                assert!(said || about.get("oneOf").is_some(), "{name}.{field}");
            }
        }
    }
}
