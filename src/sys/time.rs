//! Deadlines as poll(2) takes them.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long poll(2) may wait from `now` until `deadline`, in whole milliseconds.
///
/// Rounded up: a wait that ends before the deadline would have to be repeated, and one of 0 ms would spin.
pub(crate) fn poll_timeout(deadline: Instant, now: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(now) + Duration::from_millis(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

/// Waits until `fd` is ready for writing, or its other end is closed. False: not before the deadline.
pub(crate) fn wait_writable(fd: &impl AsFd, deadline: Instant) -> bool {
    let now = Instant::now();
    let timeout = if now < deadline { poll_timeout(deadline, now) } else { PollTimeout::ZERO };
    poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)], timeout).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_rounded_up() {
        let now = Instant::now();
        assert_eq!(poll_timeout(now + Duration::from_micros(1_500), now), PollTimeout::from(2_u8));
        assert_eq!(poll_timeout(now, now + Duration::from_secs(1)), PollTimeout::from(1_u8));
        assert_eq!(poll_timeout(now + Duration::from_secs(1 << 40), now), PollTimeout::MAX);
    }
}
