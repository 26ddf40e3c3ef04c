//! The fork servers of all services: which takes a connection, and when one that has exited is started again.

mod renewal;
mod restarts;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use nix::unistd::Pid;

use renewal::FailedRenewal;
pub(crate) use renewal::Renewal;
use restarts::Restart;
pub(crate) use restarts::SPARE_PAUSE;

use super::failures::{StartFailure, StartFailures};
use super::fork_server::{ForkServer, Shared, State, Template};
use super::spare::Taker;
use crate::connection::Connection;
use crate::handover::Supplements;
use crate::scoreboard::Slot;
use crate::service::{Service, Services};

/// All fork servers.
#[derive(Debug)]
pub(crate) struct ForkServers {
    /// None: none was started yet.
    template: Option<Template>,
    servers: Vec<ForkServer>,
    restarts: Vec<Restart>,
    /// Those that have exited instead of taking over, and why.
    broken: Vec<(u32, Arc<Service>, StartFailure)>,
    failures: StartFailures,
    pub(crate) renewals: Vec<Renewal>,
    failed_renewals: Vec<FailedRenewal>,
    next_id: u32,
    round: usize,
}

impl ForkServers {
    pub(crate) fn new() -> Self {
        let (servers, restarts, broken, renewals) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (failures, failed_renewals) = (StartFailures::default(), Vec::new());
        let (template, next_id, round) = (None, 0, 0);
        Self { template, servers, restarts, broken, failures, renewals, failed_renewals, next_id, round }
    }

    /// Starts `count` fork servers for each of these services. They do not take connections before [`Self::replace`].
    ///
    /// # Errors
    /// A sentence. Those that were started exit again.
    pub(crate) fn start_all(
        &mut self,
        services: &Services,
        template: Template,
        count: usize,
        shared: &mut Shared<'_>,
    ) -> Result<Vec<u32>, String> {
        self.template.get_or_insert(template);
        let mut ids = Vec::new();
        for service in services.values() {
            for _ in 0..count {
                match self.start(service, template, shared) {
                    Ok(id) => ids.push(id),
                    Err(error) => {
                        self.retire(&ids);
                        return Err(format!(
                            "unable to start the fork server of service {}: {error}",
                            service.name
                        ));
                    }
                }
            }
        }
        Ok(ids)
    }

    fn start(
        &mut self,
        service: &Arc<Service>,
        template: Template,
        shared: &mut Shared<'_>,
    ) -> io::Result<u32> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.servers.push(ForkServer::start(id, service, template, shared)?);
        Ok(id)
    }

    /// All of these wait for connections, or have failed, as [`Self::find_failure`] and [`Self::tolerate_applications`] have it.
    pub(crate) fn are_ready(&self, ids: &[u32]) -> bool {
        ids.iter().all(|&id| self.get(id).is_none_or(|server| server.state != State::Starting))
    }

    /// An application that cannot be loaded is no reason not to serve others: where `is_tolerated` has its service, the fork
    /// server among these that fails is started again after [`Self::replace`].
    pub(crate) fn tolerate_applications(
        &mut self,
        ids: &[u32],
        is_tolerated: impl Fn(&Self, &Service) -> bool,
    ) {
        let is_its = |server: &&ForkServer| {
            ids.contains(&server.id)
                && server.service.python().is_some()
                && is_tolerated(self, &server.service)
        };
        let tolerated: Vec<_> = self.servers.iter().filter(is_its).map(|server| server.id).collect();
        for server in self.servers.iter_mut().filter(|server| tolerated.contains(&server.id)) {
            server.is_tolerated = true;
        }
    }

    /// Why one of these cannot start, if one cannot, and its service.
    pub(crate) fn find_failure(&self, ids: &[u32]) -> Option<(&Service, &StartFailure)> {
        let failed = self.broken.iter().find(|(id, ..)| ids.contains(id));
        failed.map(|(_, service, failure)| (&**service, failure))
    }

    /// Lets these take the connections from now on, and retires all others.
    pub(crate) fn replace(&mut self, ids: &[u32]) {
        self.restarts.retain_mut(|restart| {
            restart.is_held = false;
            ids.contains(&restart.server)
        });
        let Self { servers, restarts, failures, .. } = self;
        let is_broken = |server: &ForkServer, name: &str| {
            server.state == State::Broken && server.service.name == name && ids.contains(&server.id)
        };
        failures.retain(|name| {
            restarts.iter().any(|restart| restart.service.name == name)
                || servers.iter().any(|server| is_broken(server, name))
        });
        self.broken.clear();
        self.failed_renewals.clear();
        let mut old = Vec::new();
        for server in &mut self.servers {
            match ids.contains(&server.id) {
                true => server.is_current = true,
                false => old.push(server.id),
            }
        }
        let current = self.servers.iter().find(|server| server.is_current);
        self.template = current.map(|server| server.template).or(self.template);
        self.retire(&old);
    }

    /// Those that take the connections of a service.
    fn current_of(&self, service: &str) -> impl Iterator<Item = &ForkServer> {
        self.servers.iter().filter(move |server| {
            server.is_current && server.state != State::Retiring && server.service.name == service
        })
    }

    /// Starts others in place of the fork servers of a service. Its connections wait until they are ready.
    ///
    /// # Errors
    /// A sentence. Those that are not replaced yet stay.
    pub(crate) fn restart(&mut self, service: &Arc<Service>, shared: &mut Shared<'_>) -> Result<(), String> {
        let Some(template) = self.template else { return Ok(()) };
        let old: Vec<_> = self.current_of(&service.name).map(|server| server.id).collect();
        for id in old {
            let started = self.start(service, template, shared);
            let new = started.map_err(|error| {
                format!("unable to start the fork server of service {}: {error}", service.name)
            })?;
            if let Some(server) = self.get_mut(new) {
                server.is_current = true;
            }
            self.retire(&[id]);
        }
        Ok(())
    }

    /// A fork server is ready.
    pub(crate) fn set_ready(&mut self, id: u32, now: Instant) {
        let Self { servers, failures, .. } = self;
        let is_its = |server: &&mut ForkServer| server.id == id && server.state == State::Starting;
        if let Some(server) = servers.iter_mut().find(is_its) {
            server.state = State::Ready;
            server.ready_since = Some(now);
            if server.is_current {
                failures.set_started(&server.service.name);
            }
        }
    }

    /// Lets these take no further connection. They exit when they have forked for those that were handed over.
    pub(crate) fn retire(&mut self, ids: &[u32]) {
        self.restarts.retain(|restart| !restart.is_held || !ids.contains(&restart.server));
        for server in self.servers.iter_mut().filter(|server| ids.contains(&server.id)) {
            if server.state == State::Starting {
                server.kill(); // it has forked for none, and may import for long
            }
            server.state = State::Retiring;
        }
    }

    /// Lets all exit, since no connection will come.
    pub(crate) fn retire_all(&mut self) {
        self.replace(&[]);
    }

    /// Closes the channels of those that retire and that `is_awaited` does not accept.
    pub(crate) fn close_retired(&mut self, is_awaited: impl Fn(u32) -> bool) {
        for server in &mut self.servers {
            if server.state == State::Retiring && server.channel().is_some() && !is_awaited(server.id) {
                server.dismiss();
            }
        }
    }

    /// Which scoreboard the fork servers of this service have, as they were started: a connection that waits may be older than
    /// a reload.
    pub(crate) fn own_scoreboard(&self, service: &Service) -> Option<&str> {
        let mut current = self.servers.iter().filter(|server| server.is_current);
        current.find(|server| server.service.name == service.name)?.service.own_scoreboard()
    }

    /// Hands a connection over to a fork server of its service, in turn. Returns the number of the fork server.
    ///
    /// # Errors
    /// None is ready, or each has too many connections to fork for.
    pub(crate) fn hand_over(
        &mut self,
        connection: &Connection,
        service: &Service,
        slot: Slot,
        supplements: Supplements<BorrowedFd<'_>>,
    ) -> io::Result<Taker> {
        self.round = self.round.wrapping_add(1);
        let is_its = |server: &ForkServer| {
            server.is_current
                && server.state == State::Ready
                && server.service.name == service.name
                && server.channel().is_some()
        };
        let ready = self.servers.iter().filter(|server| is_its(server)).count();
        let mut last = io::Error::other(self.failures.find_last(&service.name).map_or_else(
            || "its fork server is being started".to_owned(),
            |reason| format!("its fork server cannot start: {reason}"),
        ));
        for turn in 0..ready {
            let at = (self.round + turn) % ready;
            let Some(server) = self.servers.iter_mut().filter(|server| is_its(server)).nth(at) else { break };
            match server.hand_over(connection, slot, supplements) {
                Ok(taker) => return Ok(taker),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    last = io::Error::other("its fork server has too many to fork for");
                }
                Err(error) => last = io::Error::other(error),
            }
        }
        Err(last)
    }

    /// Why the last fork server of a service could not start, if the next one will not either.
    pub(crate) fn find_reason(&self, service: &Service) -> Option<&str> {
        self.failures.find_reason(&service.name)
    }

    /// None takes connections of a service, and the last one that was started has failed.
    pub(crate) fn have_failed(&self, service: &str) -> bool {
        let is_ready = self.current_of(service).any(|server| server.state == State::Ready);
        !is_ready && self.failures.find_last(service).is_some()
    }

    pub(crate) fn get(&self, id: u32) -> Option<&ForkServer> {
        self.servers.iter().find(|server| server.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut ForkServer> {
        self.servers.iter_mut().find(|server| server.id == id)
    }

    /// The one with this process, which is not reaped.
    pub(crate) fn find_process(&self, pid: Pid) -> Option<u32> {
        self.servers.iter().find(|server| server.is_process(pid)).map(|server| server.id)
    }

    /// Those whose reports are waited for.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.servers.iter().filter(|server| server.channel().is_some()).map(|server| server.id).collect()
    }

    /// The fork servers and the spares.
    pub(crate) fn pids(&self) -> impl Iterator<Item = Pid> {
        self.servers.iter().flat_map(ForkServer::pids)
    }

    /// Kills those that do not fork, so that others take their place.
    pub(crate) fn kill_stalled(&self, ids: &[u32]) {
        for server in self.servers.iter().filter(|server| ids.contains(&server.id)) {
            server.kill();
        }
    }

    /// Whether the session is that of a fork server: a process in it is one of its children that has not reported yet.
    pub(crate) fn has_session(&self, session: Pid) -> bool {
        self.servers.iter().any(|server| server.pid == session)
    }

    pub(crate) fn count_spares(&self) -> usize {
        self.servers.iter().map(ForkServer::count_spares).sum()
    }

    /// Of one service.
    pub(crate) fn count_spares_of(&self, service: &str) -> usize {
        let of_service = self.servers.iter().filter(|server| server.service.name == service);
        of_service.map(ForkServer::count_spares).sum()
    }

    /// No fork server and no spare exists.
    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Kills all fork servers and spares.
    pub(crate) fn kill_all(&mut self) {
        self.retire_all();
        self.servers.iter().for_each(ForkServer::kill);
    }

    /// Forgets those whose channel is closed, and whose processes are reaped. True: there were some.
    pub(crate) fn forget_ended(&mut self) -> bool {
        let before = self.servers.len();
        self.servers.retain(|server| !server.has_ended());
        self.servers.len() < before
    }
}
