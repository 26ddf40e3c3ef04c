//! Makes the report of what is going on. Making one takes time that grows with the number of connections, so that this is
//! done a few times a second at most: a request in between gets the last one.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::unistd::{Pid, gethostname};

use super::child::Child;
use super::connections::Connections;
use super::listeners::Listeners;
use super::settings::Model;
use super::tokens::Tokens;
use crate::capacity::{System, SystemLimit, Unit};
use crate::scoreboard::Phase;
use crate::service::Services;
use crate::source::Source;
use crate::status::health::{DrainCause, ServiceHealth};
use crate::status::{
    ConnectionStatus, DaemonStatus, LimitStatus, Places, ServiceStatus, SourceStatus, StatusReport,
};

/// Reports at once, and in each second.
const REPORTS: u32 = 8;
/// How long the limits of the system are not read again.
const LIMITS_AGE: Duration = Duration::from_secs(5);
/// Connections that a report has one by one.
const CONNECTIONS_MAX: usize = 512;
/// Sources with the most connections, and penalized ones, in a report.
const SOURCES_MAX: usize = 20;

/// What a report is made of.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) connections: &'a mut Connections,
    pub(crate) listeners: &'a Listeners,
    pub(crate) services: &'a Services,
    pub(crate) model: Model,
    /// `serving`, `draining` or `stopping`.
    pub(crate) state: &'static str,
    pub(crate) drain: Option<DrainCause>,
    pub(crate) started: Instant,
    pub(crate) reloads: u64,
    pub(crate) failed_reloads: u64,
}

/// Makes reports.
#[derive(Debug)]
pub(crate) struct Reporter {
    tokens: Tokens,
    last: Option<Arc<OwnedFd>>,
    system: System,
    /// As they were last read.
    limits: Option<(Instant, Vec<SystemLimit>)>,
}

impl Reporter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { tokens: Tokens::new(REPORTS, now), last: None, system: System::default(), limits: None }
    }

    /// A report in a sealed memory file. None: there is no memory for one.
    pub(crate) fn report(&mut self, parts: Parts<'_>, now: Instant) -> Option<&Arc<OwnedFd>> {
        if self.last.is_none() || self.tokens.take(now) {
            self.last = self.build(parts, now).write().ok().map(Arc::new);
        }
        self.last.as_ref()
    }

    /// The next request gets a new report: what has changed must not be seen late.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    fn build(&mut self, parts: Parts<'_>, now: Instant) -> StatusReport {
        let Parts { connections, listeners, services, model, state, drain, started, reloads, failed_reloads } =
            parts;

        connections.count_traffic(now);
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let uptime = now.saturating_duration_since(started);
        let children = connections.children().by_age();
        let shown = children.iter().take(CONNECTIONS_MAX);
        let described = describe_services(connections, services, &children);
        StatusReport {
            time: time.as_secs_f64(),
            daemon: DaemonStatus {
                host: gethostname().unwrap_or_default().to_string_lossy().into_owned(),
                version: env!("CARGO_PKG_VERSION").into(),
                pid: Pid::this().as_raw().unsigned_abs(),
                state: state.into(),
                drain,
                model: model.to_string(),
                started: time.saturating_sub(uptime).as_secs_f64(),
                uptime: uptime.as_secs_f64(),
                reloads,
                failed_reloads,
                orphans_reaped: connections.count_orphans_reaped(),
                penalized_sources: connections.count_penalized(now),
            },
            connections: connections.places(),
            rates: connections.statistics.rates(now),
            listeners: listeners.iter().map(super::listeners::ServedListener::report).collect(),
            limits: self.find_limits(connections, &described, now),
            services: described,
            sources: find_sources(connections, &children, now),
            oldest: shown.map(|child| describe(child, now)).collect(),
            omitted: children.len().saturating_sub(CONNECTIONS_MAX),
        }
    }

    fn find_limits(
        &mut self,
        connections: &Connections,
        services: &[ServiceStatus],
        now: Instant,
    ) -> Vec<LimitStatus> {
        let is_old = |(at, _): &(Instant, _)| now.saturating_duration_since(*at) >= LIMITS_AGE;
        if self.limits.as_ref().is_none_or(is_old) {
            self.limits = Some((now, self.system.find_limits_of(connections.count_processes())));
        }
        let Places { now, max, .. } = connections.places();
        let of_key = |key: String, used, max| LimitStatus {
            name: key.clone(),
            unit: "connections".into(),
            used: used as u64,
            max: max as u64,
            raise: key,
        };
        let all = of_key("limits.max_connections".into(), now, max);
        let own = services.iter().filter_map(|service| {
            Some(of_key(format!("service.{}.max_connections", service.name), service.now, service.max?))
        });
        let limits = self.limits.iter().flat_map(|(_, limits)| limits);
        [all].into_iter().chain(own).chain(limits.map(describe_limit)).collect()
    }
}

fn describe_limit(limit: &SystemLimit) -> LimitStatus {
    let unit = match limit.unit() {
        Unit::Processes => "processes",
        Unit::Memory => "bytes",
        Unit::Descriptors => "descriptors",
    };
    let (name, raise) = (limit.name(), limit.remedy().into());
    LimitStatus { name, unit: unit.into(), used: limit.used(), max: limit.max(), raise }
}

/// The configured services, and those that have served before a reload.
fn describe_services(
    connections: &Connections,
    services: &Services,
    children: &[&Child],
) -> Vec<ServiceStatus> {
    let mut phases: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    let empty = || Phase::ALL.into_iter().map(|phase| (phase.word().to_owned(), 0)).collect();
    for child in children {
        let phases = phases.entry(&child.service().name).or_insert_with(empty);
        *phases.entry(child.slot().phase().word().to_owned()).or_default() += 1;
    }
    let usage = connections.count_usage();
    let describe = |(name, counters): (&str, &super::statistics::ServiceCounters)| {
        let service = services.get(name);
        let phases = phases.get(name).cloned().unwrap_or_else(empty);
        let protocol = service.map_or("", |service| service.protocol.word());
        let by_word = |counts: &BTreeMap<&str, u64>| {
            counts.iter().map(|(&word, &count)| (word.to_owned(), count)).collect()
        };
        ServiceStatus {
            name: name.into(),
            protocol: protocol.into(),
            now: phases.values().sum(),
            max: service.and_then(|service| service.max_connections),
            spares: connections.launcher.fork_servers.count_spares_of(name),
            health: service
                .map_or(ServiceHealth::REMOVED, |service| connections.observe_health(service, &usage)),
            phases,
            accepted: counters.accepted,
            ended: by_word(&counters.ended),
            refused: by_word(&counters.refused),
            requests: counters.traffic.requests,
            bytes_in: counters.traffic.bytes_in,
            bytes_out: counters.traffic.bytes_out,
            cpu: counters.cpu.as_secs_f64(),
            durations: counters.histogram(),
        }
    };
    connections.statistics.services().map(describe).collect()
}

fn find_sources(connections: &Connections, children: &[&Child], now: Instant) -> Vec<SourceStatus> {
    let admission = &connections.admission;
    let mut counts: HashMap<Source, usize> = HashMap::new();
    for source in children.iter().filter_map(|child| admission.source_of(&child.identity().client())) {
        *counts.entry(source).or_default() += 1;
    }
    let penalized = admission.list_penalized(now);
    let penalized_for = |source| penalized.iter().find(|(other, _)| *other == source).map(|(_, time)| *time);
    let mut busiest: Vec<_> = counts.iter().map(|(&source, &count)| (source, count)).collect();
    busiest.sort_unstable_by_key(|&(source, count)| (std::cmp::Reverse(count), source.to_string()));
    busiest.truncate(SOURCES_MAX);
    let others = penalized.iter().filter(|(source, _)| busiest.iter().all(|(other, _)| other != source));
    let others: Vec<_> =
        others.map(|&(source, _)| (source, counts.get(&source).copied().unwrap_or(0))).collect();
    let all = busiest.into_iter().chain(others.into_iter().take(SOURCES_MAX));
    all.map(|(source, now)| SourceStatus {
        source: source.to_string(),
        now,
        penalized: penalized_for(source).map(|time| time.as_secs_f64()),
    })
    .collect()
}

fn describe(child: &Child, now: Instant) -> ConnectionStatus {
    let (identity, snapshot) = (child.identity(), child.slot().read());
    ConnectionStatus {
        id: identity.id.to_string(),
        service: child.service().name.clone(),
        peer: identity.peer.to_string(),
        client: identity.named_client().map(|client| client.to_string()),
        pid: child.pid().map(Pid::as_raw),
        phase: snapshot.phase.word().into(),
        age: now.saturating_duration_since(identity.accepted_at).as_secs_f64(),
        requests: snapshot.requests,
        method: snapshot.method,
        target: snapshot.target,
        status: snapshot.status,
        bytes_in: snapshot.bytes_in,
        bytes_out: snapshot.bytes_out,
    }
}
