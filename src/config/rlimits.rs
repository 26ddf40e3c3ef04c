//! From the keys of a service that limit its children to [`Rlimits`], and whether this process may set them.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use super::error::{Wrong, wrong};
use super::raw;
use super::values::{CoreSize, Nice, Size, Time, Umask, show_bytes};
use crate::limits::{Rlimit, Rlimits};

/// Bits of the capability sets of a process (capabilities(7)).
const CAP_SYS_NICE: u32 = 23;
const CAP_SYS_RESOURCE: u32 = 24;

/// Address space that a child needs beyond what the daemon has already: stack, and room for allocations.
const ROOM: u64 = 2 << 20;

/// Takes the limits of a service out of its table.
pub fn build_rlimits(raw: &raw::Service) -> Result<Rlimits, Wrong> {
    let mut limits = Vec::new();
    let mut add = |key, resource, value: Option<u64>, shown: &dyn Fn(u64) -> String| -> Result<(), Wrong> {
        if let Some(value) = value {
            let limit = Rlimit { key, resource, value, shown: shown(value) };
            check_hard_limit(&limit, shown)?;
            limits.push(limit);
        }
        Ok(())
    };
    let count = |value: u64| value.to_string();
    let seconds = |value: u64| format!("{value}s");
    let cpu_time = raw.cpu_time.map(|Time(time)| round_up(time));
    let memory = raw.memory.map(Size::get);
    add("cpu_time", Resource::RLIMIT_CPU, cpu_time, &seconds)?;
    add("memory", Resource::RLIMIT_AS, memory, &show_bytes)?;
    add("file_size", Resource::RLIMIT_FSIZE, raw.file_size.map(Size::get), &show_bytes)?;
    add("open_files", Resource::RLIMIT_NOFILE, raw.open_files.map(raw::OpenFiles::get), &count)?;
    add("processes", Resource::RLIMIT_NPROC, raw.processes.map(raw::Processes::get), &count)?;
    add("core", Resource::RLIMIT_CORE, raw.core.map(|CoreSize(size)| size), &show_bytes)?;
    if let Some(memory) = memory {
        check_memory(memory, own_address_space())?;
    }
    let nice = raw.nice.map(|Nice(nice)| nice);
    if let Some(nice) = nice {
        check_nice(nice)?;
    }
    Ok(Rlimits { limits, nice, umask: raw.umask.map(|Umask(mask)| mask) })
}

/// RLIMIT_CPU knows whole seconds.
fn round_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Nobody may raise a limit above the hard one, but for CAP_SYS_RESOURCE.
fn check_hard_limit(limit: &Rlimit, shown: impl Fn(u64) -> String) -> Result<(), Wrong> {
    let hard = getrlimit(limit.resource).map_or(u64::MAX, |(_, hard)| hard);
    if limit.value <= hard || has_capability(CAP_SYS_RESOURCE) {
        return Ok(());
    }
    let (most, found) = (shown(hard), &limit.shown);
    wrong(limit.key, format!("expected at most {most}, the hard limit of this process, found {found}"))
}

/// A child has the whole address space of the daemon from the start: below that, its first allocation fails.
fn check_memory(memory: u64, own: u64) -> Result<(), Wrong> {
    let least = (own + ROOM).div_ceil(1 << 20) << 20;
    if memory >= least {
        return Ok(());
    }
    let (least, found) = (show_bytes(least), show_bytes(memory));
    let why = "the address space of a child of lsbaws before it does anything";
    wrong("memory", format!("expected at least {least}, {why}, found {found}"))
}

/// Bytes; 0 where /proc does not tell.
fn own_address_space() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB"));
    size.and_then(|size| size.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Only CAP_SYS_NICE may go below what the process has, or who is allowed to by RLIMIT_NICE, which
/// counts from 20 downwards.
fn check_nice(nice: i32) -> Result<(), Wrong> {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let allowed = limits.lines().find_map(|line| line.strip_prefix("Max nice priority"));
    let allowed = allowed.and_then(|line| line.split_whitespace().next()?.parse::<i32>().ok()).unwrap_or(0);
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // proc_pid_stat(5): the 19th field, 17 after the name in parentheses, which may hold spaces.
    let own = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(16)?.parse::<i32>().ok());
    let least = own.unwrap_or(0).min(20 - allowed);
    if nice >= least || has_capability(CAP_SYS_NICE) {
        return Ok(());
    }
    wrong("nice", format!("expected at least {least}, the most that this process may ask for, found {nice}"))
}

fn has_capability(capability: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set: u64| set >> capability & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::Scalar;

    #[test]
    fn seconds_of_processor_time_are_whole() {
        assert_eq!(round_up(Duration::from_millis(1)), 1);
        assert_eq!(round_up(Duration::from_secs(10)), 10);
        assert_eq!(round_up(Duration::from_millis(10_001)), 11);
    }

    #[test]
    fn priorities_masks_and_cores_stay_in_bounds() {
        assert_eq!(Nice::from_integer(-20), Some(Nice(-20)));
        assert_eq!((Nice::from_integer(20), Nice::from_integer(-21)), (None, None));
        assert_eq!(Umask::from_text("027"), Some(Umask(0o27)));
        for bad in ["", "8", "1000", "u=rwx", "00027"] {
            assert_eq!(Umask::from_text(bad), None, "{bad:?}");
        }
        assert_eq!(CoreSize::from_text("0 B"), Some(CoreSize(0)));
        assert_eq!(CoreSize::from_text("1 KiB"), Some(CoreSize(1024)));
        assert_eq!(
            (CoreSize::from_text("0"), CoreSize::from_integer(0)),
            (Some(CoreSize(0)), Some(CoreSize(0)))
        );
        assert_eq!((CoreSize::from_text("-1"), CoreSize::from_integer(-1)), (None, None));
    }

    #[test]
    fn memory_must_hold_what_a_child_begins_with() {
        assert!(check_memory(64 << 20, 30 << 20).is_ok());
        let (key, problem) = check_memory(31 << 20, (30 << 20) + 1).unwrap_err();
        assert_eq!(key, "memory");
        assert!(problem.starts_with("expected at least 33 MiB, "), "{problem}");
    }
}
