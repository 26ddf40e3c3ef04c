//! A signal by which another process interrupts a wait of this one.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::unistd::{getpid, gettid};

/// A signal that interrupts the waits of this thread. From the look at what it announces until the wait it is blocked, so
/// that none is missed in between (ppoll(2)). So are all others, where foreign code may handle them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WakeUp {
    /// The signals that are blocked during a wait.
    mask: SigSet,
    /// It is blocked outside waits as well.
    is_blocked: bool,
}

impl WakeUp {
    /// For a thread with the mask of this one. Without a signal that it blocks, a wait costs two system calls more.
    pub(crate) fn new(signal: Signal) -> Self {
        let mut mask = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty()); // cannot fail
        let is_blocked = mask.contains(signal);
        mask.remove(signal);
        Self { mask, is_blocked }
    }

    /// Blocks the signal until the result is dropped.
    pub(crate) fn hold(&self) -> Held {
        let before = (!self.is_blocked).then(|| SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK));
        Held(before.and_then(Result::ok)) // it cannot fail
    }

    /// For ppoll(2).
    pub(crate) fn mask(&self) -> SigSet {
        self.mask
    }
}

/// The signals that were blocked before [`WakeUp::hold`].
#[derive(Debug)]
pub(crate) struct Held(Option<SigSet>);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.map(|before| before.thread_set_mask()); // cannot fail
    }
}

/// Lets a signal interrupt system calls, and do nothing else. A program that is executed has its default disposition again.
pub(crate) fn catch_signal(signal: Signal) {
    extern "C" fn ignore(_: i32) {}
    handle_by(signal, ignore);
}

/// The same where there may be other threads: one that gets the signal passes it on to the first.
pub(crate) fn catch_in_first_thread(signal: Signal) {
    extern "C" fn pass_on(signal: i32) {
        let first = getpid().as_raw();
        if gettid().as_raw() != first {
            // SAFETY: tgkill takes integers, and may be called in a handler. It does not fail here, so that errno stays.
            unsafe { libc::syscall(libc::SYS_tgkill, first, first, signal) };
        }
    }
    handle_by(signal, pass_on);
}

fn handle_by(signal: Signal, handler: extern "C" fn(i32)) {
    let action = SigAction::new(SigHandler::Handler(handler), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handlers of this file make system calls alone.
    let _ = unsafe { sigaction(signal, &action) }; // fails for SIGKILL and SIGSTOP only
}
