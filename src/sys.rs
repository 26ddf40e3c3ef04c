//! The one door to the kernel's dangerous calls: everything `unsafe` in lsbaws is in this file,
//! each block with the reason why it is sound. What `nix` offers as a safe call is used directly.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{SockType, UnixAddr, getsockname, getsockopt, sockopt};
use nix::unistd::Pid;

use crate::scoreboard::Slot;

mod address;
mod passing;
pub use address::{RemoteAddress, accept, remote_address};
pub use passing::{receive_socket, send_socket};

/// Forks a child that runs `body` and ends with the exit code that it returns (fork(2)).
///
/// The child never comes back from here: it ends by `_exit`, so no error path of a child can run the
/// parent's code, its destructors or its buffered output. A panic ends it in the hook of
/// [`crate::child::end_on_panic`].
pub fn fork_child(body: impl FnOnce() -> u8) -> io::Result<Pid> {
    unsafe extern "C" {
        /// fork(3) without the handlers of pthread_atfork and without resetting the C library's locks,
        /// which matter to processes of several threads only: each is a page for every child to copy.
        fn _Fork() -> libc::pid_t;
    }
    require_one_thread()?;
    // SAFETY: this process has one thread (looked at once, and none is ever started), so that no lock can be held by a thread that the
    // child lacks; _Fork takes and leaves nothing else.
    match unsafe { _Fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => exit_now(body()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Fails where a thread would make fork unsafe. Looks once: clippy.toml denies starting threads, and no
/// dependency does; this catches the day on which one begins to.
fn require_one_thread() -> io::Result<()> {
    static CHECKED: AtomicBool = AtomicBool::new(false);
    if !CHECKED.load(Relaxed) {
        // Without /proc nothing can be seen; what clippy denies is denied all the same.
        if std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count) != 1 {
            return Err(io::Error::other("a process that forks must have one thread"));
        }
        CHECKED.store(true, Relaxed);
    }
    Ok(())
}

/// Ends this process at once, without destructors, exit handlers or flushing (`_exit(2)`).
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit touches no memory of this process and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}

/// How a process ended, as wait(2) tells it. Signals are kept as numbers: real-time ones have no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Ended by itself with this code.
    Exited(u8),
    /// Ended by this signal, and whether a core was dumped.
    Killed { signal: i32, dumped: bool },
}

/// What a process used, from its `rusage` (getrusage(2)).
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub user: Duration,
    pub system: Duration,
    /// Peak resident set in KiB.
    pub max_rss_kib: u64,
    pub minor_faults: u64,
}

impl Usage {
    /// What was used since `earlier`. The peak resident set is not a sum and stays as it is.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
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

/// Waits for the end of `pid`, a child of this process (wait4(2)).
pub fn wait_for(pid: Pid) -> io::Result<(Pid, Exit, Usage)> {
    loop {
        match wait(pid, 0) {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reaps one ended child, or says that none has ended (wait4(2), `WNOHANG`).
///
/// Not nix's `waitpid`: that has no rusage, and fails *after* reaping a child that a real-time
/// signal killed, which would lose its record.
pub fn reap_one() -> io::Result<Option<(Pid, Exit, Usage)>> {
    match wait(Pid::from_raw(-1), libc::WNOHANG) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        result => result,
    }
}

/// wait4(2); `None` with `WNOHANG` when no such child has ended.
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

/// The status word of wait(2). Stopped and continued children are never asked for.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // WEXITSTATUS is 8 bits
fn decode_status(status: i32) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit::Killed { signal: libc::WTERMSIG(status), dumped: libc::WCOREDUMP(status) }
    } else {
        Exit::Exited(libc::WEXITSTATUS(status) as u8)
    }
}

/// What this process itself has used so far (getrusage(2), `RUSAGE_SELF`).
pub fn own_usage() -> Usage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a live local of the type that getrusage fills in.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: zeroed bytes are a valid rusage, whatever getrusage has written over them.
    unsafe { usage.assume_init() }.into()
}

/// Throws away up to `limit` bytes that have arrived at a TCP socket, without copying them (tcp(7), `MSG_TRUNC`).
/// Returns how many; 0 is the end of input. Other sockets cannot do that: EFAULT.
pub fn discard_input(socket: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: TCP writes nothing with MSG_TRUNC, and whoever writes to null is told that it is a bad address.
    let count = unsafe { libc::recv(socket.as_raw_fd(), ptr::null_mut(), limit, flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Takes ownership of a descriptor that this process was started with (sockets handed in).
///
/// Fails when there is no such descriptor. Each number may be adopted once, before this process opens any
/// descriptor of its own.
pub fn adopt_fd(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD takes no pointer; it only asks whether the descriptor is open.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open (just asked) and was inherited at start, so that nothing in
    // this process owns it; `listen::activation` adopts each number once, before any other is made.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A Unix datagram socket that somebody else in this process owns and does not show, by its number. Fails where
/// the number is of anything else.
///
/// For sockets that stay open until the process ends: those of crates that keep them in a static.
pub fn borrow_unix_datagram(number: RawFd) -> io::Result<BorrowedFd<'static>> {
    getsockname::<UnixAddr>(number)?;
    // SAFETY: the kernel has just known the number as a socket, so it is open; that it stays so is the caller's word.
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    match getsockopt(&socket, sockopt::SockType)? == SockType::Datagram {
        true => Ok(socket),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Closes every descriptor from 3 on but those `kept` (close_range(2), once for each gap between them): what
/// a child must not hold. For a child of [`fork_child`] only, which never uses or drops an owner of what is
/// closed.
pub fn close_all_but(kept: impl Iterator<Item = RawFd> + Clone) -> io::Result<()> {
    let mut next = 3;
    // Few, and in no order: looked for again and again rather than sorted, which would take memory.
    while let Some(fd) = kept.clone().filter(|&fd| fd >= next).min() {
        if fd > next {
            close_range(next, fd - 1)?;
        }
        next = fd + 1;
    }
    close_range(next, RawFd::MAX)
}

/// Fails where this kernel (before Linux 5.9) or a filter has no close_range(2): every child would fail.
pub fn require_close_range() -> io::Result<()> {
    close_range(RawFd::MAX, RawFd::MAX) // there is no such descriptor
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: the child that calls this never uses, nor drops, an owner of what is closed: it ends
    // by `_exit` (see fork_child).
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Gives this process a priority, -20 to 19 (setpriority(2)), which nix does not have.
pub fn set_priority(nice: i32) -> nix::Result<()> {
    // SAFETY: setpriority takes three integers.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// Empties the environment of a child, for getenv(3) and for what it may exec: nothing that the service
/// manager told the parent (`LISTEN_*`, `NOTIFY_SOCKET`, `WATCHDOG_*`) is for it. /proc/PID/environ, which
/// shows the strings that the daemon was started with, is the kernel's and stays. As clearenv(3), without the
/// page of code.
pub fn clear_environment() {
    unsafe extern "C" {
        static mut environ: *const *const libc::c_char;
    }
    // SAFETY: environ(7) may be null, which means empty; one thread, and nobody keeps a reference into it.
    unsafe { environ = ptr::null() };
}

/// Gives every signal but SIGPIPE its default disposition (signal(2)). An ignored SIGCHLD, which a parent
/// process may leave behind, would make the kernel reap our children and lose their status; and programs that
/// children become inherit what is ignored. SIGPIPE stays ignored, as Rust does at start.
pub fn reset_signals() {
    // The kernel's `struct sigaction`, all zero: SIG_DFL, no flags, no mask.
    let default = [0_u64; 4];
    // Past the C library, which keeps its hands on two signals of its own: posix_spawn(3) leaves those
    // ignored.
    for signal in (1..=libc::SIGRTMAX()).filter(|&signal| signal != libc::SIGPIPE) {
        // SAFETY: the pointer is to a structure as large as the kernel's, with a signal set of 8 bytes;
        // SIG_DFL installs no handler. (For signals that have no disposition it fails, and that is
        // all.)
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, ptr::null::<u64>(), 8) };
    }
}

/// Lets a program that `command` starts have no signal blocked, get SIGTERM when its parent, this process,
/// dies (PR_SET_PDEATHSIG(2const)), and name its process group, of which it is the leader, in `slot`.
pub fn tie_to_parent(command: &mut Command, slot: &'static Slot) {
    let parent = std::process::id();
    let prepare = move || {
        SigSet::empty().thread_set_mask()?;
        prctl::set_pdeathsig(Signal::SIGTERM)?;
        // It may have died before it could be asked for, and its slot may be another connection's.
        if std::os::unix::process::parent_id() == parent {
            slot.set_group(Pid::this().as_raw());
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    };
    // SAFETY: after the fork and before the exec this makes system calls and writes to a shared mapping, and
    // touches nothing that a fork could leave half-done.
    unsafe { command.pre_exec(prepare) };
}

/// A descriptor that becomes readable when the child `pid` ends (pidfd_open(2)).
pub fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(fd) {
        // SAFETY: pidfd_open has just made this descriptor, close-on-exec; nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Maps `count` zeroed slots that all later forks share (mmap(2), `MAP_SHARED|MAP_ANONYMOUS`).
/// They stay mapped until the process ends.
pub fn map_slots(count: usize) -> io::Result<&'static [Slot]> {
    let length = count
        .checked_mul(mem::size_of::<Slot>())
        .filter(|&length| length > 0)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
    // SAFETY: a new anonymous mapping overlaps nothing.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is page-aligned, zeroed, `length` long and never unmapped; a Slot is made of
    // integer atomics only, for which zero is valid and sharing between processes is sound.
    Ok(unsafe { std::slice::from_raw_parts(address.cast::<Slot>(), count) })
}
