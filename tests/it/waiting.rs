//! Waits for what the kernel has no event for.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

/// No test waits for time to pass; this is when one that waits for something gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks every millisecond until `is_so`.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// Waits until a process has ended, whether it is reaped or not.
pub fn wait_dead(pid: Pid) {
    wait_until(&format!("process {pid} ends"), || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The state follows the name, which is in parentheses and may contain some (proc_pid_stat(5)).
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
    });
}
