//! The gateway from its first breath to its last: one for a fleet, on threads of its own.

use std::os::fd::AsFd as _;
use std::time::Duration;

use super::door::Door;
use super::guard::Secret;
use super::limits::Limits;
use super::listen::{Place, Wish};
use super::observe::{Source, Watch};
use super::server::{self, Ways};
use super::workers::Workers;
use super::{Shared, secret};
use crate::error::{Error, Result};
use crate::host::interrupt::Interrupt;
use crate::install::Install;
use crate::resident::Resident;
use crate::routing::pins::Pins;
use crate::routing::policy::Policy;

/// How long the observer may take to end; what it is at is worth nothing any more.
const ENDING: Duration = Duration::from_secs(2);

/// Files that are kept for what is no connection: the databases, what the observer asks.
const OTHER_FILES: u64 = 128;

/// Runs until a signal comes. `by_hand` when a person runs it: then a port in use is an error at once, and
/// not waited for.
///
/// # Errors
/// Kind `Busy`: the fleet has a gateway, or the port is in use. Kind `Config`: it may not listen there.
pub fn run(
    install: &Install,
    wish: &Wish,
    by_hand: bool,
    source: Box<dyn Source>,
    ready: &dyn Fn(&str),
) -> Result<()> {
    let policy = Policy::load(&install.paths)?;
    let place = Place::of(&policy, wish)?;
    let tls = place.tls()?;
    let _alone = Resident::Gateway.claim(install, by_hand)?;
    let interrupt = Interrupt::listen()?;
    let secret = secret::obtain(&install.paths)?;
    let pins = Pins::open(&install.paths)?;
    let names = tls.as_ref().map(|t| t.names.clone()).unwrap_or_default();
    let gateway = Shared::of(Some(install.clone()), policy, pins, Secret::new(&secret))
        .named(names)
        .within(Limits {
            connections: connections(),
            ..Limits::default()
        })
        .into();
    let workers = Workers::begin()?;
    // It accepts, and waits for the end.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("cannot begin the gateway's runtime", e))?;
    let watch = runtime.block_on(async {
        let listener = place.bind(!by_hand, || interrupt.is_set()).await?;
        let bound = listener
            .local_addr()
            .map_err(|e| Error::io("cannot tell where the gateway listens", e))?;
        // Before anybody is told: the first request finds the nodes.
        let watch = Watch::begin(&gateway, source, Some(&install.paths))?;
        let listens = place.listens(bound);
        ready(&listens.url);
        Resident::Gateway.tell(install, by_hand, Some(listens))?;
        // Nobody listens where no service manager started it.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let ways = Ways {
            listener,
            tls: tls.map(|t| t.acceptor),
            workers: workers.clone(),
        };
        server::serve(
            &gateway,
            ways,
            Door::new(&gateway),
            told_to_end(&interrupt)?,
        )
        .await;
        Ok::<_, Error>(watch)
    })?;
    // What runs on is a blocked read of a database; it must not keep the process.
    workers.end(ENDING);
    runtime.shutdown_timeout(ENDING);
    watch.end(ENDING);
    Ok(())
}

/// Waits for a signal.
fn told_to_end(interrupt: &Interrupt) -> Result<impl Future<Output = ()> + use<>> {
    let no = |e| Error::io("cannot listen for signals", e);
    let wake = interrupt.as_fd().try_clone_to_owned().map_err(no)?;
    // It is one of a pair of sockets, only looked at and never read.
    let wake = std::os::unix::net::UnixStream::from(wake);
    wake.set_nonblocking(true).map_err(no)?;
    let wake = tokio::net::UnixStream::from_std(wake).map_err(no)?;
    Ok(async move {
        let _ = wake.readable().await;
    })
}

/// How many connections the limit of open files allows, once it is as high as it may be: each takes one to
/// its client and one to its node.
fn connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Limits::default().connections as u64 * 2 + OTHER_FILES;
    let wanted = limit.maximum.map_or(most, |hard| hard.min(most));
    let mut now = limit.current.unwrap_or(u64::MAX);
    if now < wanted {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            now = wanted;
        }
    }
    usize::try_from(now.saturating_sub(OTHER_FILES) / 2)
        .unwrap_or(usize::MAX)
        .clamp(1, Limits::default().connections)
}
