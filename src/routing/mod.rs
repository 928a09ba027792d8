//! Every session is a node: on which one a chat is placed, and that it stays there.
//!
//! ```text
//! roster, launch files ─> node ──────┐
//! machine ─ observe ─> adverts ──────┼─> placement (filter, score, explain) ─> pins (one transaction)
//! policy, selector ──────────────────┘                                            │
//!                                              gateway, `agent send --to` <───────┘
//! ```
//!
//! Placement is pure; [`pins`] is what is written down, and the only place where two placers meet. Nothing
//! here talks to a node.

pub mod adverts;
pub mod choose;
pub mod listener;
pub mod node;
pub mod observe;
pub mod pins;
pub mod placement;
pub mod policy;
pub mod select;
