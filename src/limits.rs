//! What a service sets for each of its children: resource limits, nice value, umask. A child sets them after the fork,
//! and the programs that it starts inherit them.

#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::scoreboard::ProgramEnd;
use crate::sys::{self, Exit, Usage};

/// The keys of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RlimitKey {
    CpuTime,
    Memory,
    FileSize,
    OpenFiles,
    Processes,
    Core,
}

impl RlimitKey {
    /// The key as it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CpuTime => "cpu_time",
            Self::Memory => "memory",
            Self::FileSize => "file_size",
            Self::OpenFiles => "open_files",
            Self::Processes => "processes",
            Self::Core => "core",
        }
    }

    pub(crate) fn resource(self) -> Resource {
        match self {
            Self::CpuTime => Resource::RLIMIT_CPU,
            Self::Memory => Resource::RLIMIT_AS,
            Self::FileSize => Resource::RLIMIT_FSIZE,
            Self::OpenFiles => Resource::RLIMIT_NOFILE,
            Self::Processes => Resource::RLIMIT_NPROC,
            Self::Core => Resource::RLIMIT_CORE,
        }
    }
}

/// One limit of a resource (setrlimit(2)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rlimit {
    pub(crate) key: RlimitKey,
    /// Seconds, bytes or a count, by the resource.
    pub(crate) value: u64,
    /// The value as it is written.
    pub(crate) shown: String,
}

/// Everything of this kind that a service sets. What it does not set costs nothing and stays as the daemon has
/// it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rlimits {
    pub(crate) limits: Vec<Rlimit>,
    /// The priority, -20 to 19 (setpriority(2)).
    pub(crate) nice: Option<i32>,
    /// Permissions that new files do not get (umask(2)).
    pub(crate) umask: Option<u32>,
}

/// The key of what could not be set, and why.
pub(crate) type Unsettable = (&'static str, Errno);

impl Rlimits {
    /// Sets everything for this process.
    ///
    /// # Errors
    /// The key that could not be set, and the errno of setrlimit(2) or setpriority(2).
    pub(crate) fn apply(&self) -> Result<(), Unsettable> {
        for limit in &self.limits {
            limit.apply().map_err(|errno| (limit.key.name(), errno))?;
        }
        if let Some(nice) = self.nice {
            sys::set_priority(nice).map_err(|errno| ("nice", errno))?;
        }
        if let Some(mask) = self.umask {
            umask(Mode::from_bits_truncate(mask));
        }
        Ok(())
    }

    /// Sets nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.nice.is_none() && self.umask.is_none()
    }

    /// The key of the first thing that is set.
    pub(crate) fn name_first(&self) -> &'static str {
        let rest = if self.nice.is_some() { "nice" } else { "umask" };
        self.limits.first().map_or(rest, |limit| limit.key.name())
    }

    /// The limit by which the kernel has ended a process with this end, or its program with that one, or by which its
    /// application has failed with this exception. An abort is what a failed allocation comes to in Rust and many a C++
    /// program, so it names the limit of memory.
    pub(crate) fn find_cause(
        &self,
        exit: Exit,
        program: Option<ProgramEnd>,
        exception: Option<&str>,
        usage: Usage,
    ) -> Option<&Rlimit> {
        let find = |key: RlimitKey| self.limits.iter().find(|limit| limit.key == key);
        let signal = match (exit, program) {
            (Exit::Killed { signal, .. }, _) | (_, Some(ProgramEnd::Killed(signal))) => signal,
            (Exit::Exited(code), _) if code == Outcome::HandlerError.code() => {
                let kind = exception?.split(':').next()?;
                return find(RlimitKey::Memory).filter(|_| kind.ends_with("MemoryError"));
            }
            _ => return None,
        };
        match Signal::try_from(signal) {
            Ok(Signal::SIGXCPU) => find(RlimitKey::CpuTime),
            // A process that ignores SIGXCPU gets this signal a second later.
            Ok(Signal::SIGKILL) => {
                find(RlimitKey::CpuTime).filter(|limit| (usage.user + usage.system).as_secs() >= limit.value)
            }
            Ok(Signal::SIGXFSZ) => find(RlimitKey::FileSize),
            Ok(Signal::SIGABRT) => find(RlimitKey::Memory),
            _ => None,
        }
    }
}

impl Rlimit {
    fn apply(&self) -> Result<(), Errno> {
        let resource = self.key.resource();
        let hard = match resource {
            // At the soft limit a signal that can be heeded, a second later one that cannot.
            Resource::RLIMIT_CPU => getrlimit(resource)?.1.min(self.value + 1).max(self.value),
            _ => self.value,
        };
        setrlimit(resource, self.value, hard)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits() -> Rlimits {
        let limit = |key, value| Rlimit { key, value, shown: String::new() };
        Rlimits {
            limits: vec![
                limit(RlimitKey::CpuTime, 2),
                limit(RlimitKey::Memory, 1 << 26),
                limit(RlimitKey::FileSize, 1024),
            ],
            ..Rlimits::default()
        }
    }

    #[test]
    fn a_death_at_a_limit_names_it() {
        let killed = |signal: Signal| Exit::Killed { signal: signal as i32, dumped: false };
        let used = |seconds| Usage { user: Duration::from_secs(seconds), ..Usage::default() };
        let limits = limits();
        let cause = |exit, program, usage| {
            limits.find_cause(exit, program, None, usage).map(|limit| limit.key.name())
        };
        assert_eq!(cause(killed(Signal::SIGXCPU), None, used(2)), Some("cpu_time"));
        assert_eq!(cause(killed(Signal::SIGKILL), None, used(3)), Some("cpu_time"));
        assert_eq!(cause(killed(Signal::SIGKILL), None, used(1)), None, "another process has sent it");
        assert_eq!(cause(killed(Signal::SIGABRT), None, used(0)), Some("memory"));
        assert_eq!(cause(killed(Signal::SIGSEGV), None, used(0)), None);
        let program = Some(ProgramEnd::Killed(Signal::SIGXFSZ as i32));
        assert_eq!(cause(Exit::Exited(2), program, used(0)), Some("file_size"));
        assert_eq!(cause(Exit::Exited(2), Some(ProgramEnd::Exited(1)), used(9)), None);
        assert_eq!(Rlimits::default().find_cause(killed(Signal::SIGXCPU), None, None, used(9)), None);
        let raised = |code, exception| {
            let cause = limits.find_cause(Exit::Exited(code), None, Some(exception), used(9));
            cause.map(|limit| limit.key.name())
        };
        let failed = Outcome::HandlerError.code();
        assert_eq!(raised(failed, "MemoryError"), Some("memory"));
        assert_eq!(raised(failed, "numpy.exceptions._ArrayMemoryError: Unable to allocate"), Some("memory"));
        assert_eq!(raised(failed, "ValueError: MemoryError"), None);
        assert_eq!(raised(Outcome::Served.code(), "MemoryError"), None, "an earlier request has failed");
    }
}
