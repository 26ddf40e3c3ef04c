//! Deadlines as poll(2) takes them, and times in whole seconds.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

/// How long poll(2) may wait from `now` until `deadline`, in whole milliseconds.
///
/// Rounded up: a wait that ends before the deadline would have to be repeated, and one of 0 ms would spin.
pub(crate) fn poll_timeout(deadline: Instant, now: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(now) + Duration::from_millis(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

/// The time of CLOCK_MONOTONIC in nanoseconds, which is the same in all processes (clock_gettime(2)). `Instant` has the
/// same clock and does not give its value.
pub(crate) fn monotonic_nanoseconds() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The same for an instant of the past.
pub(crate) fn monotonic_nanoseconds_of(instant: Instant) -> u64 {
    monotonic_nanoseconds().saturating_sub(u64::try_from(instant.elapsed().as_nanos()).unwrap_or(0))
}

/// The instant of [`monotonic_nanoseconds`] in another process.
pub(crate) fn instant_of(nanoseconds: u64) -> Instant {
    let age = monotonic_nanoseconds().saturating_sub(nanoseconds);
    let now = Instant::now();
    now.checked_sub(Duration::from_nanos(age)).unwrap_or(now)
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
