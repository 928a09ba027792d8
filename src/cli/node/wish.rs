//! What a chat asks of its node, as arguments.

use crate::error::{Error, Result};
use crate::routing::placement::Wish;
use crate::routing::policy::Strategy;
use crate::routing::select::{Selector, Term};

/// Arguments.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WishArgs {
    /// Which nodes come into question: `NAME`, `class:C`, `host:H`, `runtime:R`, `dialect:D`, `label:K=V`
    /// or `label:K`; of several, also by comma, all must hold
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<Selector>,
    /// Nodes of a class
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Nodes with a label
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,
    /// In place of the roster's strategy
    #[arg(long, value_name = "STRATEGY", value_enum)]
    strategy: Option<Strategy>,
    /// Prefer this host, in place of the roster's preference
    // An id of its own: `host` is where a verb is run.
    #[arg(id = "prefer", long = "host", value_name = "HOST")]
    host: Option<String>,
}

impl WishArgs {
    /// As placement wants it.
    ///
    /// # Errors
    /// A label without a name.
    pub fn wish(&self) -> Result<Wish> {
        let mut terms: Vec<Term> = self.selectors.iter().flat_map(|s| s.0.clone()).collect();
        terms.extend(self.class.clone().map(Term::Class));
        for label in &self.labels {
            let term = format!("label:{label}").parse().map_err(Error::usage)?;
            terms.push(term);
        }
        Ok(Wish {
            selector: Selector(terms),
            strategy: self.strategy,
            host: self.host.clone(),
        })
    }
}
