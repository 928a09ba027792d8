//! Where the gateway listens, and that it does so safely: loopback in plain, everything else by TLS alone.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;

use super::tls::Tls;
use crate::delivery::send::host_name;
use crate::error::{Error, Result};
use crate::host::listening;
use crate::install::Install;
use crate::resident::{Listens, Record, Resident};
use crate::routing::policy::Policy;

/// Between two tries of a port that is in use.
const TRY: Duration = Duration::from_millis(200);

/// What a command line says over the policy.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Address.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: Option<u16>,
    /// Certificate chain and key in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Where it is to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Address and port.
    pub address: SocketAddr,
    /// Certificate chain and key in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Place {
    /// As the policy and the command line have it.
    ///
    /// # Errors
    /// Kind `Config`: beyond loopback without TLS, or half of what TLS needs.
    pub fn of(policy: &Policy, wish: &Wish) -> Result<Self> {
        let address = wish.address.unwrap_or(policy.listen);
        let tls = match (&wish.tls, &policy.tls_cert, &policy.tls_key) {
            (Some(tls), ..) => Some(tls.clone()),
            (None, Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None, None) => None,
            (None, ..) => {
                return Err(Error::config("TLS needs a certificate and its key")
                    .hint("give both `tls_cert` and `tls_key` under `routing:`"));
            }
        };
        if !address.is_loopback() && tls.is_none() {
            return Err(Error::config(format!(
                "the gateway does not listen on {address} without TLS"
            ))
            .because("its secret and every chat would pass the network in plain")
            .hint(
                "give `--tls-cert FILE --tls-key FILE`, or `tls_cert` and `tls_key` under `routing:`",
            )
            .hint("or stay on 127.0.0.1 and reach it through ssh: `ssh -L 43123:127.0.0.1:43123 HOST`"));
        }
        Ok(Self {
            address: SocketAddr::new(address, wish.port.unwrap_or(policy.local_port)),
            tls,
        })
    }

    /// What clients are told of an address that is bound.
    pub fn listens(&self, bound: SocketAddr) -> Listens {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = match bound.ip() {
            ip if ip.is_unspecified() => format!("{scheme}://{}:{}", host_name(), bound.port()),
            _ => format!("{scheme}://{bound}"),
        };
        Listens {
            url,
            address: bound,
            tls: self.tls.clone(),
        }
    }

    /// What TLS needs; `None` where it is not spoken.
    ///
    /// # Errors
    /// Kind `Config`: the files are not what they should be.
    pub fn tls(&self) -> Result<Option<Tls>> {
        self.tls
            .as_ref()
            .map(|(cert, key)| Tls::load(cert, key))
            .transpose()
    }

    /// Binds. One that is kept by the fleet waits for a port that is in use, until `enough` says so; an
    /// earlier gateway may just be ending.
    ///
    /// # Errors
    /// Kind `Busy`: somebody has the port, and who.
    pub async fn bind(&self, patient: bool, enough: impl Fn() -> bool) -> Result<TcpListener> {
        let mut told = false;
        loop {
            let e = match TcpListener::bind(self.address).await {
                Ok(listener) => return Ok(listener),
                Err(e) => e,
            };
            if e.kind() != std::io::ErrorKind::AddrInUse {
                return Err(Error::io(format!("cannot listen on {}", self.address), e));
            }
            let busy = self.busy();
            if !patient || enough() {
                return Err(busy);
            }
            if !told {
                tracing::warn!("{busy}; waiting for it");
                told = true;
            }
            tokio::time::sleep(TRY).await;
        }
    }

    fn busy(&self) -> Error {
        let port = self.address.port();
        let who = listening::process(port).map_or_else(
            || "a process of somebody else".to_owned(),
            |(pid, name)| format!("process {pid} (`{name}`)"),
        );
        Error::busy(format!("the gateway's port {port} is in use by {who}"))
            .hint("end that, or choose another port: `local_port` under `routing:`, or `--port`")
    }
}

/// Where clients find the gateway: where it listens, or where the policy wants it.
///
/// # Errors
/// The policy cannot be read or makes no sense.
pub fn url(install: &Install) -> Result<String> {
    let running = Resident::Gateway.ready(install).and_then(|r| r.listens);
    match running {
        Some(at) => Ok(at.url),
        None => {
            let place = Place::of(&Policy::load(&install.paths)?, &Wish::default())?;
            Ok(place.listens(place.address).url)
        }
    }
}

/// Whether a running gateway listens elsewhere than the policy on disk has it.
///
/// # Errors
/// The policy cannot be read or makes no sense.
pub fn is_elsewhere(install: &Install, record: &Record) -> Result<bool> {
    let wanted = Place::of(&Policy::load(&install.paths)?, &Wish::default())?;
    Ok(record
        .listens
        .as_ref()
        .is_some_and(|now| now.address != wanted.address || now.tls != wanted.tls))
}

/// Who has the port that the policy names, if the gateway has it not.
pub fn port_is_taken(install: &Install) -> Option<Error> {
    let place = Place::of(&Policy::load(&install.paths).ok()?, &Wish::default()).ok()?;
    std::net::TcpListener::bind(place.address)
        .is_err_and(|e| e.kind() == std::io::ErrorKind::AddrInUse)
        .then(|| place.busy())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::Ipv4Addr;

    fn pair() -> Option<(PathBuf, PathBuf)> {
        Some(("c".into(), "k".into()))
    }

    #[test]
    fn beyond_loopback_only_by_tls() {
        let any = Some(IpAddr::from([0, 0, 0, 0]));
        let table = [
            (None, None, Ok("127.0.0.1:43123")),
            (
                Some(IpAddr::from([127, 0, 0, 9])),
                None,
                Ok("127.0.0.9:43123"),
            ),
            (any, pair(), Ok("0.0.0.0:43123")),
            (any, None, Err(())),
            (Some("::1".parse().unwrap()), None, Ok("[::1]:43123")),
            (Some("::".parse().unwrap()), None, Err(())),
            (Some(IpAddr::from([10, 0, 0, 1])), None, Err(())),
        ];
        for (address, tls, want) in table {
            let wish = Wish {
                address,
                tls,
                ..Wish::default()
            };
            let got = Place::of(&Policy::default(), &wish)
                .map(|p| p.address.to_string())
                .map_err(|e| assert_eq!(e.kind, crate::error::Kind::Config));
            assert_eq!(got, want.map(str::to_owned), "{wish:?}");
        }
        let policy = Policy {
            listen: IpAddr::from([10, 0, 0, 1]),
            tls_cert: Some("c".into()),
            ..Policy::default()
        };
        assert!(Place::of(&policy, &Wish::default()).is_err());
        let policy = Policy {
            tls_key: Some("k".into()),
            ..policy
        };
        let place = Place::of(&policy, &Wish::default()).unwrap();
        assert_eq!(place.tls, pair());
        let bound = "10.0.0.1:5".parse().unwrap();
        assert_eq!(place.listens(bound).url, "https://10.0.0.1:5");
    }

    #[test]
    fn a_port_in_use_names_who_has_it() {
        let held = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let place = Place {
            address: held.local_addr().unwrap(),
            tls: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let e = runtime.block_on(place.bind(false, || false)).unwrap_err();
        assert_eq!(e.kind, crate::error::Kind::Busy);
        let pid = std::process::id();
        assert!(e.message.contains(&format!("process {pid} (`")), "{e}");
        // A patient one gets it once it is free.
        let free = std::sync::Mutex::new(Some(held));
        let got = runtime.block_on(place.bind(true, || {
            free.lock().unwrap().take();
            false
        }));
        assert_eq!(got.unwrap().local_addr().unwrap(), place.address);
    }
}
