//! Fork servers that have exited, and are started again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::ForkServers;
use crate::journal;
use crate::service::Service;
use crate::supervisor::failures::StartFailure;
use crate::supervisor::fork_server::{ForkServer, Shared, State};
use crate::sys::{self, Exit};

/// Before the next spare is forked, when one could not be or has died.
pub(crate) const SPARE_PAUSE: Duration = Duration::from_secs(1);

/// After as many failures, an application whose fork server is killed while it loads it cannot be loaded.
const KILLS_MAX: u32 = 3;

/// A fork server that is to be started again.
#[derive(Debug)]
pub(super) struct Restart {
    /// The one that has exited.
    pub(super) server: u32,
    pub(super) service: Arc<Service>,
    pub(super) at: Instant,
    /// It waits for [`ForkServers::replace`]: the one that has exited had not taken over.
    pub(super) is_held: bool,
}

impl ForkServers {
    /// A spare or a fork server may have exited: reaps it. A fork server that was not retired is started again. False: it
    /// cannot be reaped yet.
    pub(crate) fn reap(&mut self, pid: Pid, now: Instant) -> bool {
        if let Some(server) = self.servers.iter_mut().find(|server| server.has_spare(pid)) {
            if matches!(sys::reap(pid), Ok(None)) {
                return false;
            }
            if server.state != State::Retiring && server.spare_failure.is_none() {
                journal::log_service_warning(
                    &server.service.name,
                    "a spare child exited before it got a connection; retrying in 1s",
                );
            }
            server.forget_spare(pid, now + SPARE_PAUSE);
            return true;
        }
        let index = self.servers.iter().position(|server| server.is_process(pid));
        let Some(index) = index else { return true };
        let exit = match sys::reap(pid) {
            Ok(None) => return false,
            Ok(Some((exit, _))) => exit,
            Err(_) => Exit::Unknown,
        };
        let server = &mut self.servers[index];
        server.set_reaped();
        if server.state == State::Retiring {
            return true;
        }
        let has_changed = server.state == State::Broken && server.has_changed;
        server.state = State::Retiring;
        if has_changed {
            let (service, is_held) = (Arc::clone(&server.service), !server.is_current);
            self.restarts.push(Restart { server: server.id, service, at: now, is_held });
            return true;
        }
        let starts_again = server.is_current || server.is_tolerated;
        let unknown =
            || StartFailure { sentence: format!("its fork server {exit}"), ..StartFailure::default() };
        // Something else than its application has killed it, such as the kernel for want of memory.
        let is_killed = server.failure.is_none()
            && matches!(exit, Exit::Killed { signal, .. } if signal == Signal::SIGKILL as i32);
        let failure = server.failure.take().unwrap_or_else(unknown);
        if starts_again {
            self.plan_restart(index, failure, is_killed, now);
        } else {
            // One that was to replace another is not started again.
            self.broken.push((server.id, Arc::clone(&server.service), failure));
        }
        true
    }

    /// Plans to start a fork server that has exited again.
    fn plan_restart(&mut self, index: usize, failure: StartFailure, is_killed: bool, now: Instant) {
        let server = &self.servers[index];
        let (id, service, was_steady) = (server.id, Arc::clone(&server.service), server.was_steady(now));
        let is_held = !server.is_current;
        // An application that cannot be loaded cannot be loaded again.
        let is_final = service.python().is_some()
            && server.ready_since.is_none()
            && (!is_killed || self.failures.count(&service.name) >= KILLS_MAX);
        let pause = self.failures.record(&service.name, failure, was_steady, is_final, false, now);
        self.restarts.push(Restart { server: id, service, at: now + pause, is_held });
    }

    /// Starts those again whose pause is over, and kills those that do not become ready.
    pub(crate) fn refresh(&mut self, shared: &mut Shared<'_>, now: Instant) {
        for server in &mut self.servers {
            server.end_late_start(now);
            server.order_spares(now);
        }
        let is_due = |restart: &Restart| !restart.is_held && now >= restart.at;
        while let Some(index) = self.restarts.iter().position(is_due) {
            let Restart { server, service, is_held, .. } = self.restarts.swap_remove(index);
            let Some(template) = self.template else { return };
            let started = self.start(&service, template, shared);
            if let Ok(id) = started
                && let Some(server) = self.get_mut(id)
            {
                server.is_current = true;
            }
            if let Err(error) = started {
                let sentence = format!(
                    "unable to start the fork server of service {}: {error}; retrying in 1s",
                    service.name
                );
                journal::log_warning(&sentence);
                self.restarts.push(Restart { server, service, at: now + Duration::from_secs(1), is_held });
            }
        }
    }

    /// When a fork server of this service is started again, if that is planned.
    pub(crate) fn next_start(&self, service: &Service) -> Option<Instant> {
        let own = self.restarts.iter().filter(|restart| restart.service.name == service.name);
        own.map(|restart| restart.at).min()
    }

    /// When [`Self::refresh`] has something to do.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        let timeouts = self.servers.iter().filter_map(ForkServer::latest_start);
        let orders = self.servers.iter().filter_map(ForkServer::next_order);
        let restarts = self.restarts.iter().filter(|restart| !restart.is_held).map(|restart| restart.at);
        restarts.chain(timeouts).chain(orders).chain(self.next_change()).min()
    }
}
