//! Sessions and configuration of a stand-in, as goosed keeps them: counted per day from the highest one
//! there is, so a deleted last one's name comes again; on disk they survive a SIGKILL, and two processes
//! with one directory share them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lock;

/// A session, with its fields in goosed's order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    pub id: String,
    pub working_dir: String,
    pub name: String,
    pub user_set_name: bool,
    pub session_type: String,
    pub created_at: String,
    pub updated_at: String,
    pub extension_data: Value,
    pub total_tokens: Option<i64>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub accumulated_total_tokens: Option<i64>,
    pub accumulated_input_tokens: Option<i64>,
    pub accumulated_output_tokens: Option<i64>,
    pub accumulated_cost: Option<f64>,
    pub schedule_id: Option<String>,
    pub recipe: Option<Value>,
    pub user_recipe_values: Option<BTreeMap<String, String>>,
    pub conversation: Option<Vec<Value>>,
    pub message_count: usize,
    pub provider_name: Option<String>,
    pub model_config: Option<Value>,
    pub goose_mode: String,
}

impl Session {
    /// As lists give it.
    pub fn brief(&self) -> Self {
        Self {
            conversation: None,
            ..self.clone()
        }
    }
}

/// All that is kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Kept {
    pub sessions: BTreeMap<String, Session>,
    pub config: BTreeMap<String, Value>,
    pub secrets: BTreeMap<String, Value>,
    pub extensions: BTreeMap<String, Value>,
}

impl Kept {
    /// A new session, whose directory nobody looks at.
    pub fn begin(&mut self, working_dir: &str) -> Session {
        let now = jiff::Timestamp::now();
        let day = now.strftime("%Y%m%d").to_string();
        let highest = self
            .sessions
            .keys()
            .filter_map(|id| id.strip_prefix(&format!("{day}_"))?.parse::<u64>().ok())
            .max();
        let session = Session {
            id: format!("{day}_{}", highest.unwrap_or(0) + 1),
            working_dir: working_dir.to_owned(),
            name: "New Chat".to_owned(),
            user_set_name: false,
            session_type: "user".to_owned(),
            created_at: now.to_string(),
            updated_at: now.to_string(),
            extension_data: serde_json::json!({"enabled_extensions.v0": {"extensions": []}}),
            total_tokens: None,
            input_tokens: None,
            output_tokens: None,
            accumulated_total_tokens: None,
            accumulated_input_tokens: None,
            accumulated_output_tokens: None,
            accumulated_cost: None,
            schedule_id: None,
            recipe: None,
            user_recipe_values: None,
            conversation: Some(Vec::new()),
            message_count: 0,
            provider_name: None,
            model_config: None,
            goose_mode: "auto".to_owned(),
        };
        self.sessions.insert(session.id.clone(), session.clone());
        session
    }

    /// Adds a message.
    pub fn add(&mut self, id: &str, message: Value) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let all = session.conversation.get_or_insert_default();
        all.push(message);
        session.message_count = all.len();
        session.total_tokens = Some(session.total_tokens.unwrap_or(0) + 10);
        session.updated_at = jiff::Timestamp::now().to_string();
    }
}

/// Where it is kept.
#[derive(Debug)]
pub struct Store {
    directory: Option<PathBuf>,
    memory: Mutex<Kept>,
}

impl Store {
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self {
            directory,
            memory: Mutex::default(),
        }
    }

    /// Reads and changes; what changed is on disk when it returns.
    pub fn with<T>(&self, run: impl FnOnce(&mut Kept) -> T) -> T {
        let mut memory = lock(&self.memory);
        let Some(directory) = &self.directory else {
            return run(&mut memory);
        };
        std::fs::create_dir_all(directory).unwrap();
        let locked = File::create(directory.join("lock")).unwrap();
        rustix::fs::flock(&locked, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let file = directory.join("stand-in.json");
        let before = std::fs::read(&file).unwrap_or_default();
        let mut kept: Kept = serde_json::from_slice(&before).unwrap_or_default();
        let result = run(&mut kept);
        let after = serde_json::to_vec(&kept).unwrap();
        if after != before {
            let new = directory.join("stand-in.json.new");
            std::fs::write(&new, after).unwrap();
            std::fs::rename(&new, &file).unwrap();
        }
        result
    }
}
