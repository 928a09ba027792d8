//! On which node a chat is placed. Pure: the same nodes, adverts, policy and wish give the same answer,
//! in whatever order the nodes come.
//!
//! First the filters, in the order of [`Filter`]; then, of those that are left: the one-shot target, the
//! preferred host, the strategy; ties go to the higher priority, the lower host, the lower id.

use std::cmp::Ordering;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::node::{Advert, Dialect, Health, Node};
use super::policy::{Policy, Strategy};
use super::select::Selector;

/// A node with what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The node.
    pub node: &'a Node,
    /// What was observed last; `None` where nothing ever was.
    pub advert: Option<&'a Advert>,
    /// Chats pinned to it, those that are just being placed included.
    pub chats: u32,
    /// It is to get no new chats.
    pub drained: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Which nodes come into question.
    pub selector: Selector,
    /// In place of the policy's strategy.
    pub strategy: Option<Strategy>,
    /// In place of the policy's preferred host.
    pub host: Option<String>,
}

/// What earlier placements have left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The node chosen last.
    pub last_node: Option<String>,
    /// Its host.
    pub last_host: Option<String>,
    /// Where the next chat is to go, whatever the scores.
    pub next_target: Option<Selector>,
}

/// Why a node comes into question or not, in the order in which it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// The selector names other nodes.
    Selector,
    /// It is drained.
    Drained,
    /// The next chat is to go elsewhere.
    NextTarget,
    /// Nothing is known of it.
    Unknown,
    /// What is known of it is too old.
    Stale,
    /// It is not healthy.
    Health,
    /// Its host is too busy.
    Cpu,
    /// Its host has too little memory left.
    Memory,
    /// Its file system has too little room.
    Disk,
    /// It has as many chats as it may.
    MaxChats,
}

impl Filter {
    const ALL: [Filter; 10] = [
        Filter::Selector,
        Filter::Drained,
        Filter::NextTarget,
        Filter::Unknown,
        Filter::Stale,
        Filter::Health,
        Filter::Cpu,
        Filter::Memory,
        Filter::Disk,
        Filter::MaxChats,
    ];

    /// As printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Filter::Selector => "selector",
            Filter::Drained => "drained",
            Filter::NextTarget => "next-target",
            Filter::Unknown => "unknown",
            Filter::Stale => "stale",
            Filter::Health => "health",
            Filter::Cpu => "cpu",
            Filter::Memory => "memory",
            Filter::Disk => "disk",
            Filter::MaxChats => "max-chats",
        }
    }
}

/// Why one node was rejected, with the figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rejection {
    /// By which filter.
    pub filter: Filter,
    /// In words.
    pub why: String,
}

/// The terms of a score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Terms {
    /// Round trip.
    pub rtt: f64,
    /// Chats.
    pub active_chats: f64,
    /// Processor load.
    pub cpu_load: f64,
    /// Memory in use.
    pub memory_used: f64,
}

impl Terms {
    /// The score; lower is better.
    pub fn total(&self) -> f64 {
        self.rtt + self.active_chats + self.cpu_load + self.memory_used
    }
}

/// What was decided about one node, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Node.
    pub id: String,
    /// Its host.
    pub host: String,
    /// Every filter that it does not pass; empty when it is eligible.
    pub rejected: Vec<Rejection>,
    /// The terms of its score; `null` where nothing is known of it.
    pub terms: Option<Terms>,
    /// Their sum.
    pub score: Option<f64>,
}

/// What decided between the eligible nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "by", content = "strategy")]
pub enum Reason {
    /// The next chat was to go there.
    NextTarget,
    /// It is on the preferred host; among that host's nodes the strategy decided.
    HostPreference,
    /// The strategy.
    Strategy(Strategy),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NextTarget => f.write_str("next chat target"),
            Reason::HostPreference => f.write_str("host preference"),
            Reason::Strategy(strategy) => f.write_str(strategy.as_str()),
        }
    }
}

/// A node was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed<'a> {
    /// Which.
    pub node: &'a Node,
    /// Its score.
    pub score: f64,
    /// What decided.
    pub reason: Reason,
}

/// No node was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Empty {
    /// Nodes in all.
    pub nodes: usize,
    /// The filter that took the last ones; `None` when there was no node at all.
    pub filter: Option<Filter>,
    /// What it said of those it took.
    pub last: Vec<(String, String)>,
}

impl fmt::Display for Empty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.filter, self.last.as_slice()) {
            (None, _) | (_, []) => f.write_str("the fleet has no nodes"),
            (Some(_), [(_, why), rest @ ..])
                if !rest.is_empty() && rest.iter().all(|(_, w)| w == why) =>
            {
                write!(f, "{} of {} nodes: each {why}", self.last.len(), self.nodes)
            }
            (Some(_), last) => {
                let each: Vec<String> = last
                    .iter()
                    .take(5)
                    .map(|(id, why)| format!("`{id}` {why}"))
                    .collect();
                f.write_str(&each.join("; "))?;
                if last.len() > each.len() {
                    write!(f, "; and {} more", last.len() - each.len())?;
                }
                Ok(())
            }
        }
    }
}

/// What everything is decided by.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The fleet's policy.
    pub policy: &'a Policy,
    /// What is asked for.
    pub wish: &'a Wish,
    /// What earlier placements have left behind.
    pub history: &'a History,
    /// Now.
    pub now: Timestamp,
}

/// Chooses a node.
///
/// # Errors
/// No node passes every filter.
pub fn place<'a>(nodes: &[Candidate<'a>], rules: &Rules<'_>) -> Result<Placed<'a>, Empty> {
    let strategy = rules.wish.strategy.unwrap_or(rules.policy.default_strategy);
    let host = rules
        .wish
        .host
        .as_deref()
        .or(rules.policy.default_host_preference.as_deref());
    let oldest = rules.oldest();
    let mut best: Option<Ranked<'a>> = None;
    for candidate in nodes {
        let Some(advert) = rules.passes(candidate, oldest) else {
            continue;
        };
        let ranked = Ranked {
            node: candidate.node,
            preferred: host.is_some_and(|h| candidate.node.host == h),
            chats: candidate.chats,
            score: rules.terms(advert, candidate.chats).total(),
        };
        if best
            .as_ref()
            .is_none_or(|b| ranked.compare(b, strategy, rules.history) == Ordering::Less)
        {
            best = Some(ranked);
        }
    }
    let Some(best) = best else {
        return Err(empty(nodes, rules));
    };
    Ok(Placed {
        node: best.node,
        score: best.score,
        reason: match &rules.history.next_target {
            Some(_) => Reason::NextTarget,
            None if best.preferred => Reason::HostPreference,
            None => Reason::Strategy(strategy),
        },
    })
}

/// Says of every node why it is eligible or not, in the order of the ids.
pub fn explain(nodes: &[Candidate<'_>], rules: &Rules<'_>) -> Vec<Verdict> {
    let oldest = rules.oldest();
    let mut all: Vec<Verdict> = nodes
        .iter()
        .map(|c| {
            let terms = c.advert.map(|a| rules.terms(a, c.chats));
            Verdict {
                id: c.node.id.clone(),
                host: c.node.host.clone(),
                rejected: Filter::ALL
                    .into_iter()
                    .filter(|f| rules.rejects(*f, c, oldest))
                    .map(|filter| Rejection {
                        filter,
                        why: rules.why(filter, c),
                    })
                    .collect(),
                terms,
                score: terms.map(|t| t.total()),
            }
        })
        .collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

/// A node that passed every filter.
struct Ranked<'a> {
    node: &'a Node,
    preferred: bool,
    chats: u32,
    score: f64,
}

impl Ranked<'_> {
    /// `Less` when it is the better one.
    fn compare(&self, other: &Self, strategy: Strategy, history: &History) -> Ordering {
        let (a, b) = (self.node, other.node);
        let score = || self.score.total_cmp(&other.score);
        let by_strategy = || match strategy {
            Strategy::Balanced => score(),
            Strategy::LeastChats => self.chats.cmp(&other.chats),
            Strategy::RoundRobin => {
                let last = history.last_node.as_deref();
                let behind = |node: &Node| last.is_some_and(|last| node.id.as_str() <= last);
                behind(a).cmp(&behind(b)).then_with(|| a.id.cmp(&b.id))
            }
            Strategy::StickyHost => {
                let last = history.last_host.as_deref();
                let elsewhere = |node: &Node| last.is_some_and(|last| node.host != last);
                elsewhere(a).cmp(&elsewhere(b)).then_with(score)
            }
        };
        other
            .preferred
            .cmp(&self.preferred)
            .then_with(by_strategy)
            .then_with(|| b.priority.cmp(&a.priority))
            .then_with(|| a.host.cmp(&b.host))
            .then_with(|| a.id.cmp(&b.id))
    }
}

impl Rules<'_> {
    /// Adverts older than this are stale.
    fn oldest(&self) -> Timestamp {
        let age = jiff::SignedDuration::from_secs(
            i64::try_from(self.policy.stale_after_secs).unwrap_or(i64::MAX),
        );
        self.now.checked_sub(age).unwrap_or(Timestamp::MIN)
    }

    fn terms(&self, advert: &Advert, chats: u32) -> Terms {
        let policy = self.policy;
        Terms {
            rtt: policy.weight_rtt * advert.rtt_ms,
            active_chats: policy.weight_active_chats * f64::from(chats),
            cpu_load: policy.weight_cpu_load * advert.load.cpu_load_pct,
            memory_used: policy.weight_memory_used * advert.load.memory_used_pct,
        }
    }

    /// The first filter that rejects a node.
    fn first(&self, c: &Candidate<'_>, oldest: Timestamp) -> Option<Filter> {
        Filter::ALL
            .into_iter()
            .find(|filter| self.rejects(*filter, c, oldest))
    }

    /// What is known of a node that every filter lets through: the same as no [`Rules::first`], in one
    /// go, since each of very many nodes is asked.
    fn passes<'a>(&self, c: &Candidate<'a>, oldest: Timestamp) -> Option<&'a Advert> {
        let advert = c.advert?;
        (self.meant(c)
            && !c.drained
            && self.targeted(c)
            && advert.observed >= oldest
            && self.healthy(c.node, &advert.health)
            && self.cool(advert)
            && self.roomy(advert)
            && self.spacious(advert)
            && !full(c))
        .then_some(advert)
    }

    fn rejects(&self, filter: Filter, c: &Candidate<'_>, oldest: Timestamp) -> bool {
        match (filter, c.advert) {
            (Filter::Selector, _) => !self.meant(c),
            (Filter::Drained, _) => c.drained,
            (Filter::NextTarget, _) => !self.targeted(c),
            (Filter::MaxChats, _) => full(c),
            (Filter::Unknown, advert) => advert.is_none(),
            // What is not known is not judged.
            (_, None) => false,
            (Filter::Stale, Some(a)) => a.observed < oldest,
            (Filter::Health, Some(a)) => !self.healthy(c.node, &a.health),
            (Filter::Cpu, Some(a)) => !self.cool(a),
            (Filter::Memory, Some(a)) => !self.roomy(a),
            (Filter::Disk, Some(a)) => !self.spacious(a),
        }
    }

    fn meant(&self, c: &Candidate<'_>) -> bool {
        self.wish.selector.matches(c.node)
    }

    fn targeted(&self, c: &Candidate<'_>) -> bool {
        let target = self.history.next_target.as_ref();
        target.is_none_or(|target| target.matches(c.node))
    }

    fn healthy(&self, node: &Node, health: &Health) -> bool {
        let asked = node.dialect == Dialect::Tui || self.policy.require_healthy_goosed;
        health.is_healthy() || !asked
    }

    // A figure that is no number is no figure to place by.
    fn cool(&self, advert: &Advert) -> bool {
        advert.load.cpu_load_pct <= self.policy.max_cpu_load_pct
    }

    fn roomy(&self, advert: &Advert) -> bool {
        advert.load.memory_used_pct <= self.policy.max_memory_used_pct
    }

    fn spacious(&self, advert: &Advert) -> bool {
        advert.load.disk_available_bytes >= self.policy.min_disk_available_bytes
    }

    /// What a filter says of a node that it rejects.
    fn why(&self, filter: Filter, c: &Candidate<'_>) -> String {
        let policy = self.policy;
        let load = c.advert.map(|a| a.load).unwrap_or_default();
        match filter {
            Filter::Selector => match self.wish.selector.unmet(c.node) {
                Some(term) => format!("is not `{term}`"),
                None => "is not selected".to_owned(),
            },
            Filter::Drained => "is drained".to_owned(),
            Filter::NextTarget => match &self.history.next_target {
                Some(target) => format!("is not the target of the next chat, `{target}`"),
                None => String::new(),
            },
            Filter::Unknown => "was never observed".to_owned(),
            Filter::Stale => {
                let age = c
                    .advert
                    .map_or(0, |a| self.now.duration_since(a.observed).as_secs().max(0));
                format!(
                    "was observed {age} s ago, more than {} s",
                    policy.stale_after_secs
                )
            }
            Filter::Health => match c.advert.map(|a| &a.health) {
                Some(health) if health.why().is_empty() => format!("is {}", health.as_str()),
                Some(health) => format!("is {}: {}", health.as_str(), health.why()),
                None => String::new(),
            },
            Filter::Cpu => format!(
                "has a processor load of {:.0} %, more than {:.0} %",
                load.cpu_load_pct, policy.max_cpu_load_pct
            ),
            Filter::Memory => format!(
                "has {:.0} % of its memory in use, more than {:.0} %",
                load.memory_used_pct, policy.max_memory_used_pct
            ),
            Filter::Disk => format!(
                "has {} free at `{}`, less than {}",
                crate::ui::bytes(load.disk_available_bytes),
                c.node.working_directory.display(),
                crate::ui::bytes(policy.min_disk_available_bytes)
            ),
            Filter::MaxChats => format!(
                "has {} chats, as many as it may",
                c.node.max_chats.unwrap_or(0)
            ),
        }
    }
}

/// It has as many chats as it may.
fn full(c: &Candidate<'_>) -> bool {
    c.node.max_chats.is_some_and(|most| c.chats >= most)
}

/// Which filter took the last nodes.
fn empty(nodes: &[Candidate<'_>], rules: &Rules<'_>) -> Empty {
    let oldest = rules.oldest();
    let firsts: Vec<(Filter, &Candidate<'_>)> = nodes
        .iter()
        .filter_map(|c| Some((rules.first(c, oldest)?, c)))
        .collect();
    let filter = firsts.iter().map(|(f, _)| *f).max();
    let mut last: Vec<(String, String)> = firsts
        .iter()
        .filter(|(f, _)| Some(*f) == filter)
        .map(|(f, c)| (c.node.id.clone(), rules.why(*f, c)))
        .collect();
    last.sort();
    Empty {
        nodes: nodes.len(),
        filter,
        last,
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
