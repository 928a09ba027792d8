//! The stand-in by itself, for trials by hand.

use std::path::PathBuf;

use super::{Book, Model};

/// Not a test: serves until it is ended. Without the variables it is nothing.
#[test]
#[ignore = "a server for trials by hand"]
fn serve() {
    let Ok(port) = std::env::var("MOSAIC_MODEL_PORT") else {
        return;
    };
    let log = std::env::var_os("MOSAIC_MODEL_LOG").map(|path| {
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true).open(path).unwrap()
    });
    let bodies = std::env::var_os("MOSAIC_MODEL_BODIES").map(PathBuf::from);
    let book = Book {
        log,
        bodies,
        ..Book::default()
    };
    let _model = Model::start_at(port.parse().unwrap(), book);
    loop {
        std::thread::park();
    }
}
