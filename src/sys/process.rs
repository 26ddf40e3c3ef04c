//! What this process is to the kernel, and what its programs start with.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal};

/// Sets the nice value of this process, -20 to 19 (setpriority(2)); nix has no such call.
///
/// # Errors
/// Those of setpriority(2).
pub(crate) fn set_priority(nice: i32) -> nix::Result<()> {
    // SAFETY: setpriority takes three integers.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// Gives every signal but SIGPIPE its default disposition (signal(2)). With an ignored SIGCHLD, which a parent process may
/// have set, the kernel reaps children itself and their status is lost; and programs that children become inherit what is
/// ignored. SIGPIPE stays ignored, as Rust sets it at start.
pub(crate) fn reset_signals() {
    // The kernel's `struct sigaction`, all zero: SIG_DFL, no flags, no mask.
    let default = [0_u64; 4];
    // Not through the C library, which refuses the two signals that it uses itself: posix_spawn(3) leaves those
    // ignored.
    for signal in (1..=libc::SIGRTMAX()).filter(|&signal| signal != libc::SIGPIPE) {
        // SAFETY: the pointer is to a structure as large as the kernel's, with a signal set of 8 bytes; SIG_DFL
        // installs no handler. (SIGKILL and SIGSTOP fail, without effect.)
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, ptr::null::<u64>(), 8) };
    }
}

/// Gives a signal its default disposition (signal(2)).
pub(crate) fn reset_signal(signal: Signal) {
    // SAFETY: SIG_DFL installs no handler.
    let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }; // fails for SIGKILL and SIGSTOP only
}

/// A descriptor that becomes readable when the process `pid` has exited (pidfd_open(2)).
///
/// # Errors
/// Those of pidfd_open(2).
pub(crate) fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(fd) {
        // SAFETY: pidfd_open has just made this descriptor, close-on-exec; nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
