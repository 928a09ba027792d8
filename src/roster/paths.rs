//! Paths as a roster writes them.

use std::path::{Path, PathBuf};

use super::suggest::clip;

/// `~`, `~/x`, absolute, or relative to `base`. `.` and doubled or trailing slashes go; `..` stays,
/// for a symbolic link may stand before it.
///
/// # Errors
/// `~user`, as a fragment.
pub(super) fn expand(text: &str, home: &Path, base: &Path) -> Result<PathBuf, String> {
    let path = if text == "~" {
        home.to_owned()
    } else if let Some(rest) = text.strip_prefix("~/") {
        // A second slash would make it absolute.
        home.join(rest.trim_start_matches('/'))
    } else if text.starts_with('~') {
        return Err(format!(
            "`{}` is not expanded: write `~/…` or the whole path",
            clip(text)
        ));
    } else {
        base.join(text)
    };
    Ok(path.components().collect())
}

/// A path as a person would type it to a shell.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain =
        |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ',' | '@');
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
