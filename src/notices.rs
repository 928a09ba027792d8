//! Which changes of an agent's state are told to whom: commands of the roster's `on`, and messages
//! to the person by `notify`. Pure; [`crate::courier`] does it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::state::State;

/// Commands, by the state an agent goes over to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct On {
    /// It asks a person something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// It is down and is not started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Its provider refuses more requests for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limited: Option<String>,
    /// It has done what it was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
}

impl On {
    /// The command for a change, if there is one. An empty one takes back that of `defaults`.
    pub fn command(&self, from: Option<State>, to: State) -> Option<&str> {
        let command = match to {
            State::Waiting => &self.waiting,
            State::Failed => &self.failed,
            State::RateLimited => &self.rate_limited,
            // Not at every start: only after a turn.
            State::Idle if matches!(from, Some(State::Working | State::Waiting)) => &self.idle,
            _ => &None,
        };
        // What it was doing when the courier began is no change.
        from.and(command.as_deref())
            .filter(|c| !c.trim().is_empty())
    }

    /// These commands, and where there is none those of `defaults`.
    #[must_use]
    pub fn over(self, defaults: Self) -> Self {
        Self {
            waiting: self.waiting.or(defaults.waiting),
            failed: self.failed.or(defaults.failed),
            rate_limited: self.rate_limited.or(defaults.rate_limited),
            idle: self.idle.or(defaults.idle),
        }
    }

    /// Each command with the key it stands under.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("waiting", &self.waiting),
            ("failed", &self.failed),
            ("rate-limited", &self.rate_limited),
            ("idle", &self.idle),
        ]
        .into_iter()
        .filter_map(|(key, command)| Some((key, command.as_deref()?)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.commands().next().is_none()
    }
}

/// How a person is told that an agent needs them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Notify {
    /// Not at all.
    #[default]
    Off,
    /// By `notify-send`.
    Desktop,
    /// By the terminals that are attached to the fleet's tmux server (OSC 9 or 777).
    Osc,
}

/// Whether a person is told of a change: only of what needs one.
pub fn needs_a_person(from: Option<State>, to: State) -> bool {
    from.is_some() && matches!(to, State::Waiting | State::Failed | State::RateLimited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_a_command_and_a_beginning_has_none() {
        let on = On {
            waiting: Some("w".into()),
            idle: Some("i".into()),
            failed: Some(" ".into()),
            rate_limited: None,
        };
        let table = [
            (Some(State::Working), State::Waiting, Some("w")),
            (Some(State::Unknown), State::Waiting, Some("w")),
            (None, State::Waiting, None),
            (Some(State::Working), State::Idle, Some("i")),
            (Some(State::Waiting), State::Idle, Some("i")),
            (Some(State::Starting), State::Idle, None),
            (Some(State::Unknown), State::Idle, None),
            (Some(State::Working), State::Failed, None),
            (Some(State::Working), State::RateLimited, None),
            (Some(State::Idle), State::Working, None),
        ];
        for (from, to, want) in table {
            assert_eq!(on.command(from, to), want, "{from:?} -> {to}");
        }
        assert!(needs_a_person(Some(State::Working), State::Failed));
        assert!(!needs_a_person(None, State::Failed));
        assert!(!needs_a_person(Some(State::Working), State::Idle));
    }

    #[test]
    fn commands_are_merged_one_by_one() {
        let defaults = On {
            waiting: Some("d".into()),
            idle: Some("d".into()),
            ..On::default()
        };
        let own = On {
            waiting: Some(String::new()),
            failed: Some("o".into()),
            ..On::default()
        };
        let both = own.over(defaults);
        let change = |to| both.command(Some(State::Working), to);
        assert_eq!(change(State::Waiting), None);
        assert_eq!(change(State::Failed), Some("o"));
        assert_eq!(change(State::Idle), Some("d"));
        assert!(On::default().is_empty() && !both.is_empty());
    }
}
