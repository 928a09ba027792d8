//! Since when the better way into an agent does not stand, over all processes that tried it. A worse
//! way is not taken at once: an agent that starts opens its socket some time after it drew its box, and
//! one that is busy with itself answers late.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::channel::ChannelKind;
use super::stop::Stop;
use crate::host::files;
use crate::paths::Paths;
use crate::record::Run;

/// So long nothing is typed where the better way is silent. Chosen: pi's socket stands 1 s after its
/// start on an idle machine, and some seconds after it on a busy one; a question to it is given up
/// after two seconds.
pub const PREFER: Duration = Duration::from_secs(10);

/// So long a message waits that only the worse way cannot take. Longer than any start.
pub const HOPE: Duration = Duration::from_secs(600);

/// Silences further apart than this are two: nobody asked in between.
const APART: SignedDuration = SignedDuration::from_secs(30);

/// How exactly the last silence is kept: a waiting sender tries often.
const OFTEN: SignedDuration = SignedDuration::from_secs(1);

/// A better way than the one that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Better {
    /// Which one.
    pub kind: ChannelKind,
    /// Why it does not stand.
    pub why: Stop,
    /// Since when.
    pub silent: Duration,
}

/// What is kept of it. Times of a clock that may be set: a wrong one costs one wait more or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    since: Timestamp,
    last: Timestamp,
}

impl Kept {
    /// With a silence more, of an agent that was started then.
    fn after(old: Option<Self>, started: Timestamp, now: Timestamp) -> Self {
        let settled = |k: &Self| k.last.duration_since(k.since).unsigned_abs() >= PREFER;
        let goes_on = old.filter(|k| {
            let near = now.duration_since(k.last) < APART;
            k.since >= started && now >= k.last && (near || settled(k))
        });
        let since = match (goes_on, old) {
            (Some(kept), _) => kept.since,
            // It never answered since its start, as far as is known.
            (None, _) if now.duration_since(started) < APART => started,
            (None, _) => now,
        };
        Self {
            since: since.min(now),
            last: now,
        }
    }
}

fn file(paths: &Paths, agent: &str) -> PathBuf {
    paths.runtime.join("sock").join(format!("{agent}.silent"))
}

impl Better {
    /// Of an agent whose better way was just found not to stand; `None` where no time mends that.
    pub fn of(paths: &Paths, agent: &str, kind: ChannelKind, why: Stop) -> Option<Self> {
        // One that does not run has not begun to be silent.
        let run = Run::load(paths, agent).ok().flatten().filter(Run::alive);
        why.retry.then(|| Self {
            kind,
            why,
            silent: run.map_or(Duration::ZERO, |run| noted(paths, agent, run.started)),
        })
    }
}

/// Notes that the better way does not stand, and returns since when.
fn noted(paths: &Paths, agent: &str, started: Timestamp) -> Duration {
    let (file, now) = (file(paths, agent), Timestamp::now());
    let old: Option<Kept> = files::read_json(&file).ok().flatten();
    let kept = Kept::after(old, started, now);
    let fresh = old.is_none_or(|o| o.since != kept.since || now.duration_since(o.last) >= OFTEN);
    if fresh {
        // Where it cannot be kept, each silence is the first one: the message waits longer.
        let made = file.parent().map_or(Ok(()), files::make_private_dir);
        let _ =
            made.and_then(|()| files::write_atomic(&file, files::to_json(&kept).as_bytes(), 0o600));
    }
    now.duration_since(kept.since).unsigned_abs()
}

/// The better way stands.
pub fn over(paths: &Paths, agent: &str) {
    let _ = files::remove(&file(paths, agent));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_silence_lasts_from_its_first_sign_or_from_the_start() {
        let since = |old: Option<(i64, i64)>, started: i64, now: i64| {
            let old = old.map(|(since, last)| Kept {
                since: at(since),
                last: at(last),
            });
            Kept::after(old, at(started), at(now)).since
        };
        // Just started.
        assert_eq!(since(None, 100, 103), at(100));
        // It has run for long.
        assert_eq!(since(None, 100, 1000), at(1000));
        assert_eq!(since(Some((1000, 1005)), 100, 1007), at(1000));
        // Nobody asked for a long time.
        assert_eq!(since(Some((1000, 1005)), 100, 2000), at(2000));
        // As long as that, it is not believed to have ended unseen: each message would wait anew.
        assert_eq!(since(Some((1000, 1010)), 100, 2000), at(1000));
        // Of the process before.
        assert_eq!(since(Some((1000, 1005)), 1006, 1010), at(1006));
        // A clock that was set back.
        assert_eq!(since(Some((1000, 1005)), 100, 900), at(900));
        assert_eq!(since(None, 1000, 900), at(900));
    }

    #[test]
    fn it_is_kept_until_the_way_stands() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            home: dir.path().into(),
            roster: dir.path().join("roster"),
            state: dir.path().into(),
            runtime: dir.path().join("r"),
            units: dir.path().into(),
        };
        let started = Timestamp::now() - SignedDuration::from_secs(3600);
        assert!(noted(&paths, "a", started) < Duration::from_secs(1));
        let old = Timestamp::now() - SignedDuration::from_secs(20);
        let kept = Kept {
            since: old,
            last: old,
        };
        std::fs::write(file(&paths, "a"), files::to_json(&kept)).unwrap();
        assert!(noted(&paths, "a", started) >= PREFER);
        over(&paths, "a");
        assert!(noted(&paths, "a", started) < Duration::from_secs(1));
    }
}
