//! The stand-in as a program: `goosed agent` by goosed's own environment variables. The test binary
//! itself becomes it, so nothing more is built or shipped.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Node, Options, serve};

/// Says what it does wrong: `well`, `hung`, `slow` (every answer after a second), `stubborn` (heeds no
/// SIGTERM), or `words=MS` for that many milliseconds between the words of a reply. Without it, it is well.
pub const BEHAVIOUR: &str = "MOSAIC_GOOSED_STAND_IN";

/// Writes an executable `goosed` into a directory, for PATH or a roster. `test` is the full name of the
/// ignored test of this binary that calls [`run`].
pub fn install(directory: &Path, test: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = directory.join("goosed");
    let script = format!(
        "#!/bin/sh\n\
         [ \"$1\" = --version ] && {{ echo 'goosed 1.37.0'; exit 0; }}\n\
         [ \"$1\" = agent ] || {{ echo 'usage: goosed agent' >&2; exit 2; }}\n\
         exec '{}' --exact {test} --include-ignored --nocapture\n",
        own.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where the real one keeps its sessions.
fn directory() -> PathBuf {
    if let Some(root) = variable("GOOSE_PATH_ROOT") {
        return Path::new(&root).join("data");
    }
    match variable("XDG_DATA_HOME") {
        Some(data) => Path::new(&data).join("goose"),
        None => Path::new(&variable("HOME").unwrap_or_default()).join(".local/share/goose"),
    }
}

/// Serves until SIGTERM or SIGINT, and after those until nobody reads a stream any more, as goosed does.
/// Without `GOOSE_PORT` it is nothing: so the ignored test that calls it passes where it is merely run.
pub fn run() {
    let Some(port) = variable("GOOSE_PORT").and_then(|p| p.parse::<u16>().ok()) else {
        return;
    };
    assert_eq!(
        variable("GOOSE_TLS").as_deref(),
        Some("false"),
        "the stand-in has no TLS"
    );
    let host = variable("GOOSE_HOST").unwrap_or_else(|| "127.0.0.1".to_owned());
    let behaviour = variable(BEHAVIOUR).unwrap_or_default();
    let node = Node::new(Options {
        name: variable("MOSAIC_AGENT").unwrap_or_else(|| format!("port-{port}")),
        secret: variable("GOOSE_SERVER__SECRET_KEY").unwrap_or_default(),
        directory: Some(directory()),
        provider: variable("GOOSE_PROVIDER").unwrap_or_else(|| "stand-in".to_owned()),
        model: variable("GOOSE_MODEL").unwrap_or_else(|| "stand-in-1".to_owned()),
    });
    node.fault(|f| match behaviour.split_once('=') {
        Some(("words", ms)) => f.word_delay = Duration::from_millis(ms.parse().unwrap()),
        _ if behaviour == "hung" => f.hang = true,
        _ if behaviour == "slow" => f.slow = Duration::from_secs(1),
        _ => {}
    });
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [2, 15] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).unwrap();
    }
    if behaviour == "stubborn" {
        signal_hook::flag::register(1, Arc::new(AtomicBool::new(false))).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let Ok(listener) = tokio::net::TcpListener::bind((host.as_str(), port)).await else {
            eprintln!("address in use");
            std::process::exit(1);
        };
        eprintln!("GOOSED_BOOT: listening");
        let mut served = tokio::spawn(serve(Arc::clone(&node), listener));
        loop {
            tokio::select! {
                _ = &mut served => break,
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            let over = ended.load(Ordering::SeqCst) && node.streams() == 0;
            if over && behaviour != "stubborn" {
                break;
            }
        }
    });
}
