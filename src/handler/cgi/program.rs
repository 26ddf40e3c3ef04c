//! A running CGI program: its pipes, and its termination with all that it has started.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::content::Content;
use super::leftovers::list_children;
use super::script::Script;
use super::spawn::{Started, spawn};
use crate::handler::exchange::ProgramTerms;
use crate::scoreboard::{ProgramEnd, Slot};
use crate::sys::{self, Escalation, Exit, GRACE};

/// Milliseconds between two looks at the processes that a program has left: the kernel does not notify of their exit.
const CHECK_INTERVAL: u8 = 10;

/// A program, and this process's ends of its pipes, which do not block.
#[derive(Debug)]
pub(crate) struct RunningProgram {
    pid: Pid,
    /// Becomes readable when the program exits.
    pidfd: OwnedFd,
    pub(crate) stdin: Option<PipeWriter>,
    pub(crate) stdout: Option<PipeReader>,
    pub(crate) stderr: Option<PipeReader>,
    slot: Slot,
    end: Option<ProgramEnd>,
    /// Children of this process that are none of the program's.
    earlier: Vec<Pid>,
    keeps_leftovers: bool,
}

impl RunningProgram {
    /// Starts a script: see [`spawn`]. What it leaves when this process dies comes to the supervisor.
    ///
    /// # Errors
    /// Those of [`spawn`] and of pidfd_open(2).
    pub(crate) fn start(
        script: &Script,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
        content: &Content,
        terms: ProgramTerms<'_>,
        slot: Slot,
    ) -> io::Result<Self> {
        // Orphaned processes of the program become children of this process.
        prctl::set_child_subreaper(true)?;
        let earlier = list_children(None);
        let started = spawn(script, variables, content, terms)?;
        let Started { pid, stdin, stdout, stderr } = started;
        let pidfd = sys::open_pidfd(pid.as_raw().cast_unsigned()).inspect_err(|_| {
            let _ = killpg(pid, Signal::SIGKILL).is_ok() && sys::wait_for(pid).is_ok();
        })?;
        let pipes = [stdin.as_ref().map(AsFd::as_fd), Some(stdout.as_fd()), Some(stderr.as_fd())];
        for pipe in pipes.into_iter().flatten() {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?; // cannot fail for a pipe
        }
        slot.set_program(ProgramEnd::Running);
        let (stdout, stderr) = (Some(stdout), Some(stderr));
        let keeps_leftovers = terms.keeps_leftovers;
        Ok(Self { pid, pidfd, stdin, stdout, stderr, slot, end: None, earlier, keeps_leftovers })
    }

    /// Becomes readable when the program exits. `None` once its end is known.
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.end.is_none().then(|| self.pidfd.as_fd())
    }

    /// How the program has ended. `None`: it is running.
    pub(crate) fn check_end(&mut self) -> io::Result<Option<ProgramEnd>> {
        if self.end.is_none() {
            self.end = sys::reap(self.pid)?.map(|(exit, _)| match exit {
                Exit::Exited(code) => ProgramEnd::Exited(code),
                Exit::Killed { signal, .. } => ProgramEnd::Killed(signal),
                Exit::Unknown => ProgramEnd::Running, // wait4(2) gives no such end
            });
            if let Some(end) = self.end {
                self.slot.set_program(end);
            }
        }
        Ok(self.end)
    }

    /// Whether the program is about to exit. Also true where /proc does not show it.
    ///
    /// A process that exits has this flag before the kernel closes its files.
    pub(crate) fn is_exiting(&self) -> bool {
        const PF_EXITING: u32 = 4; // include/linux/sched.h
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The flags are the seventh field after the name, which may have any character (proc_pid_stat(5)).
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let flags = fields.split_ascii_whitespace().nth(6).and_then(|flags| flags.parse().ok());
        flags.is_none_or(|flags: u32| flags & PF_EXITING != 0)
    }

    /// Terminates the program with its process group, and what it has left, in whatever session. Waits until all have
    /// exited. A service that keeps leftovers lets them run when their program has exited.
    pub(crate) fn terminate(&mut self) {
        let start = Instant::now();
        let mut escalation = Escalation::new(start);
        let (mut signal, mut known) = (Signal::SIGTERM, Vec::<Pid>::new());
        let had_exited = matches!(self.check_end(), Ok(Some(_)));
        // A process that is blocked in the kernel outlives even SIGKILL, so the wait is limited.
        while start.elapsed() < 2 * GRACE {
            let is_running = !matches!(self.check_end(), Ok(Some(_)));
            let mut left = list_children(Some(self.pid));
            left.retain(|pid| !self.keeps_leftovers && !self.earlier.contains(pid));
            if !is_running && left.is_empty() {
                break;
            }
            if had_exited && !left.is_empty() {
                self.slot.set_orphans();
            }
            if let Some(due) = escalation.take_signal(Instant::now()) {
                signal = due;
                known.clear();
                if is_running {
                    let _ = killpg(self.pid, signal); // not reaped, so that the group is its own
                }
            }
            // Those whose parent has exited meanwhile get the signal that the others have got.
            for &pid in left.iter().filter(|&pid| !known.contains(pid)) {
                let _ = kill(pid, signal); // not reaped, so that the pid is its own
            }
            known = left;
            let mut fds: Vec<_> =
                self.pidfd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).into_iter().collect();
            let _ = poll(&mut fds, CHECK_INTERVAL);
        }
        // Closed last, so that the program gets SIGTERM and not SIGPIPE.
        (self.stdin, self.stdout) = (None, None);
    }
}

/// Reads what a pipe holds. `None`: nothing now. 0 is the end.
pub(crate) fn try_read(pipe: &mut impl Read, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match pipe.read(buffer) {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes what a pipe takes. `None`: its reader has closed it.
pub(crate) fn try_write(pipe: &mut impl Write, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        match pipe.write(bytes) {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Some(0)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
