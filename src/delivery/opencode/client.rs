//! Questions to opencode's HTTP interface on loopback, each bounded: a starting opencode was seen to
//! accept a request and never answer it, and a stopped process accepts connections too.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::host::basic_auth::basic;

/// For a question. Measured: 2 to 30 ms, a first one 140 ms; above 2 s where many processes share the
/// processor.
pub const ASK: Duration = Duration::from_secs(5);

/// For a message, whatever its size. Measured: 20 ms, with 400 KB 110 ms.
pub const SEND: Duration = Duration::from_secs(10);

/// opencode's own name for whoever has the password.
const USER: &str = "opencode";

/// Longest answer that is read: a few messages with large outputs of tools in them.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Why a request has no useful answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It was certainly not taken: nobody listens.
    NotSent(String),
    /// It may have been taken.
    NoAnswer(String),
    /// opencode answered, and did nothing.
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        body: String,
    },
}

impl Failure {
    /// There is no such thing.
    pub fn missing(&self) -> bool {
        matches!(self, Failure::Refused { status: 404, .. })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::NotSent(why) | Failure::NoAnswer(why) => f.write_str(why),
            Failure::Refused { status, body } => {
                let body: String = body.chars().take(200).collect();
                write!(f, "status {status} {body}")
            }
        }
    }
}

/// What a session does; those at rest are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum Status {
    /// At rest.
    Idle,
    /// In a turn, or in a question in the midst of one.
    Busy,
    /// Its provider refuses requests for now.
    Retry {
        /// What the provider said.
        #[serde(default)]
        message: String,
    },
    /// Something newer.
    #[serde(other)]
    Other,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its id.
    pub id: String,
    /// The session that it works for, for one of a subagent.
    #[serde(rename = "parentID", default)]
    pub parent: Option<String>,
}

/// A model as opencode names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Model {
    /// Provider.
    #[serde(rename = "providerID")]
    pub provider: String,
    /// Model.
    #[serde(rename = "modelID")]
    pub model: String,
    /// Variant of it.
    #[serde(default)]
    pub variant: Option<String>,
}

/// Times of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Times {
    /// When an answer ended, in milliseconds.
    #[serde(default)]
    pub completed: Option<i64>,
}

/// What is known of a message besides its parts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Info {
    /// Its id.
    pub id: String,
    /// `user` or `assistant`.
    pub role: String,
    /// The message that an answer is for.
    #[serde(rename = "parentID", default)]
    pub parent: Option<String>,
    /// The role that opencode played or is to play: `build`, `plan` …
    #[serde(default)]
    pub agent: Option<String>,
    /// The model that a user's message asks.
    #[serde(default)]
    pub model: Option<Model>,
    /// The provider that answered.
    #[serde(rename = "providerID", default)]
    pub provider: Option<String>,
    /// The model that answered.
    #[serde(rename = "modelID", default)]
    pub answered_by: Option<String>,
    /// Variant of it.
    #[serde(default)]
    pub variant: Option<String>,
    /// When.
    #[serde(default)]
    pub time: Times,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Part {
    /// `text`, `tool`, `step-start` …
    #[serde(rename = "type")]
    pub kind: String,
    /// The text of a text part.
    #[serde(default)]
    pub text: Option<String>,
    /// Written by opencode itself.
    #[serde(default)]
    pub synthetic: bool,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// What is known of it.
    pub info: Info,
    /// Its parts.
    #[serde(default)]
    pub parts: Vec<Part>,
}

impl Message {
    /// Its text.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self
            .parts
            .iter()
            .filter(|p| p.kind == "text" && !p.synthetic)
            .filter_map(|p| p.text.as_deref())
            .filter(|text| !text.is_empty())
            .collect();
        texts.join("\n")
    }
}

/// A question for permission.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Permission {
    /// Its id.
    pub id: String,
    /// The session that asks.
    #[serde(rename = "sessionID")]
    pub session: String,
    /// What for: `bash`, `edit` …
    pub permission: String,
    /// What exactly, as patterns.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// Patterns that `always` would allow for good.
    #[serde(default)]
    pub always: Vec<String>,
}

/// An open question of the model's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// The session that asks.
    #[serde(rename = "sessionID")]
    pub session: String,
    /// The questions in it.
    pub questions: Vec<AskedOne>,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AskedOne {
    /// Its text.
    pub question: String,
    /// What can be chosen.
    #[serde(default)]
    pub options: Vec<AskedOption>,
    /// More than one may be chosen.
    #[serde(default)]
    pub multiple: bool,
}

/// What can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AskedOption {
    /// Its name, which is also the answer.
    pub label: String,
}

/// A message to hand over.
#[derive(Debug)]
pub struct Prompt<'a> {
    /// See [`super::ids::native`].
    pub native: &'a str,
    /// mosaic's id of it, kept with it.
    pub id: &'a str,
    /// Its text.
    pub text: &'a str,
    /// The role to play; opencode's default otherwise.
    pub agent: Option<String>,
    /// The model to ask; opencode's default otherwise.
    pub model: Option<Model>,
}

/// An opencode on loopback.
pub struct Client {
    http: ureq::Agent,
    base: String,
    authorization: String,
}

impl std::fmt::Debug for Client {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish()
    }
}

impl Client {
    /// Of the opencode at a port; connects to nothing yet.
    pub fn new(port: u16, secret: &str) -> Self {
        let config = ureq::Agent::config_builder()
            // A proxy of the user's has no part in loopback.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .build();
        Self {
            http: config.into(),
            base: format!("http://127.0.0.1:{port}"),
            authorization: basic(USER, secret),
        }
    }

    /// Whether it answers and takes the secret.
    pub fn health(&self, wait: Duration) -> Result<(), Failure> {
        self.get("/global/health", wait).map(drop::<Value>)
    }

    /// What its sessions do; those at rest are left out.
    pub fn status(&self) -> Result<BTreeMap<String, Status>, Failure> {
        let mut all: BTreeMap<String, Status> = self.get("/session/status", ASK)?;
        all.retain(|_, status| *status != Status::Idle);
        Ok(all)
    }

    /// Its open questions for permission.
    pub fn permissions(&self) -> Result<Vec<Permission>, Failure> {
        self.get("/permission", ASK)
    }

    /// Its other open questions.
    pub fn questions(&self) -> Result<Vec<Asked>, Failure> {
        self.get("/question", ASK)
    }

    /// One session.
    pub fn session(&self, id: &str) -> Result<Session, Failure> {
        self.get(&format!("/session/{id}"), ASK)
    }

    /// The sessions of its directory, those changed last first.
    pub fn sessions(&self) -> Result<Vec<Session>, Failure> {
        self.get("/session", ASK)
    }

    /// Makes a session. One that was not answered for may exist, empty.
    pub fn create(&self) -> Result<Session, Failure> {
        self.post("/session", &json!({}), SEND)
    }

    /// Makes the terminal show a session. True also where no terminal listens yet.
    pub fn select(&self, session: &str) -> Result<(), Failure> {
        self.post("/tui/select-session", &json!({"sessionID": session}), ASK)
            .map(drop::<Value>)
    }

    /// Hands a message over. Handing it over again under the same ids changes nothing: without the
    /// part's id, opencode would add its text to the message once more.
    pub fn prompt(&self, session: &str, prompt: &Prompt<'_>) -> Result<(), Failure> {
        let mut body = json!({
            "messageID": format!("msg_{}", prompt.native),
            "parts": [{
                "id": format!("prt_{}", prompt.native),
                "type": "text",
                "text": prompt.text,
                "metadata": {"mosaic": prompt.id},
            }],
        });
        if let Some(agent) = &prompt.agent {
            body["agent"] = json!(agent);
        }
        if let Some(model) = &prompt.model {
            body["model"] = json!({"providerID": model.provider, "modelID": model.model});
            if let Some(variant) = &model.variant {
                body["variant"] = json!(variant);
            }
        }
        self.post(&format!("/session/{session}/prompt_async"), &body, SEND)
            .map(drop::<Value>)
    }

    /// One message, by the id without its prefix; `None` when the session has none of that id.
    pub fn message(&self, session: &str, native: &str) -> Result<Option<Message>, Failure> {
        match self.get(&format!("/session/{session}/message/msg_{native}"), ASK) {
            Ok(message) => Ok(Some(message)),
            Err(failure) if failure.missing() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The last messages of a session, oldest first.
    pub fn messages(&self, session: &str, last: u32) -> Result<Vec<Message>, Failure> {
        self.get(&format!("/session/{session}/message?limit={last}"), ASK)
    }

    /// Answers a question for permission: `once`, `always` or `reject`.
    pub fn reply(&self, permission: &str, reply: &str) -> Result<(), Failure> {
        let path = format!("/permission/{permission}/reply");
        self.post(&path, &json!({"reply": reply}), ASK)
            .map(drop::<Value>)
    }

    /// Answers the questions of one [`Asked`], each with the labels chosen.
    pub fn answer(&self, question: &str, answers: &[Vec<String>]) -> Result<(), Failure> {
        let path = format!("/question/{question}/reply");
        self.post(&path, &json!({"answers": answers}), ASK)
            .map(drop::<Value>)
    }

    /// Refuses to answer a question.
    pub fn dismiss(&self, question: &str) -> Result<(), Failure> {
        self.post(&format!("/question/{question}/reject"), &json!({}), ASK)
            .map(drop::<Value>)
    }

    fn get<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, Failure> {
        let request = self
            .http
            .get(format!("{}{path}", self.base))
            .header("Authorization", &self.authorization)
            .config()
            .timeout_global(Some(wait))
            .build();
        read(request.call())
    }

    fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        wait: Duration,
    ) -> Result<T, Failure> {
        let request = self
            .http
            .post(format!("{}{path}", self.base))
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/json")
            .config()
            .timeout_global(Some(wait))
            .build();
        read(request.send(body.to_string()))
    }
}

/// Reads an answer; an empty one is `null`.
fn read<T: DeserializeOwned>(
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<T, Failure> {
    let mut answer = answer.map_err(failure)?;
    let status = answer.status().as_u16();
    let body = answer
        .body_mut()
        .with_config()
        .limit(LONGEST)
        .lossy_utf8(true)
        .read_to_string()
        .map_err(|e| Failure::NoAnswer(e.to_string()))?;
    match status {
        200..=299 => {
            let body = if body.is_empty() { "null" } else { &body };
            serde_json::from_str(body).map_err(|e| Failure::NoAnswer(e.to_string()))
        }
        // Whatever broke, it broke on the way through opencode.
        500.. => Err(Failure::NoAnswer(format!("status {status} {body}"))),
        _ => Err(Failure::Refused { status, body }),
    }
}

fn failure(e: ureq::Error) -> Failure {
    use std::io::ErrorKind::ConnectionRefused;
    match &e {
        ureq::Error::Io(io) if io.kind() == ConnectionRefused => {
            Failure::NotSent("connection refused".to_owned())
        }
        ureq::Error::ConnectionFailed | ureq::Error::Timeout(ureq::Timeout::Connect) => {
            Failure::NotSent(e.to_string())
        }
        ureq::Error::Timeout(_) => Failure::NoAnswer("no answer in time".to_owned()),
        _ => Failure::NoAnswer(e.to_string()),
    }
}

#[cfg(test)]
mod tests;
