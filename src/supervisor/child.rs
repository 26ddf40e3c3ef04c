//! A connection that was handed over: where it is, and how it is ended.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::refusal::Reason;
use super::shedding::{Candidate, Request};
use super::spare::{Spare, Taker};
use super::statistics::Traffic;
use crate::child::WAKE_UP;
use crate::connection::{Connection, Identity, IdleWatch, Peer};
use crate::outcome::TerminatedBy;
use crate::scoreboard::{Phase, Slot};
use crate::service::{Protocol, Service};
use crate::source::Known;
use crate::sys::{self, Escalation, GRACE};

/// How long a fork server or a spare may take to start a process.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a connection is.
#[derive(Debug)]
pub(super) enum Process {
    /// A fork server is to fork a child for it, or has forked a spare that is to start. The socket is the supervisor's copy:
    /// the connection can be handed over again.
    Awaited { socket: Option<OwnedFd>, taker: Taker, since: Instant },
    /// This child, of the fork server with this number, serves it. It is not reaped, so that its pid is its own.
    Running { pid: Pid, pidfd: OwnedFd, server: u32 },
    /// This very process serves it.
    Own,
}

/// A connection that has, or is about to have, a child.
#[derive(Debug)]
pub(crate) struct Child {
    pub(super) identity: Identity,
    pub(super) service: Arc<Service>,
    pub(super) slot: Slot,
    pub(super) process: Process,
    /// Words for what the kernel cannot do to confine it.
    pub(super) gaps: Arc<str>,
    pub(super) terminated_by: Option<TerminatedBy>,
    /// Which signal it gets, and when, if it has to end.
    pub(super) escalation: Option<Escalation>,
    /// When what `on_fork` of its application names has to have returned.
    pub(super) latest_start: Option<Instant>,
    /// Of a program whose service has an idle timeout.
    pub(super) idle: Option<IdleWatch>,
    /// What it was asked for, to make room for others.
    pub(super) requested: Option<Request>,
    /// What the statistics have of it already, and since when.
    counted: (Traffic, Instant),
    /// By which it reports clients, if its peer is a trusted proxy.
    pub(super) reports: Option<OwnedFd>,
    /// Clients that it has reported.
    pub(super) reported: u64,
    /// Access lines that it may still send: see [`Self::take_line`].
    lines_left: u64,
    /// It counts for the client that it has reported last.
    pub(super) is_counted: bool,
    /// Why the last of them was refused.
    refused: Option<Reason>,
}

impl Child {
    /// The child of a connection that was handed over.
    pub(crate) fn new(
        connection: Connection,
        service: &Arc<Service>,
        slot: Slot,
        taker: Taker,
        reports: Option<OwnedFd>,
        lines_max: u64,
    ) -> Self {
        let Connection { socket, identity } = connection;
        let end = service.deadline(&identity).map(|end| match service.protocol {
            // The session checks the deadline itself, and answers.
            Protocol::Http(_) => end + GRACE,
            Protocol::Exec(_) | Protocol::AgentCheck(_) => end,
        });
        let process = Process::Awaited { socket: Some(socket), taker, since: Instant::now() };
        let escalation = end.map(Escalation::new);
        Self {
            escalation,
            reports,
            lines_left: lines_max,
            ..Self::with_process(identity, service, slot, process)
        }
    }

    /// A connection that this process has served itself.
    pub(crate) fn in_place(
        identity: Identity,
        service: &Arc<Service>,
        slot: Slot,
        terminated_by: Option<TerminatedBy>,
    ) -> Self {
        Self { terminated_by, ..Self::with_process(identity, service, slot, Process::Own) }
    }

    fn with_process(identity: Identity, service: &Arc<Service>, slot: Slot, process: Process) -> Self {
        Self {
            counted: (Traffic::default(), identity.accepted_at),
            identity,
            service: Arc::clone(service),
            slot,
            process,
            gaps: "".into(),
            terminated_by: None,
            escalation: None,
            latest_start: None,
            idle: None,
            requested: None,
            reports: None,
            reported: 0,
            lines_left: 0,
            is_counted: false,
            refused: None,
        }
    }

    /// Takes one of its access lines. False: it has sent more than it can have answered requests, so that it is no child as it
    /// was forked, and must not fill the disk.
    pub(super) fn take_line(&mut self) -> bool {
        let left = self.lines_left.checked_sub(1);
        self.lines_left = left.unwrap_or(0);
        left.is_some()
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// Its process, once it is known.
    pub(crate) fn pid(&self) -> Option<Pid> {
        match self.process {
            Process::Running { pid, .. } => Some(pid),
            Process::Awaited { .. } | Process::Own => None,
        }
    }

    /// The fork server that its process comes from, once it has one.
    pub(crate) fn server(&self) -> Option<u32> {
        match self.process {
            Process::Running { server, .. } => Some(server),
            Process::Awaited { .. } | Process::Own => None,
        }
    }

    pub(crate) fn reports(&self) -> Option<&OwnedFd> {
        self.reports.as_ref()
    }

    /// How its client is known.
    pub(crate) fn known(&self) -> Known {
        if self.service.trusts(&self.identity.peer) { Known::ByProxy } else { Known::ByKernel }
    }

    /// The client that its outcome counts for. None: a proxy has sent something that names no client.
    pub(crate) fn responsible_client(&self) -> Option<Peer> {
        match self.known() {
            Known::ByKernel => Some(self.identity.peer),
            Known::ByProxy => self.identity.named_client(),
        }
    }

    /// The client that it counts for, among those that are known in this way. A connection of a proxy that waits for a
    /// request counts for none.
    pub(crate) fn counted_client(&self, known: Known) -> Option<Peer> {
        match self.known() {
            own if own != known => None,
            Known::ByProxy if !self.is_counted || self.slot.phase() == Phase::Idle => None,
            Known::ByKernel | Known::ByProxy => self.responsible_client(),
        }
    }

    /// Why the client that it has reported last is refused.
    pub(crate) fn refused(&self) -> Option<&Reason> {
        self.refused.as_ref()
    }

    pub(crate) fn set_refused(&mut self, reason: Option<Reason>) {
        self.refused = reason;
    }

    pub(crate) fn gaps(&self) -> &str {
        &self.gaps
    }

    pub(crate) fn terminated_by(&self) -> Option<TerminatedBy> {
        self.terminated_by
    }

    /// The spare that is to start.
    pub(crate) fn spare(&self) -> Option<&Spare> {
        match &self.process {
            Process::Awaited { taker, .. } => taker.spare.as_ref(),
            Process::Running { .. } | Process::Own => None,
        }
    }

    /// What has moved on the connection that [`Self::take_traffic`] has not returned yet, and since when.
    pub(crate) fn new_traffic(&self, now: Instant) -> (Traffic, Instant) {
        let (counted, since) = self.counted;
        (self.traffic(now).since(counted), since)
    }

    /// The same; it is not returned again.
    pub(super) fn take_traffic(&mut self, now: Instant) -> (Traffic, Instant) {
        let new = self.new_traffic(now);
        self.counted = (self.traffic(now).max(self.counted.0), now);
        new
    }

    fn traffic(&self, now: Instant) -> Traffic {
        let (requests, bytes_in, bytes_out) = self.slot.traffic();
        let traffic = Traffic { requests, bytes_in, bytes_out };
        traffic.bounded(now.saturating_duration_since(self.identity.accepted_at))
    }

    /// Its process has not started for this time.
    pub(super) fn has_waited(&self, time: Duration, now: Instant) -> bool {
        match &self.process {
            Process::Awaited { since, .. } => now.saturating_duration_since(*since) >= time,
            Process::Running { .. } | Process::Own => false,
        }
    }

    /// The fork server that is to fork for it.
    pub(crate) fn awaited_of(&self) -> Option<u32> {
        match self.process {
            Process::Awaited { taker: Taker { server, .. }, .. } => Some(server),
            Process::Running { .. } | Process::Own => None,
        }
    }

    /// Takes the connection back, if no process has it.
    pub(crate) fn into_connection(self) -> Option<(Connection, Arc<Service>)> {
        match self.process {
            Process::Awaited { socket, .. } => {
                Some((Connection { socket: socket?, identity: self.identity }, self.service))
            }
            Process::Running { .. } | Process::Own => None,
        }
    }

    /// Asks it to finish the request at hand, and to begin no other.
    pub(super) fn ask_to_close(&self) {
        self.slot.ask_to_close();
        self.wake_up();
    }

    /// Asks it to make room for another connection.
    pub(super) fn make_room(&mut self, request: Request) {
        self.requested = Some(request);
        match request {
            Request::Close => self.slot.ask_to_close(),
            Request::Hurry => self.slot.hurry(),
        }
        self.wake_up();
    }

    /// Interrupts its wait for the client.
    fn wake_up(&self) {
        if let Process::Running { pidfd, .. } = &self.process
            && self.service.is_http()
        {
            let _ = sys::send_signal(pidfd.as_fd(), WAKE_UP); // it has exited already
        }
    }

    /// When the next signal is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let escalation = self.escalation.map(|escalation| escalation.due());
        let look = self.idle.as_ref().map(IdleWatch::next_look);
        escalation.into_iter().chain(look).chain(self.latest_start).min()
    }

    /// As a candidate for making room.
    pub(crate) fn as_candidate(&self, now: Instant) -> Candidate {
        let age = now.saturating_duration_since(self.identity.accepted_at);
        let phase = self.slot.phase();
        let time = match phase {
            Phase::Idle | Phase::Reading => age.saturating_sub(self.slot.since()),
            _ => age,
        };
        Candidate { phase, time, requested: self.requested }
    }

    /// Terminates a program on whose connection nothing has moved for too long.
    pub(super) fn terminate_if_idle(&mut self, now: Instant) {
        if self.idle.take_if(|idle| idle.is_over(now)).is_some() && self.terminated_by.is_none() {
            self.escalation = Some(Escalation::new(now));
            self.terminate_if_due(TerminatedBy::Idle, now);
        }
    }

    /// Terminates an application that takes too long to prepare its process.
    pub(super) fn terminate_if_late(&mut self, now: Instant) {
        if self.latest_start.take_if(|latest| now >= *latest).is_some()
            && self.slot.phase() == Phase::Starting
            && self.terminated_by.is_none()
        {
            self.escalation = Some(Escalation::new(now));
            self.terminate_if_due(TerminatedBy::Start, now);
        }
    }

    /// Sends the signal that is due, if one is.
    pub(super) fn terminate_if_due(&mut self, why: TerminatedBy, now: Instant) {
        if let Some(signal) = self.escalation.as_mut().and_then(|escalation| escalation.take_signal(now)) {
            self.terminated_by.get_or_insert(why);
            self.send(signal);
        }
    }

    /// Sends a signal to the process. Where it has become a program, to its group as well: the processes that it has
    /// started. The group is that of the child's own session, which no other child can join.
    pub(super) fn send(&self, signal: Signal) {
        if let Process::Running { pid, pidfd, .. } = &self.process {
            if let Protocol::Exec(_) = self.service.protocol
                && killpg(*pid, signal).is_ok()
            {
                return;
            }
            let _ = sys::send_signal(pidfd.as_fd(), signal); // it has exited already
        } else if let Some(spare) = self.spare() {
            let _ = sys::send_signal(spare.pidfd.as_fd(), signal);
        }
    }
}
