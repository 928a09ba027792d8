//! A node's process: what names it, and what is known of it. All of that is void once another process listens in
//! its place.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::gateway::lock;
use crate::gateway::nodes::Live;
use crate::host::listening;

/// What names a node's process: its listener. `None`: nobody listens.
pub async fn name(live: &Live) -> Option<String> {
    let port = live.endpoint.as_ref()?.port;
    let name = tokio::task::spawn_blocking(move || listening::name_on_loopback(port));
    name.await.ok()?
}

/// What is known of each node's process.
#[derive(Debug, Default)]
pub struct Known<T>(Mutex<BTreeMap<String, (String, T)>>);

impl<T: Default> Known<T> {
    /// Of the process of this name; what was known of an earlier one is forgotten.
    pub fn with<R>(&self, live: &Live, process: &str, run: impl FnOnce(&mut T) -> R) -> R {
        let mut all = lock(&self.0);
        let of = all.entry(live.node.id.clone()).or_default();
        if of.0 != process {
            *of = (process.to_owned(), T::default());
        }
        run(&mut of.1)
    }

    /// Of whatever process was known last.
    pub fn of_any(&self, live: &Live, run: impl FnOnce(&mut T)) {
        if let Some((_, of)) = lock(&self.0).get_mut(&live.node.id) {
            run(of);
        }
    }
}
