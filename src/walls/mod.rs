//! Walls: limits outside of lsbaws that keep it from forking or accepting. Seen ahead, as a warning when
//! `limits.max_connections` lies beyond one; and named when one is hit.

mod survey;

use std::fmt;
use std::io;

use nix::sys::resource::{Resource, getrlimit};

use crate::config::{Config, Model};
use crate::handler::{Handler, Protocol, Service};
pub use survey::System;

/// Memory that a connection costs while it is served, programs aside. Measured with 500 connections held in
/// `hello`'s delay on x86-64: 42 KiB of private pages for each, 44 of page tables, 16 of kernel stack, and some
/// 40 of what else the kernel keeps of a process and a socket.
const MEMORY_OF_CHILD: u64 = 160 << 10;

/// Descriptors of the parent beside those that it has when it starts to serve, and one for each spare: the drain's
/// pair, the connection at hand and the one that waits for a process. (Refused ones that linger are closed when
/// others are short.)
const DESCRIPTORS_OF_PARENT: u64 = 8;

/// What there is a limit of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Processes,
    /// Counted in bytes.
    Memory,
    Descriptors,
}

/// A limit, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wall {
    /// As an administrator knows it, such as `pids.max of /system.slice/lsbaws.service`.
    pub name: String,
    pub unit: Unit,
    pub limit: u64,
    pub used: u64,
    /// It is at its limit when less than this is left.
    pub grain: u64,
    /// Where it is set.
    pub remedy: String,
}

impl Wall {
    fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    fn is_full(&self) -> bool {
        self.left() < self.grain
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, limit, used, remedy, .. } = self;
        match self.unit {
            Unit::Memory => {
                write!(f, "{name} is {} MiB and {} MiB are used ({remedy})", limit >> 20, used >> 20)
            }
            Unit::Processes | Unit::Descriptors => {
                write!(f, "{name} is {limit} and {used} are used ({remedy})")
            }
        }
    }
}

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
    pub fn new(config: &Config, children: usize) -> Self {
        let is_cgi = |service: &Service| match &service.protocol {
            Protocol::Http(site) => {
                site.routes().iter().any(|route| matches!(route.handler, Handler::Cgi(_)))
            }
            Protocol::Exec(_) => false,
        };
        let has_program = config.services.values().any(|service| is_cgi(service));
        let connections = match config.process.model {
            Model::Iterative => 1,
            Model::Fork | Model::DoubleFork => (config.limits.max_connections + config.process.spares) as u64,
        };
        Self {
            connections,
            processes_each: 1 + u64::from(has_program),
            descriptors: DESCRIPTORS_OF_PARENT + config.process.spares as u64,
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

/// A wall that comes before `limits.max_connections`.
#[derive(Debug)]
pub struct Warning {
    pub sentence: String,
    /// None where it is no limit of the system that stands in the way.
    pub wall: Option<Wall>,
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
pub fn find_warnings(config: &Config, children: usize) -> Vec<Warning> {
    let system = System::default();
    let demand = Demand::new(config, children);
    let mut warnings = forecast(&demand, system.list_walls());
    for service in config.services.values() {
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
        if config.process.model == Model::Iterative && is_http && !service.rlimits.is_empty() {
            let first = service.rlimits.name_first();
            warnings.push(warn(format!(
                "{} is not heeded: process.model is \"iterative\", so there is no child",
                key(first)
            )));
        }
    }
    warnings
}

/// Watches for walls that are hit.
#[derive(Debug)]
pub struct Watch {
    system: System,
    /// How often a fork had failed at a `pids.max`, when that was last looked at.
    pids_failures: Option<u64>,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new(System::default())
    }
}

impl Watch {
    pub fn new(system: System) -> Self {
        let pids_failures = system.count_pids_failures();
        Self { system, pids_failures }
    }

    /// The limit that has made accept(2) or fork(2) fail just now, where it can be seen.
    pub fn find_hit(&mut self, error: &io::Error) -> Option<Wall> {
        match error.raw_os_error()? {
            // Nothing can be read now, since that takes a descriptor; but the error says it all.
            libc::EMFILE => {
                let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
                Some(survey::descriptors(limit, limit))
            }
            libc::ENFILE => self.system.files(),
            libc::EAGAIN => self.find_full_processes(),
            libc::ENOMEM | libc::ENOBUFS => self.system.memory().into_iter().find(Wall::is_full),
            _ => None,
        }
    }

    /// A process may have ended since fork(2) failed, so that nothing is full any more: the kernel
    /// keeps count of failures for `pids.max` alone.
    fn find_full_processes(&mut self) -> Option<Wall> {
        let before = self.pids_failures;
        self.pids_failures = self.system.count_pids_failures();
        let walls = self.system.processes();
        if let Some(full) = walls.iter().find(|wall| wall.is_full()) {
            return Some(full.clone());
        }
        let has_failed = self.pids_failures > before;
        walls.into_iter().filter(|wall| has_failed && survey::is_group(wall)).min_by_key(Wall::left)
    }
}

#[cfg(test)]
mod tests;
