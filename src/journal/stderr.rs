//! Standard error as a log: one line for each entry, which is written as a whole or counted. A full pipe or a
//! stopped terminal does not stop the daemon.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::time::{Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::write;

use super::entry::Entry;
use super::line::{LineStyle, count_columns};
use super::style::style;
use crate::sys;

/// A write of more than this to a pipe may be torn, or wait (pipe(7), `PIPE_BUF`).
const LINE_MAX: usize = libc::PIPE_BUF;

/// Room for bursts in a pipe: what an unprivileged process may ask for (pipe(7)).
const PIPE_SIZE: i32 = 1024 * 1024;

/// Standard error, and the rest of a line of which it has accepted a part, as terminals do.
#[derive(Debug)]
pub(super) struct Stderr {
    backend: Backend,
    /// The encoded entry.
    line: String,
    owed: Vec<u8>,
}

/// How bytes get to standard error without waiting.
#[derive(Debug)]
enum Backend {
    /// A pipe or terminal, opened again. A process that shares the inherited open file description, such as a shell,
    /// does not find it nonblocking.
    Reopened(File),
    Socket,
    /// A pipe or the like that cannot be opened again: written to when poll(2) finds room for a line.
    Polled,
    /// A file is always writable.
    File,
}

impl Stderr {
    pub(super) fn open() -> Self {
        Self { backend: Backend::find(), line: String::new(), owed: Vec::new() }
    }

    /// Writes an entry as a line, or fails without waiting and without having written any of it.
    pub(super) fn write_entry(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let style = style();
        let room = match style {
            LineStyle::Json => self.line_max(),
            style if style.is_short() => count_columns(),
            _ => usize::MAX,
        };
        entry.encode_as_line(style, SystemTime::now(), room, &mut line);
        let result = self.write_line(line.as_bytes());
        self.line = line;
        result
    }

    /// The descriptor that it has in addition to standard error, if it has one.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        match &self.backend {
            Backend::Reopened(file) => Some(file.as_raw_fd()),
            Backend::Socket | Backend::Polled | Backend::File => None,
        }
    }

    /// Bytes of the longest line that is not cut.
    pub(super) fn line_max(&self) -> usize {
        match self.backend {
            Backend::Reopened(_) | Backend::Polled => LINE_MAX,
            Backend::Socket | Backend::File => usize::MAX,
        }
    }

    /// Writes a line as it is, under the same terms.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let mut cut = [0; LINE_MAX];
        let line = if line.len() > self.line_max() { cut_line(line, &mut cut) } else { line };
        if !self.owed.is_empty() {
            let length = self.backend.write(&self.owed)?;
            self.owed.drain(..length);
            if !self.owed.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let length = self.backend.write(line)?;
        self.owed.extend_from_slice(&line[length..]);
        Ok(())
    }
}

impl Backend {
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
            let _ = fcntl(&file, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE)); // less is enough
        }
        Self::Reopened(file)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        let stderr = stderr.as_fd();
        let length = match self {
            Self::Reopened(file) => write(file, bytes),
            Self::Socket => send(stderr.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL),
            Self::Polled if !sys::wait_writable(&stderr, Instant::now()) => Err(Errno::EAGAIN),
            Self::Polled | Self::File => write(stderr, bytes),
        };
        Ok(length?)
    }
}

/// The beginning of a line, and a mark that it was cut.
fn cut_line<'a>(line: &[u8], room: &'a mut [u8; LINE_MAX]) -> &'a [u8] {
    const MARK: &[u8] = b"...\n";
    let mut end = LINE_MAX - MARK.len();
    // Between characters.
    while line[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    room[..end].copy_from_slice(&line[..end]);
    room[end..end + MARK.len()].copy_from_slice(MARK);
    &room[..end + MARK.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_line_is_cut_between_characters() {
        let line = format!("x{}", "é".repeat(LINE_MAX));
        let mut room = [0; LINE_MAX];
        let text = std::str::from_utf8(cut_line(line.as_bytes(), &mut room)).unwrap();
        assert!(text.ends_with("é...\n") && text.len() >= LINE_MAX - 1, "{}", text.len());
    }
}
