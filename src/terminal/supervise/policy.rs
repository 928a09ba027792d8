//! What happens after an agent has ended: a pure function of how it ended, its rule and its history.
//! It follows systemd's `Restart=`, `RestartPreventExitStatus=` and `StartLimitBurst=`, and adds a
//! pause that grows while an agent dies again and again.

use std::time::Duration;

use super::status::Ended;
use crate::fleet::{Agent, Restart};

/// Longest pause between two starts.
const LONGEST: Duration = Duration::from_secs(60);
/// An agent that lived this long is healthy again: its next pause is the shortest.
const STEADY: Duration = Duration::from_secs(60);
/// Doubling begins here at the latest, so that a pause of zero grows too.
const SHORTEST_GROWN: Duration = Duration::from_millis(100);
/// Exit status that says that trying again is useless (`EX_CONFIG` of sysexits.h).
const CONFIG: i32 = 78;

/// What the roster says of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Whether it comes back at all.
    pub restart: Restart,
    /// Pause before it does.
    pub delay: Duration,
    /// How many starts are allowed within `interval`; 0 for any number, as in systemd.
    pub burst: u32,
    /// See `burst`; 0 for no limit.
    pub interval: Duration,
}

impl Rule {
    /// From a resolved agent.
    pub fn of(agent: &Agent) -> Self {
        Self {
            restart: agent.restart,
            delay: Duration::from_millis(agent.restart_delay_ms),
            burst: agent.start_limit.burst,
            interval: Duration::from_millis(agent.start_limit.interval_ms),
        }
    }
}

/// Starts so far. Times count from any fixed moment and never go back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct History {
    starts: Vec<Duration>,
    quick_deaths: u32,
}

impl History {
    /// Notes a start.
    pub fn started(&mut self, now: Duration) {
        self.starts.push(now);
    }

    /// Forgets everything: somebody started the agent by hand.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again.
    Again {
        /// After this pause.
        after: Duration,
    },
    /// It is done and stays down.
    Done,
    /// It failed and stays down.
    Failed {
        /// Why, for a person: a fragment.
        why: String,
        /// The start limit was the reason.
        limit: bool,
    },
}

/// Decides. `now` is on the clock of `history`.
pub fn decide(rule: &Rule, history: &mut History, ended: &Ended, now: Duration) -> Verdict {
    if ended.exit_status() == Some(CONFIG) {
        return Verdict::Failed {
            why: "it cannot start as it is configured".into(),
            limit: false,
        };
    }
    if rule.restart == Restart::Never {
        return if ended.clean() {
            Verdict::Done
        } else {
            Verdict::Failed {
                why: "its restart rule is `never`".into(),
                limit: false,
            }
        };
    }
    if history
        .starts
        .last()
        .is_some_and(|start| now.saturating_sub(*start) >= STEADY)
    {
        history.quick_deaths = 0;
    }
    let after = pause(rule.delay, history.quick_deaths);
    history.quick_deaths = history.quick_deaths.saturating_add(1);
    let next = now + after;
    history
        .starts
        .retain(|start| next.saturating_sub(*start) < rule.interval);
    let limited = rule.burst > 0 && !rule.interval.is_zero();
    if limited && history.starts.len() >= rule.burst as usize {
        let plural = if rule.burst == 1 { "" } else { "s" };
        return Verdict::Failed {
            why: format!(
                "{} start{plural} in {} s",
                rule.burst,
                rule.interval.as_secs_f64()
            ),
            limit: true,
        };
    }
    Verdict::Again { after }
}

/// The pause after so many quick deaths in a row: it doubles up to [`LONGEST`], and is never
/// shorter than asked for.
fn pause(delay: Duration, quick_deaths: u32) -> Duration {
    if quick_deaths == 0 {
        return delay;
    }
    let factor = 1_u32 << quick_deaths.min(16);
    delay
        .max(SHORTEST_GROWN / 2)
        .saturating_mul(factor)
        .min(LONGEST)
        .max(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn rule(restart: Restart, delay: Duration, burst: u32, interval: Duration) -> Rule {
        Rule {
            restart,
            delay,
            burst,
            interval,
        }
    }

    fn exit(status: i32) -> Ended {
        Ended::exited(status)
    }

    #[test]
    fn the_rule_and_the_ending_decide() {
        let failed = |v: &Verdict| matches!(v, Verdict::Failed { limit: false, .. });
        let table: [(Restart, Ended, &str); 9] = [
            (Restart::Always, exit(0), "again"),
            (Restart::Always, exit(3), "again"),
            (Restart::Always, Ended::killed(9, false), "again"),
            (Restart::Always, exit(78), "failed"),
            (Restart::Never, exit(78), "failed"),
            (Restart::Never, exit(0), "done"),
            (Restart::Never, exit(129), "done"),
            (Restart::Never, Ended::killed(1, false), "done"),
            (Restart::Never, Ended::killed(11, true), "failed"),
        ];
        for (restart, ended, want) in table {
            let rule = rule(restart, S(1), 5, S(300));
            let mut history = History::default();
            history.started(S(0));
            let verdict = decide(&rule, &mut history, &ended, S(1));
            let got = match &verdict {
                Verdict::Again { .. } => "again",
                Verdict::Done => "done",
                v if failed(v) => "failed",
                _ => "limit",
            };
            assert_eq!(got, want, "{restart:?} {ended:?}");
        }
    }

    /// Plays an agent that lives for each of `lives` in turn; the pauses until it was given up.
    fn play(rule: &Rule, lives: &[Duration]) -> (Vec<Duration>, Option<String>) {
        let (mut history, mut now, mut pauses) = (History::default(), S(1000), Vec::new());
        for life in lives {
            history.started(now);
            now += *life;
            match decide(rule, &mut history, &exit(1), now) {
                Verdict::Again { after } => {
                    pauses.push(after);
                    now += after;
                }
                Verdict::Failed { why, .. } => return (pauses, Some(why)),
                Verdict::Done => return (pauses, Some("done".into())),
            }
        }
        (pauses, None)
    }

    #[test]
    fn pauses_grow_to_a_minute_and_shrink_after_a_steady_life() {
        let unlimited = rule(Restart::Always, S(1), 0, S(300));
        let (pauses, end) = play(&unlimited, &[S(0); 9]);
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60].map(S));
        assert_eq!(end, None);
        let (pauses, _) = play(&unlimited, &[S(0), S(0), S(60), S(0), S(59)]);
        assert_eq!(pauses, [1, 2, 1, 2, 4].map(S));
        let (pauses, _) = play(&rule(Restart::Always, S(0), 0, S(0)), &[S(0); 4]);
        assert_eq!(pauses, [0, 100, 200, 400].map(MS));
        let (pauses, _) = play(&rule(Restart::Always, S(90), 0, S(0)), &[S(0); 3]);
        assert_eq!(pauses, [90, 90, 90].map(S), "never shorter than asked for");
        let (pauses, _) = play(&unlimited, &[S(0); 80]);
        assert_eq!(pauses.last(), Some(&S(60)), "no overflow");
    }

    #[test]
    fn the_start_limit_ends_a_crash_loop_and_lets_a_daily_death_pass() {
        let five = rule(Restart::Always, S(1), 5, S(300));
        assert_eq!(
            play(&five, &[S(0); 9]),
            (
                [1, 2, 4, 8].map(S).to_vec(),
                Some("5 starts in 300 s".into())
            )
        );
        assert_eq!(play(&five, &[S(86_400); 40]).1, None);
        // The pause counts: with it, the oldest start is out of the interval when the next is due.
        assert_eq!(
            play(&rule(Restart::Always, S(10), 2, S(15)), &[S(0); 4]).1,
            None
        );
        assert_eq!(
            play(&rule(Restart::Always, MS(10), 1, MS(1500)), &[S(0)]).1,
            Some("1 start in 1.5 s".into())
        );
    }

    #[test]
    fn a_start_by_hand_begins_anew() {
        let five = rule(Restart::Always, S(1), 2, S(300));
        let mut history = History::default();
        for _ in 0..2 {
            history.started(S(1));
            let _ = decide(&five, &mut history, &exit(1), S(1));
        }
        history.reset();
        history.started(S(2));
        assert_eq!(
            decide(&five, &mut history, &exit(1), S(2)),
            Verdict::Again { after: S(1) }
        );
    }
}
