//! Which processes may outlive their connection: `leftover = "keep"`. A process that a connection has left behind comes to
//! the supervisor without a sign of its service, and by then it may have any session and any environment. A hard limit
//! is inherited, and no process without privileges can raise it: the fork server of a service whose leftovers end lowers
//! that of POSIX message queues by one byte, and what still has the limit of the supervisor may live.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

/// Marks this process, and all that it forks, as one that ends with its connection.
///
/// # Errors
/// Those of setrlimit(2).
pub(crate) fn mark_as_ending() -> nix::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_MSGQUEUE)?;
    let lower = hard.saturating_sub(1);
    setrlimit(Resource::RLIMIT_MSGQUEUE, soft.min(lower), lower)
}

/// Whether this process may live. `false` for one that cannot be looked at.
pub(crate) fn may_live(pid: Pid) -> bool {
    let own = getrlimit(Resource::RLIMIT_MSGQUEUE).map_or(0, |(_, hard)| hard);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    own > 0 && find_hard_limit(&limits) == Some(own)
}

/// From the text of /proc/PID/limits (proc_pid_limits(5)).
fn find_hard_limit(limits: &str) -> Option<u64> {
    let values = limits.lines().find_map(|line| line.strip_prefix("Max msgqueue size"))?;
    match values.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_limit_is_the_second_value() {
        let limits = "Limit Soft Limit Hard Limit Units\nMax msgqueue size         819199               819200               bytes\n";
        assert_eq!(find_hard_limit(limits), Some(819_200));
        assert_eq!(find_hard_limit(""), None);
        assert!(may_live(Pid::this()), "a process has its own limit");
    }
}
