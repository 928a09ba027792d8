//! A new chat. Where a client would only begin it, the gateway also gives it its model: a goosed that was
//! merely asked to start answers the first message with "Provider not set".

use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::answer::{self, as_it_is};
use super::ask::ask;
use super::json::{self, Edit};
use super::table::{Class, Route, SESSION, Wait};
use super::{any, awake, in_step, pinned, process};
use crate::gateway::Gateway;
use crate::gateway::directory::usable;
use crate::gateway::failure::Failure;
use crate::gateway::nodes::Live;
use crate::gateway::place::{self, Made, Placed, Wanted};
use crate::gateway::reply::Reply;
use crate::gateway::whole::{Whole, done};
use crate::routing::node::Dialect;
use crate::routing::select::{Selector, Term};

/// Serves `/agent/start` and imports.
///
/// # Errors
/// The client's answer.
pub async fn serve(
    gateway: &Gateway,
    route: &'static Route,
    parts: Parts,
    body: Bytes,
) -> Result<Response, Response> {
    let starts = route.class == Class::Start;
    let (mut wanted, mut asked) = (Wanted::default(), None);
    if starts {
        let wants = Wants::of(&body).map_err(|r| r.into_response())?;
        if wants.saved_recipe {
            let fixed = any::fixed(gateway).map_err(|r| r.into_response())?;
            wanted.wish.selector = Selector(vec![Term::Id(fixed.node.id.clone())]);
        }
        if let Some(directory) = &wants.directory {
            let room = usable(Path::new(directory)).await;
            wanted.room = room.map_err(|r| r.into_response())?;
        }
        asked = Some(wants);
    }
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |p| p.as_str())
        .to_owned();
    let (parts, asked) = (Arc::new(parts), Arc::new(asked));
    let placed = place::create(gateway, Dialect::Goosed, wanted, place::of_node, |live| {
        let (gateway, parts, asked) = (Arc::clone(gateway), Arc::clone(&parts), Arc::clone(&asked));
        let (target, body) = (target.clone(), body.clone());
        async move {
            let body = match asked.as_ref() {
                Some(wants) => match wants.body(&gateway, &live, &body).await {
                    Ok(body) => body,
                    Err(not) => return Ok(not),
                },
                None => vec![body],
            };
            let request = match pinned::request(&parts, &target, body) {
                Ok(request) => request,
                Err(refused) => return Ok(Made::Refused(refused.into_response())),
            };
            begin(&gateway, &live, request).await
        }
    })
    .await?;
    let Placed {
        live, chat, value, ..
    } = placed;
    let MadeBy {
        parts,
        body,
        native,
    } = value;
    if !starts {
        // A whole history.
        let (pieces, room) = answer::named_anew(body, &live.node.id, SESSION).await;
        return Ok(answer::of_pieces(parts, pieces, room));
    }
    let Whole { bytes: body, room } = body;
    let mut edits = answer::renamed(&body, &live.node.id, SESSION);
    let process = process::name(&live).await;
    let session = give_model(gateway, &live, &chat, &native)
        .await
        .map_err(|r| r.into_response())?;
    gateway
        .goosed
        .awake
        .woke(&live, process.as_deref(), &native);
    edits.extend(reported(&body, &session));
    Ok(answer::of_pieces(parts, json::spliced(&body, edits), room))
}

/// What a node answered that made a chat.
struct MadeBy {
    parts: axum::http::response::Parts,
    body: Whole,
    native: String,
}

/// Begins a session in a directory that was looked at, for who has no request of goosed's own to pass on.
///
/// # Errors
/// Not taken, or perhaps.
pub async fn session(
    gateway: &Gateway,
    live: &Arc<Live>,
    directory: &Path,
) -> Result<Made<()>, Failure> {
    let body = serde_json::json!({"working_dir": directory});
    let request = Request::post("/agent/start")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .map_err(|e| Failure::NotSent(e.to_string()))?;
    Ok(match begin(gateway, live, request).await? {
        Made::Chat { native, .. } => Made::Chat { native, value: () },
        Made::Nothing(_) => Made::Nothing(()),
        Made::Refused(answer) => Made::Refused(answer),
        Made::Unable(why) => Made::Unable(why),
    })
}

/// Makes a session on a node that has what the others have.
async fn begin(
    gateway: &Gateway,
    live: &Arc<Live>,
    request: Request<Body>,
) -> Result<Made<MadeBy>, Failure> {
    in_step::bring(gateway, live).await;
    make(gateway, live, request).await
}

async fn make(
    gateway: &Gateway,
    live: &Arc<Live>,
    request: Request<Body>,
) -> Result<Made<MadeBy>, Failure> {
    let answer = ask(gateway, live, request, Wait::Create).await?;
    // Whatever it did not take: it has made nothing.
    if answer.status() == StatusCode::UNAUTHORIZED {
        return Err(Failure::NotSent(format!("it answers {}", answer.status())));
    }
    if !answer.status().is_success() {
        return Ok(Made::Refused(as_it_is(gateway, live, answer)));
    }
    let (mut parts, body) = answer.into_parts();
    answer::clean(&mut parts.headers);
    let unknown = |why: String| Failure::NoAnswer(why);
    let body = done(gateway, live, "", body)
        .await
        .map_err(|reply| unknown(reply.message))?;
    let name = json::text(&body.bytes).and_then(|text| json::fields(text, &["id"]));
    let name = name.unwrap_or_default().first().and_then(|f| f.1.string());
    let Some(native) = name else {
        return Err(unknown("its answer names no chat".to_owned()));
    };
    Ok(Made::Chat {
        value: MadeBy {
            parts,
            body,
            native: native.clone(),
        },
        native,
    })
}

/// Loads the chat's model and extensions; the session as it is then.
async fn give_model(
    gateway: &Gateway,
    live: &Arc<Live>,
    chat: &str,
    native: &str,
) -> Result<Bytes, Reply> {
    let request = awake::resume(native)?;
    let failed = |status: StatusCode, why: &str| {
        Reply::new(
            status,
            format!(
                "the chat `{chat}` was made and has no model: the node `{}` {why}; `/agent/resume` tries again",
                live.node.id
            ),
        )
    };
    let answer = ask(gateway, live, request, Wait::Create)
        .await
        .map_err(|failure| {
            let status = Reply::failed(&live.node.id, chat, &failure).status;
            failed(status, &format!("did not answer: {failure}"))
        })?;
    let status = answer.status();
    let body = done(gateway, live, chat, answer.into_body()).await?.bytes;
    if status.is_success() {
        return Ok(body);
    }
    let said = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
    let said = match said["message"].as_str() {
        Some(message) => format!("answered {status}: {message}"),
        None => format!("answered {status}"),
    };
    Err(failed(status, &said))
}

/// What a session reports only once it has a model.
const REPORTED: [&str; 2] = ["provider_name", "model_config"];

/// Puts provider and model of the resumed session into the one that was begun.
fn reported(begun: &[u8], resumed: &[u8]) -> Vec<Edit> {
    let read = || {
        let (begun, resumed) = (json::text(begun)?, json::text(resumed)?);
        let now = json::find(resumed, &[json::Step::Key("session")])?;
        let now = match now.first() {
            Some(session) => json::fields(session.text, &REPORTED)?,
            None => Vec::new(),
        };
        let before = json::fields(begun, &REPORTED)?;
        let edits = before.into_iter().filter_map(|(key, old)| {
            let new = now.iter().find(|(k, _)| *k == key)?;
            Some((old.span(), new.1.text.to_owned()))
        });
        Ok::<_, serde_json::Error>(edits.collect())
    };
    read().unwrap_or_default()
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wants {
    /// Where it wants to work, and where that stands.
    directory: Option<String>,
    /// Where a directory is to be put that it did not name: the place of an empty one, or one after the
    /// opening brace.
    at: std::ops::Range<usize>,
    /// Whether other keys follow.
    more: bool,
    /// A recipe by its name, which only the fixed node knows.
    saved_recipe: bool,
}

impl Wants {
    fn of(body: &Bytes) -> Result<Self, Reply> {
        let bad = |e: serde_json::Error| Reply::bad(format!("the body is no JSON: {e}"));
        let text = json::text(body).map_err(bad)?;
        let Some(brace) = text.find(|c: char| !c.is_ascii_whitespace()) else {
            return Err(Reply::bad("the body is empty; an object is wanted"));
        };
        if !text.trim_start().starts_with('{') {
            return Err(Reply::bad("the body is no JSON object"));
        }
        let found = json::fields(text, &["working_dir", "recipe_id"]).map_err(bad)?;
        let mut directories = found.iter().filter(|(key, _)| *key == "working_dir");
        let (first, second) = (directories.next(), directories.next());
        if second.is_some() {
            return Err(Reply::bad("`working_dir` is there twice"));
        }
        let saved_recipe = found
            .iter()
            .any(|(key, value)| *key == "recipe_id" && value.text != "null");
        let after = brace + 1;
        let wants = |directory, at| Self {
            directory,
            at,
            more: !text[after..].trim_start().starts_with('}'),
            saved_recipe,
        };
        match first {
            None => Ok(wants(None, after..after)),
            Some((_, value)) => match value.string() {
                Some(name) if !name.is_empty() => Ok(wants(Some(name), value.span())),
                Some(_) => Ok(wants(None, value.span())),
                None if value.text == "null" => Ok(wants(None, value.span())),
                None => Err(Reply::bad("`working_dir` is no text")),
            },
        }
    }

    /// The body with a directory: the policy's, else the node's own, where the client named none.
    async fn body(
        &self,
        gateway: &Gateway,
        live: &Live,
        body: &Bytes,
    ) -> Result<Vec<Bytes>, Made<MadeBy, Response>> {
        if self.directory.is_some() {
            return Ok(vec![body.clone()]);
        }
        let refused = Reply::into_response;
        let directory = place::default_directory(gateway, live, refused).await?;
        let value = json::quoted(&directory.to_string_lossy());
        let new = match (self.at.is_empty(), self.more) {
            (false, _) => value,
            (true, true) => format!("\"working_dir\":{value},"),
            (true, false) => format!("\"working_dir\":{value}"),
        };
        Ok(json::spliced(body, vec![(self.at.clone(), new)]))
    }
}
