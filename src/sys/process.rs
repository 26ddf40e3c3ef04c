//! What this process is to the kernel, and what its programs start with.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
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

/// Gives every signal but SIGPIPE and SIGXFSZ its default disposition (signal(2)). With an ignored SIGCHLD, which a parent process may
/// have set, the kernel reaps children itself and their status is lost; and programs that children become inherit what is
/// ignored. SIGPIPE stays ignored, as Rust sets it at start; and SIGXFSZ is ignored, so that a write beyond the limit of a
/// file's size is an error and no death. A program that is executed must reset both.
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
    // SAFETY: SIG_IGN installs no handler.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGXFSZ, SigHandler::SigIgn) }; // cannot fail
}

/// Gives a signal its default disposition (signal(2)).
pub(crate) fn reset_signal(signal: Signal) {
    // SAFETY: SIG_DFL installs no handler.
    let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }; // fails for SIGKILL and SIGSTOP only
}

/// Lets a program that `command` starts inherit these descriptors, which are close-on-exec in this process.
pub(crate) fn keep_for_program(command: &mut Command, fds: Vec<RawFd>) {
    let prepare = move || {
        for &fd in &fds {
            // SAFETY: F_SETFD takes no pointer.
            if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: after the fork and before the exec this makes system calls alone.
    unsafe { command.pre_exec(prepare) };
}

/// Sends a signal to the process of a pidfd: never to another that has got its pid (pidfd_send_signal(2)).
///
/// # Errors
/// Those of pidfd_send_signal(2); ESRCH when the process has been reaped.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> nix::Result<()> {
    let (pidfd, signal) = (pidfd.as_raw_fd(), signal as i32);
    // SAFETY: without information about the signal, pidfd_send_signal takes no pointer that is not null.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, ptr::null::<u8>(), 0) };
    Errno::result(result).map(drop)
}

/// Overwrites the environment that this process was started with: other processes of its user could read it from
/// /proc/PID/environ, and its children have a copy. `std::env` must not be used afterwards.
pub(crate) fn wipe_environment() {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: this process has one thread, so that nothing else reads or changes the pointer.
    let mut entry = unsafe { environ };
    if entry.is_null() {
        return;
    }
    loop {
        // SAFETY: `environ` is an array of pointers that ends with a null pointer.
        let string = unsafe { *entry };
        if string.is_null() {
            break;
        }
        // SAFETY: each is a string that ends with a NUL, in the writable memory of the stack.
        let length = unsafe { libc::strlen(string) };
        // SAFETY: the string is `length` long.
        unsafe { ptr::write_bytes(string, 0, length) };
        // SAFETY: the null pointer at the end has not been reached.
        entry = unsafe { entry.add(1) };
    }
    // SAFETY: as above: one thread. The array is empty from now on.
    unsafe { environ = ptr::null_mut() };
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
