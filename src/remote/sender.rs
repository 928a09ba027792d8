//! The embedded sender: a bash script that types one message into one pane, on another host without
//! mosaic or on this one. What it proves ends at `submitted`: it knows no agent's record.

use super::quote;
use crate::error::{Error, Result};

/// The script.
const SCRIPT: &str = include_str!("sender.sh");

/// Most bytes of a message, as for agents.
const MAX_BYTES: usize = crate::delivery::compose::MAX_BYTES;

/// One message for a pane.
#[derive(Debug, Clone)]
pub struct Pane {
    /// The message's id; the same id is never typed twice there.
    pub id: String,
    /// What receipts call it.
    pub name: String,
    /// `SESSION`, `SESSION:WINDOW`, `SESSION:WINDOW.PANE` or `%N`, all exact.
    pub target: String,
    /// The tmux server.
    pub socket: Socket,
    /// How often Enter is pressed at most.
    pub submits: u32,
    /// Seconds to wait for other senders.
    pub wait: u64,
    /// Also into a shell, and into an agent's pane.
    pub force: bool,
    /// Say every step on standard error.
    pub verbose: bool,
}

/// Which tmux server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// The account's default one.
    Default,
    /// By the name of its socket, as `tmux -L`.
    Name(String),
    /// By the path of its socket, as `tmux -S`.
    Path(String),
}

impl Pane {
    /// The script's arguments.
    ///
    /// # Errors
    /// An id, target or socket that cannot be one.
    pub fn args(&self) -> Result<Vec<String>> {
        let id_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if self.id.is_empty() || self.id.len() > 128 || !self.id.chars().all(id_part) {
            return Err(Error::usage(format!("invalid message id `{}`", self.id))
                .hint("up to 128 letters, digits, `.`, `_` and `-`"));
        }
        if self.target.is_empty() {
            return Err(Error::usage("the pane has no name").hint("SESSION:WINDOW.PANE, or %N"));
        }
        let mut args: Vec<String> = Vec::new();
        let mut add = |key: &str, value: String| args.extend([key.to_owned(), value]);
        add("--id", self.id.clone());
        add("--name", self.name.clone());
        add("--target", self.target.clone());
        match &self.socket {
            Socket::Default => {}
            Socket::Name(name) if name.is_empty() || name.contains('/') => {
                return Err(
                    Error::usage(format!("`{name}` is no name of a tmux socket"))
                        .hint("the name as given to `tmux -L`, without a directory"),
                );
            }
            Socket::Name(name) => add("--socket", name.clone()),
            Socket::Path(path) => add("--path", path.clone()),
        }
        add("--submits", self.submits.to_string());
        add("--wait", self.wait.to_string());
        for (flag, set) in [("--force", self.force), ("--verbose", self.verbose)] {
            if set {
                args.push(flag.to_owned());
            }
        }
        for word in &args {
            quote::quote(word)?;
        }
        Ok(args)
    }
}

/// The first line for [`super::Ssh::script`].
pub fn script() -> Vec<u8> {
    line_of(SCRIPT.as_bytes())
}

/// A message as one line.
///
/// # Errors
/// It is longer than what is typed into agents.
pub fn message(text: &[u8]) -> Result<Vec<u8>> {
    if text.len() > MAX_BYTES {
        return Err(Error::no(format!(
            "the message has {} bytes, more than the {MAX_BYTES} that are typed into a pane",
            text.len()
        ))
        .hint("put the text into a file that can be read there, and send its path"));
    }
    Ok(line_of(text))
}

/// Bytes in base64 (RFC 4648), and a line feed.
pub fn line_of(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4 + 1);
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for (n, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            out.push(if n <= chunk.len() {
                ALPHABET[(group >> shift & 63) as usize]
            } else {
                b'='
            });
        }
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        let table = [
            ("", "\n"),
            ("f", "Zg==\n"),
            ("fo", "Zm8=\n"),
            ("foo", "Zm9v\n"),
            ("foobar", "Zm9vYmFy\n"),
            ("\u{fb}\u{ff}", "w7vDvw==\n"),
        ];
        for (text, want) in table {
            assert_eq!(line_of(text.as_bytes()), want.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_an_id_or_a_socket_is_refused() {
        let pane = Pane {
            id: "i".into(),
            name: "n".into(),
            target: "t".into(),
            socket: Socket::Default,
            submits: 3,
            wait: 10,
            force: false,
            verbose: false,
        };
        assert!(pane.args().is_ok());
        let bad = |change: &dyn Fn(&mut Pane)| {
            let mut pane = pane.clone();
            change(&mut pane);
            assert!(pane.args().is_err(), "{pane:?}");
        };
        bad(&|p| p.id = "../x".into());
        bad(&|p| p.id = "a b".into());
        bad(&|p| p.target.clear());
        bad(&|p| p.target = "a\nb".into());
        bad(&|p| p.socket = Socket::Name("a/b".into()));
    }
}
