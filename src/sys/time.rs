//! Deadlines as poll(2) takes them, and times in whole seconds.

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

/// A time in whole seconds, rounded up.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
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

    #[test]
    fn seconds_are_rounded_up() {
        let seconds = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!((seconds(0), seconds(1), seconds(10_000), seconds(10_001)), (0, 1, 10, 11));
    }
}
