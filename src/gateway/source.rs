//! The nodes of this host for the gateway, as the observer of `routing` finds them.

use std::time::Duration;

use super::nodes::Endpoint;
use super::observe::Source;
use crate::error::Result;
use crate::install::Install;
use crate::paths::Paths;
use crate::routing::adverts::Published;
use crate::routing::node::{Advert, Node};
use crate::routing::observe::Observer;

struct Fleet {
    observer: Observer,
    paths: Paths,
}

/// The nodes of a fleet.
///
/// # Errors
/// What there is of them cannot be read.
pub fn of(install: &Install) -> Result<Box<dyn Source>> {
    Ok(Box::new(Fleet {
        observer: Observer::new(install)?,
        paths: install.paths.clone(),
    }))
}

impl Source for Fleet {
    fn refresh(&mut self) -> Result<()> {
        self.observer.refresh()
    }

    fn nodes(&self) -> Vec<(Node, Option<Endpoint>)> {
        self.observer
            .nodes()
            .iter()
            .map(|known| {
                let node = known.node.clone();
                let endpoint = known
                    .endpoint
                    .as_ref()
                    .map(|at| Endpoint::new(&node.id, node.dialect, at.port, &at.secret));
                (node, endpoint)
            })
            .collect()
    }

    fn observe(&mut self, wait: Duration) -> Vec<Advert> {
        self.observer.observe(wait)
    }

    fn publish(&self, adverts: &[Advert]) -> Result<()> {
        Published::now(adverts.to_vec()).write(&self.paths)
    }
}
