//! The keys of a service that limit its children, and whether this process may set them.

use std::fs;

use nix::sys::resource::getrlimit;

use super::findings::Place;
use super::quantity::{Size, TIB, Time, show_size};
use super::scalar::{Integer, Umask};
use super::table::keys;
use crate::capacity::process::{CAP_SYS_NICE, CAP_SYS_RESOURCE, find_number, has_capability};
use crate::limits::{Rlimit, RlimitKey, Rlimits};
use crate::sys::whole_seconds;

/// Address space that a child needs in addition to that of the daemon: stack, and room for allocations.
const ROOM: u64 = 2 << 20;

keys! {
    /// The keys of a service that limit each of its children.
    RlimitKeys {
        cpu_time: Option<Time> = None,
        memory: Option<Size<1, TIB>> = None,
        file_size: Option<Size<1, TIB>> = None,
        // A child that runs a CGI program holds some ten descriptors at a time.
        open_files: Option<Integer<16, 1_048_576>> = None,
        // As many as `kernel.pid_max` allows.
        processes: Option<Integer<1, 4_194_304>> = None,
        core: Option<Size<0, TIB>> = None,
        nice: Option<Integer<-20, 19>> = None,
        umask: Option<Umask> = None,
    }
}

/// How a value of a limit is written.
type Show = fn(u64) -> String;

impl RlimitKeys {
    /// `place`: the table of the service.
    pub(super) fn build(&self, place: &Place<'_>) -> Option<Rlimits> {
        let count: Show = |value| value.to_string();
        let seconds: Show = |value| format!("{value}s");
        let memory = self.memory.map(Size::get);
        let settings: [(_, _, Show); 6] = [
            (RlimitKey::CpuTime, self.cpu_time.map(|Time(time)| whole_seconds(time)), seconds),
            (RlimitKey::Memory, memory, show_size),
            (RlimitKey::FileSize, self.file_size.map(Size::get), show_size),
            (RlimitKey::OpenFiles, self.open_files.map(Integer::get), count),
            (RlimitKey::Processes, self.processes.map(Integer::get), count),
            (RlimitKey::Core, self.core.map(Size::get), show_size),
        ];
        let mut limits = Vec::new();
        for (key, value, show) in settings {
            let Some(value) = value else { continue };
            let limit = Rlimit { key, value, shown: show(value) };
            limits.push(place.key(key.name()).check(check_hard_limit(limit, show)));
        }
        let nice = self.nice.map(|nice| check_nice(nice.get())).transpose();
        let nice = place.key("nice").check(nice);
        let memory = memory.map_or(Ok(()), |memory| check_memory(memory, own_address_space()));
        place.key("memory").check(memory)?;
        let limits = limits.into_iter().collect::<Option<_>>();
        Some(Rlimits { limits: limits?, nice: nice?, umask: self.umask.map(|Umask(mask)| mask) })
    }
}

/// Only CAP_SYS_RESOURCE may raise a limit above the hard one.
fn check_hard_limit(limit: Rlimit, show: Show) -> Result<Rlimit, String> {
    let hard = getrlimit(limit.key.resource()).map_or(u64::MAX, |(_, hard)| hard);
    if limit.value <= hard || has_capability(&read_status(), CAP_SYS_RESOURCE) {
        return Ok(limit);
    }
    let (most, found) = (show(hard), &limit.shown);
    Err(format!("expected at most {most}, the hard limit of this process, found {found}"))
}

/// A child has the whole address space of the daemon from the start: below that, its first allocation fails.
fn check_memory(memory: u64, own: u64) -> Result<(), String> {
    let least = (own + ROOM).div_ceil(1 << 20) << 20;
    if memory >= least {
        return Ok(());
    }
    let (least, found) = (show_size(least), show_size(memory));
    Err(format!("expected at least {least}, the initial address space of a child, found {found}"))
}

/// Bytes; 0 if /proc does not give it.
fn own_address_space() -> u64 {
    find_number(&read_status(), "VmSize:").unwrap_or(0) << 10
}

/// Only CAP_SYS_NICE, or RLIMIT_NICE, which counts from 20 downwards, permits a lower nice value than that of the
/// process (setpriority(2)).
fn check_nice(nice: i32) -> Result<i32, String> {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let allowed = find_number(&limits, "Max nice priority").unwrap_or(0).try_into().unwrap_or(0);
    let least = own_nice().unwrap_or(0).min(20 - allowed);
    if nice >= least || has_capability(&read_status(), CAP_SYS_NICE) {
        return Ok(nice);
    }
    Err(format!("expected at least {least}, the lowest that this process may set, found {nice}"))
}

/// The nice value of this process, if /proc gives it.
pub(super) fn own_nice() -> Option<i32> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // proc_pid_stat(5): the 19th field, 17 after the name in parentheses, which may contain spaces.
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(16)?.parse().ok())
}

fn read_status() -> String {
    fs::read_to_string("/proc/self/status").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_must_hold_what_a_child_begins_with() {
        assert!(check_memory(64 << 20, 30 << 20).is_ok());
        let problem = check_memory(31 << 20, (30 << 20) + 1).unwrap_err();
        assert!(problem.starts_with("expected at least 33 MiB, "), "{problem}");
    }
}
