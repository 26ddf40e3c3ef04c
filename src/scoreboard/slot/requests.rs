//! What the supervisor asks of a child.

use std::sync::atomic::Ordering::Relaxed;

use super::{Number, Slot};

/// One bit each.
const ANNOUNCE: u64 = 1;
const CLOSE: u64 = 2;
const HURRY: u64 = 4;

impl Slot {
    /// Asks the child to announce in its next response that the connection closes after it. A child that waits for a request
    /// waits on, so that the peer, a proxy, loses none that is on its way.
    pub(crate) fn announce_close(self) {
        self.words[Number::CloseAsked as usize].fetch_or(ANNOUNCE, Relaxed);
    }

    /// Takes back [`Self::announce_close`], and nothing else.
    pub(crate) fn withdraw_close(self) {
        self.words[Number::CloseAsked as usize].fetch_and(!ANNOUNCE, Relaxed);
    }

    /// Whether the daemon drains, whatever else is asked of this child.
    pub(crate) fn is_close_announced(self) -> bool {
        self.load(Number::CloseAsked) & ANNOUNCE != 0
    }

    /// Asks the child to begin no further request. A child that waits for one must be woken by a signal.
    pub(crate) fn ask_to_close(self) {
        self.words[Number::CloseAsked as usize].fetch_or(CLOSE, Relaxed);
    }

    /// Asks the child, since others wait for its place, to end a head that is not complete, and to give a slow transfer
    /// little time; and to begin no further request.
    pub(crate) fn hurry(self) {
        self.words[Number::CloseAsked as usize].fetch_or(HURRY, Relaxed);
    }

    pub(crate) fn is_hurried(self) -> bool {
        self.load(Number::CloseAsked) & HURRY != 0
    }

    /// Whether the child should begin no further request.
    pub(crate) fn is_close_asked(self) -> bool {
        self.load(Number::CloseAsked) & (CLOSE | HURRY) != 0
    }

    /// Whether the response at hand should be the last one.
    pub(crate) fn is_last_response(self) -> bool {
        self.load(Number::CloseAsked) != 0
    }
}
