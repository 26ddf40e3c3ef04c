//! Fork servers that load an application again whose files have changed, beside those that have the old one.

use std::sync::Arc;
use std::time::Instant;

use super::ForkServers;
use crate::service::{Service, Services};
use crate::supervisor::failures::StartFailure;
use crate::supervisor::fork_server::{ForkServer, Shared, State};

/// Fork servers of one service that are to replace those that it has.
#[derive(Debug)]
pub(crate) struct Renewal {
    pub(crate) service: Arc<Service>,
    pub(crate) ids: Vec<u32>,
}

impl ForkServers {
    /// Takes a service of which a file has changed.
    pub(crate) fn take_changed(&mut self) -> Option<Arc<Service>> {
        // Each fork server of a service reports the change: the first one is enough.
        let is_first = |server: &&ForkServer| {
            server.has_changed
                && self.current_of(&server.service.name).next().is_some_and(|first| first.id == server.id)
        };
        let service = Arc::clone(&self.servers.iter().find(is_first)?.service);
        for server in self.servers.iter_mut().filter(|server| server.service.name == service.name) {
            server.has_changed = false;
        }
        Some(service)
    }

    /// Starts others beside the fork servers of a service, for [`Self::replace_of`].
    ///
    /// # Errors
    /// A sentence; none was started then.
    pub(crate) fn start_others(
        &mut self,
        service: &Arc<Service>,
        shared: &mut Shared<'_>,
    ) -> Result<Vec<u32>, String> {
        let Some(template) = self.template else { return Ok(Vec::new()) };
        let count = self.current_of(&service.name).count();
        self.start_all(
            &Services::from([(service.name.clone(), Arc::clone(service))]),
            template,
            count,
            shared,
        )
    }

    /// Lets these take the connections of a service from now on, and retires those that have.
    pub(crate) fn replace_of(&mut self, service: &str, ids: &[u32]) {
        let old: Vec<_> = self.current_of(service).map(|server| server.id).collect();
        self.retire(&old);
        for server in self.servers.iter_mut().filter(|server| ids.contains(&server.id)) {
            server.is_current = true;
        }
        self.failures.set_started(service);
    }

    /// None of these exists any more, or is to take over.
    pub(crate) fn are_retired(&self, ids: &[u32]) -> bool {
        ids.iter().all(|&id| self.get(id).is_none_or(|server| server.state == State::Retiring))
    }

    /// A fork server cannot start, as it has reported. One that watches its files does not exit, so that a change is seen.
    pub(crate) fn set_failed(&mut self, id: u32, failure: StartFailure, now: Instant) {
        let Some(server) = self.servers.iter_mut().find(|server| server.id == id) else { return };
        let is_watched = server.service.python().is_some_and(|python| python.watches);
        if !is_watched || server.state != State::Starting {
            server.failure = Some(failure);
        } else if server.is_current {
            server.state = State::Broken;
            let name = &server.service.name;
            self.failures.record(name, failure, server.has_served, true, true, now);
        } else {
            server.failure = Some(failure);
            server.kill(); // that one which it was to replace watches them
        }
    }
}
