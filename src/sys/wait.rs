//! Waiting for children, with what they used (wait4(2)).

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// How a process ended (wait(2)). Signals are numbers here: real-time signals have no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It exited with this code.
    Exited(u8),
    /// This signal killed it; `dumped`: the kernel has written a core.
    Killed { signal: i32, dumped: bool },
    /// The kernel does not have its status any more.
    Unknown,
}

/// The end of a sentence about the process.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Killed { signal, .. } => match Signal::try_from(signal) {
                Ok(signal) => write!(f, "was killed by {signal}"),
                Err(_) => write!(f, "was killed by signal {signal}"),
            },
            Self::Unknown => f.write_str("exited"),
        }
    }
}

/// What a process used, from its `rusage` (getrusage(2)).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    /// Peak resident set in KiB.
    pub(crate) max_rss_kib: u64,
    pub(crate) minor_faults: u64,
}

impl Usage {
    /// What was used since `earlier`. The peak resident set is not a sum, and stays as it is.
    #[must_use]
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            max_rss_kib: self.max_rss_kib,
            minor_faults: self.minor_faults.saturating_sub(earlier.minor_faults),
        }
    }
}

impl From<libc::rusage> for Usage {
    fn from(raw: libc::rusage) -> Self {
        let duration = |time: libc::timeval| {
            Duration::from_secs(time.tv_sec.try_into().unwrap_or(0))
                + Duration::from_micros(time.tv_usec.try_into().unwrap_or(0))
        };
        Self {
            user: duration(raw.ru_utime),
            system: duration(raw.ru_stime),
            max_rss_kib: raw.ru_maxrss.try_into().unwrap_or(0),
            minor_faults: raw.ru_minflt.try_into().unwrap_or(0),
        }
    }
}

/// Waits until the child `pid` has exited, and reaps it (wait4(2)).
///
/// # Errors
/// Those of wait4(2), but EINTR.
pub(crate) fn wait_for(pid: Pid) -> io::Result<(Pid, Exit, Usage)> {
    loop {
        match wait(pid, 0) {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reaps the child `pid` if it has exited; `None` if it has not (wait4(2), `WNOHANG`).
///
/// Not nix's `waitpid`: that has no rusage, and fails *after* reaping a child that a real-time
/// signal killed, which would lose its record.
///
/// # Errors
/// Those of wait4(2); ECHILD when it is no child of this process.
pub(crate) fn reap(pid: Pid) -> io::Result<Option<(Exit, Usage)>> {
    Ok(wait(pid, libc::WNOHANG)?.map(|(_, exit, usage)| (exit, usage)))
}

/// wait4(2); `None` with `WNOHANG` when no such child has exited.
fn wait(pid: Pid, options: i32) -> io::Result<Option<(Pid, Exit, Usage)>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to live locals of the types that wait4 fills in.
    let pid = unsafe { libc::wait4(pid.as_raw(), &raw mut status, options, usage.as_mut_ptr()) };
    match pid {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        pid => {
            // SAFETY: zeroed bytes are a valid rusage, whatever wait4 has written over them.
            let usage = unsafe { usage.assume_init() };
            Ok(Some((Pid::from_raw(pid), decode_status(status), usage.into())))
        }
    }
}

/// The status word of wait(2). Without `WUNTRACED` and `WCONTINUED` it is never that of a stopped child.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "WEXITSTATUS has 8 bits")]
fn decode_status(status: i32) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit::Killed { signal: libc::WTERMSIG(status), dumped: libc::WCOREDUMP(status) }
    } else {
        Exit::Exited(libc::WEXITSTATUS(status) as u8)
    }
}

/// What this process has used so far (getrusage(2), `RUSAGE_SELF`).
pub(crate) fn own_usage() -> Usage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a live local of the type that getrusage fills in.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: zeroed bytes are a valid rusage, whatever getrusage has written over them.
    unsafe { usage.assume_init() }.into()
}
