//! From a fork to the first byte of the connection.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::ForkServer;
use crate::child;
use crate::child::work::Work;
use crate::connection::{Connection, Id, Identity, Peer};
use crate::handover::{Handover, Report};
use crate::outcome::Outcome;
use crate::scoreboard::Slot;
use crate::sys;

/// A connection that has been handed over.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) connection: OwnedFd,
    pub(super) id: Id,
    pub(super) peer: Peer,
    pub(super) listener: Arc<str>,
    pub(super) accepted_at: u64,
    pub(super) slot: u32,
}

impl Start {
    pub(super) fn new(handover: &Handover<'_>, connection: OwnedFd) -> Self {
        let &Handover { id, peer, listener, accepted_at, slot } = handover;
        Self { connection, id, peer, listener: listener.into(), accepted_at, slot }
    }
}

impl ForkServer {
    /// Serves the connection. Body of a child: returns the exit code.
    pub(super) fn start(&mut self, start: Start) -> u8 {
        let Start { connection, id, peer, listener, accepted_at, slot } = start;
        // First of all: the supervisor may hand the connection over again if the fork server dies before this report.
        if self.channel.report(&Report::Started { slot, pid: Pid::this().as_raw() }).is_err() {
            return Outcome::SystemError.code();
        }
        let identity = Identity { id, peer, listener, accepted_at: sys::instant_of(accepted_at) };
        let connection = Connection { socket: connection, identity };
        match Slot::map(self.scoreboard.as_fd(), slot) {
            Ok(slot) => {
                let kit = self.supplies.kit(slot, self.program_output.as_ref().map(AsFd::as_fd));
                child::run(&mut Work { connection: &connection, service: &self.service, kit })
            }
            Err(_) => Outcome::SystemError.code(),
        }
    }
}

/// Waits until the kernel has given this process another parent: `parent` is about to exit.
pub(super) fn wait_for_adoption(parent: Pid) -> io::Result<()> {
    let Ok(pidfd) = sys::open_pidfd(parent.as_raw().unsigned_abs()) else {
        return Ok(()); // it has been reaped
    };
    poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
    Ok(())
}
