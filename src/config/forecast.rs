//! Settings against the limits of the system: warnings about what they will meet.

use crate::capacity::{System, Unit, Wall, Warning};
use crate::handler::Handler;
use crate::service::{Protocol, Service};
use crate::supervisor::settings::{Model, Settings};

/// Memory that a connection costs while it is served, programs aside. Measured with 500 connections held in
/// `respond`'s delay on x86-64: 42 KiB of private pages for each, 44 of page tables, 16 of kernel stack, and some
/// 40 of what else the kernel keeps of a process and a socket.
const MEMORY_OF_CHILD: u64 = 160 << 10;

/// Descriptors of the parent beside those that it has when it starts to serve, and one for each spare: the drain's
/// pair, the connection at hand and the one that waits for a process. (Refused ones that linger are closed when
/// others are short.)
const DESCRIPTORS_OF_PARENT: u64 = 8;

/// What a configuration needs when it is at its own limit.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    pub connections: u64,
    /// Processes of each connection, most of the time and at most.
    pub processes_each: u64,
    /// Of the parent itself.
    pub descriptors: u64,
    /// Processes of connections that are there already, and counted among what is used.
    pub children: u64,
}

impl Demand {
    pub fn new(settings: &Settings, children: usize) -> Self {
        let is_cgi = |service: &Service| match &service.protocol {
            Protocol::Http(site) => {
                site.routes().iter().any(|route| matches!(route.handler, Handler::Cgi(_)))
            }
            Protocol::Exec(_) => false,
        };
        let has_program = settings.services.values().any(|service| is_cgi(service));
        let connections = match settings.process.model {
            Model::Iterative => 1,
            Model::Fork | Model::DoubleFork => {
                (settings.process.max_connections + settings.process.spares) as u64
            }
        };
        Self {
            connections,
            processes_each: 1 + u64::from(has_program),
            descriptors: DESCRIPTORS_OF_PARENT + settings.process.spares as u64,
            children: children as u64,
        }
    }

    /// How many connections a wall has room for, those that are there already included.
    fn count_room(&self, wall: &Wall) -> u64 {
        let more = match wall.unit {
            Unit::Processes => wall.left() / self.processes_each,
            Unit::Memory => wall.left() / MEMORY_OF_CHILD,
            // The parent needs a handful, whatever it serves; without them it accepts nobody.
            Unit::Descriptors if wall.left() < self.descriptors => return 0,
            Unit::Descriptors => return u64::MAX,
        };
        more.saturating_add(self.children)
    }
}

/// The walls that come before `limits.max_connections`, the first one first.
pub fn forecast(demand: &Demand, walls: Vec<Wall>) -> Vec<Warning> {
    let mut ahead: Vec<_> = walls
        .into_iter()
        .map(|wall| (demand.count_room(&wall), wall))
        .filter(|&(room, _)| room < demand.connections)
        .collect();
    ahead.sort_by_key(|&(room, _)| room);
    let warn = |(room, wall): (u64, Wall)| {
        let each = if wall.unit == Unit::Processes && demand.processes_each > 1 {
            " with a program each"
        } else {
            ""
        };
        let sentence = match wall.unit {
            Unit::Descriptors => {
                format!("{wall}, but lsbaws itself needs up to {} more", demand.descriptors)
            }
            Unit::Processes | Unit::Memory => format!(
                "limits.max_connections is {}, but {wall}: room for {room} connections{each}",
                demand.connections
            ),
        };
        Warning { sentence, wall: Some(wall) }
    };
    ahead.into_iter().map(warn).collect()
}

/// Everything that a checked configuration will meet on this system. `children` of it are served already.
pub fn find_warnings(settings: &Settings, children: usize) -> Vec<Warning> {
    let system = System::default();
    let demand = Demand::new(settings, children);
    let mut warnings = forecast(&demand, system.list_walls());
    for service in settings.services.values() {
        let key = |name: &str| format!("service.{}.{name}", service.name);
        let warn = |sentence| Warning { sentence, wall: None };
        let processes = service.rlimits.limits.iter().find(|limit| limit.key == "processes");
        if let Some(limit) = processes.filter(|limit| limit.value <= demand.connections) {
            warnings.push(warn(format!(
                "{} is {}, but it counts all processes of the user, also those of limits.max_connections, which is {}",
                key("processes"),
                limit.shown,
                demand.connections
            )));
        }
        let is_http = matches!(service.protocol, Protocol::Http(_));
        if settings.process.model == Model::Iterative && is_http && !service.rlimits.is_empty() {
            let first = service.rlimits.name_first();
            warnings.push(warn(format!(
                "{} is not heeded: process.model is \"iterative\", so there is no child",
                key(first)
            )));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::descriptors;
    use crate::capacity::tests::make_host;

    #[test]
    fn the_first_wall_is_told_first_and_those_beyond_not_at_all() {
        let host = make_host();
        let demand =
            Demand { connections: 512, processes_each: 1, descriptors: DESCRIPTORS_OF_PARENT, children: 0 };
        let tell = |demand: &Demand| -> Vec<String> {
            let warnings = forecast(demand, System::new(host.path()).list_walls());
            warnings.into_iter().map(|warning| warning.sentence).collect()
        };
        let sentences = tell(&demand);
        assert_eq!(sentences.len(), 3, "{sentences:?}");
        assert!(
            sentences[0].starts_with("limits.max_connections is 512, but RLIMIT_NPROC is 200 and 3 are used")
        );
        assert!(sentences[0].ends_with(": room for 197 connections"), "{}", sentences[0]);
        assert!(
            sentences[1].starts_with("limits.max_connections is 512, but memory.max of "),
            "{}",
            sentences[1]
        );
        assert!(
            sentences[1].contains(" is 50 MiB and 10 MiB are used (MemoryMax= of lsbaws.service): room for ")
        );
        assert_eq!(
            sentences[2],
            "limits.max_connections is 512, but pids.max of /system.slice/lsbaws.service is 300 and 12 are used \
             (TasksMax= of lsbaws.service): room for 288 connections"
        );
        // Who is served already is among what is used.
        let served = tell(&Demand { children: 10, ..demand });
        assert!(served[0].ends_with(": room for 207 connections"), "{}", served[0]);
        let programs = tell(&Demand { processes_each: 2, ..demand });
        assert!(programs[0].ends_with(": room for 98 connections with a program each"), "{}", programs[0]);
        assert!(programs.iter().any(|sentence| sentence.contains("kernel.threads-max")), "{programs:?}");
        assert_eq!(tell(&Demand { connections: 197, ..demand }), [""; 0]);
    }

    #[test]
    fn a_parent_without_room_for_descriptors_is_told() {
        let demand =
            Demand { connections: 1, processes_each: 1, descriptors: DESCRIPTORS_OF_PARENT, children: 0 };
        let told = forecast(&demand, vec![descriptors(16, 10)]);
        assert!(told[0].sentence.starts_with("RLIMIT_NOFILE is 16 and 10 are used"), "{told:?}");
        assert!(forecast(&demand, vec![descriptors(1024, 10)]).is_empty());
    }
}
