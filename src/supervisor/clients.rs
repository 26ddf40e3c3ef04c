//! The clients of trusted proxies: a child reports each, and the supervisor answers whether it is served, by the same access
//! lists and limits as that of a connection that it accepts. Until then, a connection of a trusted proxy counts for no client.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::epoll::EpollTimeout;

use super::admission::Ending;
use super::connections::Connections;
use super::events::Event;
use super::refusal::Reason;
use crate::child::in_place::End;
use crate::clients::{self, Reported};
use crate::connection::{Connection, Peer};
use crate::outcome::Outcome;
use crate::scoreboard::Phase;
use crate::service::Service;
use crate::source::Known;

impl Connections {
    /// The child with this slot may have reported a client. Takes one report, so that no child keeps the others waiting.
    pub(super) fn judge_client(&mut self, slot: u32, now: Instant) {
        let max = self.launcher.max_reports();
        let Some(child) = self.children.get_mut(slot) else { return };
        let peer = child.identity().peer;
        let Some(reports) = child.reports() else { return };
        let reported = match clients::receive_client(reports, peer) {
            Ok(Some(reported)) if child.reported < max => reported,
            // It has ended; or it is no child as it was forked.
            Ok(_) => {
                child.reports = None;
                return;
            }
            Err(_) => return,
        };
        child.reported += 1;
        let is_first = child.reported == 1;
        let (former, service) = (child.identity().named_client(), child.service().clone());
        let server = child.server().or(child.awaited_of());
        if let Some(server) = server.filter(|_| !is_first) {
            self.receive_last_messages(server, now); // what the child has sent before is about the former client
        }
        let client = match reported {
            Reported::Client(client) => Some(client),
            Reported::Unknown => None,
        };
        if let Some(former) =
            former.filter(|former| client.is_none_or(|client| !former.is_same_host(&client)))
        {
            // Its requests are answered.
            let ending = Ending { outcome: Outcome::Served, phase: Phase::Idle, status: None };
            self.admission.record_outcome(&former, Known::ByProxy, &service, ending, now);
        }
        let verdict = match client {
            None => Ok(()),
            // The proxy itself has no limits.
            Some(client) if client == peer => self.admission.check_access(&client, &service),
            Some(client) => self.check_client(slot, client, &service, now),
        };
        let Some(child) = self.children.get_mut(slot) else { return };
        child.identity().set_client(client.unwrap_or(peer));
        let answer = verdict.as_ref().map_err(Reason::refusal).copied();
        child.set_refused(verdict.err());
        if let Some(reports) = child.reports() {
            let _ = clients::answer(reports, answer); // it does not read its answers, or has gone
        }
    }

    /// Whether a client may have its connection, which counts for no client meanwhile.
    fn check_client(
        &mut self,
        slot: u32,
        client: Peer,
        service: &Service,
        now: Instant,
    ) -> Result<(), Reason> {
        self.admission.check_arrival(&client, Known::ByProxy, service, now)?;
        let check = |connections: &Self| {
            let Self { admission, children, .. } = connections;
            admission.check_source_limits(&client, Known::ByProxy, service, children)
        };
        self.set_counted(slot, false);
        let verdict = check(self).or_else(|_| {
            // Another connection of the client may have ended without being reaped.
            self.handle_exits(now);
            check(self)
        });
        self.set_counted(slot, true);
        verdict
    }

    fn set_counted(&mut self, slot: u32, is_counted: bool) {
        if let Some(child) = self.children.get_mut(slot) {
            child.is_counted = is_counted;
        }
    }

    /// Acts on processes that have exited. The set reports everything else again.
    fn handle_exits(&mut self, now: Instant) {
        if let Ok(mut events) = self.events.take(EpollTimeout::ZERO) {
            events.retain(|event| matches!(event, Event::Child(_) | Event::Process(_)));
            self.act_on_events(events, now);
        }
    }

    /// Serves a connection in this process, and records it.
    pub(crate) fn serve_in_place(&mut self, connection: Connection, service: &Arc<Service>) -> End {
        let Self { launcher, admission, children, .. } = self;
        let (admission, refused) = (RefCell::new(admission), Cell::new(None));
        let peer = connection.identity.peer;
        let decide = |client: Peer| {
            let mut admission = admission.borrow_mut();
            let verdict = if client == peer {
                admission.check_access(&client, service)
            } else {
                admission
                    .check_arrival(&client, Known::ByProxy, service, Instant::now())
                    .and_then(|()| admission.check_source_limits(&client, Known::ByProxy, service, children))
            };
            verdict.map_err(|reason| {
                let refusal = reason.refusal();
                refused.set(Some(reason));
                refusal
            })
        };
        let (mut child, end) =
            launcher.serve_in_place(connection, service, children.is_announcing_close(), &decide);
        child.set_refused(refused.take());
        self.record_in_place(&child, &end);
        self.launcher.release(child.slot(), false);
        end
    }
}
