//! Reports each request that has been answered to the supervisor.

use std::os::fd::BorrowedFd;

use super::work::Kit;
use crate::http::request::Request;
use crate::scoreboard::Slot;
use crate::uplink::{self, Answered, Message};

/// Sends the reports of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reporter<'c> {
    uplink: BorrowedFd<'c>,
    slot: Slot,
}

impl<'c> Reporter<'c> {
    /// `None`: the requests of this connection are not reported.
    pub(super) fn new(kit: &Kit<'c>) -> Option<Self> {
        kit.uplink.filter(|_| kit.reports_requests).map(|uplink| Self { uplink, slot: kit.slot })
    }

    /// Reports a request, unless the client got no response.
    #[cold]
    #[inline(never)]
    pub(super) fn report(&self, request: &Request<'_>) {
        let Some(status) = self.slot.read().status else { return };
        let (method, target) = (request.method.as_bytes(), request.target.as_bytes());
        let message = Message::Access(Answered { method, target, status });
        if uplink::send(self.uplink, self.slot.index(), message).is_err() {
            self.slot.add_lost_message();
        }
    }
}
