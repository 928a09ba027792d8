//! Turns the bytes a terminal sends into keys and pastes. Pure: knows nothing of boxes or time.
//!
//! Reads may end anywhere, inside a character, a control sequence or a paste frame: the decoder
//! keeps what is unfinished. A lone ESC is a key only once nothing follows it; the caller owns the
//! clock and says so with [`Decoder::flush`].

/// One thing the user or another program did at the keyboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A character as typed, TAB included.
    Char(char),
    /// Carriage return: submits.
    Enter,
    /// Line feed (Ctrl-J) or Alt-Enter: adds a line.
    NewLine,
    Backspace,
    Delete,
    Escape,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    CtrlC,
    CtrlL,
    CtrlS,
    CtrlU,
    /// The content of one bracketed paste, its line ends made LF.
    Paste(String),
}

const PASTE_END: &[u8] = b"\x1b[201~";

/// No control sequence a keyboard or mouse sends is longer; what is, is dropped.
const LONGEST_SEQUENCE: usize = 64;

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    /// ESC was seen.
    Escape,
    /// `ESC [` was seen; holds what followed.
    Csi(Vec<u8>),
    /// `ESC O` was seen.
    Ss3,
    /// Inside a paste frame; holds its bytes so far.
    Paste(Vec<u8>),
}

/// The decoder with what it has not finished yet.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    /// The beginning of a UTF-8 character.
    partial: Vec<u8>,
}

impl Decoder {
    /// Decodes one read.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Input> {
        let mut out = Vec::new();
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match std::mem::take(&mut self.state) {
                State::Ground => self.ground(byte, &mut out),
                State::Escape => self.escape(byte, &mut out),
                State::Csi(mut seen) => match byte {
                    0x40..=0x7e => self.csi(&seen, byte, &mut out),
                    0x20..=0x3f if seen.len() < LONGEST_SEQUENCE => {
                        seen.push(byte);
                        self.state = State::Csi(seen);
                    }
                    0x20..=0x3f => {}
                    _ => self.ground(byte, &mut out),
                },
                State::Ss3 => out.extend(cursor_key(byte)),
                State::Paste(mut held) => {
                    // Back to the bytes from `byte` on: a paste is taken in slices, not bytewise.
                    let slice = &bytes[bytes.len() - rest.len() - 1..];
                    // The end mark may have begun in an earlier read.
                    let from = held.len().saturating_sub(PASTE_END.len() - 1);
                    let before = held.len();
                    held.extend_from_slice(slice);
                    let end = held[from..]
                        .windows(PASTE_END.len())
                        .position(|w| w == PASTE_END);
                    match end {
                        Some(at) => {
                            let at = from + at;
                            rest = &slice[at + PASTE_END.len() - before..];
                            out.push(Input::Paste(unify_lines(&held[..at])));
                        }
                        None => {
                            rest = &[];
                            self.state = State::Paste(held);
                        }
                    }
                }
            }
        }
        out
    }

    /// True while an ESC waits to be told from the beginning of a sequence.
    pub fn is_undecided(&self) -> bool {
        matches!(self.state, State::Escape | State::Csi(_) | State::Ss3)
    }

    /// Decides that nothing follows: a lone ESC is the key, a sequence cut short is dropped.
    pub fn flush(&mut self) -> Option<Input> {
        if !self.is_undecided() {
            return None;
        }
        match std::mem::take(&mut self.state) {
            State::Escape => Some(Input::Escape),
            _ => None,
        }
    }

    fn ground(&mut self, byte: u8, out: &mut Vec<Input>) {
        if byte < 0x80 && !self.partial.is_empty() {
            self.partial.clear();
            out.push(Input::Char(char::REPLACEMENT_CHARACTER));
        }
        match byte {
            b'\x1b' => self.state = State::Escape,
            b'\r' => out.push(Input::Enter),
            b'\n' => out.push(Input::NewLine),
            b'\t' => out.push(Input::Char('\t')),
            0x7f | 0x08 => out.push(Input::Backspace),
            0x01 => out.push(Input::Home),
            0x03 => out.push(Input::CtrlC),
            0x05 => out.push(Input::End),
            0x0c => out.push(Input::CtrlL),
            0x13 => out.push(Input::CtrlS),
            0x15 => out.push(Input::CtrlU),
            0x00..=0x1f => {}
            0x20..=0x7e => out.push(Input::Char(char::from(byte))),
            _ => self.utf8(byte, out),
        }
    }

    fn utf8(&mut self, byte: u8, out: &mut Vec<Input>) {
        self.partial.push(byte);
        match std::str::from_utf8(&self.partial) {
            Ok(text) => {
                out.extend(text.chars().map(Input::Char));
                self.partial.clear();
            }
            // No length: what stands there may still become a character.
            Err(error) if error.error_len().is_none() => {}
            Err(_) => {
                out.push(Input::Char(char::REPLACEMENT_CHARACTER));
                // The byte that broke it may itself begin a character.
                let begins = self.partial.len() > 1 && byte >= 0xc2;
                self.partial.clear();
                if begins {
                    self.partial.push(byte);
                }
            }
        }
    }

    fn escape(&mut self, byte: u8, out: &mut Vec<Input>) {
        match byte {
            b'[' => self.state = State::Csi(Vec::new()),
            b'O' => self.state = State::Ss3,
            b'\x1b' => {
                out.push(Input::Escape);
                self.state = State::Escape;
            }
            b'\r' | b'\n' => out.push(Input::NewLine),
            // Alt with any other key means nothing here, as in the real ones.
            _ => {}
        }
    }

    fn csi(&mut self, parameters: &[u8], last: u8, out: &mut Vec<Input>) {
        match (parameters, last) {
            (b"200", b'~') => self.state = State::Paste(Vec::new()),
            (b"1" | b"7", b'~') => out.push(Input::Home),
            (b"3", b'~') => out.push(Input::Delete),
            (b"4" | b"8", b'~') => out.push(Input::End),
            (b"", _) => out.extend(cursor_key(last)),
            // Mouse and focus reports, modified and function keys.
            _ => {}
        }
    }
}

fn cursor_key(last: u8) -> Option<Input> {
    match last {
        b'A' => Some(Input::Up),
        b'B' => Some(Input::Down),
        b'C' => Some(Input::Right),
        b'D' => Some(Input::Left),
        b'H' => Some(Input::Home),
        b'F' => Some(Input::End),
        _ => None,
    }
}

fn unify_lines(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .replace("\r\n", "\n")
        .replace('\r', "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paste(text: &str) -> Input {
        Input::Paste(text.into())
    }

    #[test]
    fn keys() {
        let table: [(&[u8], Vec<Input>); 16] = [
            (
                b"a\tb",
                vec![Input::Char('a'), Input::Char('\t'), Input::Char('b')],
            ),
            ("é漢".as_bytes(), vec![Input::Char('é'), Input::Char('漢')]),
            (b"\r", vec![Input::Enter]),
            (b"\n", vec![Input::NewLine]),
            (b"\x1b\r", vec![Input::NewLine]),
            (b"\x7f\x08", vec![Input::Backspace, Input::Backspace]),
            (
                b"\x03\x15\x0c\x13",
                vec![Input::CtrlC, Input::CtrlU, Input::CtrlL, Input::CtrlS],
            ),
            (b"\x1b[A\x1b[B", vec![Input::Up, Input::Down]),
            (b"\x1bOC\x1bOD", vec![Input::Right, Input::Left]),
            (
                b"\x1b[H\x1b[4~\x1b[3~",
                vec![Input::Home, Input::End, Input::Delete],
            ),
            (b"\x1b\x1b[A", vec![Input::Escape, Input::Up]),
            (b"\x1bxy", vec![Input::Char('y')]),
            (b"\x1b[<0;3;4M\x1b[I\x1b[1;5Cz", vec![Input::Char('z')]),
            (b"\x1b[\r", vec![Input::Enter]),
            (b"\xffa", vec![Input::Char('\u{fffd}'), Input::Char('a')]),
            (
                b"\xc3\xc3\xa9",
                vec![Input::Char('\u{fffd}'), Input::Char('é')],
            ),
        ];
        for (bytes, expected) in table {
            assert_eq!(Decoder::default().feed(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn every_split_of_a_stream_decodes_alike() {
        let stream =
            "é\x1b[A\x1b[200~one\r\ntwo\rthree\n\ttab \x1b[31m 漢\x1b[201\x1b[201~\x1bOB\rx"
                .as_bytes();
        let expected = vec![
            Input::Char('é'),
            Input::Up,
            paste("one\ntwo\nthree\n\ttab \x1b[31m 漢\x1b[201"),
            Input::Down,
            Input::Enter,
            Input::Char('x'),
        ];
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut decoder = Decoder::default();
                let mut seen = decoder.feed(&stream[..first]);
                seen.extend(decoder.feed(&stream[first..second]));
                seen.extend(decoder.feed(&stream[second..]));
                assert_eq!(seen, expected, "split at {first} and {second}");
            }
        }
        let mut decoder = Decoder::default();
        let bytewise: Vec<Input> = stream.iter().flat_map(|b| decoder.feed(&[*b])).collect();
        assert_eq!(bytewise, expected);
    }

    #[test]
    fn a_lone_escape_waits_for_the_clock() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.feed(b"\x1b"), vec![]);
        assert!(decoder.is_undecided());
        assert_eq!(decoder.flush(), Some(Input::Escape));
        assert!(!decoder.is_undecided());
        assert_eq!(decoder.flush(), None);
        assert_eq!(
            decoder.feed(b"[A"),
            vec![Input::Char('['), Input::Char('A')]
        );
    }

    #[test]
    fn an_open_paste_frame_is_not_flushed() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.feed(b"\x1b[200~abc\x1b"), vec![]);
        assert!(!decoder.is_undecided());
        assert_eq!(decoder.flush(), None);
        assert_eq!(decoder.feed(b"[201~"), vec![paste("abc")]);
    }

    #[test]
    fn an_early_end_mark_leaves_the_rest_as_typed_keys() {
        assert_eq!(
            Decoder::default().feed(b"\x1b[200~a\x1b[201~\r\x1b[201~b\x1b[200~\x1b[201~"),
            vec![paste("a"), Input::Enter, Input::Char('b'), paste("")]
        );
    }

    #[test]
    fn a_megabyte_in_small_reads_arrives_whole() {
        let text = "0123456789abcde\n".repeat(65_536);
        let stream = format!("\x1b[200~{text}\x1b[201~");
        let mut decoder = Decoder::default();
        let seen: Vec<Input> = stream
            .as_bytes()
            .chunks(1_000)
            .flat_map(|chunk| decoder.feed(chunk))
            .collect();
        assert_eq!(seen, vec![paste(&text)]);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, cut: u8) {
            let cut = usize::from(cut).min(bytes.len());
            let mut decoder = Decoder::default();
            decoder.feed(&bytes[..cut]);
            decoder.feed(&bytes[cut..]);
            decoder.flush();
        }
    }
}
