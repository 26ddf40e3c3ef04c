//! Applications whose files have changed: other fork servers load them, and take the place of those that have the old ones.
//! If they cannot be loaded, nothing changes.

use std::sync::Arc;

use super::connections::Connections;
use super::fork_servers::Renewal;
use super::replacement::Starting;
use crate::journal;
use crate::service::Service;

impl Connections {
    /// Begins the renewals of services whose files have changed, and ends those whose fork servers are ready.
    pub(super) fn advance_renewals(&mut self) {
        while let Some(service) = self.launcher.fork_servers.take_changed() {
            self.begin_renewal(service);
        }
        for renewal in std::mem::take(&mut self.launcher.fork_servers.renewals) {
            self.end_renewal(renewal);
        }
    }

    /// What has not started yet may have loaded a part of the changes.
    fn begin_renewal(&mut self, service: Arc<Service>) {
        let is_its = |renewal: &mut Renewal| renewal.service.name == service.name;
        let before: Vec<_> = self.launcher.fork_servers.renewals.extract_if(.., is_its).collect();
        for renewal in before {
            self.launcher.fork_servers.kill_stalled(&renewal.ids); // it may import for long
            self.give_up(&Starting(renewal.ids));
        }
        let (fork_servers, mut shared) = self.share();
        match fork_servers.start_others(&service, &mut shared) {
            Ok(ids) => self.launcher.fork_servers.renewals.push(Renewal { service, ids }),
            Err(error) => journal::log_applications_not_reloaded(&service.name, &error, ""),
        }
    }

    fn end_renewal(&mut self, renewal: Renewal) {
        let Renewal { service, ids } = &renewal;
        match self.are_ready(&Starting(ids.clone())) {
            Err(failure) => {
                self.give_up(&Starting(ids.clone()));
                journal::log_applications_not_reloaded(&service.name, &failure.sentence, &failure.details);
            }
            Ok(_) if self.launcher.fork_servers.are_retired(ids) => {} // a reload has come before
            Ok(false) => self.launcher.fork_servers.renewals.push(renewal),
            Ok(true) => {
                self.launcher.fork_servers.replace_of(&service.name, ids);
                self.close_retired();
                journal::log_applications_reloaded(&service.name);
            }
        }
    }
}
