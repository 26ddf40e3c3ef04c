//! Waiting for events that no record and no notification announces.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

/// The limit of every wait for an event. It only bounds a hang.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Looks every millisecond until `is_so`, where the kernel has no event for it.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < TIMEOUT, "not within {TIMEOUT:?}: {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// Waits until a process has ended, whether it is reaped or not (pidfd_open(2)).
pub fn wait_dead(pid: Pid) {
    let known = rustix::process::Pid::from_raw(pid.as_raw()).unwrap();
    let process = match rustix::process::pidfd_open(known, rustix::process::PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return, // reaped
        process => process.unwrap(),
    };
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let count = poll(&mut fds, PollTimeout::try_from(TIMEOUT).unwrap()).unwrap();
    assert_eq!(count, 1, "process {pid} has not ended within {TIMEOUT:?}");
}
