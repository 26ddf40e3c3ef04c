//! The table of children: every process that serves, or is about to serve, one connection.

use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::connection::{Identity, Peer};
use crate::outcome::TerminatedBy;
use crate::scoreboard::Slot;
use crate::service::{Protocol, Service};
use crate::sys::{Escalation, GRACE};

/// A child, by what the supervisor knows of it.
#[derive(Debug)]
pub(crate) struct Child {
    identity: Identity,
    service: Arc<Service>,
    slot: Slot,
    /// The intermediate of a double fork; the slot names the child proper.
    is_intermediate: bool,
    terminated_by: Option<TerminatedBy>,
    /// Which signal it gets, and when, if it has to end.
    escalation: Option<Escalation>,
}

impl Child {
    pub(crate) fn new(identity: Identity, service: &Arc<Service>, slot: Slot) -> Self {
        let end = service.deadline(&identity).map(|end| match service.protocol {
            // The session checks the deadline itself, and answers.
            Protocol::Http(_) => end + GRACE,
            Protocol::Exec(_) => end,
        });
        let (service, escalation) = (Arc::clone(service), end.map(Escalation::new));
        Self { identity, service, slot, is_intermediate: false, terminated_by: None, escalation }
    }

    /// The same for the intermediate of a double fork.
    pub(crate) fn new_intermediate(identity: Identity, service: &Arc<Service>, slot: Slot) -> Self {
        Self { is_intermediate: true, ..Self::new(identity, service, slot) }
    }

    /// The child proper, whose intermediate this was.
    pub(crate) fn into_proper(self) -> Self {
        Self { is_intermediate: false, ..self }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    pub(crate) fn is_intermediate(&self) -> bool {
        self.is_intermediate
    }

    pub(crate) fn terminated_by(&self) -> Option<TerminatedBy> {
        self.terminated_by
    }

    /// Records why a process that is gone already was terminated.
    pub(crate) fn set_terminated_by(&mut self, why: Option<TerminatedBy>) {
        self.terminated_by = why;
    }

    /// When the next signal is due.
    fn due(&self) -> Option<Instant> {
        self.escalation.map(|escalation| escalation.due())
    }

    /// Sends the signal that is due, if one is.
    fn terminate_if_due(&mut self, pid: Pid, why: TerminatedBy, now: Instant) {
        if let Some(signal) = self.escalation.as_mut().and_then(|escalation| escalation.take_signal(now)) {
            self.terminated_by.get_or_insert(why);
            self.signal(pid, signal);
        }
    }

    fn signal(&self, pid: Pid, signal: Signal) {
        // An intermediate exits by itself at once, and its child is terminated when it is adopted; killed now, the
        // intermediate could not name its child. Unless it serves the connection itself.
        if !self.is_intermediate || self.slot.child() == Some(pid.as_raw()) {
            self.send(pid, signal);
        }
    }

    /// Sends a signal to the process. Where it has become a program, to its group: the processes that it started.
    pub(crate) fn send(&self, pid: Pid, signal: Signal) {
        let result = match self.service.protocol {
            // Before it has become the program it has no group.
            Protocol::Exec(_) => killpg(pid, signal).or_else(|_| kill(pid, signal)),
            Protocol::Http(_) => kill(pid, signal),
        };
        let _ = result; // it has exited already
    }
}

/// All children.
#[derive(Debug)]
pub(crate) struct Children {
    /// In no order, and dense: a hash table would spread few children over many pages, each of which is a page
    /// fault after each fork.
    by_pid: Vec<(Pid, Child)>,
    /// The earliest time at which a child is due.
    next_due: Option<Instant>,
}

impl Children {
    /// A table with room for `capacity` children.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { by_pid: Vec::with_capacity(capacity), next_due: None }
    }

    /// Makes room for `capacity` children in all.
    pub(crate) fn reserve(&mut self, capacity: usize) {
        self.by_pid.reserve(capacity.saturating_sub(self.by_pid.len()));
    }

    pub(crate) fn add(&mut self, pid: Pid, child: Child) {
        self.next_due = [self.next_due, child.due()].into_iter().flatten().min();
        self.by_pid.push((pid, child));
    }

    /// Takes a child that has exited out of the table.
    pub(crate) fn remove(&mut self, pid: Pid) -> Option<Child> {
        let index = self.by_pid.iter().position(|&(listed, _)| listed == pid)?;
        Some(self.by_pid.swap_remove(index).1)
    }

    pub(crate) fn contains(&self, pid: Pid) -> bool {
        self.by_pid.iter().any(|&(listed, _)| listed == pid)
    }

    /// Connections that have a process.
    pub(crate) fn count(&self) -> usize {
        self.by_pid.len()
    }

    /// Connections of peers that `is_counted` accepts. They are counted when it matters rather than kept count of:
    /// nothing can be forgotten or counted twice, and nothing is written between two forks.
    pub(crate) fn count_peers(&self, is_counted: impl Fn(&Peer) -> bool) -> usize {
        self.by_pid.iter().filter(|(_, child)| is_counted(&child.identity.peer)).count()
    }

    /// The same for one service, by its name: connections from before a reload count as well.
    pub(crate) fn count_of_service(&self, service: &str, is_counted: impl Fn(&Peer) -> bool) -> usize {
        let of_service = self.by_pid.iter().filter(|(_, child)| child.service.name == service);
        of_service.filter(|(_, child)| is_counted(&child.identity.peer)).count()
    }

    /// The oldest first.
    pub(crate) fn by_age(&self) -> Vec<(Pid, &Child)> {
        let mut children: Vec<_> = self.iter().collect();
        children.sort_unstable_by_key(|(_, child)| child.identity.accepted_at);
        children
    }

    pub(crate) fn oldest(&self) -> Option<&Child> {
        self.by_pid.iter().map(|(_, child)| child).min_by_key(|child| child.identity.accepted_at)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Pid, &Child)> {
        self.by_pid.iter().map(|(pid, child)| (*pid, child))
    }

    /// When a child is due.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        self.next_due
    }

    /// Terminates the children whose time is over, and kills those that outlive their grace.
    pub(crate) fn terminate_due(&mut self, now: Instant) {
        if self.next_due.is_some_and(|due| now >= due) {
            for (pid, child) in &mut self.by_pid {
                child.terminate_if_due(*pid, TerminatedBy::Deadline, now);
            }
            self.update_next_due();
        }
    }

    /// Terminates the children for a drain that has lasted too long, but for those that `is_spared` accepts. Returns how
    /// many were spared.
    pub(crate) fn terminate_for_drain(&mut self, now: Instant, is_spared: impl Fn(Pid) -> bool) -> usize {
        let mut spared = 0;
        for (pid, child) in self.by_pid.iter_mut().filter(|(_, child)| child.terminated_by.is_none()) {
            if is_spared(*pid) {
                spared += 1;
            } else {
                child.escalation = Some(Escalation::new(now));
                child.terminate_if_due(*pid, TerminatedBy::Drain, now);
            }
        }
        self.update_next_due();
        spared
    }

    fn update_next_due(&mut self) {
        self.next_due = self.by_pid.iter().filter_map(|(_, child)| child.due()).min();
    }

    /// Kills all children at once, and again those that outlive it.
    pub(crate) fn kill_all(&mut self, now: Instant) {
        for (pid, child) in &mut self.by_pid {
            child.escalation.get_or_insert_with(|| Escalation::new(now)).kill(now);
            child.terminate_if_due(*pid, TerminatedBy::Stop, now);
        }
        self.update_next_due();
    }
}
