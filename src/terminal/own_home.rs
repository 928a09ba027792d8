//! An agent's own directory in place of one in the user's home: what the user made is linked into it.
//! Nothing of the user's is written, and nothing that stands in the way of a link is touched.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host::files;
use crate::runtime::OwnHome;

/// Where it is, below the agent's directory.
pub const NAME: &str = "home";

/// Makes the directory and its links, and names it in the agent's environment. Links whose originals
/// are gone are removed. An agent whose environment names a directory already keeps that.
///
/// # Errors
/// The directory cannot be made; links that cannot be made are the agent CLI's to complain about.
pub fn prepare(
    rule: &OwnHome,
    agent_dir: &Path,
    env: &mut BTreeMap<OsString, OsString>,
) -> Result<()> {
    let variable = OsString::from(&rule.variable);
    if env.get(&variable).is_some_and(|v| !v.is_empty()) {
        return Ok(());
    }
    let own = agent_dir.join(NAME);
    files::make_private_dir(&own)?;
    let user = env.get(&OsString::from("HOME")).map(PathBuf::from);
    let path = |text: &str| match (text.strip_prefix("~/"), &user) {
        (Some(rest), Some(home)) => Ok(home.join(rest)),
        (Some(_), None) => Err(Error::config(format!(
            "cannot find `{text}`: the agent has no HOME"
        ))),
        (None, _) => Ok(PathBuf::from(text)),
    };
    let theirs = path(&rule.of)?;
    for name in &rule.link {
        let original = theirs.join(name);
        link(&original, &own.join(name), original.exists());
    }
    for name in &rule.share {
        link(&theirs.join(name), &own.join(name), theirs.is_dir());
    }
    for (name, original) in &rule.link_as {
        let original = path(original)?;
        link(&original, &own.join(name), original.exists());
    }
    env.insert(variable, own.into_os_string());
    Ok(())
}

fn link(original: &Path, at: &Path, wanted: bool) {
    match (std::fs::read_link(at), wanted) {
        (Ok(to), true) if to == original => return,
        (Ok(_), _) => {
            let _ = std::fs::remove_file(at);
        }
        // A file of the agent's own.
        (Err(_), _) if at.symlink_metadata().is_ok() => return,
        (Err(_), _) => {}
    }
    if wanted && let Err(e) = symlink(original, at) {
        tracing::warn!("cannot link `{}`: {e}", at.display());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_users_files_are_linked_and_the_agents_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("user");
        let theirs = home.join(".x");
        let agent = dir.path().join("agent");
        std::fs::create_dir_all(&theirs).unwrap();
        std::fs::create_dir_all(home.join(".config/x")).unwrap();
        std::fs::write(home.join(".config/x/y"), "theirs").unwrap();
        for name in ["rules", "own", "gone"] {
            std::fs::write(theirs.join(name), name).unwrap();
        }
        let rule = OwnHome {
            variable: "X_HOME".into(),
            of: "~/.x".into(),
            link: ["rules", "own", "gone", "never"]
                .map(str::to_owned)
                .to_vec(),
            share: vec!["auth".into()],
            link_as: BTreeMap::from([
                ("config".into(), "~/.config/x".into()),
                ("none".into(), "~/.config/none".into()),
            ]),
        };
        let env = || BTreeMap::from([("HOME".into(), home.clone().into_os_string())]);
        std::fs::create_dir_all(agent.join(NAME)).unwrap();
        std::fs::write(agent.join(NAME).join("own"), "mine").unwrap();
        let mut set = env();
        prepare(&rule, &agent, &mut set).unwrap();
        let own = PathBuf::from(&set[&OsString::from("X_HOME")]);
        let read = |name: &str| std::fs::read_to_string(own.join(name)).ok();
        assert_eq!(read("rules").as_deref(), Some("rules"));
        assert_eq!(read("own").as_deref(), Some("mine"));
        assert_eq!(read("config/y").as_deref(), Some("theirs"));
        assert!(own.join("none").symlink_metadata().is_err());
        assert!(own.join("never").symlink_metadata().is_err());
        // What is written there is the user's.
        std::fs::write(own.join("auth"), "secret").unwrap();
        assert_eq!(
            std::fs::read_to_string(theirs.join("auth")).unwrap(),
            "secret"
        );
        std::fs::remove_file(theirs.join("gone")).unwrap();
        prepare(&rule, &agent, &mut env()).unwrap();
        assert!(own.join("gone").symlink_metadata().is_err());
        assert_eq!(read("rules").as_deref(), Some("rules"));

        let mut chosen = env();
        chosen.insert("X_HOME".into(), "/elsewhere".into());
        prepare(&rule, &agent, &mut chosen).unwrap();
        assert_eq!(chosen[&OsString::from("X_HOME")], "/elsewhere");
    }
}
