//! What it takes to serve one connection. The supervisor makes it before the fork, so that a child allocates
//! nothing of its own on its way to the first byte.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::sys::signal::SigSet;

use crate::connection::Connection;
use crate::http::date::Date;
use crate::http::limits::Limits;
use crate::journal::ChildLog;
use crate::scoreboard::Slot;
use crate::service::Service;

/// What every child gets, whatever its connection.
#[derive(Debug)]
pub(crate) struct Kit<'a> {
    pub(crate) limits: &'a Limits,
    /// Becomes readable, or loses its other end, when the daemon drains: no further requests then.
    pub(crate) drain: Option<BorrowedFd<'a>>,
    pub(crate) slot: Slot,
    /// The signals that a child blocks.
    pub(crate) mask: SigSet,
    pub(crate) date: &'a mut Date,
    /// Room for a request's head, and behind it for the response to it: in most connections one page.
    pub(crate) buffer: &'a mut Vec<u8>,
}

impl Kit<'_> {
    /// The descriptor of `drain`, for the list of those that a child keeps.
    pub(crate) fn drain_fd(&self) -> Option<RawFd> {
        self.drain.map(|drain| drain.as_raw_fd())
    }
}

/// A connection, its service and the kit to serve it with.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) service: &'a Service,
    pub(crate) kit: Kit<'a>,
}

impl Work<'_> {
    /// The log of the process that serves the connection.
    pub(crate) fn journal(&self) -> ChildLog<'_> {
        ChildLog::new(&self.connection.identity, &self.service.name, Some(self.kit.slot))
    }
}
