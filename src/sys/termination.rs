//! How processes that do not exit by themselves are ended: SIGTERM first, SIGKILL after [`GRACE`].

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

/// From SIGTERM to SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// Decides which signal a process, or a process group, gets next, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Escalation {
    next: Signal,
    due: Instant,
}

impl Escalation {
    /// SIGTERM is due at `start`.
    pub(crate) fn new(start: Instant) -> Self {
        Self { next: Signal::SIGTERM, due: start }
    }

    /// When the next signal is due.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// The signal to send at `now`, if one is due. SIGKILL is repeated every [`GRACE`]: a process may be blocked in
    /// the kernel, or have become known after the first.
    pub(crate) fn take_signal(&mut self, now: Instant) -> Option<Signal> {
        if now < self.due {
            return None;
        }
        self.due = now + GRACE;
        Some(std::mem::replace(&mut self.next, Signal::SIGKILL))
    }

    /// SIGKILL is due at `now`, whether or not SIGTERM has been taken.
    pub(crate) fn kill(&mut self, now: Instant) {
        *self = Self { next: Signal::SIGKILL, due: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigkill_follows_sigterm_after_the_grace() {
        let start = Instant::now();
        let mut escalation = Escalation::new(start);
        assert_eq!(escalation.take_signal(start), Some(Signal::SIGTERM));
        assert_eq!(escalation.take_signal(start), None);
        assert_eq!(escalation.take_signal(start + GRACE), Some(Signal::SIGKILL));
        assert_eq!(escalation.take_signal(start + 2 * GRACE), Some(Signal::SIGKILL));
    }

    #[test]
    fn kill_ends_the_grace() {
        let start = Instant::now();
        let mut escalation = Escalation::new(start + GRACE);
        assert_eq!(escalation.take_signal(start), None);
        escalation.kill(start);
        assert_eq!(escalation.take_signal(start), Some(Signal::SIGKILL));
    }
}
