//! Spares: children that are forked ahead of their connections, so that a client does not wait for the fork. Each has a
//! channel that brings it one connection; when that is closed, the spare exits.

use std::os::fd::{AsFd, AsRawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::ForkServer;
use super::start::Start;
use crate::handover::{Channel, MESSAGE_MAX, Report};
use crate::outcome::Outcome;
use crate::{journal, sys};

/// The spares of a fork server.
#[derive(Debug)]
pub(super) struct Spares {
    /// How many should wait.
    target: usize,
    channels: Vec<Channel>,
}

impl Spares {
    pub(super) fn new(target: usize) -> Self {
        Self { target, channels: Vec::with_capacity(target) }
    }

    /// Hands the connection over to a spare, if one waits.
    pub(super) fn give(&mut self, start: &Start) -> bool {
        // A spare that takes no message is dying, or dead.
        while let Some(channel) = self.channels.pop() {
            if channel.hand_over(&start.handover(), start.connection.as_fd()).is_ok() {
                return true;
            }
        }
        false
    }

    /// Waits for a message on `server`. Forgets the spares that have exited meanwhile.
    pub(super) fn wait(&mut self, server: &Channel) {
        if self.channels.is_empty() {
            return; // the message is waited for by reading it
        }
        let mut fds = vec![PollFd::new(server.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.channels.iter().map(|channel| PollFd::new(channel.as_fd(), PollFlags::empty())));
        if poll(&mut fds, PollTimeout::NONE).is_err() {
            return;
        }
        let is_gone: Vec<_> = fds[1..].iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let mut is_gone = is_gone.into_iter();
        self.channels.retain(|_| !is_gone.next().unwrap_or(true));
    }
}

impl ForkServer {
    /// Forks the spares that are missing. One that cannot be forked is tried again with the next connection.
    pub(super) fn refill_spares(&mut self) {
        while self.spares.channels.len() < self.spares.target {
            let Ok((ours, theirs)) = sys::open_channel().and_then(|(ours, theirs)| {
                Ok((
                    Channel::new(sys::move_above(sys::CONNECTION, ours)?),
                    Channel::new(sys::move_above(sys::CONNECTION, theirs)?),
                ))
            }) else {
                return;
            };
            if sys::fork_sibling(|| self.wait_as_spare(&theirs)).is_err() {
                return;
            }
            self.spares.channels.push(ours);
        }
    }

    /// Body of a spare: returns the exit code.
    fn wait_as_spare(&mut self, channel: &Channel) -> u8 {
        let pid = Pid::this().as_raw();
        if self.channel.report(&Report::Spare { pid }).is_err() {
            return Outcome::Served.code(); // the supervisor has gone
        }
        // It must not keep the channels of other spares open.
        let roots = self.service.descriptors();
        let own = [&self.channel, channel].map(|channel| channel.as_fd().as_raw_fd());
        let output = self.program_output.as_ref().map(AsRawFd::as_raw_fd);
        let kept = own.into_iter().chain([self.scoreboard.as_raw_fd()]).chain(journal::child_descriptor());
        if sys::close_all_but(kept.chain(output).chain(roots)).is_err() {
            return Outcome::SystemError.code();
        }
        self.supplies.touch();
        let mut buffer = [0; MESSAGE_MAX];
        match channel.receive_connection(&mut buffer) {
            Ok(Some((handover, connection))) => self.start(Start::new(&handover, connection)),
            Ok(None) => Outcome::Served.code(),
            Err(_) => Outcome::SystemError.code(),
        }
    }
}
