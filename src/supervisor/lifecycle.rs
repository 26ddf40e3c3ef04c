//! The life of the daemon: serving, draining, ending its children, over.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::children::Children;
use crate::journal::{self, EndedBy};

/// Between SIGTERM and SIGKILL for children that are still there when the drain is over.
const GRACE: Duration = Duration::from_secs(1);

/// Where in its life the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Serving,
    /// Accepts nobody new; the children may finish until then.
    Draining {
        until: Instant,
    },
    /// The children were asked to end; they are killed then.
    Terminating {
        until: Instant,
    },
    /// The children were killed.
    Killing,
}

impl Life {
    pub fn is_serving(self) -> bool {
        self == Self::Serving
    }

    /// Connections may be accepted: anybody's, or while draining those that were in a backlog before.
    pub fn is_accepting(self) -> bool {
        matches!(self, Self::Serving | Self::Draining { .. })
    }

    /// Told to stop: the first time drains, the second time ends at once.
    pub fn stop(self, children: &mut Children, drain_timeout: Duration, now: Instant) -> Self {
        if self.is_serving() {
            journal::note_draining(children.count(), drain_timeout);
            children.drain();
            return Self::Draining { until: now + drain_timeout };
        }
        children.end_all(Signal::SIGKILL, EndedBy::Stop);
        children.orphans.kill_all(now);
        Self::Killing
    }

    /// What the passing of time changes.
    pub fn advance(self, children: &mut Children, now: Instant) -> Self {
        match self {
            Self::Draining { until } if now >= until => {
                children.end_all(Signal::SIGTERM, EndedBy::Drain);
                Self::Terminating { until: now + GRACE }
            }
            Self::Terminating { until } if now >= until => {
                children.end_all(Signal::SIGKILL, EndedBy::Drain);
                Self::Killing
            }
            same => same,
        }
    }

    pub fn next_event(self) -> Option<Instant> {
        match self {
            Self::Draining { until } | Self::Terminating { until } => Some(until),
            Self::Serving | Self::Killing => None,
        }
    }
}
