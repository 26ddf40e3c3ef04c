//! Spares: children that are forked ahead of their connections. Each has a socket by which it gets one
//! connection; when that is closed, it ends.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::child::spare::{Binding, write_handover};
use crate::connection::Connection;
use crate::journal;
use crate::scoreboard::Slot;
use crate::service::Service;
use crate::sys;

/// Rest after a spare could not be forked, or has died of its own.
pub(super) const REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Spare {
    pub(super) pid: Pid,
    pub(super) slot: Slot,
    /// None: it was told that no connection will come.
    pub(super) channel: Option<OwnedFd>,
}

/// The spares, and what they may be sent.
#[derive(Debug, Default)]
pub struct Spares {
    pub(super) waiting: Vec<Spare>,
    /// Listeners and where they lead to, as when the spares were forked.
    pub(super) bindings: Vec<Binding>,
    pub(super) resting_until: Option<Instant>,
    /// The last one could not be forked.
    pub(super) is_short: bool,
}

impl Spares {
    /// Processes without a connection.
    pub fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Gives the connection to a spare, if there is one that knows the binding.
    pub fn give(&mut self, connection: &Connection, service: &Arc<Service>) -> Option<(Pid, Slot)> {
        if self.waiting.is_empty() {
            return None;
        }
        let listener = &connection.identity.listener;
        let binding =
            self.bindings.iter().position(|(name, to)| name == listener && Arc::ptr_eq(to, service))?;
        let handover = write_handover(connection.identity.id, u32::try_from(binding).ok()?);
        while let Some(index) = self.waiting.iter().position(|spare| spare.channel.is_some()) {
            // Who cannot be sent anything is dying, or dead: it is left to be reaped.
            if let Some(channel) = self.waiting[index].channel.take()
                && sys::send_socket(channel.as_fd(), &handover, connection.socket.as_fd()).is_ok()
            {
                let Spare { pid, slot, .. } = self.waiting.swap_remove(index);
                return Some((pid, slot));
            }
        }
        None
    }

    /// Tells all to end, since what they were forked with does not hold any more.
    pub fn retire(&mut self, bindings: Vec<Binding>) {
        for spare in &mut self.waiting {
            spare.channel = None;
        }
        self.bindings = bindings;
        self.resting_until = None;
    }

    /// A process was reaped: gives back the slot of a spare.
    pub fn forget(&mut self, pid: Pid, now: Instant) -> Option<Slot> {
        let index = self.waiting.iter().position(|spare| spare.pid == pid)?;
        let spare = self.waiting.swap_remove(index);
        if spare.channel.is_some() {
            journal::log_warning(
                "a spare has ended before it had a connection; others are forked in a second",
            );
            self.resting_until = Some(now + REST);
        }
        Some(spare.slot)
    }

    /// When the rest is over.
    pub fn next_event(&self) -> Option<Instant> {
        self.resting_until
    }
}
