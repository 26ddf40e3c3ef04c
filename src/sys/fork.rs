//! Forking, and the only exit of a child.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use nix::unistd::Pid;

/// Forks a child that runs `body` and ends with the exit code that it returns (fork(2)).
///
/// The child never returns from here: it ends by `_exit`, so no error path of a child can run the supervisor's
/// code, its destructors or its buffered output. A panic must end the process in a hook, before it unwinds.
///
/// # Errors
/// Those of fork(2); and `Other` when this process has more than one thread.
pub(crate) fn fork_child(body: impl FnOnce() -> u8) -> io::Result<Pid> {
    unsafe extern "C" {
        /// fork(3) without the handlers of pthread_atfork and without resetting the C library's locks,
        /// which matter to processes of several threads only: each is a page for every child to copy.
        fn _Fork() -> libc::pid_t;
    }
    require_one_thread()?;
    // SAFETY: this process has one thread (checked once, and none is ever started), so no lock can be held by a
    // thread that the child lacks; _Fork takes and leaves nothing else.
    match unsafe { _Fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => exit_now(body()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Forks a child of this process's own parent that runs `body`, as [`fork_child`] does (clone(2), `CLONE_PARENT`): the parent
/// reaps it, with its resource usage.
///
/// The C library does not know of this fork: its copy of the thread's id is that of this process. Nothing of ours asks for
/// it, and the C library asks the kernel where it sends this thread a signal (raise(3), abort(3)). Other code may ask: see
/// [`accept_foreign_code`].
///
/// # Errors
/// Those of clone(2); and `Other` when this process has more than one thread.
pub(crate) fn fork_sibling(body: impl FnOnce() -> u8) -> io::Result<Pid> {
    require_one_thread()?;
    let tid = THREAD_ID.load(Relaxed);
    let of_tid = if tid == 0 { 0 } else { libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID };
    let flags = libc::CLONE_PARENT | libc::SIGCHLD | of_tid;
    // The last two arguments: the address for the thread's id, and of its storage, which stays. Some processors have them the
    // other way round.
    let (one, other) = if cfg!(target_arch = "x86_64") { (tid, 0) } else { (0, tid) };
    // SAFETY: without CLONE_VM and without a stack this is fork(2) with another parent, and the process has one thread. The
    // address is the one that the C library has given the kernel for this very purpose.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, one, other) } {
        -1 => Err(io::Error::last_os_error()),
        0 => exit_now(body()),
        #[expect(clippy::cast_possible_truncation, reason = "a pid, which the call gives as a word")]
        pid => Ok(Pid::from_raw(pid as i32)),
    }
}

/// Nothing more is to be checked before a fork.
static CHECKED: AtomicBool = AtomicBool::new(false);

/// Fails where a thread would make fork unsafe. Checks once: clippy.toml denies starting threads, and no
/// dependency starts one; this catches a dependency that begins to.
fn require_one_thread() -> io::Result<()> {
    if !CHECKED.load(Relaxed) {
        if count_threads() != 1 {
            return Err(io::Error::other("a process that forks must have one thread"));
        }
        CHECKED.store(true, Relaxed);
    }
    Ok(())
}

/// A command without a name in the libc crate (linux/prctl.h).
const PR_GET_TID_ADDRESS: i32 = 40;

/// Where the C library has the id of this thread, if children are to find their own there.
static THREAD_ID: AtomicUsize = AtomicUsize::new(0);

/// Prepares this process for the forks of a runtime with foreign code. It may have several threads, which no child has; and
/// the C library of a child knows the id of its thread, as after fork(3): it is what pthread_setaffinity_np(3) and the like
/// act on. Without `CONFIG_CHECKPOINT_RESTORE` it cannot be found, and stays that of this process.
pub(crate) fn accept_foreign_code() {
    CHECKED.store(true, Relaxed);
    let mut address = 0_usize;
    // SAFETY: the call writes an address to a live local of that size (PR_GET_TID_ADDRESS(2const)).
    if unsafe { libc::prctl(PR_GET_TID_ADDRESS, &raw mut address) } == 0 {
        THREAD_ID.store(address, Relaxed);
    }
}

/// The threads of this process. Without /proc there is nothing to count; clippy still denies threads.
fn count_threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// Exits at once, without destructors, exit handlers or flushing (`_exit(2)`).
pub(crate) fn exit_now(code: u8) -> ! {
    // SAFETY: _exit touches no memory of this process and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}
