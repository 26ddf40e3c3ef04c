//! Fork servers that load an application again whose files have changed, beside those that have the old one.

use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// The last one of a service, which has failed. The fork servers that stay have outdated files.
#[derive(Debug)]
pub(super) struct FailedRenewal {
    service: String,
    failure: StartFailure,
    at: Instant,
    is_tried_again: bool,
    /// The same failures, one soon after another: what is loaded may write its own modules.
    count: u32,
}

/// Before a renewal is tried again without a further change.
const PAUSE: Duration = Duration::from_secs(10);
/// Before it is tried again with a further change that came meanwhile, from the second failure on: doubled each time.
const PAUSE_OF_CHANGE: Duration = Duration::from_millis(250);

impl FailedRenewal {
    /// When the next change is acted on.
    fn pause_end(&self) -> Instant {
        self.at + PAUSE_OF_CHANGE.saturating_mul((1 << self.count.min(10)) >> 1).min(PAUSE)
    }
}

impl ForkServers {
    /// A renewal has failed. True: it should be logged, since it is not the same again.
    pub(crate) fn record_failed_renewal(&mut self, name: &str, failure: &StartFailure, now: Instant) -> bool {
        let is_its = |failed: &mut FailedRenewal| failed.service == name;
        let before: Vec<_> = self.failed_renewals.extract_if(.., is_its).collect();
        let (service, failure) = (name.to_owned(), failure.clone());
        let same = before.iter().find(|failed| failed.failure == failure);
        let is_known = same.is_some_and(|failed| failed.is_tried_again);
        let soon = same.filter(|failed| now < failed.at + PAUSE * 2);
        let count = soon.map_or(0, |failed| failed.count + 1);
        self.failed_renewals.push(FailedRenewal { service, failure, at: now, is_tried_again: false, count });
        !is_known
    }

    /// Whether a renewal that has failed should be tried again, since a fork server still has outdated files.
    pub(crate) fn must_try_again(&mut self, name: &str, now: Instant) -> bool {
        let Some(failed) = self.failed_renewals.iter_mut().find(|failed| failed.service == name) else {
            return false;
        };
        let is_due = !failed.is_tried_again && now >= failed.at + PAUSE;
        failed.is_tried_again |= is_due;
        is_due
    }

    /// The fork servers with changes that are acted on. Each one of a service reports a change: the first one is enough. One
    /// that is broken exits.
    fn find_changed(&self) -> impl Iterator<Item = &ForkServer> {
        self.servers.iter().filter(|server| {
            let name = &server.service.name;
            server.has_changed
                && server.state == State::Ready
                && self.current_of(name).next().is_some_and(|first| first.id == server.id)
                // What it loads may write modules. It finds all other changes by itself.
                && self.renewals.iter().all(|renewal| renewal.service.name != *name)
        })
    }

    /// When the next change of a service is acted on.
    fn pause_of(&self, service: &str) -> Option<Instant> {
        self.failed_renewals.iter().find(|failed| failed.service == service).map(FailedRenewal::pause_end)
    }

    /// When [`Self::take_changed`] has something to take.
    pub(super) fn next_change(&self) -> Option<Instant> {
        self.find_changed().filter_map(|server| self.pause_of(&server.service.name)).min()
    }

    /// Takes a service of which a file has changed.
    pub(crate) fn take_changed(&mut self, now: Instant) -> Option<Arc<Service>> {
        let is_due = |server: &&ForkServer| self.pause_of(&server.service.name).is_none_or(|end| now >= end);
        let service = Arc::clone(&self.find_changed().find(is_due)?.service);
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
        let restarts = self.restarts.iter().filter(|restart| restart.service.name == service.name);
        let count = self.current_of(&service.name).count() + restarts.count();
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
        self.restarts.retain(|restart| restart.service.name != service);
        for server in self.servers.iter_mut().filter(|server| ids.contains(&server.id)) {
            server.is_current = true;
        }
        self.failures.set_started(service);
        self.failed_renewals.retain(|failed| failed.service != service);
    }

    /// None of these exists any more, or is to take over.
    pub(crate) fn are_retired(&self, ids: &[u32]) -> bool {
        ids.iter().all(|&id| self.get(id).is_none_or(|server| server.state == State::Retiring))
    }

    /// A fork server cannot start, as it has reported, and exits. `waits`: when its files change.
    pub(crate) fn set_failed(&mut self, id: u32, failure: StartFailure, waits: bool, now: Instant) {
        let Some(server) = self.servers.iter_mut().find(|server| server.id == id) else { return };
        if !waits || server.state != State::Starting {
            server.failure = Some(failure);
        } else if server.is_current || server.is_tolerated {
            server.state = State::Broken;
            let name = &server.service.name;
            self.failures.record(name, failure, server.has_served, true, true, now);
        } else {
            server.failure = Some(failure);
            server.kill(); // that one which it was to replace watches them
        }
    }
}
