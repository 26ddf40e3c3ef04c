//! Spares: children that are forked ahead of their connections, so that a client does not wait for the fork. Each has a
//! channel to the supervisor that brings it one connection; when that is closed, the spare exits.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::ForkServer;
use super::start::Start;
use crate::handover::{Channel, ORDER_MAX, Order, Report};
use crate::outcome::Outcome;
use crate::runtime::LoadError;
use crate::sys;

impl ForkServer {
    /// Forks a spare, and gives its channel to the supervisor.
    pub(super) fn fork_spare(&mut self) -> Result<(), String> {
        match self.try_fork_spare() {
            Ok(()) => Ok(()),
            Err(error) => self.report(&Report::NoSpare { errno: error.raw_os_error().unwrap_or(0) }),
        }
    }

    fn try_fork_spare(&mut self) -> io::Result<()> {
        let (theirs, ours) = sys::open_channel()?;
        // Not where the connection will be.
        let ours = Channel::new(sys::move_above(sys::CONNECTION, ours)?);
        let theirs = sys::move_above(sys::CONNECTION, theirs)?;
        self.before_fork();
        let forked = sys::fork_sibling(|| {
            if self.channel.report_with(&Report::Spare, theirs.as_fd()).is_err() {
                return Outcome::Served.code(); // the supervisor has gone
            }
            self.wait_as_spare(&ours, theirs.as_fd())
        });
        self.after_fork();
        forked.map(drop)
    }

    /// Body of a spare: returns the exit code.
    fn wait_as_spare(&mut self, channel: &Channel, theirs: BorrowedFd<'_>) -> u8 {
        if self.shed_siblings(channel, theirs).is_err() {
            return Outcome::SystemError.code();
        }
        if let Some(runtime) = self.runtime {
            if let Err(LoadError { sentence, details }) = self.prepare_spare(runtime) {
                let _ = self.channel.report(&Report::spare_failed(&sentence, &details)); // the supervisor has gone
                return Outcome::HandlerError.code();
            }
            let _ = self.channel.report(&Report::SpareReady); // it ends this process
        }
        self.supplies.touch();
        self.supplies.set_title("spare", &self.service.name);
        let mut buffer = [0; ORDER_MAX];
        if let Some(runtime) = self.runtime {
            let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
            runtime.detach(&mut || while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {});
        }
        match channel.receive_order(&mut buffer) {
            Ok(Some(Order::Serve(handover, connection, supplements))) => {
                self.keep_name(handover.listener);
                if self.runtime.is_some() {
                    let _ = sys::close_each([channel.as_fd().as_raw_fd()]); // cannot fail
                }
                self.start(Start { handover, connection, supplements })
            }
            Ok(None) => Outcome::Served.code(),
            Ok(Some(Order::ForkSpare)) | Err(_) => Outcome::SystemError.code(),
        }
    }

    /// Closes what is not a spare's. Not the end of the channel that it has sent: it must find that the supervisor closes it.
    fn shed_siblings(&self, channel: &Channel, theirs: BorrowedFd<'_>) -> io::Result<()> {
        if self.runtime.is_some() {
            return sys::close_each([theirs.as_raw_fd()]); // others are the application's
        }
        let own = [&self.channel, channel].map(|channel| channel.as_fd().as_raw_fd());
        let output = self.program_output.as_ref().map(AsRawFd::as_raw_fd);
        let kept = own.into_iter().chain([self.scoreboard.as_raw_fd()]).chain(self.supplies.descriptors());
        sys::close_all_but(kept.chain(output).chain(self.service.descriptors()))
    }
}
