//! The door between a roster and the file system.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::parse::{parse, syntax};
use super::resolve::{Environment, Warning, resolve};
use super::source::Source;
use super::syntax::too_big;
use super::tree::MAX_BYTES;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::host::files;

/// A roster read from a file.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub fleet: Fleet,
    /// What it probably does not mean.
    pub warnings: Vec<Warning>,
    /// SHA-256 of the text, in hexadecimal.
    pub text_digest: String,
    /// The file, absolute.
    pub path: PathBuf,
}

/// Reads and resolves a roster. Changes nothing.
///
/// # Errors
/// All problems of the roster in one error of kind `Config`; so too a file that is not there, is not
/// a regular file, is too big, or cannot be read.
pub fn load(path: &Path, home: &Path) -> Result<Loaded> {
    let shown = path.display().to_string();
    let text = match read_text(path) {
        Ok(text) => text,
        Err(e) => return Err(unreadable(&shown, &e)),
    };
    let absolute = std::path::absolute(path)
        .map_err(|e| Error::config(format!("cannot find the directory of `{shown}`")).because(e))?;
    let roster_dir = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let environment = Environment {
        home,
        roster_dir: &roster_dir,
        exists_dir: &|path| path.is_dir(),
        exists_file: &|path| path.is_file() && File::open(path).is_ok(),
        read_file: &|path| match read_text(path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        },
    };
    let (fleet, warnings) = resolve(&parse(&shown, &text), &environment)?;
    Ok(Loaded {
        fleet,
        warnings,
        text_digest: files::digest(text.as_bytes()),
        path: absolute,
    })
}

/// Reads a regular file of at most [`MAX_BYTES`]. A FIFO or a device would block or never end, so the
/// sort of file is looked at before it is opened.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let about = fs::metadata(path)?;
    if about.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory",
        ));
    }
    if !about.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        let size = usize::try_from(about.len())
            .unwrap_or(usize::MAX)
            .max(bytes.len());
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            too_big(size).message,
        ));
    }
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("line {line} is not UTF-8 text"),
        )
    })
}

fn unreadable(shown: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::config(format!("no roster at `{shown}`"))
            .hint("write one with `mosaic fleet init --profile minimal`"),
        io::ErrorKind::FileTooLarge => {
            let mut problem = too_big(0);
            problem.message = error.to_string();
            syntax(&Source::new(shown, ""), problem)
        }
        _ => Error::config(format!("cannot read the roster `{shown}`")).because(error),
    }
}
