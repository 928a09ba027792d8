//! The situations in which a message meets an agent.

/// A situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Situation {
    /// At its prompt, with nothing to do.
    Idle,
    /// In a turn.
    Busy,
    /// Somebody's half-typed text stands in the box.
    Draft,
    /// Ten senders at the same moment.
    Burst,
    /// An approval dialog is open.
    Approval,
    /// Its process was killed and begins anew.
    Starting,
    /// Stopped.
    Dead,
    /// Its pane is in tmux's copy mode.
    CopyMode,
    /// Another agent's name begins with its name.
    Pair,
}

impl Situation {
    /// In the order of the table.
    pub const ALL: [Situation; 9] = [
        Situation::Idle,
        Situation::Busy,
        Situation::Draft,
        Situation::Burst,
        Situation::Approval,
        Situation::Starting,
        Situation::Dead,
        Situation::CopyMode,
        Situation::Pair,
    ];

    /// As in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Situation::Idle => "idle",
            Situation::Busy => "busy",
            Situation::Draft => "draft",
            Situation::Burst => "burst of 10",
            Situation::Approval => "approval open",
            Situation::Starting => "starting",
            Situation::Dead => "dead",
            Situation::CopyMode => "copy mode",
            Situation::Pair => "`a` beside `ab`",
        }
    }

    /// How long a sender waits for the agent, in seconds. Where the situation ends only after the
    /// senders, there is no sense in waiting.
    pub const fn patience(self) -> u64 {
        match self {
            Situation::Busy | Situation::Draft | Situation::Approval | Situation::Dead => 1,
            Situation::Idle
            | Situation::Burst
            | Situation::Starting
            | Situation::CopyMode
            | Situation::Pair => 45,
        }
    }

    /// Senders at the same moment.
    pub const fn senders(self) -> usize {
        match self {
            Situation::Burst => 10,
            _ => 1,
        }
    }
}
