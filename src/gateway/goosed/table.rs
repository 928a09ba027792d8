//! Every route of goosed 1.28 to 1.37, and what the gateway does with it. Data; what a class means is in
//! the file of its name.

use std::time::Duration;

use super::json::Step::{self, Each, Key};
use crate::gateway::upstream;

/// Where a request says which chat it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// In the segment of the path that the table calls `{session}`.
    Path,
    /// As `session_id` in the query.
    Query,
    /// As `session_id` or `sessionId` in a JSON body.
    Body,
}

/// How the answers of all nodes become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// `{"sessions": […]}`, the last changed first.
    Sessions,
    /// `[…]`, the last changed first, as many as were asked for.
    Found,
    /// Numbers are added up.
    Sum,
}

/// What can be put back when a write fails on a later node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// The value of the body's `key`, unless it is a secret: those can be written and not read.
    Key,
    /// Provider and model.
    Provider,
    /// Nothing.
    None,
}

/// What the gateway does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Answers by itself.
    Local,
    /// Makes a chat: places it, and gives it its model.
    Start,
    /// Makes a chat out of one that was exported.
    Import,
    /// Goes to the chat's node.
    Pinned(Where),
    /// The same where the query names a chat, else to the one fixed node.
    PinnedOrFixed,
    /// Goes to all nodes; what those say that answer becomes one answer.
    Fan(Merge),
    /// Goes to the first healthy node.
    Any,
    /// Goes to all nodes, or to none.
    All(Undo),
    /// Goes to the node with the lowest name, healthy or not: what is kept there is nowhere else.
    Fixed,
    /// 501, and why.
    Not(&'static str),
}

/// How long the head of an answer is waited for. Whatever it is, a node that answers no probe either is
/// given up within seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Something is looked up.
    Answer,
    /// Extensions are loaded.
    Create,
    /// A tool or a model is at work.
    Work,
}

impl Wait {
    /// In time.
    pub const fn time(self) -> Duration {
        match self {
            Wait::Answer => upstream::ANSWER,
            Wait::Create => upstream::CREATE,
            Wait::Work => Duration::from_secs(600),
        }
    }
}

/// Where names of chats are in an answer.
pub type Ids = &'static [&'static [Step]];

const NONE: Ids = &[];
/// A `Session`.
pub const SESSION: Ids = &[&[Key("id")]];
/// `{"session": Session}`.
const RESUMED: Ids = &[&[Key("session"), Key("id")]];
/// In either spelling.
const NAMED: Ids = &[&[Key("sessionId")], &[Key("session_id")]];
/// A bare list of sessions.
const LIST: Ids = &[&[Each, Key("id")]];
/// The jobs' own ids are no chats'.
const JOB: Ids = &[&[Key("current_session_id")]];
const JOBS: Ids = &[&[Key("jobs"), Each, Key("current_session_id")]];

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Method.
    pub method: &'static str,
    /// Path, its variable segments in braces; `{session}` is a chat's name.
    pub path: &'static str,
    /// What is done.
    pub class: Class,
    /// Names of chats in the answer.
    pub ids: Ids,
    /// How long it may take.
    pub wait: Wait,
    /// Whether the chat's agent does it, and so has to have its model.
    pub agent: bool,
}

impl Route {
    const fn ids(self, ids: Ids) -> Self {
        Self { ids, ..self }
    }

    const fn wait(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    const fn agent(self) -> Self {
        Self {
            agent: true,
            ..self
        }
    }
}

const fn on(method: &'static str, path: &'static str, class: Class) -> Route {
    Route {
        method,
        path,
        class,
        ids: NONE,
        wait: Wait::Answer,
        agent: false,
    }
}

const fn get(path: &'static str, class: Class) -> Route {
    on("GET", path, class)
}

const fn post(path: &'static str, class: Class) -> Route {
    on("POST", path, class)
}

const fn put(path: &'static str, class: Class) -> Route {
    on("PUT", path, class)
}

const fn delete(path: &'static str, class: Class) -> Route {
    on("DELETE", path, class)
}

const PATH: Class = Class::Pinned(Where::Path);
const BODY: Class = Class::Pinned(Where::Body);

/// A sign-in in a browser writes one node's configuration, and the others would not have it.
const SETUP: Class = Class::Not(
    "it would set up one node only; set the provider's key with `/config/upsert` and the provider with `/config/set_provider`, which reach all nodes",
);

/// A tunnel publishes a node's own address and secret.
const TUNNEL: Class = Class::Not("it would publish one node, with its secret, past the gateway");

/// Pages that carry the secret in their address, which is the gateway's and not a node's.
const PROXY: Class = Class::Not("apps of MCP servers are not shown through the gateway");

/// All of them, a line each.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    get("/status", Class::Local),
    get("/features", Class::Any),
    get("/system_info", Class::Any),
    get("/diagnostics/{session}", PATH).wait(Wait::Create),
    // The chat's agent.
    post("/agent/start", Class::Start).wait(Wait::Create).ids(SESSION),
    post("/agent/resume", BODY).wait(Wait::Create).ids(RESUMED),
    post("/agent/restart", BODY).wait(Wait::Create),
    post("/agent/stop", BODY),
    post("/agent/update_working_dir", BODY).wait(Wait::Create),
    post("/agent/update_provider", BODY).wait(Wait::Create).agent(),
    post("/agent/update_session", BODY),
    post("/agent/update_from_session", BODY).agent(),
    post("/agent/add_extension", BODY).wait(Wait::Create).agent(),
    post("/agent/remove_extension", BODY).agent(),
    post("/agent/set_container", BODY).agent(),
    post("/agent/read_resource", BODY).wait(Wait::Work).agent(),
    post("/agent/call_tool", BODY).wait(Wait::Work).agent(),
    get("/agent/tools", Class::Pinned(Where::Query)).wait(Wait::Create).agent(),
    get("/agent/list_apps", Class::PinnedOrFixed).wait(Wait::Create).agent(),
    get("/agent/export_app/{name}", Class::Fixed),
    post("/agent/import_app", Class::Fixed),
    // Chats.
    get("/sessions", Class::Fan(Merge::Sessions)),
    get("/sessions/insights", Class::Fan(Merge::Sum)),
    get("/sessions/search", Class::Fan(Merge::Found)),
    post("/sessions/import", Class::Import).wait(Wait::Create).ids(SESSION),
    post("/sessions/import/nostr", Class::Import).wait(Wait::Create).ids(SESSION),
    get("/sessions/{session}", PATH).ids(SESSION),
    delete("/sessions/{session}", PATH),
    get("/sessions/{session}/export", PATH),
    get("/sessions/{session}/extensions", PATH),
    put("/sessions/{session}/name", PATH),
    put("/sessions/{session}/user_recipe_values", PATH),
    post("/sessions/{session}/fork", PATH).wait(Wait::Create).ids(NAMED),
    post("/sessions/{session}/share/nostr", PATH).wait(Wait::Create),
    post("/sessions/{session}/sampling/message", PATH).wait(Wait::Work).agent(),
    // A turn.
    get("/sessions/{session}/events", PATH),
    post("/sessions/{session}/reply", PATH).wait(Wait::Create).agent(),
    post("/sessions/{session}/cancel", PATH),
    post("/reply", BODY).wait(Wait::Create).agent(),
    post("/action-required/tool-confirmation", BODY),
    // Configuration.
    get("/config", Class::Any),
    post("/config/read", Class::Any),
    get("/config/validate", Class::Any),
    get("/config/extensions", Class::Any),
    get("/config/providers", Class::Any).wait(Wait::Create),
    get("/config/providers/{name}/models", Class::Any).wait(Wait::Create),
    post("/config/providers/{name}/model-info", Class::Any).wait(Wait::Create),
    get("/config/provider-catalog", Class::Any),
    get("/config/provider-catalog/{name}", Class::Any),
    get("/config/custom-providers/{name}", Class::Any),
    get("/config/prompts", Class::Any),
    get("/config/prompts/{name}", Class::Any),
    get("/config/slash_commands", Class::Fixed),
    post("/config/canonical-model-info", Class::Any),
    post("/config/check_provider", Class::Any).wait(Wait::Create),
    post("/config/detect-provider", Class::Any).wait(Wait::Create),
    post("/config/upsert", Class::All(Undo::Key)),
    post("/config/remove", Class::All(Undo::Key)),
    post("/config/set_provider", Class::All(Undo::Provider)).wait(Wait::Create),
    post("/config/extensions", Class::All(Undo::None)),
    delete("/config/extensions/{name}", Class::All(Undo::None)),
    post("/config/permissions", Class::All(Undo::None)),
    post("/config/custom-providers", Class::All(Undo::None)),
    put("/config/custom-providers/{name}", Class::All(Undo::None)),
    delete("/config/custom-providers/{name}", Class::All(Undo::None)),
    put("/config/prompts/{name}", Class::All(Undo::None)),
    delete("/config/prompts/{name}", Class::All(Undo::None)),
    post("/config/providers/{name}/cleanup", Class::All(Undo::None)),
    post("/config/init", Class::All(Undo::None)),
    post("/config/backup", Class::All(Undo::None)),
    post("/config/recover", Class::All(Undo::None)),
    post("/config/providers/{name}/oauth", SETUP),
    post("/handle_openrouter", SETUP),
    post("/handle_tetrate", SETUP),
    post("/handle_nanogpt", SETUP),
    // Recipes are files of one node; what only reckons with them needs none.
    post("/recipes/create", BODY).wait(Wait::Work).agent(),
    post("/recipes/decode", Class::Any),
    post("/recipes/encode", Class::Any),
    post("/recipes/parse", Class::Any),
    post("/recipes/scan", Class::Any),
    post("/recipes/to-yaml", Class::Any),
    get("/recipes/list", Class::Fixed),
    post("/recipes/save", Class::Fixed),
    post("/recipes/delete", Class::Fixed),
    post("/recipes/schedule", Class::Fixed),
    post("/recipes/slash-command", Class::Fixed),
    // Jobs run on one node, and their chats are there.
    post("/schedule/create", Class::Fixed).ids(JOB),
    get("/schedule/list", Class::Fixed).ids(JOBS),
    delete("/schedule/delete/{job}", Class::Fixed),
    put("/schedule/{job}", Class::Fixed).ids(JOB),
    get("/schedule/{job}/inspect", Class::Fixed).ids(NAMED),
    post("/schedule/{job}/kill", Class::Fixed),
    post("/schedule/{job}/pause", Class::Fixed),
    post("/schedule/{job}/unpause", Class::Fixed),
    // It answers when the job is done.
    post("/schedule/{job}/run_now", Class::Fixed).wait(Wait::Work).ids(NAMED),
    get("/schedule/{job}/sessions", Class::Fixed).ids(LIST),
    // Things of one machine.
    get("/dictation/config", Class::Fixed),
    get("/dictation/models", Class::Fixed),
    delete("/dictation/models/{model}", Class::Fixed),
    get("/dictation/models/{model}/download", Class::Fixed),
    post("/dictation/models/{model}/download", Class::Fixed).wait(Wait::Create),
    delete("/dictation/models/{model}/download", Class::Fixed),
    post("/dictation/transcribe", Class::Fixed).wait(Wait::Work),
    get("/local-inference/models", Class::Fixed),
    delete("/local-inference/models/{model}", Class::Fixed),
    get("/local-inference/models/{model}/download", Class::Fixed),
    delete("/local-inference/models/{model}/download", Class::Fixed),
    get("/local-inference/models/{model}/settings", Class::Fixed),
    put("/local-inference/models/{model}/settings", Class::Fixed),
    get("/local-inference/repo/{author}/{repo}/files", Class::Fixed).wait(Wait::Create),
    get("/local-inference/search", Class::Fixed).wait(Wait::Create),
    get("/local-inference/chat-templates/builtin", Class::Fixed),
    post("/local-inference/download", Class::Fixed).wait(Wait::Create),
    post("/local-inference/sync-featured", Class::Fixed).wait(Wait::Create),
    post("/telemetry/event", Class::Fixed),
    get("/gateway/status", Class::Fixed),
    post("/gateway/start", Class::Fixed).wait(Wait::Create),
    post("/gateway/stop", Class::Fixed),
    post("/gateway/restart", Class::Fixed).wait(Wait::Create),
    post("/gateway/remove", Class::Fixed),
    post("/gateway/pair", Class::Fixed),
    delete("/gateway/pair/{platform}/{user}", Class::Fixed),
    get("/tunnel/status", TUNNEL),
    post("/tunnel/start", TUNNEL),
    post("/tunnel/stop", TUNNEL),
    get("/mcp-ui-proxy", PROXY),
    get("/mcp-app-proxy", PROXY),
    get("/mcp-app-guest", PROXY),
    post("/mcp-app-guest", PROXY),
];
