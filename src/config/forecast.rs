//! Compares the settings with the limits of the system, and warns of limits that are too low.

use super::outputs::find_missing;
use super::published::{find_open_users, find_public_status, find_published, find_wide_proxies};
use crate::access::{self, Target};
use crate::capacity::{System, SystemLimit, Unit, Warning};
use crate::handler::Handler;
use crate::limits::RlimitKey;
use crate::service::{Protocol, Service};
use crate::supervisor::settings::{Model, Settings};

/// Bytes of memory for each connection, without its program. Measured on x86-64 with 500 connections in the delay of
/// `respond`: 42 KiB of private pages, 44 of page tables, 16 of kernel stack, and about 40 for other objects of the
/// kernel.
const MEMORY_OF_CHILD: u64 = 160 << 10;

/// Descriptors that the supervisor opens after its start and that do not depend on the configuration: signals, events,
/// scoreboard, list of children, and those of a fork server that is being started. (Refused connections are closed when
/// descriptors are short.)
const DESCRIPTORS_OF_SUPERVISOR: u64 = 16;

/// What a configuration needs when it is fully used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    pub(super) connections: u64,
    /// Processes of each connection: the child, and its program if the service has any.
    pub(super) processes_each: u64,
    /// Fork servers, spares and writers of access lines.
    pub(super) other_processes: u64,
    /// Of the supervisor, for each connection.
    pub(super) descriptors_each: u64,
    /// Of the supervisor, in addition.
    pub(super) descriptors: u64,
    /// Children that exist, and are part of what is in use.
    pub(super) children: u64,
}

impl Demand {
    pub(super) fn new(settings: &Settings, children: usize) -> Self {
        let is_cgi = |service: &Service| match &service.protocol {
            Protocol::Http(site) => {
                site.routes().iter().any(|route| matches!(route.handler, Handler::Cgi(_)))
            }
            Protocol::Exec(_) | Protocol::AgentCheck(_) => false,
        };
        let has_program = settings.services.values().any(|service| is_cgi(service));
        let process = &settings.process;
        let (connections, fork_servers) = match process.model {
            Model::Iterative => (1, 0),
            Model::Fork | Model::DoubleFork => {
                (process.max_connections, process.fork_servers * settings.services.len())
            }
        };
        let spares = process.spares * fork_servers;
        let has_file = |access: &access::Settings| matches!(access.target, Target::File(_));
        // The second one opens the file again.
        let writers = if fork_servers > 0 && settings.access.as_ref().is_some_and(has_file) { 2 } else { 0 };
        Self {
            connections: connections as u64,
            processes_each: 1 + u64::from(has_program),
            other_processes: (fork_servers + spares + writers) as u64,
            // Its process, and a copy of its socket where the supervisor looks whether bytes move.
            descriptors_each: 1 + u64::from(
                settings.services.values().any(|service| service.idle_timeout.is_some()),
            ),
            // A channel and a process each; a writer has a file in addition.
            descriptors: DESCRIPTORS_OF_SUPERVISOR + (2 * fork_servers + spares + 3 * writers) as u64,
            children: children as u64,
        }
    }

    /// How many connections a limit allows, including those that exist.
    fn count_room(&self, limit: &SystemLimit) -> u64 {
        let more = match limit.unit() {
            Unit::Processes => limit.left().saturating_sub(self.other_processes) / self.processes_each,
            Unit::Memory => (limit.left() / MEMORY_OF_CHILD).saturating_sub(self.other_processes),
            Unit::Descriptors => limit.left().saturating_sub(self.descriptors) / self.descriptors_each,
        };
        more.saturating_add(self.children)
    }
}

/// The limits that are lower than the demand, the lowest first.
fn forecast(demand: &Demand, limits: Vec<SystemLimit>) -> Vec<Warning> {
    let mut lower: Vec<_> = limits
        .into_iter()
        .map(|limit| (demand.count_room(&limit), limit))
        .filter(|&(room, _)| room < demand.connections)
        .collect();
    lower.sort_by_key(|&(room, _)| room);
    let warn = |(room, limit): (u64, SystemLimit)| {
        let Demand { connections, .. } = demand;
        let (name, remedy) = (limit.describe(), limit.remedy());
        let each = if demand.processes_each > 1 { " with a program each" } else { "" };
        let sentence = match limit.unit() {
            Unit::Processes => format!(
                "limits.max_connections = {connections} exceeds {name}: only {room} connections fit{each}; \
                 raise {remedy}"
            ),
            Unit::Memory | Unit::Descriptors => format!(
                "limits.max_connections = {connections} exceeds {name}: only {room} connections fit; raise {remedy}"
            ),
        };
        Warning { sentence, limit: Some(limit) }
    };
    lower.into_iter().map(warn).collect()
}

/// The warnings for a valid configuration on this system, where `children` exist already.
pub(crate) fn find_warnings(settings: &Settings, children: usize) -> Vec<Warning> {
    let system = System::default();
    let demand = Demand::new(settings, children);
    let mut warnings = forecast(&demand, system.find_limits());
    let warn = |sentence| Warning { sentence, limit: None };
    warnings.extend(find_missing(settings).into_iter().map(warn));
    for service in settings.services.values() {
        let key = |name: &str| format!("service.{}.{name}", service.name);
        let processes = service.rlimits.limits.iter().find(|limit| limit.key == RlimitKey::Processes);
        if let Some(limit) = processes.filter(|limit| limit.value <= demand.connections) {
            warnings.push(warn(format!(
                "{} = {} must exceed limits.max_connections = {}: it counts all processes of the user",
                key("processes"),
                limit.shown,
                demand.connections
            )));
        }
        let all = settings.process.max_connections;
        let others = settings.services.values().filter(|other| other.name != service.name);
        let reserved: usize = others.map(|other| other.reserve).sum();
        if let Some(max) = service.max_connections.filter(|&max| max > all.saturating_sub(reserved)) {
            warnings.push(warn(format!(
                "{} = {max} exceeds what other services leave of limits.max_connections = {all}: they reserve {reserved}",
                key("max_connections")
            )));
        }
        if let Protocol::Http(site) = &service.protocol {
            let shown = find_published(&service.name, site).into_iter();
            let users = find_open_users(service);
            warnings.extend(shown.chain(find_public_status(service, site)).chain(users).map(warn));
        }
        warnings.extend(find_wide_proxies(service).into_iter().map(warn));
        let is_http = matches!(service.protocol, Protocol::Http(_));
        if settings.process.model == Model::Iterative && is_http && !service.rlimits.is_empty() {
            let first = service.rlimits.name_first();
            warnings.push(warn(format!("{} is ignored with process.model = \"iterative\"", key(first))));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::tests::make_host;

    #[test]
    fn lower_limits_are_reported_the_lowest_first() {
        let host = make_host();
        let demand = Demand {
            connections: 512,
            processes_each: 1,
            other_processes: 0,
            descriptors_each: 1,
            descriptors: DESCRIPTORS_OF_SUPERVISOR,
            children: 0,
        };
        let warn = |demand: &Demand| -> Vec<String> {
            let warnings = forecast(demand, System::new(host.path()).find_limits());
            warnings.into_iter().map(|warning| warning.sentence).collect()
        };
        let sentences = warn(&demand);
        assert_eq!(sentences.len(), 3, "{sentences:?}");
        let (user, memory, group) = (&sentences[0], &sentences[1], &sentences[2]);
        let start =
            "limits.max_connections = 512 exceeds RLIMIT_NPROC (200, 3 in use): only 197 connections fit; ";
        assert!(user.starts_with(start), "{user}");
        let start =
            "limits.max_connections = 512 exceeds memory.max of /system.slice/lsbaws.service (50 MiB, 10 ";
        assert!(
            memory.starts_with(start) && memory.ends_with(" connections fit; raise MemoryMax="),
            "{memory}"
        );
        assert_eq!(
            group,
            "limits.max_connections = 512 exceeds pids.max of /system.slice/lsbaws.service (300, 12 in use): \
             only 288 connections fit; raise TasksMax="
        );
        // Connections that exist are among the processes in use.
        let served = warn(&Demand { children: 10, ..demand });
        assert!(served[0].contains(": only 207 connections fit; raise "), "{}", served[0]);
        let programs = warn(&Demand { processes_each: 2, ..demand });
        assert!(programs[0].contains(": only 98 connections fit with a program each; "), "{}", programs[0]);
        assert!(programs.iter().any(|sentence| sentence.contains("kernel.threads-max")), "{programs:?}");
        assert_eq!(warn(&Demand { connections: 197, ..demand }), [""; 0]);
    }

    #[test]
    fn each_connection_needs_a_descriptor() {
        let descriptors = DESCRIPTORS_OF_SUPERVISOR;
        let demand = Demand {
            connections: 20,
            processes_each: 1,
            other_processes: 3,
            descriptors_each: 1,
            descriptors,
            children: 0,
        };
        let warnings = forecast(&demand, vec![SystemLimit::descriptors(36, 10)]);
        let start = "limits.max_connections = 20 exceeds RLIMIT_NOFILE (36, 10 in use): only 10 connections fit; raise LimitNOFILE=";
        assert!(warnings[0].sentence.starts_with(start), "{warnings:?}");
        assert!(forecast(&demand, vec![SystemLimit::descriptors(1024, 10)]).is_empty());
    }
}
