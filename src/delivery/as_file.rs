//! Messages that are too long to be typed, or are to go so: the text goes into a file of the agent's own, and a line
//! that points to it is delivered.

use std::path::{Path, PathBuf};

use super::compose::{MAX_BYTES, MAX_LINES};
use crate::error::Result;
use crate::host::files;
use crate::paths::Paths;
use crate::runtime::Typing;

/// Room for the preamble and for the blank that keeps a leading character from being a command.
const PREAMBLE: usize = 512;

/// Whether a text is too long to be typed into agents of a runtime.
pub fn needed(text: &str, typing: &Typing) -> bool {
    let above = typing.as_file_above as usize;
    text.len() > MAX_BYTES - PREAMBLE
        || text.split('\n').count() > MAX_LINES
        || (above > 0 && text.chars().count() > above)
}

/// Where the file of a message is.
pub fn path(paths: &Paths, agent: &str, id: &str) -> PathBuf {
    // An id is printable ASCII, but may hold what means something in a path.
    let name: String = id
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => c,
            _ => '_',
        })
        .collect();
    let name = if name == id {
        name
    } else {
        format!("{name}-{}", &files::digest(id.as_bytes())[..8])
    };
    paths
        .agent_dir(agent)
        .join("messages")
        .join(format!("{name}.txt"))
}

/// The line that points to it.
pub fn line(file: &Path, text: &str) -> String {
    format!(
        "Your message is in the file {} ({} lines, {} bytes): read it, and take it as if it stood here.",
        file.display(),
        text.lines().count(),
        text.len()
    )
}

/// Writes the file, mode 0600. Idempotent.
///
/// # Errors
/// It cannot be written.
pub fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(dir) = file.parent() {
        files::make_private_dir(dir)?;
    }
    files::write_if_changed(file, text.as_bytes(), files::PRIVATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_go_as_files() {
        let typing = |as_file_above| Typing {
            as_file_above,
            ..Typing::default()
        };
        assert!(!needed("short", &typing(0)));
        assert!(needed("short", &typing(4)));
        assert!(!needed("éééé", &typing(4)));
        assert!(needed(&"x".repeat(MAX_BYTES), &typing(0)));
        assert!(needed(&"x\n".repeat(MAX_LINES), &typing(0)));
    }

    #[test]
    fn the_line_gives_no_reason_that_may_be_false() {
        let line = line(Path::new("/s/x.txt"), "one\ntwo\n");
        assert!(line.contains("/s/x.txt (2 lines, 8 bytes)"), "{line}");
        assert!(!line.contains("too long"), "{line}");
    }

    #[test]
    fn ids_cannot_leave_the_directory_nor_share_a_file() {
        let paths = Paths {
            home: "/h".into(),
            roster: "/h/roster.yaml".into(),
            state: "/s".into(),
            runtime: "/r".into(),
            units: "/u".into(),
        };
        let of = |id| path(&paths, "a", id);
        assert_eq!(of("x-1"), PathBuf::from("/s/agents/a/messages/x-1.txt"));
        for id in ["../x", "a/b", ".."] {
            assert_eq!(of(id).parent(), of("x").parent(), "{id}");
        }
        assert_ne!(of("a/b"), of("a_b"));
    }
}
