//! Values of /proc/PID/status and /proc/PID/limits (proc_pid_status(5), proc_pid_limits(5)).

/// Bits of the capability sets of a process (capabilities(7)).
pub(crate) const CAP_SETGID: u32 = 6;
pub(crate) const CAP_SETUID: u32 = 7;
pub(crate) const CAP_SYS_ADMIN: u32 = 21;
pub(crate) const CAP_SYS_NICE: u32 = 23;
pub(crate) const CAP_SYS_RESOURCE: u32 = 24;

/// Whether a capability is in the effective set of /proc/PID/status.
pub(crate) fn has_capability(status: &str, capability: u32) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set: u64| set >> capability & 1 == 1)
}

/// The first number after a name at the beginning of a line.
pub(crate) fn find_number(text: &str, name: &str) -> Option<u64> {
    let values = text.lines().find_map(|line| line.strip_prefix(name))?;
    values.split_whitespace().next()?.parse().ok()
}
