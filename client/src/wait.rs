//! Waits for descriptors, with poll(2).

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits until at least one descriptor is ready. Returns for each of them, in order, whether it is, or `None`
/// at the deadline.
pub(crate) fn wait_ready<'a>(
    descriptors: impl Iterator<Item = (BorrowedFd<'a>, PollFlags)>,
    deadline: Instant,
) -> io::Result<Option<Vec<bool>>> {
    let mut fds: Vec<_> = descriptors.map(|(fd, flags)| PollFd::new(fd, flags)).collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        // Rounded up: poll(2) counts milliseconds, and a timeout of 0 would spin.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(Some(fds.iter().map(|fd| fd.any().unwrap_or(true)).collect())),
            Err(errno) => return Err(errno.into()),
        }
    }
}
