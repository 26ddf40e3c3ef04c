//! Spares: children that are forked ahead of their connections. Each has a socket by which it gets one
//! connection; when that is closed, it ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;

use super::children::Children;
use crate::child::spare::{self, Way, write_order};
use crate::config::Model;
use crate::connection::Connection;
use crate::handler::Service;
use crate::journal;
use crate::scoreboard::Slot;
use crate::sys;

/// Rest after a spare could not be forked, or has died of its own.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Spare {
    pid: Pid,
    slot: &'static Slot,
    /// None: it was told that no connection will come.
    channel: Option<OwnedFd>,
}

/// The spares, and what they may be sent.
#[derive(Debug, Default)]
pub struct Spares {
    waiting: Vec<Spare>,
    /// Listeners and where they lead to, as when the spares were forked.
    ways: Vec<Way>,
    resting_until: Option<Instant>,
    /// The last one could not be forked.
    is_short: bool,
}

impl Spares {
    /// Processes without a connection.
    pub fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Gives the connection to a spare, if there is one that knows the way.
    pub fn give(&mut self, connection: &Connection, service: &Arc<Service>) -> Option<(Pid, &'static Slot)> {
        if self.waiting.is_empty() {
            return None;
        }
        let listener = &connection.identity.listener;
        let way = self.ways.iter().position(|(name, to)| name == listener && Arc::ptr_eq(to, service))?;
        let order = write_order(connection.identity.id, u32::try_from(way).ok()?);
        while let Some(index) = self.waiting.iter().position(|spare| spare.channel.is_some()) {
            // Who cannot be sent anything is dying, or dead: it is left to be reaped.
            if let Some(channel) = self.waiting[index].channel.take()
                && sys::send_socket(channel.as_fd(), &order, connection.socket.as_fd()).is_ok()
            {
                let Spare { pid, slot, .. } = self.waiting.swap_remove(index);
                return Some((pid, slot));
            }
        }
        None
    }

    /// Tells all to end, since what they were forked with does not hold any more.
    pub fn retire(&mut self, ways: Vec<Way>) {
        for spare in &mut self.waiting {
            spare.channel = None;
        }
        self.ways = ways;
        self.resting_until = None;
    }

    /// A process was reaped: gives back the slot of a spare.
    pub fn forget(&mut self, pid: Pid, now: Instant) -> Option<&'static Slot> {
        let index = self.waiting.iter().position(|spare| spare.pid == pid)?;
        let spare = self.waiting.swap_remove(index);
        if spare.channel.is_some() {
            journal::note_warning(
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

impl Children {
    /// Forks as many spares as there shall be.
    pub fn refill_spares(&mut self, now: Instant) {
        if self.process.model != Model::Fork {
            return;
        }
        self.spares.resting_until.take_if(|until| now >= *until);
        while self.spares.resting_until.is_none() && self.spares.count() < self.process.spares {
            match self.fork_spare() {
                Ok(true) => self.spares.is_short = false,
                Ok(false) => return, // every slot is in use: a child's end makes room
                Err(error) => {
                    self.spares.resting_until = Some(now + REST);
                    if !std::mem::replace(&mut self.spares.is_short, true) {
                        journal::note_warning(&format!(
                            "unable to fork spares: {error}; tried again each second"
                        ));
                    }
                }
            }
        }
    }

    /// False: there is no slot for it.
    fn fork_spare(&mut self) -> io::Result<bool> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let Some(slot) = self.scoreboard.take() else { return Ok(false) };
        let mut spare = spare::Spare {
            channel: theirs.as_fd(),
            ways: &self.spares.ways,
            limits: &self.limits,
            drain: self.drain.1.as_ref().map(AsFd::as_fd),
            slot,
            mask: self.mask,
            date: &mut self.date,
            buffer: &mut self.buffer,
        };
        match sys::fork_child(|| spare.run()) {
            Ok(pid) => {
                self.spares.waiting.push(Spare { pid, slot, channel: Some(ours) });
                Ok(true)
            }
            Err(error) => {
                self.scoreboard.give_back(slot);
                Err(error)
            }
        }
    }
}
