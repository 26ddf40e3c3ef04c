//! Spares: children that are forked ahead of their connections. Each has a socket that brings it one connection;
//! when that is closed, the spare exits.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;

use super::settings::Process;
use crate::child::spare::{Binding, serve_when_handed_over, write_handover};
use crate::child::supplies::Supplies;
use crate::connection::Connection;
use crate::journal;
use crate::scoreboard::{Scoreboard, Slot};
use crate::service::Service;
use crate::sys;

/// Pause after a spare could not be forked, or has died without a connection.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Spare {
    pid: Pid,
    slot: Slot,
    /// None: closed, because no connection will come.
    channel: Option<OwnedFd>,
}

/// The spares, and the bindings that they were forked with.
#[derive(Debug)]
pub(crate) struct Spares {
    /// How many should wait.
    target: usize,
    waiting: Vec<Spare>,
    bindings: Vec<Binding>,
    paused_until: Option<Instant>,
    /// The last one could not be forked.
    is_short: bool,
}

impl Spares {
    pub(crate) fn new(process: &Process) -> Self {
        let (waiting, bindings) = (Vec::new(), Vec::new());
        Self { target: process.spares, waiting, bindings, paused_until: None, is_short: false }
    }

    pub(crate) fn set_target(&mut self, process: &Process) {
        self.target = process.spares;
    }

    /// Processes without a connection.
    pub(crate) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Hands the connection over to a spare, if one waits that knows its binding.
    pub(crate) fn give(&mut self, connection: &Connection, service: &Arc<Service>) -> Option<(Pid, Slot)> {
        if self.waiting.is_empty() {
            return None;
        }
        let listener = &connection.identity.listener;
        let is_its = |(name, to): &Binding| name == listener && Arc::ptr_eq(to, service);
        let binding = u32::try_from(self.bindings.iter().position(is_its)?).ok()?;
        let message = write_handover(connection.identity.id, binding);
        while let Some(index) = self.waiting.iter().position(|spare| spare.channel.is_some()) {
            // A spare that takes no message is dying, or dead: it is left to be reaped.
            if let Some(channel) = self.waiting[index].channel.take()
                && sys::send_fd(channel.as_fd(), &message, connection.socket.as_fd()).is_ok()
            {
                let Spare { pid, slot, .. } = self.waiting.swap_remove(index);
                return Some((pid, slot));
            }
        }
        None
    }

    /// Lets all exit, since what they were forked with does not hold any more.
    pub(crate) fn retire(&mut self, bindings: Vec<Binding>) {
        for spare in &mut self.waiting {
            spare.channel = None;
        }
        self.bindings = bindings;
        self.paused_until = None;
    }

    /// Kills all. A spare that was retired exits by itself, unless something keeps it from running.
    pub(crate) fn kill_all(&self) {
        for spare in &self.waiting {
            let _ = kill(spare.pid, Signal::SIGKILL); // it has exited already
        }
    }

    /// The slot of the spare with that pid, which has exited.
    pub(crate) fn forget(&mut self, pid: Pid, now: Instant) -> Option<Slot> {
        let index = self.waiting.iter().position(|spare| spare.pid == pid)?;
        let spare = self.waiting.swap_remove(index);
        if spare.channel.is_some() {
            journal::log_warning("a spare child exited before it got a connection; retrying in 1s");
            self.paused_until = Some(now + PAUSE);
        }
        Some(spare.slot)
    }

    /// Forks spares until enough wait, or no slot is free: the exit of a child makes room.
    pub(crate) fn refill(&mut self, scoreboard: &mut Scoreboard, supplies: &mut Supplies, now: Instant) {
        self.paused_until.take_if(|until| now >= *until);
        while self.paused_until.is_none() && self.count() < self.target {
            let Some(slot) = scoreboard.take() else { return };
            match self.fork(slot, supplies) {
                Ok(()) => self.is_short = false,
                Err(error) => {
                    scoreboard.give_back(slot);
                    self.paused_until = Some(now + PAUSE);
                    if !std::mem::replace(&mut self.is_short, true) {
                        let sentence =
                            format!("unable to fork spare children: {error}; retrying every second");
                        journal::log_warning(&sentence);
                    }
                }
            }
        }
    }

    fn fork(&mut self, slot: Slot, supplies: &mut Supplies) -> io::Result<()> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let (kit, bindings) = (supplies.kit(slot), &self.bindings);
        let pid = sys::fork_child(|| serve_when_handed_over(theirs.as_fd(), bindings, kit))?;
        self.waiting.push(Spare { pid, slot, channel: Some(ours) });
        Ok(())
    }

    /// When the pause is over.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        self.paused_until
    }
}
