//! The name of another host, as ssh takes it.

use std::fmt;
use std::str::FromStr;

/// `[user@]host` or `ssh://[user@]host[:port]`, or a name of the user's ssh configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// As given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its short name, for the preamble of messages: without user, port and domain.
    pub fn label(&self) -> &str {
        let name = self.0.strip_prefix("ssh://").unwrap_or(&self.0);
        let name = name.rsplit_once('@').map_or(name, |(_, host)| host);
        if name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok() {
            return name;
        }
        let name = name.split(':').next().unwrap_or(name);
        if name.parse::<std::net::Ipv4Addr>().is_ok() {
            return name;
        }
        name.split('.').next().unwrap_or(name)
    }
}

impl FromStr for Host {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        // ssh would take it as an option of its own.
        if text.starts_with('-') {
            return Err("a host cannot start with `-`".to_owned());
        }
        match text.chars().find(|c| c.is_control() || c.is_whitespace()) {
            Some(c) => Err(format!("{c:?} cannot be part of a host")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hosts_are_names_and_never_options() {
        for good in [
            "box",
            "me@box",
            "me@box.example.org",
            "ssh://me@box:2222",
            "fe80::1",
        ] {
            assert_eq!(good.parse::<Host>().unwrap().as_str(), good);
        }
        for bad in ["", "-oProxyCommand=id", "a b", "a\nb", "a\0"] {
            assert!(bad.parse::<Host>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn labels_are_short() {
        let label = |text: &str| text.parse::<Host>().unwrap().label().to_owned();
        assert_eq!(label("me@box.example.org"), "box");
        assert_eq!(label("ssh://me@box.example.org:2222"), "box");
        assert_eq!(label("me@10.1.2.3"), "10.1.2.3");
        assert_eq!(label("ssh://10.1.2.3:22"), "10.1.2.3");
        assert_eq!(label("fe80::1"), "fe80::1");
    }
}
