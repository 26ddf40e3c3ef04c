//! The table of children: every connection that was handed over, with its process once that is known.

use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::shedding::{Candidate, Request};
use crate::child::WAKE_UP;
use crate::connection::{Connection, Identity, IdleWatch, Peer};
use crate::outcome::TerminatedBy;
use crate::scoreboard::{Phase, Slot};
use crate::service::{Protocol, Service};
use crate::sys::{self, Escalation, GRACE};

/// Where a connection is.
#[derive(Debug)]
enum Process {
    /// The fork server with this number is to fork a child for it. The socket is the supervisor's copy: it can be handed
    /// over again.
    Awaited { socket: Option<OwnedFd>, server: u32 },
    /// This child serves it. It is not reaped, so that its pid is its own.
    Running { pid: Pid, pidfd: OwnedFd },
    /// This very process serves it.
    Own,
}

/// A connection that has, or is about to have, a child.
#[derive(Debug)]
pub(crate) struct Child {
    identity: Identity,
    service: Arc<Service>,
    slot: Slot,
    process: Process,
    /// Words for what the kernel cannot do to confine it.
    gaps: Arc<str>,
    terminated_by: Option<TerminatedBy>,
    /// Which signal it gets, and when, if it has to end.
    escalation: Option<Escalation>,
    /// Of a program whose service has an idle timeout.
    idle: Option<IdleWatch>,
    /// What it was asked for, to make room for others.
    requested: Option<Request>,
}

impl Child {
    /// The child of a connection that was handed over to the fork server with the number `server`.
    pub(crate) fn new(connection: Connection, service: &Arc<Service>, slot: Slot, server: u32) -> Self {
        let Connection { socket, identity } = connection;
        let end = service.deadline(&identity).map(|end| match service.protocol {
            // The session checks the deadline itself, and answers.
            Protocol::Http(_) => end + GRACE,
            Protocol::Exec(_) => end,
        });
        let process = Process::Awaited { socket: Some(socket), server };
        Self { escalation: end.map(Escalation::new), ..Self::with_process(identity, service, slot, process) }
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
            identity,
            service: Arc::clone(service),
            slot,
            process,
            gaps: "".into(),
            terminated_by: None,
            escalation: None,
            idle: None,
            requested: None,
        }
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

    pub(crate) fn gaps(&self) -> &str {
        &self.gaps
    }

    pub(crate) fn terminated_by(&self) -> Option<TerminatedBy> {
        self.terminated_by
    }

    /// The fork server that is to fork for it.
    fn awaited_of(&self) -> Option<u32> {
        match self.process {
            Process::Awaited { server, .. } => Some(server),
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
    fn ask_to_close(&self) {
        self.slot.ask_to_close();
        self.wake_up();
    }

    /// Asks it to make room for another connection.
    fn make_room(&mut self, request: Request) {
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
    fn due(&self) -> Option<Instant> {
        let escalation = self.escalation.map(|escalation| escalation.due());
        escalation.into_iter().chain(self.idle.as_ref().map(IdleWatch::next_look)).min()
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
    fn terminate_if_idle(&mut self, now: Instant) {
        if self.idle.take_if(|idle| idle.is_over(now)).is_some() && self.terminated_by.is_none() {
            self.escalation = Some(Escalation::new(now));
            self.terminate_if_due(TerminatedBy::Idle, now);
        }
    }

    /// Sends the signal that is due, if one is.
    fn terminate_if_due(&mut self, why: TerminatedBy, now: Instant) {
        if let Some(signal) = self.escalation.as_mut().and_then(|escalation| escalation.take_signal(now)) {
            self.terminated_by.get_or_insert(why);
            self.send(signal);
        }
    }

    /// Sends a signal to the process. Where it has become a program, to its group as well: the processes that it has
    /// started. The group is that of the child's own session, which no other child can join.
    fn send(&self, signal: Signal) {
        if let Process::Running { pid, pidfd } = &self.process {
            if let Protocol::Exec(_) = self.service.protocol
                && killpg(*pid, signal).is_ok()
            {
                return;
            }
            let _ = sys::send_signal(pidfd.as_fd(), signal); // it has exited already
        }
    }
}

/// All children.
#[derive(Debug)]
pub(crate) struct Children {
    /// In no order.
    entries: Vec<Child>,
    /// By slot: where in `entries` its child is.
    positions: Vec<Option<u32>>,
    /// The earliest time at which a child is due.
    next_due: Option<Instant>,
    /// They are asked to close: those to come as well.
    is_closing: bool,
}

impl Children {
    /// A table with room for `capacity` children.
    pub(crate) fn new(capacity: usize) -> Self {
        let (entries, positions) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        Self { entries, positions, next_due: None, is_closing: false }
    }

    /// Adds a child that was not in the table. Its slot is its own.
    #[expect(clippy::cast_possible_truncation, reason = "there are fewer children than slots")]
    pub(crate) fn add(&mut self, child: Child) {
        if self.is_closing {
            child.slot.ask_to_close();
        }
        self.next_due = [self.next_due, child.due()].into_iter().flatten().min();
        let slot = child.slot.index() as usize;
        if slot >= self.positions.len() {
            self.positions.resize(slot + 1, None);
        }
        self.positions[slot] = Some(self.entries.len() as u32);
        self.entries.push(child);
    }

    fn position(&self, slot: u32) -> Option<usize> {
        self.positions.get(slot as usize).copied().flatten().map(|position| position as usize)
    }

    /// The child with this slot.
    pub(crate) fn get(&self, slot: u32) -> Option<&Child> {
        self.position(slot).map(|position| &self.entries[position])
    }

    /// The child with this slot has started: its process is this one. Does nothing if no such connection was handed over
    /// to the fork server with this number.
    pub(crate) fn set_started(&mut self, slot: u32, server: u32, pid: Pid, pidfd: OwnedFd, gaps: Arc<str>) {
        let Some(position) = self.position(slot) else { return };
        let child = &mut self.entries[position];
        if child.awaited_of() != Some(server) {
            return;
        }
        child.gaps = gaps;
        // The supervisor's copy of the socket is closed, or serves to see that nothing moves.
        if let Process::Awaited { socket: Some(socket), .. } =
            mem::replace(&mut child.process, Process::Running { pid, pidfd })
            && let Some(timeout) = child.service.idle_timeout
        {
            child.idle = IdleWatch::new(socket, timeout, Instant::now());
            self.next_due = self.next_due.into_iter().chain(child.due()).min();
        }
        if self.is_closing {
            child.ask_to_close();
        }
    }

    /// Takes the child with this slot out of the table.
    #[expect(clippy::cast_possible_truncation, reason = "as in `add`")]
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Child> {
        let position = self.position(slot)?;
        self.positions[slot as usize] = None;
        let child = self.entries.swap_remove(position);
        if let Some(moved) = self.entries.get(position) {
            self.positions[moved.slot.index() as usize] = Some(position as u32);
        }
        Some(child)
    }

    /// Closes the supervisor's copy of a connection that has its process.
    pub(crate) fn close_copy(&mut self, slot: u32, server: u32) {
        if let Some(position) = self.position(slot)
            && let Process::Awaited { socket, server: by } = &mut self.entries[position].process
            && *by == server
        {
            *socket = None;
        }
    }

    /// Takes back a connection that the fork server with this number could not fork for.
    pub(crate) fn take_awaited(&mut self, slot: u32, server: u32) -> Option<Child> {
        self.get(slot).filter(|child| child.awaited_of() == Some(server))?;
        self.remove(slot)
    }

    /// Takes back all connections that the fork server with this number has not forked for, the oldest first.
    pub(crate) fn take_all_awaited(&mut self, server: u32) -> Vec<Child> {
        let awaited = self.entries.iter().filter(|child| child.awaited_of() == Some(server));
        let slots: Vec<_> = awaited.map(|child| child.slot.index()).collect();
        let mut taken: Vec<_> = slots.into_iter().filter_map(|slot| self.remove(slot)).collect();
        taken.sort_unstable_by_key(|child| child.identity.accepted_at);
        taken
    }

    /// Whether the fork server with this number is to fork for a connection.
    pub(crate) fn awaits(&self, server: u32) -> bool {
        self.entries.iter().any(|child| child.awaited_of() == Some(server))
    }

    /// Whether this process serves a connection.
    pub(crate) fn contains(&self, pid: Pid) -> bool {
        self.entries.iter().any(|child| child.pid() == Some(pid))
    }

    /// Connections that were handed over.
    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Connections of peers that `is_counted` accepts. They are counted when it matters rather than kept count of:
    /// nothing can be forgotten or counted twice.
    pub(crate) fn count_peers(&self, is_counted: impl Fn(&Peer) -> bool) -> usize {
        self.entries.iter().filter(|child| is_counted(&child.identity.peer)).count()
    }

    /// The same for one service, by its name: connections from before a reload count as well.
    pub(crate) fn count_of_service(&self, service: &str, is_counted: impl Fn(&Peer) -> bool) -> usize {
        let of_service = self.entries.iter().filter(|child| child.service.name == service);
        of_service.filter(|child| is_counted(&child.identity.peer)).count()
    }

    /// The oldest first.
    pub(crate) fn by_age(&self) -> Vec<&Child> {
        let mut children: Vec<_> = self.iter().collect();
        children.sort_unstable_by_key(|child| child.identity.accepted_at);
        children
    }

    pub(crate) fn oldest(&self) -> Option<&Child> {
        self.iter().min_by_key(|child| child.identity.accepted_at)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Child> {
        self.entries.iter()
    }

    /// When a child is due.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        self.next_due
    }

    /// Asks all to finish the request at hand, and to begin no other. Holds for those to come.
    pub(crate) fn ask_to_close(&mut self) {
        self.is_closing = true;
        self.entries.iter().for_each(Child::ask_to_close);
    }

    /// Asks the child with this slot to make room for another connection.
    pub(crate) fn make_room(&mut self, slot: u32, request: Request) {
        if let Some(position) = self.position(slot) {
            self.entries[position].make_room(request);
        }
    }

    /// Terminates the children whose time is over, and kills those that outlive their grace.
    pub(crate) fn terminate_due(&mut self, now: Instant) {
        if self.next_due.is_some_and(|due| now >= due) {
            for child in &mut self.entries {
                child.terminate_if_idle(now);
                child.terminate_if_due(TerminatedBy::Deadline, now);
            }
            self.update_next_due();
        }
    }

    /// Terminates the children for a drain that has lasted too long, but for those that `is_spared` accepts. Returns how
    /// many were spared.
    pub(crate) fn terminate_for_drain(&mut self, now: Instant, is_spared: impl Fn(&Child) -> bool) -> usize {
        let mut spared = 0;
        for child in self.entries.iter_mut().filter(|child| child.terminated_by.is_none()) {
            if is_spared(child) {
                spared += 1;
            } else {
                child.escalation = Some(Escalation::new(now));
                child.terminate_if_due(TerminatedBy::Drain, now);
            }
        }
        self.update_next_due();
        spared
    }

    fn update_next_due(&mut self) {
        self.next_due = self.entries.iter().filter_map(Child::due).min();
    }

    /// Kills all children at once, and again those that outlive it.
    pub(crate) fn kill_all(&mut self, now: Instant) {
        for child in &mut self.entries {
            child.escalation.get_or_insert_with(|| Escalation::new(now)).kill(now);
            child.terminate_if_due(TerminatedBy::Stop, now);
        }
        self.update_next_due();
    }
}
