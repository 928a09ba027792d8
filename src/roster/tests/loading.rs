//! The loader on a real file system.

use std::fs;
use std::os::unix::net::UnixListener;

use super::*;
use crate::roster::load;

#[test]
fn loads_with_a_digest_and_an_absolute_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roster.yaml");
    fs::create_dir(dir.path().join("agents")).unwrap();
    fs::write(dir.path().join("agents/a.env"), "MOSAIC_AGENT_RUNTIME=pi\n").unwrap();
    fs::write(
        &path,
        "version: 1\nagents:\n  - {name: a, runtime: claude, working_directory: .}\n",
    )
    .unwrap();
    let loaded = load(&path, dir.path()).unwrap();
    assert_eq!(loaded.fleet.agents[0].runtime, "pi");
    assert_eq!(loaded.fleet.agents[0].working_directory, dir.path());
    assert_eq!(loaded.path, path);
    assert_eq!(loaded.text_digest.len(), 64);
}

#[test]
fn refuses_what_is_no_readable_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let _socket = UnixListener::bind(path("socket")).unwrap();
    fs::write(path("latin1"), b"version: 1\n# \xe9\n").unwrap();
    fs::write(path("big"), vec![b'#'; 2 << 20]).unwrap();
    let home = dir.path().display().to_string();
    for (name, want) in [
        ("absent", "no roster at `DIR/absent`"),
        (
            "socket",
            "cannot read the roster `DIR/socket`: it is not a regular file",
        ),
        (".", "cannot read the roster `DIR/.`: it is a directory"),
        (
            "latin1",
            "cannot read the roster `DIR/latin1`: line 2 is not UTF-8 text",
        ),
        (
            "big",
            "cannot read `DIR/big`: the file has 2097152 bytes, more than the 1048576 that a roster may have",
        ),
    ] {
        let error = load(&path(name), dir.path()).unwrap_err();
        assert_eq!(error.to_string().replace(&home, "DIR"), want);
        assert_eq!(error.kind, crate::error::Kind::Config);
    }
    let hints = load(&path("absent"), dir.path()).unwrap_err().hints;
    assert_eq!(
        hints,
        ["write one with `mosaic fleet init --profile minimal`"]
    );
    let device = load(Path::new("/dev/zero"), dir.path()).unwrap_err();
    assert_eq!(
        device.to_string(),
        "cannot read the roster `/dev/zero`: it is not a regular file"
    );
}
