//! TLS towards clients, from PEM files. The certificate also tells under which names clients may ask.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::ParsedCertificate;

use crate::error::{Error, Result};

/// What a certificate file and a key file give.
#[derive(Clone)]
pub struct Tls {
    /// Makes a connection a TLS connection.
    pub acceptor: TlsAcceptor,
    /// Whose it is.
    pub names: Names,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Kind `Config`: they cannot be read, or do not belong together.
    pub fn load(cert: &Path, key: &Path) -> Result<Self> {
        let bad = |path: &Path, e: &dyn std::fmt::Display| {
            Error::config(format!("cannot use `{}` for TLS", path.display())).because(e)
        };
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| bad(cert, &e))?;
        let Some(own) = chain.first().cloned() else {
            return Err(bad(cert, &"there is no certificate in it"));
        };
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| bad(key, &e))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(cert, &e))?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(|e| bad(cert, &e))?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            names: Names(Some(own)),
        })
    }
}

/// Names under which the gateway may be asked, beside addresses and `localhost`: those that its
/// certificate is for. A name that somebody else made to point here is none of them.
#[derive(Debug, Clone, Default)]
pub struct Names(Option<CertificateDer<'static>>);

impl Names {
    /// Whether a host is one of them.
    pub fn hold(&self, host: &str) -> bool {
        let Some(cert) = &self.0 else { return false };
        match (
            ParsedCertificate::try_from(cert),
            ServerName::try_from(host),
        ) {
            (Ok(parsed), Ok(name)) => verify_server_name(&parsed, &name).is_ok(),
            _ => false,
        }
    }
}
