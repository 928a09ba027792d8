//! The door to terminals: giving one up, taking one over, putting it in a sane state.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex,
    tcgetattr, tcsetattr,
};

/// Leaves the alternate screen, then resets the terminal in full (RIS): modes of a predecessor such
/// as mouse reporting, bracketed paste, a hidden cursor or an odd character set end here. tmux keeps
/// its scrollback over a reset. The title is emptied last.
const RESET: &[u8] = b"\x1b[?1049l\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?25h\x1b[0m\x1bc\x1b]2;\x07";

/// Leaves the alternate screen and undoes what a program that died may have left, without
/// clearing the screen: its last words stay readable.
pub const LEAVE: &[u8] =
    b"\x1b[?1049l\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?25h\x1b[0m";

/// Gives up the controlling terminal, which stays open.
///
/// The kernel sends SIGHUP and SIGCONT to the terminal's foreground group: the caller must have
/// handled SIGHUP before.
///
/// # Errors
/// The system's; `ENOTTY` when there is no controlling terminal.
#[allow(unsafe_code, reason = "TIOCNOTTY has no safe wrapper")]
pub fn give_up(fd: impl AsFd) -> std::io::Result<()> {
    const TIOCNOTTY: rustix::ioctl::Opcode = 0x5422;
    // SAFETY: TIOCNOTTY takes no argument and touches no memory of ours (ioctl_tty(2)).
    let call = unsafe { rustix::ioctl::NoArg::<TIOCNOTTY>::new() };
    // SAFETY: as above; the opcode is the one Linux uses on every architecture but the few
    // (alpha, mips, powerpc, sparc) for which the build below fails.
    unsafe { rustix::ioctl::ioctl(fd, call) }?;
    Ok(())
}

#[cfg(any(
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "sparc64"
))]
compile_error!("TIOCNOTTY has another number on this architecture");

/// Whether the program on a terminal reads it key by key, without an echo by the terminal; `None`
/// where the terminal cannot be asked.
pub fn is_raw(path: &Path) -> Option<bool> {
    let modes = tcgetattr(open(path).ok()?).ok()?.local_modes;
    Some(!modes.intersects(LocalModes::ICANON | LocalModes::ECHO))
}

/// Writes to a terminal that belongs to another program, in one piece, without waiting for one that
/// takes nothing.
///
/// # Errors
/// The system's; `WouldBlock` when the terminal is full.
pub fn tell(path: &Path, text: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK;
    let mut terminal = File::options()
        .write(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)?;
    if !rustix::termios::isatty(&terminal) {
        return Err(std::io::Error::other("not a terminal"));
    }
    terminal.write_all(text)
}

/// Opens a terminal without making it the controlling one.
///
/// # Errors
/// The system's.
pub fn open(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).unwrap_or(0))
        .open(path)
}

/// Makes this process the session leader of a terminal: a new session where it leads none yet,
/// the terminal as its controlling one, this process group in the foreground, standard input,
/// output and error on it.
///
/// The terminal must have been given up by whoever had it. Keys typed while nobody ran are
/// thrown away, else they would reach this program's prompt.
///
/// # Errors
/// The system's, `EPERM` when another session still controls the terminal. Standard streams are
/// replaced only at the end, so an error can still be printed.
pub fn take_over(tty: &File) -> std::io::Result<()> {
    if rustix::process::getsid(None)? != rustix::process::getpid() {
        rustix::process::setsid()?;
    }
    rustix::process::ioctl_tiocsctty(tty)?;
    rustix::termios::tcflush(tty, rustix::termios::QueueSelector::IOFlush)?;
    make_sane(tty)?;
    write_all(tty, RESET)?;
    rustix::stdio::dup2_stdin(tty)?;
    rustix::stdio::dup2_stdout(tty)?;
    rustix::stdio::dup2_stderr(tty)?;
    Ok(())
}

/// Writes to a terminal.
///
/// # Errors
/// The system's.
pub fn write_all(mut tty: &File, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    tty.write_all(bytes)
}

/// What `stty sane` does, as far as full-screen programs change it.
fn make_sane(tty: &File) -> std::io::Result<()> {
    let mut t = tcgetattr(tty)?;
    t.input_modes = InputModes::BRKINT
        | InputModes::ICRNL
        | InputModes::IMAXBEL
        | InputModes::IXON
        | InputModes::IUTF8;
    t.output_modes = OutputModes::OPOST | OutputModes::ONLCR;
    t.control_modes |= ControlModes::CREAD | ControlModes::CS8;
    t.local_modes = LocalModes::ISIG
        | LocalModes::ICANON
        | LocalModes::IEXTEN
        | LocalModes::ECHO
        | LocalModes::ECHOE
        | LocalModes::ECHOK
        | LocalModes::ECHOCTL
        | LocalModes::ECHOKE;
    // The control characters of tty_ioctl(4)'s defaults.
    for (index, value) in [
        (SpecialCodeIndex::VINTR, 0x03),
        (SpecialCodeIndex::VQUIT, 0x1c),
        (SpecialCodeIndex::VERASE, 0x7f),
        (SpecialCodeIndex::VKILL, 0x15),
        (SpecialCodeIndex::VEOF, 0x04),
        (SpecialCodeIndex::VSTART, 0x11),
        (SpecialCodeIndex::VSTOP, 0x13),
        (SpecialCodeIndex::VSUSP, 0x1a),
        (SpecialCodeIndex::VREPRINT, 0x12),
        (SpecialCodeIndex::VWERASE, 0x17),
        (SpecialCodeIndex::VLNEXT, 0x16),
        (SpecialCodeIndex::VEOL, 0),
        (SpecialCodeIndex::VEOL2, 0),
        (SpecialCodeIndex::VMIN, 1),
        (SpecialCodeIndex::VTIME, 0),
    ] {
        t.special_codes[index] = value;
    }
    tcsetattr(tty, OptionalActions::Now, &t)?;
    Ok(())
}
