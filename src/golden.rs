//! Generated files that are committed, for tests: fresh, or rewritten with `MOSAIC_UPDATE=1`.

/// Compares a committed file with what it should be.
pub fn check(path: &str, want: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("MOSAIC_UPDATE").is_some_and(|v| v == "1") {
        let dir = file.parent().expect("a file has a directory");
        std::fs::create_dir_all(dir).expect("the directory can be made");
        std::fs::write(&file, want).expect("the file can be written");
        return;
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == want,
        "`{path}` is stale: run `MOSAIC_UPDATE=1 cargo test --lib`"
    );
}
