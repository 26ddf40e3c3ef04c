//! Applications whose files have changed: other fork servers load them, and take the place of those that have the old ones.
//! If they cannot be loaded, nothing changes.

use std::sync::Arc;
use std::time::Instant;

use super::connections::Connections;
use super::failures::StartFailure;
use super::fork_servers::Renewal;
use super::replacement::Starting;
use crate::journal;
use crate::service::Service;

impl Connections {
    /// Begins the renewals of services whose files have changed, and ends those whose fork servers are ready.
    pub(super) fn advance_renewals(&mut self, now: Instant) {
        while let Some(service) = self.launcher.fork_servers.take_changed(now) {
            self.begin_renewal(service);
        }
        for renewal in std::mem::take(&mut self.launcher.fork_servers.renewals) {
            self.end_renewal(renewal, now);
        }
    }

    /// A fork server has found that its settings do not lead to the same files any more. An application is loaded by another
    /// one first; until then, and if it cannot be loaded, the connections of its service get the old files. True: they have
    /// to wait for other fork servers.
    pub(super) fn replace_outdated(&mut self, service: &Arc<Service>, now: Instant) -> bool {
        let has_changed = service.refresh();
        if service.python().is_none() {
            if has_changed {
                self.restart_fork_servers(service);
            }
            return has_changed;
        }
        if has_changed || self.launcher.fork_servers.must_try_again(&service.name, now) {
            self.begin_renewal(Arc::clone(service));
        }
        false
    }

    /// What has not started yet may have loaded a part of the changes.
    fn begin_renewal(&mut self, service: Arc<Service>) {
        let is_its = |renewal: &mut Renewal| renewal.service.name == service.name;
        let before: Vec<_> = self.launcher.fork_servers.renewals.extract_if(.., is_its).collect();
        for renewal in before {
            self.give_up(&Starting(renewal.ids));
        }
        let (fork_servers, mut shared) = self.share();
        match fork_servers.start_others(&service, &mut shared) {
            Ok(ids) => self.launcher.fork_servers.renewals.push(Renewal { service, ids }),
            Err(error) => journal::log_applications_not_reloaded(&service.name, &error, ""),
        }
    }

    fn end_renewal(&mut self, renewal: Renewal, now: Instant) {
        let Renewal { service, ids } = &renewal;
        let fork_servers = &mut self.launcher.fork_servers;
        if let Some((_, failure)) = fork_servers.find_failure(ids) {
            let failure = failure.clone();
            if fork_servers.record_failed_renewal(&service.name, &failure, now) {
                let StartFailure { sentence, details } = &failure;
                journal::log_applications_not_reloaded(&service.name, sentence, details);
            }
            self.give_up(&Starting(renewal.ids));
        } else if fork_servers.are_retired(ids) {
            // a reload has come before
        } else if fork_servers.are_ready(ids) {
            fork_servers.replace_of(&service.name, ids);
            self.close_retired();
            journal::log_applications_reloaded(&service.name);
        } else {
            fork_servers.renewals.push(renewal);
        }
    }
}
