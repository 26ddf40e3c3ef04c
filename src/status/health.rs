//! Whether balancers should send connections to this daemon. The supervisor observes, and a child that answers a check
//! judges. What it reads is a part of the status report, so that either file serves.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::read_text;
use crate::sys;

/// Why the daemon drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DrainCause {
    /// As requested by `lsbaws drain`.
    Request,
    /// It is about to exit.
    Stop,
}

/// What decides whether a service should get connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceHealth {
    /// Connections that are not idle.
    pub(crate) busy: usize,
    /// Connections that it could have in addition, within the limits of connections.
    pub(crate) available: usize,
    /// Its fork servers have failed, and none takes connections.
    pub(crate) has_failed: bool,
    /// It has no content of its own: it answers checks, or shows the status.
    pub(crate) is_internal: bool,
}

/// The part of the report that a check needs.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthReport {
    pub(crate) daemon: DaemonHealth,
    pub(crate) services: Vec<NamedHealth>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DaemonHealth {
    pub(crate) drain: Option<DrainCause>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamedHealth {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) health: ServiceHealth,
}

/// The services that a check is about: these, or if the list is empty all with content of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope(pub(crate) Vec<String>);

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health<'a> {
    Ok {
        /// The share of the connections that could be had and are not, in percent: at least 1.
        free: usize,
    },
    /// The cause is not known to a child whose report is older than the drain.
    Draining(Option<DrainCause>),
    /// This service can have no further connection, and none of its connections is idle.
    Full(&'a str),
    /// No fork server of this service can be started.
    Failed(&'a str),
    /// The supervisor could make no report: it has no descriptors, or no memory.
    Unknown,
}

impl HealthReport {
    /// That of a process that serves a single connection.
    pub(crate) const SINGLE: Self = Self { daemon: DaemonHealth { drain: None }, services: Vec::new() };

    /// Writes it to a memory file that nothing can change.
    ///
    /// # Errors
    /// Those of memfd_create(2) and write(2).
    pub(crate) fn write(&self) -> io::Result<OwnedFd> {
        let mut file = File::from(sys::create_memory_file(c"lsbaws-health")?);
        file.write_all(&serde_json::to_vec(self)?)?;
        sys::seal(file.as_fd())?;
        Ok(file.into())
    }

    /// # Errors
    /// Those of pread(2); `InvalidData` for what is no report.
    pub(crate) fn read(file: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(serde_json::from_slice(&read_text(file)?)?)
    }

    /// Judges the services of the scope: the worst of them counts.
    fn judge(&self, scope: &Scope) -> Health<'_> {
        if let Some(cause) = self.daemon.drain {
            return Health::Draining(Some(cause));
        }
        let is_meant = |service: &&NamedHealth| match &scope.0[..] {
            [] => !service.health.is_internal,
            names => names.contains(&service.name),
        };
        let services = || self.services.iter().filter(is_meant);
        if let Some(failed) = services().find(|service| service.health.has_failed) {
            return Health::Failed(&failed.name);
        }
        if let Some(full) = services().find(|service| service.health.available == 0) {
            return Health::Full(&full.name);
        }
        let free = services().map(|service| service.health.free()).min();
        Health::Ok { free: free.unwrap_or(100) }
    }
}

impl ServiceHealth {
    /// That of a service that a reload has removed.
    pub(crate) const REMOVED: Self = Self { busy: 0, available: 0, has_failed: false, is_internal: true };

    /// See [`Health::Ok`].
    fn free(&self) -> usize {
        let all = self.available.saturating_add(self.busy).max(1);
        (self.available.saturating_mul(100) / all).max(1)
    }
}

impl<'a> Health<'a> {
    /// Judges by the report that came with the connection, and by what has become known since: `is_draining`. Without a report
    /// it is never `Ok`.
    pub(crate) fn judge(report: Option<&'a HealthReport>, scope: &Scope, is_draining: bool) -> Self {
        match report.map_or(Self::Unknown, |report| report.judge(scope)) {
            Self::Draining(cause) => Self::Draining(cause),
            _ if is_draining => Self::Draining(None),
            health => health,
        }
    }

    /// One word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok { .. } => "ok",
            Self::Draining(_) => "draining",
            Self::Full(_) => "full",
            Self::Failed(_) | Self::Unknown => "failed",
        }
    }

    /// Why it is not `Ok`.
    pub(crate) fn reason(self) -> Option<String> {
        match self {
            Self::Ok { .. } | Self::Draining(None) => None,
            Self::Draining(Some(DrainCause::Request)) => Some("requested by \"lsbaws drain\"".into()),
            Self::Draining(Some(DrainCause::Stop)) => Some("the daemon is stopping".into()),
            Self::Full(service) | Self::Failed(service) => Some(format!("service {service}")),
            Self::Unknown => Some("unable to observe the daemon".into()),
        }
    }
}

/// The word, and the reason.
impl fmt::Display for Health<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        self.reason().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::example;

    fn report(services: &[(&str, usize, usize)]) -> HealthReport {
        let services = services.iter().map(|&(name, busy, available)| {
            let health = ServiceHealth { busy, available, has_failed: false, is_internal: name == "health" };
            NamedHealth { name: name.into(), health }
        });
        HealthReport { daemon: DaemonHealth { drain: None }, services: services.collect() }
    }

    #[test]
    fn worst_service_of_the_scope_counts() {
        let mut report = report(&[("a", 25, 75), ("b", 199, 1), ("health", 8, 0)]);
        let scope = |names: &[&str]| Scope(names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(report.judge(&scope(&["a"])), Health::Ok { free: 75 });
        assert_eq!(report.judge(&scope(&[])), Health::Ok { free: 1 }, "never 0");
        assert_eq!(report.judge(&scope(&["a", "health"])).to_string(), "full: service health");
        assert_eq!(report.judge(&scope(&["none"])), Health::Ok { free: 100 });
        report.services[1].health.available = 0;
        assert_eq!(report.judge(&scope(&[])), Health::Full("b"));
        report.services[0].health.has_failed = true;
        assert_eq!(report.judge(&scope(&[])).to_string(), "failed: service a");
        report.daemon.drain = Some(DrainCause::Stop);
        assert_eq!(report.judge(&scope(&["b"])).to_string(), "draining: the daemon is stopping");
    }

    #[test]
    fn check_is_never_ok_in_a_drain_or_without_a_report() {
        let (mut report, scope) = (report(&[("a", 1, 0)]), Scope::default());
        let judge = |report: Option<&HealthReport>, is_draining| {
            Health::judge(report, &scope, is_draining).to_string()
        };
        assert_eq!(judge(None, false), "failed: unable to observe the daemon");
        assert_eq!(judge(None, true), "draining");
        assert_eq!(judge(Some(&report), false), "full: service a");
        assert_eq!(judge(Some(&report), true), "draining", "the report is older");
        assert_eq!(judge(Some(&HealthReport::SINGLE), true), "draining");
        report.daemon.drain = Some(DrainCause::Stop);
        assert_eq!(judge(Some(&report), true), "draining: the daemon is stopping");
        assert_eq!(Health::judge(Some(&HealthReport::SINGLE), &scope, false), Health::Ok { free: 100 });
    }

    #[test]
    fn both_reports_can_be_judged() {
        let status = example();
        let health = HealthReport::read(status.write().unwrap().as_fd()).unwrap();
        assert_eq!(health.services[0].name, status.services[0].name);
        assert_eq!(health.services[0].health, status.services[0].health);
        let own = report(&[("a", 1, 2)]);
        assert_eq!(HealthReport::read(own.write().unwrap().as_fd()).unwrap(), own);
    }
}
