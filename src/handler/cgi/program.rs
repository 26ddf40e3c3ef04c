//! A running CGI program: its pipes, its process group, and its end.

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

/// How often to look whether a process group is empty, in milliseconds; nothing tells.
const LOOK: u8 = 10;

/// A program and our ends of its pipes, none of which blocks.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    /// Becomes readable when the program has ended.
    pidfd: OwnedFd,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
    slot: Slot,
    end: Option<ProgramEnd>,
}

impl Program {
    /// Starts a script, in its own directory (RFC 3875, section 7.2) and a process group of its own. It is
    /// told to end should this process die, and the parent, which finds its group in `slot`, sees to it. Without
    /// `content`, its standard input is empty.
    pub(crate) fn start(
        script: &Script,
        variables: impl IntoIterator<Item = (impl AsRef<std::ffi::OsStr>, impl AsRef<std::ffi::OsStr>)>,
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
        // What it leaves behind comes to us, to be ended and counted.
        prctl::set_child_subreaper(true)?;
        let mut child = command.spawn().inspect_err(|_| slot.set_group(0))?;
        let pidfd = sys::open_pidfd(child.id()).inspect_err(|_| {
            let _ = child.kill().and_then(|()| child.wait()); // no descriptor for it: it is not left alone
        })?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let pipes = [
            stdin.as_ref().map(AsFd::as_fd),
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
        ];
        for pipe in pipes.into_iter().flatten() {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?; // fails for no pipe
        }
        slot.set_program(ProgramEnd::Running);
        Ok(Self { child, pidfd, stdin, stdout, stderr, slot, end: None })
    }

    /// What becomes readable when the program ends; none once that is known.
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.end.is_none().then(|| self.pidfd.as_fd())
    }

    /// How it has ended, once it has.
    pub(crate) fn has_ended(&mut self) -> io::Result<Option<ProgramEnd>> {
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

    /// Sees to it that nothing of the program is left, other processes of its group included: SIGTERM, and
    /// after some grace SIGKILL. Returns when all are gone; at once, when they are already.
    pub(crate) fn end(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        let start = Instant::now();
        let mut escalation = Escalation::new(start);
        // A process that is blocked in the kernel outlives even SIGKILL, so the wait has an end.
        while self.is_anybody_left(group)
            && killpg(group, escalation.take_signal(Instant::now())).is_ok()
            && start.elapsed() < 2 * GRACE
        {
            let mut fds: Vec<_> =
                self.pidfd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).into_iter().collect();
            let _ = poll(&mut fds, LOOK); // cut short: looks again
        }
        self.slot.set_group(0);
        // Only now: the program shall learn by the signal, not by a broken pipe.
        (self.stdin, self.stdout) = (None, None);
        // Who has left the group and ended; who goes on is the parent's when this process ends.
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive)
        {
        }
    }

    /// Reaps those of the program's group who have ended: they are ours, since this process is a subreaper.
    fn is_anybody_left(&mut self, group: Pid) -> bool {
        if !matches!(self.has_ended(), Ok(Some(_))) {
            return true;
        }
        sys::reap_group(group)
    }
}

/// Reads what there is. `None`: nothing now.
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

/// Writes what the pipe takes. `None`: its reader is gone.
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
