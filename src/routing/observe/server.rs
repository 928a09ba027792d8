//! How a node that is a server is asked for its health, on a connection that stays between two
//! observations. A new connection begins with a question that needs the node's secret, and later ones
//! take the cheapest route: a server that was started anew has ended the connection.

use std::time::{Duration, Instant};

use super::known::{Endpoint, Known};
use crate::host::basic_auth::basic;
use crate::host::ping::{Answer, Connection, Failure};
use crate::routing::listener::stranger;
use crate::routing::node::{Dialect, Health};

/// opencode's own name for whoever has the secret.
const OPENCODE: &str = "opencode";

/// What is asked of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Questions {
    /// Needs the secret. Whatever it answers but 401 or 403, the secret was taken.
    proof: String,
    /// Answered with 2xx by a server that is well.
    health: String,
}

/// How a node was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// How it is.
    pub health: Health,
    /// The round trip on a connection that stood, in milliseconds; 0 without an answer.
    pub rtt_ms: f64,
}

/// A server and the connection to it.
pub struct Server {
    endpoint: Endpoint,
    questions: Questions,
    header: Option<(&'static str, String)>,
    connection: Connection,
}

impl Server {
    /// Connects to nothing yet. `None` where there is no endpoint or nothing to ask.
    pub fn of(known: &Known) -> Option<Self> {
        let endpoint = known.endpoint.clone()?;
        let dialect = known.node.dialect;
        let questions = questions(dialect, known.launch.agent.spec.health_path())?;
        let header = match dialect {
            Dialect::Opencode => Some(("Authorization", basic(OPENCODE, &endpoint.secret))),
            Dialect::Goosed | Dialect::Acp => Some(("X-Secret-Key", endpoint.secret.clone())),
            // How it takes its secret is not known; its health is told to anybody.
            Dialect::Tui => None,
        };
        Some(Self {
            connection: Connection::new(endpoint.port),
            endpoint,
            questions,
            header,
        })
    }

    /// Whether it is still asked there, and that.
    pub fn is_of(&self, known: &Known) -> bool {
        let path = known.launch.agent.spec.health_path();
        known.endpoint.as_ref() == Some(&self.endpoint)
            && questions(known.node.dialect, path).as_ref() == Some(&self.questions)
    }

    /// Asks, for no longer than `wait`.
    pub fn ask(&mut self, wait: Duration) -> Found {
        let health = match self.answer(wait) {
            Ok(answer) if (200..300).contains(&answer.status) => {
                return Found {
                    health: Health::Healthy,
                    rtt_ms: answer.took.as_secs_f64() * 1000.0,
                };
            }
            Ok(answer) => refusal(answer.status, &self.questions.health, self.endpoint.port),
            Err(health) => health,
        };
        self.connection.close();
        Found {
            health,
            rtt_ms: 0.0,
        }
    }

    fn answer(&mut self, wait: Duration) -> Result<Answer, Health> {
        let (port, deadline) = (self.endpoint.port, Instant::now() + wait);
        let failed = |failure| unanswered(failure, port, wait);
        if self.connection.is_open() {
            match self
                .connection
                .get(&self.questions.health, self.header.as_ref(), deadline)
            {
                // It was idle for too long, or the server was started anew.
                Err(Failure::Closed) => {}
                other => return other.map_err(failed),
            }
        }
        if let Some(why) = stranger(port) {
            return Err(Health::Unauthorized(why));
        }
        let proof = self
            .connection
            .get(&self.questions.proof, self.header.as_ref(), deadline)
            .map_err(failed)?;
        if matches!(proof.status, 401 | 403) {
            return Err(refusal(proof.status, &self.questions.proof, port));
        }
        self.connection
            .get(&self.questions.health, self.header.as_ref(), deadline)
            .map_err(failed)
    }
}

/// What is asked of a server; `None` where nothing is known to be answered.
fn questions(dialect: Dialect, health_path: Option<&str>) -> Option<Questions> {
    let (proof, health) = match dialect {
        Dialect::Opencode => ("/global/health", "/global/health"),
        Dialect::Goosed => ("/system_info", "/status"),
        // Answered with 406 to those who have the secret and take no stream of events.
        Dialect::Acp => ("/acp", "/status"),
        Dialect::Tui => (health_path?, ""),
    };
    Some(Questions {
        proof: proof.to_owned(),
        health: health_path.unwrap_or(health).to_owned(),
    })
}

fn refusal(status: u16, path: &str, port: u16) -> Health {
    match status {
        401 | 403 => Health::Unauthorized(format!(
            "port {port} does not take mosaic's secret: status {status} on `{path}`"
        )),
        _ => Health::Unfit(format!("port {port} answers `{path}` with status {status}")),
    }
}

fn unanswered(failure: Failure, port: u16, wait: Duration) -> Health {
    match failure {
        Failure::Refused => Health::Refused(format!("nobody listens on port {port}")),
        Failure::Timeout => Health::Timeout(format!(
            "port {port} took the connection and answered nothing within {} ms",
            wait.as_millis()
        )),
        Failure::Closed => Health::Unfit(format!("port {port} ended the connection unanswered")),
        Failure::Broken(why) => Health::Unfit(format!("port {port}: {why}")),
    }
}

#[cfg(test)]
mod tests;
