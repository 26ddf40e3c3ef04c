//! What checks of balancers learn: see [`crate::status::health`].

use std::collections::HashMap;
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
        } else if service.answers_checks() && !self.connections.launcher.reports.is_health_current {
            self.connections.launcher.reports.health = self.report_health().ok();
            self.connections.launcher.reports.is_health_current = true;
        }
    }

    /// The next connections get new reports.
    pub(super) fn forget_reports(&mut self) {
        self.reporter.forget();
        self.connections.launcher.reports.forget_health();
    }

    /// Takes time that grows with the number of connections: one report serves all checks of a round.
    fn report_health(&self) -> io::Result<OwnedFd> {
        let usage = self.connections.count_usage();
        let services = self.settings.services.values().map(|service| NamedHealth {
            name: service.name.clone(),
            health: self.connections.observe_health(service, &usage),
        });
        let daemon = DaemonHealth { drain: self.lifecycle.drain_cause() };
        HealthReport { daemon, services: services.collect() }.write()
    }
}

/// The connections of each service that has any.
#[derive(Debug, Default)]
pub(super) struct Usage<'a>(HashMap<&'a str, ServiceUsage>);

#[derive(Debug, Clone, Copy, Default)]
struct ServiceUsage {
    busy: usize,
    /// An idle connection makes room for another: see [`super::shedding`].
    idle: usize,
}

impl Usage<'_> {
    fn of(&self, service: &str) -> ServiceUsage {
        self.0.get(service).copied().unwrap_or_default()
    }

    fn count(&self, service: &str) -> usize {
        let ServiceUsage { busy, idle } = self.of(service);
        busy + idle
    }
}

impl Connections {
    /// Looks at each connection once.
    pub(super) fn count_usage(&self) -> Usage<'_> {
        let mut usage = Usage::default();
        for child in self.children.iter() {
            let of_service = usage.0.entry(&child.service().name).or_default();
            if child.slot().phase() == Phase::Idle { of_service.idle += 1 } else { of_service.busy += 1 }
        }
        usage
    }

    pub(super) fn observe_health(&self, service: &Service, usage: &Usage<'_>) -> ServiceHealth {
        let name = &service.name;
        let ServiceUsage { busy, idle } = usage.of(name);
        let free = self.max.saturating_sub(self.children.count());
        let kept = self.reserves.count_kept(name, |other| usage.count(other));
        let room = free.saturating_sub(kept);
        let own = service.max_connections.map_or(room, |max| max.saturating_sub(busy + idle).min(room));
        let has_failed = !self.launcher.serves_in_place() && self.launcher.fork_servers.have_failed(name);
        ServiceHealth { busy, available: own + idle, has_failed, is_internal: service.is_internal() }
    }
}
