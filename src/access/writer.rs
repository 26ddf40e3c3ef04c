//! The writer of access lines: a process of its own, so that a slow or full disk stops nothing but lines. It appends what the
//! supervisor sends to one file, and exits when the supervisor closes the channel and all is written.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};

use super::own::open_file;
use crate::sys::{self, Patience};

/// Bytes of whole lines that are sent at once.
pub(crate) const BATCH_MAX: usize = 32 << 10;

/// What a writer reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WriterReport {
    /// The file is open.
    Opened,
    /// It cannot be opened: the errno of open(2). The writer exits.
    NotOpened(i32),
    /// So many lines could not be written: the errno of write(2).
    Lost { lines: u64, errno: i32 },
}

/// Whole lines in this text.
pub(crate) fn count_lines(text: &[u8]) -> u64 {
    text.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Body of the process: appends to the file at `path` what comes by the channel with this number, and counts the lines that
/// it is done with in the memory file with the number `progress`, which the supervisor reads when this process has exited.
///
/// # Errors
/// A sentence; the supervisor has been informed, if that was possible.
pub(crate) fn run(channel: RawFd, progress: RawFd, path: &Path) -> Result<(), String> {
    // It ends with the supervisor, whatever is sent to the processes of a terminal or a unit.
    SigSet::all().thread_set_mask().map_err(|errno| errno.desc().to_owned())?;
    let _ = prctl::set_name(c"lsbaws-access"); // not that of /proc/self/exe
    let _ = prctl::set_dumpable(false); // cannot fail
    umask(Mode::from_bits_truncate(0o027));
    let adopt =
        |fd| sys::adopt_fd(fd).map_err(|error| format!("this command is for the supervisor alone: {error}"));
    let (channel, progress) = (adopt(channel)?, File::from(adopt(progress)?));
    // A file system may not answer: the process that waits for it ends with the supervisor.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL); // cannot fail
    let mut buffer = vec![0; BATCH_MAX];
    if let Ok(None) = sys::receive_message(channel.as_fd(), &mut buffer, Patience::Never) {
        return Ok(()); // the supervisor has exited before
    }
    let opened = open_file(path);
    let _ = prctl::set_pdeathsig(None); // what it has is written
    let mut file = match opened {
        Ok(file) => {
            report(channel.as_fd(), WriterReport::Opened);
            Appender { file, is_torn: false }
        }
        Err(error) => {
            report(channel.as_fd(), WriterReport::NotOpened(errno_of(&error)));
            return Ok(());
        }
    };
    let mut done = 0_u64;
    loop {
        match sys::receive_message(channel.as_fd(), &mut buffer, Patience::Wait) {
            Ok(Some((length, _))) => {
                if let Err((lines, error)) = file.append(&buffer[..length]) {
                    report(channel.as_fd(), WriterReport::Lost { lines, errno: errno_of(&error) });
                }
                done += count_lines(&buffer[..length]);
                let _ = progress.write_all_at(&done.to_ne_bytes(), 0); // no memory: more count as lost
            }
            Ok(None) => return Ok(()),
            Err(error) => return Err(format!("unable to receive access lines: {error}")),
        }
    }
}

struct Appender {
    file: File,
    /// Only a part of the last line is written.
    is_torn: bool,
}

impl Appender {
    /// Appends whole lines. A torn line is ended first, so that the next one is whole. The error has the number of lines that
    /// are not written.
    fn append(&mut self, lines: &[u8]) -> Result<(), (u64, io::Error)> {
        if self.is_torn {
            self.file.write_all(b"\n").map_err(|error| (count_lines(lines), error))?;
            self.is_torn = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err((count_lines(rest), io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    self.is_torn = rest[written - 1] != b'\n';
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((count_lines(rest), error)),
            }
        }
        Ok(())
    }
}

fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// Reports to the supervisor. It may have exited.
fn report(channel: BorrowedFd<'_>, report: WriterReport) {
    let mut buffer = [0; 32];
    if let Ok(bytes) = postcard::to_slice(&report, &mut buffer) {
        let _ = sys::send_message(channel, bytes, &[], Patience::Wait);
    }
}
