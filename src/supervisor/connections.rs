//! A connection on its way through the supervisor: admitted or refused, handed over to a process or deferred,
//! terminated when its time is over, reaped, recorded.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use nix::unistd::Pid;

use super::admission::Admission;
use super::backpressure::{Backpressure, Expired, is_descriptor_shortage};
use super::children::Children;
use super::handover::Launcher;
use super::reap::Reaper;
use super::refusal::{Reason, Refusals};
use super::reserves::Reserves;
use super::settings::{AdmissionRules, Process, Settings};
use crate::child::in_place::End;
use crate::child::spare::Binding;
use crate::child::supplies::ChildSettings;
use crate::connection::Connection;
use crate::service::{RootWatch, Service, Services};

/// All connections, and what decides about them.
#[derive(Debug)]
pub(crate) struct Connections {
    max: usize,
    admission: Admission,
    backpressure: Backpressure,
    refusals: Refusals,
    launcher: Launcher,
    children: Children,
    reaper: Reaper,
    reserves: Reserves,
    /// By service.
    roots: BTreeMap<String, RootWatch>,
}

impl Connections {
    /// # Errors
    /// Those of mmap(2), for the scoreboard.
    pub(crate) fn new(settings: &Settings) -> io::Result<Self> {
        let process = &settings.process;
        Ok(Self {
            max: process.max_connections,
            admission: Admission::new(settings.admission.clone()),
            backpressure: Backpressure::default(),
            refusals: Refusals::default(),
            launcher: Launcher::new(settings.children, process)?,
            children: Children::new(process.max_connections),
            reaper: Reaper::default(),
            reserves: Reserves::new(&settings.services),
            roots: BTreeMap::new(),
        })
    }

    /// Prepares for children: see [`Launcher::open_drain`].
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub(crate) fn open_drain(&mut self) -> io::Result<()> {
        self.launcher.open_drain()
    }

    /// What holds for connections from now on; those that have a process keep what they were forked with.
    ///
    /// # Errors
    /// Those of mmap(2), for a larger scoreboard; nothing has changed then.
    pub(crate) fn reconfigure(
        &mut self,
        children: ChildSettings,
        process: &Process,
        rules: AdmissionRules,
    ) -> io::Result<()> {
        self.launcher.reconfigure(children, process)?;
        self.children.reserve(process.max_connections);
        self.max = process.max_connections;
        self.admission.reconfigure(rules);
        Ok(())
    }

    /// Sets how many places each service keeps.
    pub(crate) fn set_reserves(&mut self, services: &Services) {
        self.reserves = Reserves::new(services);
    }

    /// Sets where connections may come from.
    pub(crate) fn set_bindings(&mut self, bindings: Vec<Binding>) {
        self.launcher.set_bindings(bindings);
    }

    /// Another connection may be accepted.
    pub(crate) fn has_room(&self) -> bool {
        self.backpressure.is_open() && self.children.count() < self.max && self.launcher.has_slot()
    }

    /// The service has room for another connection.
    pub(crate) fn has_room_for(&self, service: &Service) -> bool {
        let Self { children, max, .. } = self;
        let count = |name: &str| children.count_of_service(name, |_| true);
        self.admission.has_room(service, children)
            && self.reserves.has_room(&service.name, max.saturating_sub(children.count()), count)
    }

    /// Takes a connection that was accepted now: it gets a process, or is refused, or waits.
    pub(crate) fn admit(&mut self, connection: Connection, service: &Arc<Service>) {
        let now = connection.identity.accepted_at;
        match self.check(&connection, service, now) {
            Ok(()) => self.start(connection, Arc::clone(service), now),
            Err(reason) => self.refuse(connection, service, &reason, now),
        }
    }

    /// Checks the only connection of this process. A refused one is closed when this returns: after the client has read
    /// the refusal, or a timeout.
    pub(crate) fn admit_single(&mut self, connection: Connection, service: &Service) -> Option<Connection> {
        let now = connection.identity.accepted_at;
        match self.check(&connection, service, now) {
            Ok(()) => Some(connection),
            Err(reason) => {
                self.refuse(connection, service, &reason, now);
                self.refusals.wait();
                None
            }
        }
    }

    fn check(&mut self, connection: &Connection, service: &Service, now: Instant) -> Result<(), Reason> {
        let peer = &connection.identity.peer;
        self.admission.check_arrival(peer, service, now)?;
        let Self { admission, children, .. } = self;
        admission.check_source_limits(peer, service, children).or_else(|_| {
            // A client that reconnects at once may arrive before its previous child is reaped.
            let _ = self.reap(); // an error comes again at the next SIGCHLD
            self.admission.check_source_limits(peer, service, &self.children)
        })
    }

    /// Tries again to give a process to the connection that waits for one.
    pub(crate) fn retry_waiting(&mut self, now: Instant, has_reaped: bool) {
        if let Some((connection, service)) = self.backpressure.take_waiting(now, has_reaped) {
            self.start(connection, service, now);
        }
    }

    fn start(&mut self, connection: Connection, service: Arc<Service>, now: Instant) {
        let watch = self.roots.entry(service.name.clone()).or_default();
        service.reopen_moved_roots(watch, now);
        if self.launcher.serves_in_place() {
            self.serve_in_place(connection, &service);
            return;
        }
        match self.launcher.hand_over(&connection, &service) {
            Ok((pid, child)) => {
                self.backpressure.record_fork();
                self.children.add(pid, child); // and the supervisor's copy of the socket is closed
            }
            Err(error) => {
                if let Some(expired) = self.backpressure.defer(connection, service, error, now) {
                    self.refuse_expired(expired, now);
                }
            }
        }
    }

    /// Serves a connection in this process, and records it.
    pub(crate) fn serve_in_place(&mut self, connection: Connection, service: &Arc<Service>) -> End {
        let (child, end) = self.launcher.serve_in_place(connection, service);
        self.reaper.record_in_place(&child, &end, &self.children, &mut self.admission);
        self.launcher.release(child.slot());
        end
    }

    fn refuse(&mut self, connection: Connection, service: &Service, reason: &Reason, now: Instant) {
        let source = self.admission.source_of(&connection.identity.peer);
        self.refusals.refuse(connection, service, source, reason, now);
    }

    fn refuse_expired(&mut self, Expired { connection, service, reason }: Expired, now: Instant) {
        self.refuse(connection, &service, &reason, now);
    }

    /// Decides what follows from a failure of accept(2): pauses all listeners, or returns until when to leave this
    /// one alone.
    pub(crate) fn pause_accepting(
        &mut self,
        listener: &str,
        error: &io::Error,
        now: Instant,
    ) -> Option<Instant> {
        // Refused sockets are the first to give up their descriptors; then accept(2) is tried again at once.
        if is_descriptor_shortage(error) && self.refusals.close_all() {
            return None;
        }
        self.backpressure.pause_accepting(listener, error, now)
    }

    /// Reaps and records the children that have exited.
    ///
    /// # Errors
    /// Those of wait4(2).
    pub(crate) fn reap(&mut self) -> io::Result<()> {
        self.reaper.reap(&mut self.children, &mut self.launcher, &mut self.admission)
    }

    /// Does what is due: pauses end, refused sockets are closed, connections that last too long are terminated, and
    /// orphans that outlive their grace are killed.
    pub(crate) fn refresh(&mut self, now: Instant, has_reaped: bool) {
        self.backpressure.refresh(now, has_reaped);
        self.refusals.refresh(now);
        self.children.terminate_due(now);
        self.reaper.refresh(now);
    }

    /// Forks the spares that are missing.
    pub(crate) fn refill_spares(&mut self, now: Instant) {
        self.launcher.refill_spares(now);
    }

    /// Lets children finish the request at hand, and spares exit.
    pub(crate) fn drain(&mut self) {
        self.launcher.drain();
    }

    /// Kills every child, spare and orphan.
    pub(crate) fn kill_all(&mut self, now: Instant) {
        self.children.kill_all(now);
        self.launcher.kill_spares();
        self.reaper.kill_all(now);
    }

    /// Refuses the connection that still waits for a process: no further try will be made.
    pub(crate) fn refuse_waiting(&mut self, now: Instant) {
        if let Some(expired) = self.backpressure.take_expired() {
            self.refuse_expired(expired, now);
        }
    }

    /// Processes have exited: every child, every spare, every orphan.
    pub(crate) fn is_over(&self) -> bool {
        self.children.count() == 0 && self.launcher.count_spares() == 0 && self.reaper.is_idle()
    }

    /// No connection waits for a process, and no refusal to be read.
    pub(crate) fn is_settled(&self) -> bool {
        self.backpressure.is_idle() && self.refusals.is_empty()
    }

    /// No connection is in any state.
    pub(crate) fn is_idle(&self) -> bool {
        self.children.count() == 0 && self.reaper.is_idle() && self.is_settled()
    }

    /// When [`Self::refresh`], [`Self::retry_waiting`] or [`Self::refill_spares`] has something to do.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        let events = [
            self.backpressure.next_event(),
            self.refusals.next_event(),
            self.children.next_event(),
            self.reaper.next_event(),
            self.launcher.next_event(),
        ];
        events.into_iter().flatten().min()
    }

    pub(crate) fn children(&self) -> &Children {
        &self.children
    }

    /// Terminates the children for a drain that has lasted too long: see [`Children::terminate_for_drain`].
    pub(crate) fn terminate_for_drain(&mut self, now: Instant, is_spared: impl Fn(Pid) -> bool) -> usize {
        self.launcher.kill_spares(); // they have no connection to finish
        self.children.terminate_for_drain(now, is_spared)
    }

    /// Another connection can be accepted before this one ends: not so in the model `iterative`.
    pub(crate) fn can_accept_batch(&self) -> bool {
        !self.launcher.serves_in_place()
    }

    /// Connections that have ended, refused ones included.
    pub(crate) fn count_ended(&self) -> u64 {
        self.reaper.recorded() + self.refusals.count()
    }

    /// How the connections stand, for the status dump.
    pub(crate) fn describe(&self, now: Instant) -> String {
        format!(
            "{}/{} connections, {} spares, {} ended, {} refused, {} sources penalized, {} orphaned processes reaped",
            self.children.count(),
            self.max,
            self.launcher.count_spares(),
            self.count_ended(),
            self.refusals.count(),
            self.admission.count_penalized(now),
            self.reaper.orphans_reaped(),
        )
    }
}
