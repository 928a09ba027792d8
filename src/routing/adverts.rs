//! Adverts as the gateway publishes them, so that others need not observe the nodes once more.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::node::Advert;
use super::observe::LONGEST;
use crate::error::Result;
use crate::host::files;
use crate::host::owner::Owner;
use crate::paths::Paths;

/// Version written. It lives no longer than the runtime directory; a newer one is not read.
const VERSION: u32 = 1;

/// All adverts of one observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Format version.
    version: u32,
    /// Who observed.
    observer: Owner,
    /// When it was written.
    pub written: Timestamp,
    /// What was observed.
    pub adverts: Vec<Advert>,
}

impl Published {
    /// What this process has observed just now.
    pub fn now(adverts: Vec<Advert>) -> Self {
        Self {
            version: VERSION,
            observer: Owner::this(),
            written: Timestamp::now(),
            adverts,
        }
    }

    /// Publishes it, mode 0600: why a node is not healthy may quote its screen.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, paths: &Paths) -> Result<()> {
        files::write_record(&paths.adverts(), files::to_json(self).as_bytes())
    }

    /// The adverts that a living observer published last, if they are no older than its interval. `None`
    /// also where they cannot be read: then one observes oneself.
    pub fn fresh(paths: &Paths, interval: Duration) -> Option<Self> {
        Self::read(&paths.adverts(), interval, Timestamp::now())
    }

    fn read(path: &Path, interval: Duration, now: Timestamp) -> Option<Self> {
        let published = files::read_json::<Self>(path).ok()??;
        // Between two of them lies the interval, and the observation itself.
        let most = SignedDuration::try_from(interval + LONGEST).ok()?;
        let age = now.duration_since(published.written);
        (published.version == VERSION && age <= most && published.observer.lives())
            .then_some(published)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::routing::node::{Health, Load};

    #[test]
    fn adverts_are_read_while_fresh_and_their_observer_lives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("adverts.json");
        let advert = |health| Advert {
            id: "a".into(),
            observed: Timestamp::now(),
            health,
            load: Load {
                cpu_load_pct: 12.5,
                agent_memory_bytes: Some(7),
                ..Load::default()
            },
            rtt_ms: 0.25,
            state: "idle".into(),
        };
        let all = vec![
            advert(Health::Healthy),
            advert(Health::Timeout("port 1".into())),
        ];
        let published = Published::now(all);
        let write = |p: &Published| {
            files::write_record(&path, files::to_json(p).as_bytes()).unwrap();
        };
        let interval = Duration::from_secs(5);
        let read = |later: i64| {
            let now = published.written + SignedDuration::from_secs(later);
            Published::read(&path, interval, now)
        };
        assert_eq!(read(0), None);
        write(&published);
        assert_eq!(read(0).as_ref(), Some(&published));
        assert_eq!(read(6).as_ref(), Some(&published));
        assert_eq!(read(7), None);
        let mut of_the_dead = published.clone();
        of_the_dead.observer.pid = i32::MAX;
        write(&of_the_dead);
        assert_eq!(read(0), None);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(read(0), None);
    }
}
