//! The user manager over the session bus, with the dozen methods mosaic needs written by hand.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use zbus::{
    Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant as OwnedValue, message,
};

use super::{CALL_TIMEOUT, Detail, Job, Unit, Verb, counted};
use crate::error::{Error, Result};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Signals that may wait unread. When a queue is full the whole connection stands still, so it must
/// hold the JobRemoved of every unit a fleet can have, several times.
const SIGNAL_QUEUE: usize = 8192;

type ListedUnit = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

/// A connection and the runtime that drives it.
pub struct Bus {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
}

impl Bus {
    /// `None` when there is no bus at all.
    pub fn connect(runtime_dir: &Path) -> Result<Option<Self>> {
        let socket = runtime_dir.join("bus");
        if std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_none() && !socket.exists() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::io("cannot start the event loop", e))?;
        let connect = async {
            let builder = match std::env::var("DBUS_SESSION_BUS_ADDRESS") {
                Ok(address) => zbus::connection::Builder::address(address.as_str()),
                Err(_) => zbus::connection::Builder::address(
                    format!("unix:path={}", socket.display()).as_str(),
                ),
            };
            builder.method_timeout(CALL_TIMEOUT).build().await
        };
        // The handshake is no method call, so its own timeout does not cover it.
        let connection = runtime
            .block_on(async { tokio::time::timeout(CALL_TIMEOUT, connect).await })
            .map_err(|_| {
                Error::unavailable("the session bus does not answer")
                    .because(format!("no handshake within {} s", CALL_TIMEOUT.as_secs()))
            })?
            .map_err(|e| Error::unavailable("cannot reach the session bus").because(e))?;
        Ok(Some(Self {
            runtime,
            connection,
        }))
    }

    pub fn version(&self) -> Result<String> {
        self.runtime.block_on(async {
            let v = self.property(PATH, MANAGER, "Version").await?;
            Ok(text(&v))
        })
    }

    async fn call<B>(&self, method: &str, body: &B) -> Result<zbus::Message>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        self.connection
            .call_method(Some(NAME), PATH, Some(MANAGER), method, body)
            .await
            .map_err(|e| explain(&format!("systemd refused {method}"), &e))
    }

    async fn property(&self, path: &str, interface: &str, name: &str) -> Result<OwnedValue> {
        let reply = self
            .connection
            .call_method(
                Some(NAME),
                path,
                Some(PROPERTIES),
                "Get",
                &(interface, name),
            )
            .await
            .map_err(|e| explain(&format!("cannot read {name}"), &e))?;
        reply
            .body()
            .deserialize::<OwnedValue>()
            .map_err(|e| Error::bug(format!("systemd's {name} has an unexpected type")).because(e))
    }

    pub fn units(&self, patterns: &[&str], detail: Detail) -> Result<Vec<Unit>> {
        self.runtime.block_on(async {
            let none: &[&str] = &[];
            let reply = self.call("ListUnitsByPatterns", &(none, patterns)).await?;
            let listed: Vec<ListedUnit> = reply.body().deserialize().map_err(|e| {
                Error::bug("systemd's list of units has an unexpected type").because(e)
            })?;
            // Each property is a request of its own; all are sent before the first answer is awaited.
            let units = listed.into_iter().map(|u| self.read(u, detail));
            Ok(join_all(units).await)
        })
    }

    async fn read(&self, listed: ListedUnit, detail: Detail) -> Unit {
        let (name, _, load, active, sub, _, path, ..) = listed;
        let mut unit = Unit {
            name,
            load,
            active,
            sub,
            ..Unit::default()
        };
        let service = unit.name.ends_with(".service");
        let path = path.as_str();
        if detail == Detail::States || !service {
            return unit;
        }
        // A unit may vanish between the list and the question; it then has no properties.
        let get = |interface, name| async move { self.property(path, interface, name).await.ok() };
        // Why it failed is asked only of those that did.
        if unit.active == "failed" {
            unit.result = get(SERVICE, "Result")
                .await
                .as_ref()
                .map(text)
                .unwrap_or_default();
        }
        if detail == Detail::Process {
            unit.main_pid = number(get(SERVICE, "MainPID").await)
                .try_into()
                .unwrap_or(0);
            return unit;
        }
        let (pid, restarts, memory, since) = tokio::join!(
            get(SERVICE, "MainPID"),
            get(SERVICE, "NRestarts"),
            get(SERVICE, "MemoryCurrent"),
            get(UNIT, "StateChangeTimestamp"),
        );
        unit.main_pid = number(pid).try_into().unwrap_or(0);
        unit.restarts = number(restarts).try_into().unwrap_or(0);
        unit.memory = counted(number(memory));
        unit.since_usec = number(since);
        unit
    }

    pub fn reload(&self) -> Result<()> {
        self.runtime
            .block_on(async { self.call("Reload", &()).await.map(drop) })
    }

    pub fn jobs(&self, verb: Verb, units: &[String], timeout: Duration) -> Result<Vec<Job>> {
        let method = match verb {
            Verb::Start => "StartUnit",
            Verb::Stop => "StopUnit",
            Verb::Restart => "RestartUnit",
        };
        self.runtime.block_on(async {
            // The stream is opened and the subscription made before any job is queued: a job may
            // end, and its signal arrive, before the answer that names it.
            let rule = MatchRule::builder()
                .msg_type(message::Type::Signal)
                .sender(NAME)
                .interface(MANAGER)
                .member("JobRemoved")
                .build()
                .map_err(|e| Error::bug("invalid match rule").because(e))?;
            let mut removed = MessageStream::for_match_rule(
                rule,
                &self.connection,
                NonZeroUsize::new(SIGNAL_QUEUE),
            )
            .await
            .map_err(|e| explain("cannot listen for jobs", &e))?;
            match self.call("Subscribe", &()).await {
                Ok(_) => {}
                // From an earlier batch over this connection.
                Err(e) if e.to_string().contains("already subscribed") => {}
                Err(e) => return Err(e),
            }
            let queued = join_all(units.iter().map(|unit| async move {
                let reply = self.call(method, &(unit.as_str(), "replace")).await?;
                reply
                    .body()
                    .deserialize::<OwnedObjectPath>()
                    .map_err(|e| Error::bug("systemd's job has an unexpected type").because(e))
            }))
            .await;
            let mut waiting: BTreeMap<String, String> = BTreeMap::new();
            let mut ended = Vec::new();
            for (unit, answer) in units.iter().zip(queued) {
                match answer {
                    Ok(path) => {
                        waiting.insert(path.as_str().to_owned(), unit.clone());
                    }
                    Err(e) => {
                        tracing::debug!(unit, "{e}");
                        ended.push(Job {
                            unit: unit.clone(),
                            result: e.causes.last().cloned().unwrap_or(e.message),
                        });
                    }
                }
            }
            let collect = async {
                while !waiting.is_empty() {
                    let Some(Ok(signal)) = removed.next().await else {
                        break;
                    };
                    let body = signal.body();
                    let Ok((_, path, _, result)) =
                        body.deserialize::<(u32, OwnedObjectPath, String, String)>()
                    else {
                        continue;
                    };
                    if let Some(unit) = waiting.remove(path.as_str()) {
                        ended.push(Job { unit, result });
                    }
                }
            };
            let _ = tokio::time::timeout(timeout, collect).await;
            ended.extend(waiting.into_values().map(|unit| Job {
                unit,
                result: "unknown".into(),
            }));
            ended.sort_by(|a, b| a.unit.cmp(&b.unit));
            Ok(ended)
        })
    }

    pub fn try_restart_no_wait(&self, unit: &str) -> Result<()> {
        self.runtime.block_on(async {
            self.call("TryRestartUnit", &(unit, "replace"))
                .await
                .map(drop)
        })
    }

    pub fn reset_failed(&self, units: &[String]) -> Result<()> {
        self.runtime.block_on(async {
            // Refused for units that are not loaded, which have nothing to forget.
            join_all(units.iter().map(|unit| async move {
                let _ = self.call("ResetFailedUnit", &(unit.as_str(),)).await;
            }))
            .await;
        });
        Ok(())
    }
}

fn number(value: Option<OwnedValue>) -> u64 {
    let Some(value) = value else { return 0 };
    if let Ok(n) = u64::try_from(&value) {
        n
    } else if let Ok(n) = u32::try_from(&value) {
        n.into()
    } else if let Ok(n) = i32::try_from(&value) {
        n.try_into().unwrap_or(0)
    } else {
        0
    }
}

fn text(value: &OwnedValue) -> String {
    <&str>::try_from(value).unwrap_or_default().to_owned()
}

fn explain(doing: &str, error: &zbus::Error) -> Error {
    let timed_out =
        matches!(error, zbus::Error::InputOutput(e) if e.kind() == std::io::ErrorKind::TimedOut);
    if timed_out {
        return Error::unavailable("the systemd user manager does not answer")
            .because(format!(
                "{doing}: no answer within {} s",
                CALL_TIMEOUT.as_secs()
            ))
            .hint("see whether it hangs: `systemctl --user status`");
    }
    let message = match error {
        zbus::Error::MethodError(name, detail, _) => match detail {
            Some(text) => text.clone(),
            None => name.to_string(),
        },
        other => other.to_string(),
    };
    Error::unavailable(doing).because(message)
}
