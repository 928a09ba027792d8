//! Places chats for real: joins what is known of the nodes with what is written down, by the fleet's
//! policy. What the gateway published a moment ago is good enough; without it the nodes are observed here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::adverts::Published;
use super::node::{Advert, Health, Node};
use super::observe::{Known, LONGEST, Observer};
use super::pins::{Ledger, Pins, Placing};
use super::placement::{self, Candidate, Empty, Filter, Placed, Rules, Verdict, Wish};
use super::policy::Policy;
use crate::error::{Error, Result};
use crate::install::Install;

/// Observations until an agent counts as one that cannot be looked at; each lasts a second at most, and
/// is waited for by a person.
const PATIENCE: usize = 5;

/// Who observed the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The gateway.
    Gateway,
    /// This process.
    Here,
}

/// Everything that a placement goes by.
#[derive(Debug)]
pub struct Chooser {
    install: Install,
    observer: Observer,
    policy: Policy,
    adverts: BTreeMap<String, Advert>,
    source: Source,
    left_out: BTreeSet<String>,
}

impl Chooser {
    /// Of an installed fleet, as it is now.
    ///
    /// # Errors
    /// The policy is damaged, or from a newer mosaic.
    pub fn new(install: &Install) -> Result<Self> {
        let mut chooser = Self {
            install: install.clone(),
            observer: Observer::new(install)?,
            policy: Policy::default(),
            adverts: BTreeMap::new(),
            source: Source::Here,
            left_out: BTreeSet::new(),
        };
        chooser.look()?;
        Ok(chooser)
    }

    /// Looks again.
    ///
    /// # Errors
    /// As of [`Chooser::new`].
    pub fn refresh(&mut self) -> Result<()> {
        self.observer.refresh()?;
        self.look()
    }

    /// Observes the nodes here and now, whatever was published. A machine that is so busy that its tmux
    /// needs longer than an observation lasts is given a few of them.
    pub fn observe(&mut self) {
        for _ in 0..PATIENCE {
            let adverts = self.observer.observe(LONGEST);
            self.take(Source::Here, adverts);
            let unseen = |k: &Known| {
                let health = self.advert(&k.node.id).map(|a| &a.health);
                !k.is_server() && matches!(health, Some(Health::Timeout(_)))
            };
            if !self.nodes().iter().any(unseen) {
                break;
            }
        }
    }

    fn take(&mut self, source: Source, adverts: Vec<Advert>) {
        self.source = source;
        self.adverts = adverts.into_iter().map(|a| (a.id.clone(), a)).collect();
    }

    fn look(&mut self) -> Result<()> {
        self.policy = Policy::load(&self.install.paths)?;
        let interval = Duration::from_secs(self.policy.publish_interval_secs);
        let published = Published::fresh(&self.install.paths, interval).filter(|published| {
            // One that was added since was not observed.
            self.observer
                .nodes()
                .iter()
                .all(|k| published.adverts.iter().any(|a| a.id == k.node.id))
        });
        match published {
            Some(published) => self.take(Source::Gateway, published.adverts),
            None => self.observe(),
        }
        Ok(())
    }

    /// The nodes, in the order of their names.
    pub fn nodes(&self) -> &[Known] {
        self.observer.nodes()
    }

    /// One node.
    pub fn node(&self, id: &str) -> Option<&Known> {
        self.nodes().iter().find(|k| k.node.id == id)
    }

    /// What was observed of a node last.
    pub fn advert(&self, id: &str) -> Option<&Advert> {
        self.adverts.get(id)
    }

    /// Places from now on as if only these nodes were there.
    pub fn only(&mut self, these: impl Fn(&Known) -> bool) {
        let others = self.nodes().iter().filter(|known| !these(known));
        self.left_out = others.map(|known| known.node.id.clone()).collect();
    }

    /// Who observed.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The pins, those that were not used for longer than the policy keeps them released.
    ///
    /// # Errors
    /// They cannot be opened or written.
    pub fn pins(&self) -> Result<Pins> {
        let pins = Pins::open(&self.install.paths)?;
        if let Some(secs) = self.policy.pin_ttl_secs {
            let ttl = SignedDuration::from_secs(i64::try_from(secs).unwrap_or(i64::MAX));
            pins.expire(ttl, Timestamp::now())?;
        }
        Ok(pins)
    }

    /// Pins a named chat to the best node, unless it is pinned already.
    ///
    /// # Errors
    /// As of [`Chooser::choose`]; the name is none; the pins cannot be written.
    pub fn place_chat(&self, pins: &mut Pins, chat: &str, wish: &Wish) -> Result<Placing> {
        pins.place(chat, |ledger| {
            self.choose(ledger, wish).map_err(|e| Error {
                message: format!("{} `{chat}`", e.message),
                ..e
            })
        })
    }

    /// The best node, for [`Pins::place`] and [`Pins::reserve`].
    ///
    /// # Errors
    /// Kind `No`: no node is eligible; which filter took the last ones, and what to type.
    pub fn choose(&self, ledger: &Ledger, wish: &Wish) -> Result<Node> {
        self.decide(ledger, wish)
            .map(|placed| placed.node.clone())
            .map_err(|empty| refusal(&empty))
    }

    /// The best node, and why it is the one.
    ///
    /// # Errors
    /// No node is eligible.
    pub fn decide(&self, ledger: &Ledger, wish: &Wish) -> Result<Placed<'_>, Empty> {
        placement::place(&self.candidates(ledger), &self.rules(ledger, wish))
    }

    /// What is decided about each node.
    pub fn explain(&self, ledger: &Ledger, wish: &Wish) -> Vec<Verdict> {
        placement::explain(&self.candidates(ledger), &self.rules(ledger, wish))
    }

    fn candidates(&self, ledger: &Ledger) -> Vec<Candidate<'_>> {
        self.nodes()
            .iter()
            .filter(|known| !self.left_out.contains(&known.node.id))
            .map(|known| {
                let id = &known.node.id;
                Candidate {
                    node: &known.node,
                    advert: self.adverts.get(id),
                    chats: ledger.chats.get(id).copied().unwrap_or(0),
                    drained: ledger.drained.contains(id),
                }
            })
            .collect()
    }

    fn rules<'r>(&'r self, ledger: &'r Ledger, wish: &'r Wish) -> Rules<'r> {
        Rules {
            policy: &self.policy,
            wish,
            history: &ledger.history,
            now: Timestamp::now(),
        }
    }
}

/// No node was left, as an error: which filter took the last ones, of which node it said what, and what
/// to type.
pub fn refusal(empty: &Empty) -> Error {
    let error = Error::no("no node can take the chat");
    let Some(filter) = empty.filter else {
        return error
            .because(empty)
            .hint("every enabled agent is a node: `mosaic fleet up` starts those of the roster");
    };
    let hint = match filter {
        Filter::Selector => "`mosaic node list` shows names, classes and labels",
        Filter::Drained => "`mosaic node undrain NAME` lets chats on it again",
        Filter::NextTarget => "`mosaic node next --clear` takes back where the next chat is to go",
        Filter::Unknown | Filter::Stale => "`mosaic node list` observes them anew",
        Filter::Health => "`mosaic node list` shows how they are, `mosaic agent explain NAME` why",
        Filter::Cpu => "try again later, or raise `routing.max_cpu_load_pct` in the roster",
        Filter::Memory => "try again later, or raise `routing.max_memory_used_pct` in the roster",
        Filter::Disk => "make room, or lower `routing.min_disk_available_bytes` in the roster",
        Filter::MaxChats => "`mosaic pin list` shows the chats, `mosaic pin release CHAT` ends one",
    };
    error
        .because(format!(
            "the filter `{}` left none: {empty}",
            filter.as_str()
        ))
        .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_that_left_none_is_named_with_what_to_type() {
        let empty = |filter| Empty {
            nodes: 2,
            filter,
            last: vec![
                ("a".into(), "is drained".into()),
                ("b".into(), "is drained".into()),
            ],
        };
        let e = refusal(&empty(Some(Filter::Drained)));
        assert_eq!(
            e.to_string(),
            "no node can take the chat: the filter `drained` left none: 2 of 2 nodes: each is drained"
        );
        assert_eq!(e.kind, crate::error::Kind::No);
        assert!(e.hints[0].contains("undrain"), "{e:?}");
        let e = refusal(&Empty {
            nodes: 0,
            filter: None,
            last: vec![],
        });
        assert_eq!(
            e.to_string(),
            "no node can take the chat: the fleet has no nodes"
        );
    }
}
