//! The table of children: every connection that was handed over, with its process once that is known.

use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::child::{Child, Process, STALL_TIMEOUT};

use super::shedding::Request;
use super::spare::Spare;
use super::statistics::Traffic;
use crate::connection::{IdleWatch, Peer};
use crate::outcome::TerminatedBy;
use crate::source::Known;
use crate::sys::Escalation;

/// How often to look for connections whose process does not start.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Fork servers with connections whose process is late.
#[derive(Debug, Default)]
pub(crate) struct Late {
    pub(crate) servers: Vec<u32>,
    /// Those that do not run.
    pub(crate) stalled: Vec<u32>,
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
    /// They are asked to announce that they close: those to come as well.
    is_announcing: bool,
    /// Connections that wait for their process to start.
    awaited: usize,
    /// When to look for those that wait too long.
    next_look: Instant,
}

impl Children {
    /// A table with room for `capacity` children.
    pub(crate) fn new(capacity: usize) -> Self {
        let (entries, positions) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        let next_look = Instant::now();
        Self {
            entries,
            positions,
            next_due: None,
            is_closing: false,
            is_announcing: false,
            awaited: 0,
            next_look,
        }
    }

    /// Adds a child that was not in the table. Its slot is its own.
    #[expect(clippy::cast_possible_truncation, reason = "there are fewer children than slots")]
    pub(crate) fn add(&mut self, child: Child) {
        if self.is_closing {
            child.slot.ask_to_close();
        }
        if self.is_announcing {
            child.slot.announce_close();
        }
        self.next_due = [self.next_due, child.due()].into_iter().flatten().min();
        let slot = child.slot.index() as usize;
        if slot >= self.positions.len() {
            self.positions.resize(slot + 1, None);
        }
        self.awaited += usize::from(child.awaited_of().is_some());
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
        self.awaited -= 1;
        child.gaps = gaps;
        // The supervisor's copy of the socket is closed, or serves to see that nothing moves.
        if let Process::Awaited { socket: Some(socket), .. } =
            mem::replace(&mut child.process, Process::Running { pid, pidfd, server })
            && let Some(timeout) = child.service.idle_timeout
        {
            child.idle = IdleWatch::new(socket, timeout, Instant::now());
            self.next_due = self.next_due.into_iter().chain(child.due()).min();
        }
        if let Some(python) = child.service.python().filter(|python| python.on_fork.is_some()) {
            child.latest_start = Some(Instant::now() + python.start_timeout);
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
        self.awaited -= usize::from(child.awaited_of().is_some());
        if let Some(moved) = self.entries.get(position) {
            self.positions[moved.slot.index() as usize] = Some(position as u32);
        }
        Some(child)
    }

    /// Takes the spare that has started with this slot.
    pub(crate) fn take_spare(&mut self, slot: u32) -> Option<Spare> {
        let position = self.position(slot)?;
        match &mut self.entries[position].process {
            Process::Awaited { taker, .. } => taker.spare.take(),
            Process::Running { .. } | Process::Own => None,
        }
    }

    /// Closes the supervisor's copy of a connection that has its process.
    pub(crate) fn close_copy(&mut self, slot: u32, server: u32) {
        if let Some(position) = self.position(slot)
            && let Process::Awaited { socket, taker, .. } = &mut self.entries[position].process
            && taker.server == server
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

    /// The processes that serve, or are to serve, a connection, as far as they are known.
    pub(crate) fn pids(&self) -> impl Iterator<Item = Pid> {
        self.entries.iter().filter_map(|child| child.pid().or(child.spare().map(|spare| spare.pid)))
    }

    /// The fork servers of connections whose process has not started for a while. A spare that does not run is killed here.
    pub(crate) fn find_late(&mut self, now: Instant) -> Option<Late> {
        if self.awaited == 0 || now < self.next_look {
            return None;
        }
        self.next_look = now + LOOK_INTERVAL;
        let mut late = Late::default();
        for child in self.entries.iter().filter(|child| child.has_waited(LOOK_INTERVAL, now)) {
            let is_stalled = child.has_waited(STALL_TIMEOUT, now);
            match child.spare() {
                Some(_) if is_stalled => child.send(Signal::SIGKILL),
                Some(_) => {}
                None => {
                    late.servers.extend(child.awaited_of());
                    late.stalled.extend(child.awaited_of().filter(|_| is_stalled));
                }
            }
        }
        for servers in [&mut late.servers, &mut late.stalled] {
            servers.sort_unstable();
            servers.dedup();
        }
        (!late.servers.is_empty()).then_some(late)
    }

    /// Whether the fork server with this number has not recorded a fork for a connection yet.
    pub(crate) fn awaits_fork(&self, server: u32) -> bool {
        self.entries.iter().any(|child| child.awaited_of() == Some(server) && child.slot.forked().is_none())
    }

    /// Takes back the connection that the fork server with this number has forked this process for.
    pub(crate) fn take_forked(&mut self, pid: Pid, server: u32) -> Option<Child> {
        let is_it = |child: &&Child| child.awaited_of() == Some(server) && child.slot.forked() == Some(pid);
        let slot = self.entries.iter().find(is_it)?.slot.index();
        self.remove(slot)
    }

    /// Calls `count` with what each connection has moved since the last call, or its accept: the service, the traffic, and
    /// since when.
    pub(crate) fn count_traffic(&mut self, now: Instant, mut count: impl FnMut(&str, Traffic, Instant)) {
        for child in &mut self.entries {
            let (traffic, since) = child.take_traffic(now);
            count(&child.service.name, traffic, since);
        }
    }

    /// Connections that were handed over.
    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Connections of clients that `is_counted` accepts, of all services or of one. They are counted when it matters rather
    /// than kept count of: nothing can be forgotten or counted twice.
    pub(crate) fn count_clients(
        &self,
        service: Option<&str>,
        known: Known,
        is_counted: impl Fn(&Peer) -> bool,
    ) -> usize {
        let of_service =
            self.entries.iter().filter(|child| service.is_none_or(|name| child.service.name == name));
        of_service
            .filter(|child| child.counted_client(known).is_some_and(|client| is_counted(&client)))
            .count()
    }

    /// Connections of one service, by its name: those from before a reload count as well.
    pub(crate) fn count_of_service(&self, service: &str) -> usize {
        self.entries.iter().filter(|child| child.service.name == service).count()
    }

    /// The child with this slot.
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Child> {
        self.position(slot).map(|position| &mut self.entries[position])
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
        self.next_due.into_iter().chain((self.awaited > 0).then_some(self.next_look)).min()
    }

    /// Asks all to announce in the next response that the connection closes after it, or no longer. Holds for those to come.
    pub(crate) fn announce_close(&mut self, is_announcing: bool) {
        self.is_announcing = is_announcing;
        for child in &self.entries {
            match is_announcing {
                true => child.slot.announce_close(),
                false => child.slot.withdraw_close(),
            }
        }
    }

    /// Whether all announce it.
    pub(crate) fn is_announcing_close(&self) -> bool {
        self.is_announcing
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
                child.terminate_if_late(now);
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
