//! A connection on its way through the supervisor: admitted or refused, handed over to a fork server or deferred,
//! terminated when its time is over, reaped, recorded.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::epoll::EpollTimeout;
use nix::sys::resource::{Resource, getrlimit};

use super::access_log::AccessLog;
use super::admission::Admission;
use super::backpressure::{Backpressure, Expired, is_descriptor_shortage};
use super::child::Child;
use super::children::Children;
use super::events::{BATCH, Event, Events};
use super::handover::Launcher;
use super::orphans::Orphans;
use super::outputs::Outputs;
use super::refusal::{Reason, Refusals};
use super::reserves::Reserves;
use super::settings::Settings;
use super::statistics::Statistics;
use super::uplinks::Uplinks;
use crate::connection::Connection;
use crate::journal;
use crate::service::{Service, Watch};
use crate::source::Known;
use crate::status::Places;

/// All connections, and what decides about them.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(super) max: usize,
    pub(super) events: Events,
    pub(super) admission: Admission,
    pub(super) backpressure: Backpressure,
    refusals: Refusals,
    pub(super) launcher: Launcher,
    pub(super) children: Children,
    pub(super) orphans: Orphans,
    pub(super) outputs: Outputs,
    pub(super) uplinks: Uplinks,
    pub(super) access_log: AccessLog,
    /// Processes that have exited and could not be reaped, and when to try again.
    pub(super) unreaped: Vec<(Event, Instant)>,
    /// Connections whose record is written.
    pub(super) recorded: u64,
    pub(super) statistics: Statistics,
    /// The soft limit of descriptors that this process was started with: that of children.
    pub(super) open_files: u64,
    pub(super) reserves: Reserves,
    /// By service.
    watches: BTreeMap<String, Watch>,
}

impl Connections {
    /// # Errors
    /// Those of memfd_create(2) and mmap(2), for the scoreboard, and of epoll_create1(2).
    pub(crate) fn new(settings: &Settings) -> io::Result<Self> {
        let process = &settings.process;
        Ok(Self {
            max: process.max_connections,
            events: Events::new()?,
            admission: Admission::new(settings.admission.clone()),
            backpressure: Backpressure::default(),
            refusals: Refusals::default(),
            launcher: Launcher::new(settings)?,
            children: Children::new(process.max_connections),
            orphans: Orphans::new(),
            outputs: Outputs::default(),
            uplinks: Uplinks::default(),
            access_log: AccessLog::default(),
            unreaped: Vec::new(),
            recorded: 0,
            statistics: Statistics::new(Instant::now()),
            open_files: getrlimit(Resource::RLIMIT_NOFILE)?.0,
            reserves: Reserves::new(&settings.services),
            watches: BTreeMap::new(),
        })
    }

    /// Another connection may be accepted.
    pub(crate) fn has_room(&self) -> bool {
        self.backpressure.is_open() && self.children.count() < self.max && self.launcher.has_slot()
    }

    /// The service has room for another connection.
    pub(crate) fn has_room_for(&self, service: &Service) -> bool {
        let Self { children, max, .. } = self;
        let count = |name: &str| children.count_of_service(name);
        self.backpressure.is_open_for(&service.name)
            && self.admission.has_room(service, children)
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
        self.statistics.record_accepted(&service.name, now);
        let peer = &connection.identity.peer;
        if service.trusts(peer) {
            return Ok(()); // see `judge_client`
        }
        if service.proxy_protocol {
            return Err(Reason::NoProxy);
        }
        self.admission.check_arrival(peer, Known::ByKernel, service, now)?;
        let Self { admission, children, .. } = self;
        admission.check_source_limits(peer, Known::ByKernel, service, children).or_else(|_| {
            // A client that reconnects at once may arrive before its previous child is reaped.
            self.handle_events(now);
            self.admission.check_source_limits(peer, Known::ByKernel, service, &self.children)
        })
    }

    /// Tries again to give a process to the connection that waits for one.
    pub(crate) fn retry_waiting(&mut self, now: Instant, has_reaped: bool) {
        for (connection, service) in self.backpressure.take_waiting(now, has_reaped) {
            self.start(connection, service, now);
        }
    }

    pub(super) fn start(&mut self, connection: Connection, service: Arc<Service>, now: Instant) {
        if self.launcher.serves_in_place() {
            self.refresh_service(&service, now);
            self.serve_in_place(connection, &service);
            return;
        }
        match self.launcher.hand_over(connection, &service) {
            Ok(child) => {
                if let Some(spare) = child.spare() {
                    let _ = self.events.change(&spare.pidfd, Event::Child(child.slot().index())); // cannot fail
                }
                if let Some(reports) = child.reports() {
                    let _ = self.events.add(reports, Event::Client(child.slot().index())); // without, no client is served
                }
                self.children.add(child);
            }
            Err(failed) => {
                let (connection, error) = *failed;
                // An application that cannot be loaded now can hardly be loaded a moment later.
                let fork_servers = &self.launcher.fork_servers;
                if fork_servers.find_reason(&service).is_none() {
                    return self.defer(connection, service, error, now);
                }
                let next = fork_servers.next_start(&service).map(|at| at.saturating_duration_since(now));
                self.refuse(connection, &service, &Reason::NotLoaded(error, next), now);
            }
        }
    }

    /// Looks at the roots and the files of users of a service that this process serves itself. Fork servers report theirs.
    fn refresh_service(&mut self, service: &Service, now: Instant) {
        let watch = self.watches.entry(service.name.clone()).or_default();
        let warn = |sentence: String| journal::log_service_warning(&service.name, &sentence);
        if service.is_outdated(watch, now, warn) {
            service.refresh();
        }
    }

    /// Keeps a connection that gets no process now for another try, or refuses it.
    pub(super) fn defer(
        &mut self,
        connection: Connection,
        service: Arc<Service>,
        error: io::Error,
        now: Instant,
    ) {
        if let Some(expired) = self.backpressure.defer(connection, service, error, now) {
            self.refuse_expired(expired, now);
        }
    }

    fn refuse(&mut self, connection: Connection, service: &Service, reason: &Reason, now: Instant) {
        let source = self.admission.source_of(&connection.identity.peer);
        self.statistics.record_refused(&service.name, reason.word(), now);
        self.refusals.refuse(connection, service, source, reason, &mut self.access_log, now);
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

    /// Acts on processes that have exited and on reports of fork servers. True: processes and memory may be free again.
    pub(crate) fn handle_events(&mut self, now: Instant) -> bool {
        let before = self.recorded;
        let mut is_full = true;
        while is_full && let Ok(events) = self.events.take(EpollTimeout::ZERO) {
            is_full = events.len() == BATCH;
            self.act_on_events(events, now);
        }
        self.recorded > before
    }

    pub(super) fn act_on_events(&mut self, events: Vec<Event>, now: Instant) {
        for event in events {
            match event {
                Event::Child(slot) => self.reap_child(slot, now),
                Event::Process(pid) => self.reap_process(pid, now),
                Event::Report(server) => self.receive_reports(server, now),
                Event::Output(id) => self.read_output(id, now),
                Event::Uplink(server) => self.receive_messages(server, now),
                Event::Writer(id) => self.access_log.receive(id, now),
                Event::Client(slot) => self.judge_client(slot, now),
            }
        }
    }

    /// Does what is due: pauses end, refused sockets are closed, connections that last too long are terminated, orphans
    /// that outlive their grace are killed, and fork servers that have exited are started again.
    pub(crate) fn refresh(&mut self, now: Instant, has_reaped: bool) {
        self.backpressure.refresh(now, has_reaped);
        self.refusals.refresh(now);
        self.children.terminate_due(now);
        self.orphans.refresh(now);
        let (fork_servers, mut shared) = self.share();
        fork_servers.refresh(&mut shared, now);
        self.advance_renewals(now);
        self.access_log.refresh(&self.events, now);
        self.hand_over_late(now);
        self.reap_again(now);
        if self.orphans.is_walk_due(now) {
            self.find_orphans(now);
        }
        if self.orphans.is_idle() {
            self.launcher.release_withheld();
        }
        self.close_retired();
    }

    /// Lets children finish the request at hand, and begin no other. A check that is among them learns of it.
    pub(crate) fn drain(&mut self) {
        self.children.announce_close(true);
        self.children.ask_to_close();
    }

    /// Kills every child, fork server and orphan.
    pub(crate) fn kill_all(&mut self, now: Instant) {
        self.children.kill_all(now);
        self.kill_fork_servers(now);
        self.orphans.kill_all(now);
    }

    fn kill_fork_servers(&mut self, now: Instant) {
        self.launcher.fork_servers.kill_all();
        self.kill_unreported(&self.launcher.fork_servers.ids(), now);
    }

    /// Refuses the connections that still wait for a process: no further try will be made.
    pub(crate) fn refuse_waiting(&mut self, now: Instant) {
        while let Some(expired) = self.backpressure.take_expired() {
            self.refuse_expired(expired, now);
        }
    }

    /// Processes have exited: every child, every fork server, every orphan that may not live.
    pub(crate) fn is_over(&self) -> bool {
        self.children.count() == 0
            && self.launcher.fork_servers.is_empty()
            && self.orphans.are_over(Instant::now())
    }

    /// No connection waits for a process, and no refusal to be read.
    pub(crate) fn is_settled(&self) -> bool {
        self.backpressure.is_idle() && self.refusals.is_empty()
    }

    /// No connection is in any state.
    pub(crate) fn is_idle(&self) -> bool {
        self.children.count() == 0 && self.orphans.is_idle() && self.is_settled()
    }

    /// When [`Self::refresh`] or [`Self::retry_waiting`] has something to do.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        let events = [
            self.backpressure.next_event(),
            self.refusals.next_event(),
            self.children.next_event(),
            self.orphans.next_event(),
            self.launcher.fork_servers.next_event(),
            self.access_log.next_event(),
            self.unreaped.iter().map(|&(_, at)| at).min(),
        ];
        events.into_iter().flatten().min()
    }

    /// Readable when [`Self::handle_events`] has something to do.
    pub(crate) fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// A connection waits for a process.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.backpressure.is_idle()
    }

    pub(crate) fn children(&self) -> &Children {
        &self.children
    }

    /// Terminates the children for a drain that has lasted too long: see [`Children::terminate_for_drain`].
    pub(crate) fn terminate_for_drain(&mut self, now: Instant, is_spared: impl Fn(&Child) -> bool) -> usize {
        self.kill_fork_servers(now); // no connection will come
        self.orphans.kill_all(now);
        self.children.terminate_for_drain(now, is_spared)
    }

    /// Another connection can be accepted before this one ends: not so in the model `iterative`.
    pub(crate) fn can_accept_batch(&self) -> bool {
        !self.launcher.serves_in_place()
    }

    /// Connections that have ended, refused ones included.
    pub(crate) fn count_ended(&self) -> u64 {
        self.recorded + self.refusals.count()
    }

    /// Counts what the connections have moved by now.
    pub(super) fn count_traffic(&mut self, now: Instant) {
        let Self { children, statistics, .. } = self;
        children.count_traffic(now, |service, traffic, since| {
            statistics.record_traffic(service, traffic, since, now);
        });
    }

    pub(super) fn places(&self) -> Places {
        let (now, spares) = (self.children.count(), self.launcher.fork_servers.count_spares());
        Places { now, max: self.max, spares }
    }

    /// Processes of the daemon, as far as they are known: a program may have started others.
    pub(super) fn count_processes(&self) -> usize {
        let of_services = self.children.pids().chain(self.launcher.fork_servers.pids());
        1 + of_services.chain(self.orphans.pids()).chain(self.access_log.pids()).count()
    }

    pub(super) fn count_penalized(&self, now: Instant) -> usize {
        self.admission.count_penalized(now)
    }

    pub(super) fn count_orphans_reaped(&self) -> u64 {
        self.orphans.count_reaped()
    }

    /// How the connections stand, for the status dump.
    pub(crate) fn describe(&self, now: Instant) -> String {
        format!(
            "{}/{} connections, {} spares, {} ended, {} refused, {} sources penalized, {} orphaned processes reaped",
            self.children.count(),
            self.max,
            self.launcher.fork_servers.count_spares(),
            self.count_ended(),
            self.refusals.count(),
            self.count_penalized(now),
            self.count_orphans_reaped(),
        )
    }
}
