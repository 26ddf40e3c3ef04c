//! Walls: limits outside of lsbaws that keep it from forking or accepting. Seen ahead, as a warning when
//! `limits.max_connections` lies beyond one; and named when one is hit.

#![forbid(unsafe_code)]

mod survey;

use std::fmt;
use std::io;

use nix::sys::resource::{Resource, getrlimit};

pub(crate) use survey::{System, descriptors};

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
    pub fn left(&self) -> u64 {
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

/// A wall that comes before `limits.max_connections`.
#[derive(Debug)]
pub struct Warning {
    pub sentence: String,
    /// None where it is no limit of the system that stands in the way.
    pub wall: Option<Wall>,
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
                Some(descriptors(limit, limit))
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
pub(crate) mod tests;
