//! Standard error as a log: one line for each record, which is there as a whole or counted. Nobody who stops
//! reading it, a full pipe or a stopped terminal, stops the daemon.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::write;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;

use super::note_untaken;
use crate::escape::{escape_char, is_printable};

/// A write of more than this to a pipe may be torn, or wait (pipe(7), `PIPE_BUF`).
const LINE_MAX: usize = libc::PIPE_BUF;

/// Room for bursts in a pipe: what an unprivileged process may ask for (pipe(7)).
const PIPE_SIZE: i32 = 1024 * 1024;

/// Standard error, and the rest of a line that it has taken a part of, as terminals do.
#[derive(Debug)]
struct Stderr {
    way: Way,
    owed: Mutex<Vec<u8>>,
}

/// How bytes get to standard error without waiting.
#[derive(Debug)]
enum Way {
    /// A pipe or terminal, opened again: its own open file description, so that whoever shares the other, a
    /// shell for instance, does not find it non-blocking.
    Reopened(File),
    Socket,
    /// A pipe or the like that cannot be opened again: written to when poll(2) finds room for a line.
    Polled,
    /// A file never makes anybody wait.
    File,
}

impl Stderr {
    fn open() -> Self {
        Self { way: Way::find(), owed: Mutex::default() }
    }

    /// Writes a line, or fails without waiting and without having written any of it.
    fn write_line(&self, line: &[u8]) -> io::Result<()> {
        let mut cut = [0; LINE_MAX];
        let line = match self.way {
            Way::Reopened(_) | Way::Polled if line.len() > LINE_MAX => cut_line(line, &mut cut),
            _ => line,
        };
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner); // a panic has ended the process
        if !owed.is_empty() {
            let length = self.way.write(&owed)?;
            owed.drain(..length);
            if !owed.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let length = self.way.write(line)?;
        owed.extend_from_slice(&line[length..]);
        Ok(())
    }
}

impl Way {
    fn find() -> Self {
        let path = "/proc/self/fd/2";
        let Ok(kind) = std::fs::metadata(path).map(|metadata| metadata.file_type()) else {
            return Self::Polled;
        };
        if kind.is_file() {
            return Self::File;
        }
        if kind.is_socket() {
            return Self::Socket;
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        let Ok(file) = OpenOptions::new().write(true).custom_flags(flags).open(path) else {
            return Self::Polled;
        };
        if kind.is_fifo() {
            let _ = fcntl(&file, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE)); // less does as well
        }
        Self::Reopened(file)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        let stderr = stderr.as_fd();
        let length = match self {
            Self::Reopened(file) => write(file, bytes),
            Self::Socket => send(stderr.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL),
            Self::Polled if !has_room(stderr, PollTimeout::ZERO) => Err(Errno::EAGAIN),
            Self::Polled | Self::File => write(stderr, bytes),
        };
        Ok(length?)
    }
}

/// The beginning of a line, and a mark that it was longer.
fn cut_line<'a>(line: &[u8], room: &'a mut [u8; LINE_MAX]) -> &'a [u8] {
    const MARK: &[u8] = b"...\n";
    let mut end = LINE_MAX - MARK.len();
    // Not in the middle of a character.
    while line[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    room[..end].copy_from_slice(&line[..end]);
    room[end..end + MARK.len()].copy_from_slice(MARK);
    &room[..end + MARK.len()]
}

fn has_room(fd: BorrowedFd<'_>, timeout: PollTimeout) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], timeout).is_ok_and(|ready| ready > 0)
}

/// Waits until somebody reads standard error, for a while at most.
pub fn wait_for_room(patience: Duration) {
    has_room(io::stderr().as_fd(), PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX));
}

/// Writes one line without waiting, or loses it: for who has closed, or never had, the layer's way there.
pub fn write_once(line: &str) {
    let _ = Stderr::open().write_line(line.as_bytes()); // nobody left to tell
}

/// The layer's way to standard error. Notes each line that it does not take.
struct LineWriter;

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        static STDERR: OnceLock<Stderr> = OnceLock::new();
        if STDERR.get_or_init(Stderr::open).write_line(line).is_err() {
            note_untaken();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One line for each record: its sentence, then `name=value` for the fields in lower case.
pub fn stderr_layer<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let fields = format::debug_fn(|out, field, value| match field.name() {
        "message" => write!(OneLine(out), "{value:?}"),
        "MESSAGE_ID" => Ok(()),
        name => {
            write!(out, "{}={value:?}", name.strip_prefix("LSBAWS_").unwrap_or(name).to_ascii_lowercase())
        }
    });
    tracing_subscriber::fmt::layer()
        .with_writer(|| LineWriter)
        .without_time()
        .with_target(false)
        .log_internal_errors(false)
        .fmt_fields(fields.delimited(" "))
}

/// Lets no sentence leave its line, whatever is in it.
struct OneLine<W>(W);

impl<W: fmt::Write> fmt::Write for OneLine<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| {
            if is_printable(c) { self.0.write_char(c) } else { escape_char(&mut self.0, c) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_characters_and_ends() {
        let line = format!("x{}", "é".repeat(LINE_MAX));
        let mut room = [0; LINE_MAX];
        let text = std::str::from_utf8(cut_line(line.as_bytes(), &mut room)).unwrap();
        assert!(text.ends_with("é...\n") && text.len() >= LINE_MAX - 1, "{}", text.len());
    }
}
