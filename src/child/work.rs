//! What it takes to serve one connection. The fork server makes it before the fork, so that a child allocates
//! nothing of its own on its way to the first byte.

use std::os::fd::{BorrowedFd, RawFd};

use super::title::Title;
use crate::clients::Gate;
use crate::connection::Connection;
use crate::http::date::Date;
use crate::http::limits::Limits;
use crate::http::proxy_protocol::ProxyHeader;
use crate::journal::ChildLog;
use crate::runtime::Runtime;
use crate::scoreboard::Slot;
use crate::service::Service;
use crate::sys::WakeUp;

/// What every child gets, whatever its connection.
#[derive(Debug)]
pub(crate) struct Kit<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) slot: Slot,
    /// Interrupts its waits for the client.
    pub(crate) wake_up: WakeUp,
    /// Standard error of the program that the child becomes; that of this process if not set.
    pub(crate) program_output: Option<BorrowedFd<'a>>,
    /// What the log has open.
    pub(crate) log: Option<RawFd>,
    /// Where the child sends messages: see [`crate::uplink`].
    pub(crate) uplink: Option<BorrowedFd<'a>>,
    /// It reports each request that it has answered.
    pub(crate) reports_requests: bool,
    /// The status of the daemon, as it was when the connection came, if the service shows it.
    pub(crate) status: Option<BorrowedFd<'a>>,
    /// What has the applications of the service.
    pub(crate) runtime: Option<&'static dyn Runtime>,
    pub(crate) date: Date,
    /// Room for a request's head, and behind it for the response to it: in most connections one page.
    pub(crate) buffer: &'a mut [u8],
    pub(crate) title: Title<'a>,
}

/// A connection, its service and the kit to serve it with.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) service: &'a Service,
    pub(crate) kit: Kit<'a>,
    /// Where the process asks about the clients that a trusted proxy names.
    pub(crate) gate: Gate<'a>,
    /// The header of the PROXY protocol, once it is read.
    pub(crate) header: Option<ProxyHeader>,
}

impl<'a> Work<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        service: &'a Service,
        kit: Kit<'a>,
        gate: Gate<'a>,
    ) -> Self {
        Self { connection, service, kit, gate, header: None }
    }

    /// The log of the process that serves the connection.
    pub(crate) fn journal(&self) -> ChildLog<'_> {
        ChildLog::new(&self.connection.identity, &self.service.name, Some(self.kit.slot))
    }
}
