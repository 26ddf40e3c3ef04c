//! What checks of balancers learn: see [`crate::status::health`].

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use super::Supervisor;
use super::connections::Connections;
use crate::scoreboard::Phase;
use crate::service::Service;
use crate::status::health::{DaemonHealth, HealthReport, NamedHealth, ServiceHealth};

impl Supervisor {
    /// Prepares the report that the child of the next connection of this service gets, if it gets one: no more than it
    /// needs.
    pub(super) fn prepare_report(&mut self, service: &Service, now: Instant) {
        if service.shows_status() {
            self.connections.launcher.reports.status = self.report(now).map(Arc::clone);
        } else if service.answers_checks() {
            self.connections.launcher.reports.health = self.report_health().ok();
        }
    }

    /// Cheap, so that it is as fresh as the connection.
    fn report_health(&self) -> io::Result<OwnedFd> {
        let services = self.settings.services.values().map(|service| NamedHealth {
            name: service.name.clone(),
            health: self.connections.observe_health(service),
        });
        let daemon = DaemonHealth { drain: self.lifecycle.drain_cause() };
        HealthReport { daemon, services: services.collect() }.write()
    }
}

impl Connections {
    pub(super) fn observe_health(&self, service: &Service) -> ServiceHealth {
        let name = &service.name;
        let of_service = self.children.iter().filter(|child| child.service().name == *name);
        let (mut busy, mut idle) = (0, 0);
        for child in of_service {
            // An idle connection makes room for another: see `shed`.
            if child.slot().phase() == Phase::Idle { idle += 1 } else { busy += 1 }
        }
        let free = self.max.saturating_sub(self.children.count());
        let kept = self.reserves.count_kept(name, |other| self.children.count_of_service(other));
        let room = free.saturating_sub(kept);
        let own = service.max_connections.map_or(room, |max| max.saturating_sub(busy + idle).min(room));
        let has_failed = !self.launcher.serves_in_place() && self.launcher.fork_servers.have_failed(name);
        ServiceHealth { busy, available: own + idle, has_failed, is_internal: service.is_internal() }
    }
}
