//! What children start with, made ahead of their forks.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::sys::signal::SigSet;

use super::session::RESPONSE_ROOM;
use super::signal_mask;
use super::work::Kit;
use crate::http::date::Date;
use crate::http::limits::Limits;
use crate::http::request;
use crate::scoreboard::Slot;

/// What holds for every child, whatever its service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChildSettings {
    pub(crate) http: Limits,
}

/// Everything but the connection and the slot: a child allocates nothing of its own on its way to the first byte.
#[derive(Debug)]
pub(crate) struct Supplies {
    limits: Limits,
    mask: SigSet,
    date: Date,
    buffer: Vec<u8>,
    /// The two ends of one socket, the supervisor's and the children's: when the first is closed, the children
    /// learn that the daemon drains.
    drain: (Option<UnixStream>, Option<UnixStream>),
}

impl Supplies {
    pub(crate) fn new(settings: ChildSettings) -> Self {
        request::warm_up();
        let limits = settings.http;
        let buffer = vec![0; limits.max_head_size + RESPONSE_ROOM];
        Self { limits, mask: signal_mask(), date: Date::now(), buffer, drain: (None, None) }
    }

    /// Opens the drain's socket, which [`Self::drain`] closes again.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub(crate) fn open_drain(&mut self) -> io::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        self.drain = (Some(ours), Some(theirs));
        Ok(())
    }

    /// Signals the children to begin no further requests on their connections.
    pub(crate) fn drain(&mut self) {
        self.drain.0 = None;
    }

    /// Settings of the children to come.
    pub(crate) fn reconfigure(&mut self, settings: ChildSettings) {
        let limits = settings.http;
        self.buffer.resize(limits.max_head_size + RESPONSE_ROOM, 0);
        self.limits = limits;
    }

    /// The kit of the next child.
    pub(crate) fn kit(&mut self, slot: Slot) -> Kit<'_> {
        self.date.refresh();
        Kit {
            limits: &self.limits,
            drain: self.drain.1.as_ref().map(AsFd::as_fd),
            slot,
            mask: self.mask,
            date: &mut self.date,
            buffer: &mut self.buffer,
        }
    }
}
