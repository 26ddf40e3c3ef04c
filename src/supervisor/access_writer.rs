//! A writer of access lines, as the supervisor sees it: see [`crate::access::writer`].

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::Pid;

use super::events::{Event, Events};
use crate::access::writer::{WriterReport, count_lines};
use crate::handover::decode;
use crate::sys::{self, Patience};

/// Where a writer is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriterState {
    Opening,
    Open,
    /// It writes what it has, and exits.
    Retired,
}

/// A process that appends lines to a file.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) id: u32,
    pub(super) path: PathBuf,
    pub(super) state: WriterState,
    pub(super) pid: Pid,
    /// None: it is reaped.
    pidfd: Option<OwnedFd>,
    /// None: closed by the writer.
    channel: Option<OwnedFd>,
    /// Lines that were sent to it.
    sent: u64,
    /// How many of them it is done with: written, or reported as lost.
    progress: File,
}

impl Writer {
    /// Starts the process. It reports whether it has opened the file.
    ///
    /// # Errors
    /// No memory, descriptors or processes.
    pub(super) fn start(id: u32, path: &Path, events: &Events) -> io::Result<Self> {
        let (ours, theirs) = sys::open_channel()?;
        let progress = File::from(sys::create_memory_file(c"lsbaws-lines")?);
        // The file that this process runs, even if an upgrade has replaced it.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("lsbaws").arg("access-writer");
        command.arg(theirs.as_raw_fd().to_string()).arg(progress.as_raw_fd().to_string()).arg(path);
        // Its standard output is that of the daemon: /dev/stdout can be the file.
        command.env_clear().current_dir("/").stdin(Stdio::null());
        sys::keep_for_program(&mut command, vec![theirs.as_raw_fd(), progress.as_raw_fd()]);
        let pid = command.spawn()?.id();
        let pidfd = sys::open_pidfd(pid)?;
        let pid = Pid::from_raw(pid.cast_signed());
        events.add_process(&pidfd, Event::Process(pid))?;
        events.add(&ours, Event::Writer(id))?;
        let (path, state) = (path.to_owned(), WriterState::Opening);
        Ok(Self { id, path, state, pid, pidfd: Some(pidfd), channel: Some(ours), sent: 0, progress })
    }

    /// Sends whole lines. Never waits.
    ///
    /// # Errors
    /// EAGAIN when it has too many to write, EPIPE when it has exited.
    pub(super) fn send(&mut self, lines: &[u8]) -> io::Result<()> {
        let channel = self.channel.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        sys::send_message(channel.as_fd(), lines, &[], Patience::Never)?;
        self.sent += count_lines(lines);
        Ok(())
    }

    /// The lines that it was sent and has not written, once it has exited; then 0. One that was killed may have written the
    /// last of them.
    pub(super) fn take_unwritten(&mut self) -> u64 {
        if self.channel.is_some() {
            return 0;
        }
        let mut done = [0; 8];
        let _ = self.progress.read_exact_at(&mut done, 0); // empty: it has written none
        mem::take(&mut self.sent).saturating_sub(u64::from_ne_bytes(done))
    }

    /// The next report, if there is one now. The end of the channel is none.
    pub(super) fn receive(&mut self) -> Option<WriterReport> {
        let mut buffer = [0; 32];
        match sys::receive_message(self.channel.as_ref()?.as_fd(), &mut buffer, Patience::Never) {
            Ok(Some((length, _))) => decode(&buffer[..length]).ok(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Ok(None) | Err(_) => {
                self.channel = None;
                None
            }
        }
    }

    /// Lets it exit when all is written. One that still opens its file has nothing to write.
    pub(super) fn retire(&mut self) {
        match (mem::replace(&mut self.state, WriterState::Retired), &self.channel, &self.pidfd) {
            (WriterState::Opening, _, Some(pidfd)) => {
                let _ = sys::send_signal(pidfd.as_fd(), Signal::SIGKILL); // it has exited
            }
            (WriterState::Open, Some(channel), _) => {
                let _ = shutdown(channel.as_raw_fd(), Shutdown::Write); // it has exited
            }
            _ => {}
        }
    }

    /// Readable when it has reported, or has exited.
    pub(super) fn channel(&self) -> Option<&OwnedFd> {
        self.channel.as_ref()
    }

    /// Its process is reaped.
    pub(super) fn set_reaped(&mut self) {
        self.pidfd = None;
    }

    /// Whether its process is reaped.
    pub(super) fn is_reaped(&self) -> bool {
        self.pidfd.is_none()
    }
}
