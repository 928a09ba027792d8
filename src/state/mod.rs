//! stub
use crate::host::tmux::Pane;
use crate::install::Install;
use crate::launch::Launch;
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Starting,
    Idle,
    Working,
    Waiting,
    Unknown,
    Exited,
    Failed,
}
impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
#[derive(Debug, Clone, serde::Serialize)]
pub struct Evidence {
    pub source: String,
    pub what: String,
    pub since: Option<jiff::Timestamp>,
}
#[derive(Debug, Clone, serde::Serialize)]
pub struct Observation {
    pub state: State,
    pub evidence: Evidence,
}
pub fn observe(_: &Install, _: &Launch, _: &[Pane], _: bool) -> Observation {
    Observation {
        state: State::Unknown,
        evidence: Evidence {
            source: "none".into(),
            what: String::new(),
            since: None,
        },
    }
}
impl Evidence {
    pub fn unit(w: impl Into<String>) -> Self {
        Evidence {
            source: "unit".into(),
            what: w.into(),
            since: None,
        }
    }
}
impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.source, self.what)
    }
}
