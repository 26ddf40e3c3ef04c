//! The request that is being answered. Objects that an application has got for it, and may keep for longer or give to
//! another thread, find it here.

use std::process;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use lsbaws::runtime::Call;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// The number of a request in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(u64);

struct Current {
    number: Number,
    call: *mut (dyn Call + 'static),
}

// SAFETY: the pointer is used under the lock alone, and what it leads to belongs to no thread.
unsafe impl Send for Current {}

static CURRENT: Mutex<Option<Current>> = Mutex::new(None);
static LAST: AtomicU64 = AtomicU64::new(0);
/// The process that answers. One that the application forks has a copy of everything here.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// This process answers from now on.
pub(crate) fn enter_process() {
    PROCESS.store(process::id(), Relaxed);
}

/// Whether this is the process that answers, and not one that the application has forked.
pub(crate) fn is_own_process() -> bool {
    PROCESS.load(Relaxed) == process::id()
}

/// Makes a request the current one while `answer` runs.
pub(crate) fn with_current<T>(py: Python<'_>, call: &mut dyn Call, answer: impl FnOnce(Number) -> T) -> T {
    let number = Number(LAST.fetch_add(1, Relaxed) + 1);
    // SAFETY: only the lifetime is another one, and the pointer is removed before that ends.
    let call = unsafe { std::mem::transmute::<*mut (dyn Call + '_), *mut (dyn Call + 'static)>(call) };
    set(py, Some(Current { number, call }));
    let result = answer(number);
    if is_own_process() {
        set(py, None);
    }
    result
}

/// Without the interpreter: a thread that holds the lock needs it before it lets go.
fn set(py: Python<'_>, current: Option<Current>) {
    py.detach(|| *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = current);
}

/// Uses the request with this number. Other threads of Python may run meanwhile.
///
/// # Errors
/// `RuntimeError` if it is not being answered any more, or by another process.
pub(crate) fn use_call<T: Send>(
    py: Python<'_>,
    number: Number,
    action: impl FnOnce(&mut dyn Call) -> T + Send,
) -> PyResult<T> {
    let used =
        use_current(py, |current| current.filter(|(own, _)| *own == number).map(|(_, call)| action(call)));
    used.ok_or_else(|| match is_own_process() {
        true => PyRuntimeError::new_err("the request has been answered already"),
        false => {
            PyRuntimeError::new_err("a process that the application has forked cannot answer the request")
        }
    })
}

/// Uses the request that is being answered, whichever it is.
pub(crate) fn use_current<T: Send>(
    py: Python<'_>,
    action: impl FnOnce(Option<(Number, &mut dyn Call)>) -> T + Send,
) -> T {
    if !is_own_process() {
        return action(None); // the copy of the lock may be held for ever
    }
    py.detach(|| {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        action(current.as_mut().map(|current| {
            // SAFETY: `with_current` has set the pointer, and removes it, under this lock, before its request ends.
            (current.number, unsafe { &mut *current.call })
        }))
    })
}
