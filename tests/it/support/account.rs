//! Who the commands under test run as.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Differs from the account the tests run as.
    other: bool,
}

impl Account {
    /// `MOSAIC_TEST_USER`, else whoever runs the tests.
    pub fn under_test() -> Self {
        let own = rustix::process::getuid().as_raw();
        let wanted = std::env::var("MOSAIC_TEST_USER").ok();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = passwd.lines().find_map(|line| {
            let f: Vec<&str> = line.split(':').collect();
            let (name, uid, gid) = (
                *f.first()?,
                f.get(2)?.parse().ok()?,
                f.get(3)?.parse().ok()?,
            );
            let fits = wanted.as_deref().map_or(uid == own, |w| w == name);
            fits.then(|| Self {
                name: name.to_owned(),
                uid,
                gid,
                other: uid != own,
            })
        });
        let account = found.unwrap_or_else(|| match &wanted {
            Some(name) => panic!("MOSAIC_TEST_USER: no account `{name}`"),
            None => Self {
                name: own.to_string(),
                uid: own,
                gid: rustix::process::getgid().as_raw(),
                other: false,
            },
        });
        assert!(
            !account.other || own == 0,
            "MOSAIC_TEST_USER needs root, to become `{}`",
            account.name
        );
        account
    }

    /// Makes a command run as this account, without supplementary groups.
    pub fn apply(&self, command: &mut Command) {
        if self.other {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Gives a path to this account.
    pub fn own(&self, path: &Path) {
        if self.other {
            std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid)).unwrap();
        }
    }

    /// Words to put before a program's in a shell line, to run it as this account.
    pub fn prefix(&self) -> Vec<String> {
        if !self.other {
            return Vec::new();
        }
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        [
            "setpriv",
            "--reuid",
            &uid,
            "--regid",
            &gid,
            "--clear-groups",
        ]
        .map(str::to_owned)
        .to_vec()
    }
}
