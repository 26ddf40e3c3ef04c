//! What pyo3 has no safe name for.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// Before a fork (`PyOS_BeforeFork`).
pub(crate) fn before_fork(_: Python<'_>) {
    // SAFETY: this thread is attached to the interpreter.
    unsafe { pyo3::ffi::PyOS_BeforeFork() };
}

/// After a fork, in the process that has forked (`PyOS_AfterFork_Parent`).
pub(crate) fn after_fork_in_parent(_: Python<'_>) {
    // SAFETY: this thread is attached to the interpreter, and has called PyOS_BeforeFork.
    unsafe { pyo3::ffi::PyOS_AfterFork_Parent() };
}

/// After a fork, in the child (`PyOS_AfterFork_Child`).
pub(crate) fn after_fork_in_child(_: Python<'_>) {
    // SAFETY: this thread is the copy of one that was attached, and that has called PyOS_BeforeFork.
    unsafe { pyo3::ffi::PyOS_AfterFork_Child() };
}

/// How long the handlers of a child may take.
pub(crate) const HANDLERS_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs what libraries have registered with pthread_atfork(3), by a fork whose child exits at once. The forks of lsbaws do not
/// run it: a library such as OpenBLAS then ends the threads of its pool, and starts them again in the process that uses it.
/// Returns whether the handlers have returned in the child, which is killed otherwise.
#[expect(clippy::disallowed_methods, reason = "the fork that runs the handlers; its child exits at once")]
pub(crate) fn run_fork_handlers(_: Python<'_>) -> bool {
    // SAFETY: the child makes one system call.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        exit_now(0);
    }
    if pid < 0 {
        return true; // the handlers have run in this process
    }
    let has_returned = wait_for_exit(pid);
    if !has_returned {
        // SAFETY: kill takes integers. The child is not reaped, so that the pid is its own.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    // SAFETY: waitpid takes a null pointer for a status that is not wanted.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } < 0 && is_interrupted() {}
    has_returned
}

/// Waits until this child exits, for [`HANDLERS_TIMEOUT`] at most.
fn wait_for_exit(pid: libc::pid_t) -> bool {
    // SAFETY: pidfd_open takes integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let Ok(fd @ 0..) = RawFd::try_from(fd) else { return true }; // reaped, where the application ignores SIGCHLD
    // SAFETY: the call has made the descriptor, which nothing else has.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut polled = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let end = Instant::now() + HANDLERS_TIMEOUT;
    loop {
        let left = end.saturating_duration_since(Instant::now()).as_millis();
        let left = left.try_into().unwrap_or(i32::MAX);
        // SAFETY: `polled` is one live entry.
        match unsafe { libc::poll(&raw mut polled, 1, left) } {
            0 => return false,
            ..0 if is_interrupted() => {}
            _ => return true,
        }
    }
}

fn is_interrupted() -> bool {
    std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
}

/// A string whose characters are these bytes: what PEP 3333 calls a native string.
pub(crate) fn decode_latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let (start, length) = (bytes.as_ptr().cast(), bytes.len().cast_signed());
    // SAFETY: the bytes are live, and as many as `length` says.
    let string = unsafe { pyo3::ffi::PyUnicode_DecodeLatin1(start, length, std::ptr::null()) };
    // SAFETY: the call gives a new reference, or null with an exception.
    let string = unsafe { Bound::from_owned_ptr_or_err(py, string) }?;
    Ok(string.cast_into::<PyString>()?)
}

/// The bytes of a native string.
pub(crate) fn encode_latin1(string: &Bound<'_, PyString>) -> PyResult<Vec<u8>> {
    // SAFETY: the argument is a string.
    let bytes = unsafe { pyo3::ffi::PyUnicode_AsLatin1String(string.as_ptr()) };
    // SAFETY: the call gives a new reference, or null with an exception.
    let bytes = unsafe { Bound::from_owned_ptr_or_err(string.py(), bytes) }?;
    Ok(bytes.cast_into::<PyBytes>()?.as_bytes().to_vec())
}

/// The file with this descriptor, which belongs to an object of Python, and stays open as long as that does not close it.
pub(crate) fn borrow_file(fd: RawFd) -> ManuallyDrop<File> {
    // SAFETY: it is never closed here. One that is closed, or another one by then, is the fault of the application, which
    // could do the same by itself.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd) })
}

/// Ends this process at once, without what Python and the C library do at an exit.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit touches no memory of this process and does not return.
    unsafe { libc::_exit(code) }
}

/// Runs `action`, which attaches this thread again where it uses Python. Other threads of Python may run meanwhile.
pub(crate) fn detached(py: Python<'_>, action: &mut dyn FnMut()) {
    struct OfThisThread<'a>(&'a mut dyn FnMut());
    impl OfThisThread<'_> {
        fn run(self) {
            (self.0)();
        }
    }
    // SAFETY: `detach` runs it on this very thread. What pyo3 asks for is to keep objects of Python out of it.
    unsafe impl Send for OfThisThread<'_> {}
    let action = OfThisThread(action);
    py.detach(move || action.run());
}
