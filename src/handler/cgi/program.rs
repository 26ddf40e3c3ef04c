//! A running CGI program: its pipes, its process group, and its termination.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl;
use nix::sys::signal::killpg;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::script::Script;
use crate::scoreboard::{ProgramEnd, Slot};
use crate::sys::{self, Escalation, GRACE};

/// Milliseconds between two checks whether a process group is empty, of which the kernel does not notify.
const CHECK_INTERVAL: u8 = 10;

/// A program, and this process's ends of its pipes, which do not block.
#[derive(Debug)]
pub(crate) struct RunningProgram {
    child: Child,
    /// Becomes readable when the program exits.
    pidfd: OwnedFd,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
    slot: Slot,
    end: Option<ProgramEnd>,
}

impl RunningProgram {
    /// Starts a script in its own directory (RFC 3875, section 7.2) and in a process group of its own. Without
    /// `content` its standard input is empty.
    ///
    /// It gets SIGTERM if this process dies, and the supervisor, which finds the group in `slot`, terminates the
    /// rest.
    ///
    /// # Errors
    /// Those of fork(2) and execve(2), and of the pipes.
    pub(crate) fn start(
        script: &Script,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
        content: bool,
        slot: Slot,
    ) -> io::Result<Self> {
        let mut command = Command::new(&script.program);
        if script.program != script.file {
            command.arg(&script.file);
        }
        command
            .current_dir(script.file.parent().unwrap_or(Path::new("/")))
            .env_clear()
            .envs(variables)
            .process_group(0)
            .stdin(if content { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        sys::tie_to_parent(&mut command, move |pid| slot.set_group(pid.as_raw()));
        // Orphaned processes of the program become children of this process, which terminates them.
        prctl::set_child_subreaper(true)?;
        let mut child = command.spawn().inspect_err(|_| slot.set_group(0))?;
        let pidfd = sys::open_pidfd(child.id()).inspect_err(|_| {
            let _ = child.kill().and_then(|()| child.wait());
        })?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let pipes = [
            stdin.as_ref().map(AsFd::as_fd),
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
        ];
        for pipe in pipes.into_iter().flatten() {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?; // cannot fail for a pipe
        }
        slot.set_program(ProgramEnd::Running);
        Ok(Self { child, pidfd, stdin, stdout, stderr, slot, end: None })
    }

    /// Becomes readable when the program exits. `None` once its end is known.
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.end.is_none().then(|| self.pidfd.as_fd())
    }

    /// How the program has ended. `None`: it is running.
    pub(crate) fn check_end(&mut self) -> io::Result<Option<ProgramEnd>> {
        if self.end.is_none() {
            self.end = self.child.try_wait()?.map(|status| match (status.code(), status.signal()) {
                (Some(code), _) => ProgramEnd::Exited(u8::try_from(code).unwrap_or(u8::MAX)),
                (None, signal) => ProgramEnd::Killed(signal.unwrap_or(0)),
            });
            if let Some(end) = self.end {
                self.slot.set_program(end);
            }
        }
        Ok(self.end)
    }

    /// Terminates what is left of the program's process group, and waits until the group is empty.
    pub(crate) fn terminate(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        let start = Instant::now();
        let mut escalation = Escalation::new(start);
        // A process that is blocked in the kernel outlives even SIGKILL, so the wait is limited.
        while self.is_group_running(group)
            && killpg(group, escalation.take_signal(Instant::now())).is_ok()
            && start.elapsed() < 2 * GRACE
        {
            let mut fds: Vec<_> =
                self.pidfd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).into_iter().collect();
            let _ = poll(&mut fds, CHECK_INTERVAL);
        }
        self.slot.set_group(0);
        // Closed last, so that the program gets SIGTERM and not SIGPIPE.
        (self.stdin, self.stdout) = (None, None);
        // Orphans that have left the group and exited. Those that still run become the supervisor's.
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive)
        {
        }
    }

    /// Whether a process of the group is running. Reaps those that have exited: they are children of this process,
    /// which is a subreaper.
    fn is_group_running(&mut self, group: Pid) -> bool {
        !matches!(self.check_end(), Ok(Some(_))) || sys::reap_group(group)
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
