//! A child that waits for a connection, as the supervisor sees it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::handover::Channel;
use crate::sys;

#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(super) channel: Channel,
    /// It takes a connection at once.
    is_ready: bool,
    /// When it has to be ready, if it is not.
    latest_start: Option<Instant>,
}

impl Spare {
    /// One that has reported that it exists. `time`: until it reports that it is ready, if it has to.
    pub(super) fn new(pid: Pid, pidfd: OwnedFd, channel: Channel, time: Option<Duration>) -> Self {
        let latest_start = time.map(|time| Instant::now() + time);
        Self { pid, pidfd, channel, is_ready: time.is_none(), latest_start }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    pub(super) fn set_ready(&mut self) {
        (self.is_ready, self.latest_start) = (true, None);
    }

    pub(super) fn latest_start(&self) -> Option<Instant> {
        self.latest_start
    }

    /// Kills it if it takes too long to start. True: it has done so.
    pub(super) fn end_late_start(&mut self, now: Instant) -> bool {
        let is_late = self.latest_start.take_if(|latest| now >= *latest).is_some();
        if is_late {
            self.kill();
        }
        is_late
    }

    pub(super) fn kill(&self) {
        let _ = sys::send_signal(self.pidfd.as_fd(), Signal::SIGKILL); // it has exited already
    }
}

/// Which process is to serve a connection.
#[derive(Debug)]
pub(crate) struct Taker {
    /// A fork server.
    pub(crate) server: u32,
    /// It has this child already.
    pub(crate) spare: Option<Spare>,
}
