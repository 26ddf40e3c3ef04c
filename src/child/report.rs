//! Reports each request that has been answered: to the supervisor, or to this very process, if that serves the connection
//! itself.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::work::{Kit, Work};
use crate::access;
use crate::connection::Identity;
use crate::http::request::Request;
use crate::scoreboard::Slot;
use crate::uplink::{self, Answered, Message};

/// Sends the reports of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reporter<'c> {
    /// None: this process writes the lines.
    uplink: Option<BorrowedFd<'c>>,
    identity: &'c Identity,
    service: &'c str,
    slot: Slot,
}

/// A request as far as it has been read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen<'r> {
    /// Whether its client uses TLS with a proxy.
    Valid(&'r Request<'r>, bool),
    /// The bytes of a malformed or incomplete one.
    Invalid(&'r [u8]),
}

impl<'c> Reporter<'c> {
    /// `None`: the requests of this connection are not reported.
    pub(super) fn new(work: &Work<'c>) -> Option<Self> {
        let Work { connection, service, kit: Kit { uplink, slot, reports_requests, .. }, .. } = work;
        let (identity, service) = (&connection.identity, &*service.name);
        reports_requests.then_some(Self { uplink: *uplink, identity, service, slot: *slot })
    }

    /// Reports a request that began at `start`, unless the client got no response.
    #[cold]
    #[inline(never)]
    pub(super) fn report(&self, seen: Seen<'_>, content: u64, start: Instant) {
        let Some(status) = self.slot.status() else { return };
        let duration = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (user, reason) = (self.slot.user_name(), self.slot.error_reason());
        let sent =
            Answered { status, content, duration, user: &user, reason: &reason, ..Answered::default() };
        let answered = match seen {
            Seen::Valid(request, is_https) => {
                let field = |name| request.field(name).next().unwrap_or_default();
                Answered {
                    method: request.method.as_bytes(),
                    target: request.target.as_bytes(),
                    minor: request.minor,
                    host: request.authority.as_bytes(),
                    is_https,
                    referer: field("Referer"),
                    agent: field("User-Agent"),
                    id: request.id.unwrap_or_default().as_bytes(),
                    trace_id: request.trace_id.unwrap_or_default().as_bytes(),
                    ..sent
                }
            }
            Seen::Invalid(bytes) => Answered { target: first_line(bytes), ..sent },
        };
        let is_sent = match self.uplink {
            Some(uplink) => uplink::send(uplink, self.slot.index(), Message::Access(answered.cut())).is_ok(),
            None => access::write_own(self.identity, self.service, &answered),
        };
        if !is_sent {
            self.slot.add_lost_line();
        }
    }
}

/// The first line of a malformed request that is not empty.
pub(super) fn first_line(bytes: &[u8]) -> &[u8] {
    let mut lines = bytes.split(|&byte| byte == b'\r' || byte == b'\n');
    lines.find(|line| !line.is_empty()).unwrap_or_default()
}
