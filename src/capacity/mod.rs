//! The limits of the system that keep lsbaws from forking or accepting: which of them are too low for the
//! configuration, and which of them an error comes from.

#![forbid(unsafe_code)]

pub(crate) mod process;
mod survey;

use std::fmt;
use std::io;

use nix::sys::resource::{Resource, getrlimit};

pub(crate) use survey::System;

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Processes and threads.
    Processes,
    /// Bytes.
    Memory,
    Descriptors,
}

/// Which limit it is. Those of a control group have its path (cgroups(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
enum LimitKind {
    UserProcesses,
    GroupProcesses(String),
    ThreadsMax,
    PidMax,
    GroupMemory(String),
    OwnDescriptors,
    FileMax,
}

/// A limit of the system, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemLimit {
    kind: LimitKind,
    max: u64,
    used: u64,
}

impl SystemLimit {
    /// RLIMIT_NOFILE of this process (getrlimit(2)).
    pub(crate) fn descriptors(max: u64, used: u64) -> Self {
        Self { kind: LimitKind::OwnDescriptors, max, used }
    }

    /// The name in manuals, such as `pids.max of /system.slice/lsbaws.service`.
    pub(crate) fn name(&self) -> String {
        match &self.kind {
            LimitKind::UserProcesses => "RLIMIT_NPROC".into(),
            LimitKind::GroupProcesses(path) => format!("pids.max of {path}"),
            LimitKind::ThreadsMax => "kernel.threads-max".into(),
            LimitKind::PidMax => "kernel.pid_max".into(),
            LimitKind::GroupMemory(path) => format!("memory.max of {path}"),
            LimitKind::OwnDescriptors => "RLIMIT_NOFILE".into(),
            LimitKind::FileMax => "fs.file-max".into(),
        }
    }

    /// The settings that raise it.
    pub(crate) fn remedy(&self) -> &'static str {
        match &self.kind {
            LimitKind::UserProcesses => "LimitNPROC=, ulimit -u, or processes of the service",
            LimitKind::GroupProcesses(path) if is_unit(path) => "TasksMax=",
            LimitKind::GroupMemory(path) if is_unit(path) => "MemoryMax=",
            LimitKind::GroupProcesses(_) | LimitKind::GroupMemory(_) => "it",
            LimitKind::OwnDescriptors => "LimitNOFILE=, ulimit -n, or open_files of the service",
            LimitKind::ThreadsMax | LimitKind::PidMax | LimitKind::FileMax => "it with sysctl",
        }
    }

    pub(crate) fn unit(&self) -> Unit {
        match self.kind {
            LimitKind::UserProcesses
            | LimitKind::GroupProcesses(_)
            | LimitKind::ThreadsMax
            | LimitKind::PidMax => Unit::Processes,
            LimitKind::GroupMemory(_) => Unit::Memory,
            LimitKind::OwnDescriptors | LimitKind::FileMax => Unit::Descriptors,
        }
    }

    /// In units.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// In units.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// In units.
    pub(crate) fn left(&self) -> u64 {
        self.max.saturating_sub(self.used)
    }

    /// The name and the numbers: `pids.max of /system.slice/lsbaws.service (100, 3 in use)`.
    pub(crate) fn describe(&self) -> String {
        let (name, max, used) = (self.name(), self.max, self.used);
        match self.unit() {
            Unit::Memory => format!("{name} ({} MiB, {} MiB in use)", max >> 20, used >> 20),
            Unit::Processes | Unit::Descriptors => format!("{name} ({max}, {used} in use)"),
        }
    }

    fn is_reached(&self) -> bool {
        // Some pages of memory are always about to be freed.
        let rest = if self.unit() == Unit::Memory { 1 << 20 } else { 1 };
        self.left() < rest
    }
}

/// As the end of an error: with the settings that raise it.
impl fmt::Display for SystemLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, raise {}", self.describe(), self.remedy())
    }
}

/// Whether a control group belongs to a unit, whose name is that of the folder (systemd.resource-control(5)).
fn is_unit(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    [".service", ".slice", ".scope"].iter().any(|suffix| name.ends_with(suffix))
}

/// A part of the configuration that the system does not allow.
#[derive(Debug)]
pub(crate) struct Warning {
    pub(crate) sentence: String,
    /// None: the cause is no limit of the system.
    pub(crate) limit: Option<SystemLimit>,
}

/// Finds the limit that a system call has failed at.
#[derive(Debug)]
pub(crate) struct Watch {
    system: System,
    /// How many forks had failed at a `pids.max`, when last read.
    pids_failures: Option<u64>,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new(System::default())
    }
}

impl Watch {
    pub(crate) fn new(system: System) -> Self {
        let pids_failures = system.count_pids_failures();
        Self { system, pids_failures }
    }

    /// The limit that accept(2) or fork(2) has failed at, if it can be found.
    pub(crate) fn find_reached(&mut self, error: &io::Error) -> Option<SystemLimit> {
        match error.raw_os_error()? {
            // Reading anything would take a descriptor, but the error names the limit.
            libc::EMFILE => {
                let (max, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
                Some(SystemLimit::descriptors(max, max))
            }
            libc::ENFILE => self.system.find_files(),
            libc::EAGAIN => self.find_reached_processes(),
            libc::ENOMEM | libc::ENOBUFS => {
                self.system.find_memory().into_iter().find(SystemLimit::is_reached)
            }
            _ => None,
        }
    }

    /// A process may have exited since fork(2) failed, so that no limit is reached any more. For `pids.max` the
    /// kernel counts the failures.
    fn find_reached_processes(&mut self) -> Option<SystemLimit> {
        let before = self.pids_failures;
        self.pids_failures = self.system.count_pids_failures();
        let limits = self.system.find_processes();
        if let Some(reached) = limits.iter().find(|limit| limit.is_reached()) {
            return Some(reached.clone());
        }
        let has_failed = self.pids_failures > before;
        let is_group = |limit: &SystemLimit| matches!(limit.kind, LimitKind::GroupProcesses(_));
        limits.into_iter().filter(|limit| has_failed && is_group(limit)).min_by_key(SystemLimit::left)
    }
}

#[cfg(test)]
pub(crate) mod tests;
