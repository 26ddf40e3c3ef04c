//! Hands a connection over to a process: a spare that waits for one, or a child that is forked now. Whatever the
//! way, the answer is the pid of a child, or the connection with the error of fork(2).

use std::io;
use std::sync::Arc;
use std::time::Instant;

use nix::unistd::Pid;

use super::children::Child;
use super::settings::{Model, Process};
use super::spares::Spares;
use super::supplies::Supplies;
use crate::child;
use crate::child::in_place::{self, End};
use crate::child::spare::Binding;
use crate::child::work::Work;
use crate::connection::Connection;
use crate::http::limits::Limits;
use crate::http::request;
use crate::outcome::Outcome;
use crate::scoreboard::{Scoreboard, Slot};
use crate::service::Service;
use crate::sys;

/// What became of a handover.
#[derive(Debug)]
pub(crate) enum Handover {
    /// A child serves the connection; the supervisor's copy of the socket is closed.
    Started(Pid, Child),
    /// There was no process: the connection is the supervisor's again.
    Failed { connection: Connection, service: Arc<Service>, error: io::Error },
}

/// Starts children, and owns what they start with.
#[derive(Debug)]
pub(crate) struct Launcher {
    model: Model,
    scoreboard: Scoreboard,
    spares: Spares,
    supplies: Supplies,
}

impl Launcher {
    /// # Errors
    /// Those of mmap(2), for the scoreboard.
    pub(crate) fn new(limits: Limits, process: &Process) -> io::Result<Self> {
        request::warm_up();
        Ok(Self {
            model: process.model,
            scoreboard: Scoreboard::new(process.max_connections + process.spares)?,
            spares: Spares::new(process),
            supplies: Supplies::new(limits),
        })
    }

    /// Prepares for children. To be called last, so that their end of the drain's socket is the descriptor before
    /// that of their connection: each gap between descriptors costs a child a system call.
    pub(crate) fn open_drain(&mut self) -> io::Result<()> {
        self.supplies.open_drain()
    }

    /// Lets the children know that no further requests may begin on their connections.
    pub(crate) fn drain(&mut self) {
        self.supplies.drain();
        self.spares.retire(Vec::new());
    }

    /// What holds from the next fork on. The process model stays.
    ///
    /// # Errors
    /// Those of mmap(2), for a larger scoreboard; nothing has changed then.
    pub(crate) fn reconfigure(&mut self, limits: Limits, process: &Process) -> io::Result<()> {
        self.scoreboard.resize(process.max_connections + process.spares)?;
        self.spares.set_target(process);
        self.supplies.set_limits(limits);
        Ok(())
    }

    /// Sets where connections may come from. Spares that were forked with others exit.
    pub(crate) fn set_bindings(&mut self, bindings: Vec<Binding>) {
        self.spares.retire(bindings);
    }

    pub(crate) fn has_slot(&self) -> bool {
        !self.scoreboard.is_full()
    }

    /// Children that wait for a connection.
    pub(crate) fn count_spares(&self) -> usize {
        self.spares.count()
    }

    /// Gives a connection its process. Needs [`Self::has_slot`].
    pub(crate) fn hand_over(&mut self, connection: Connection, service: Arc<Service>) -> Handover {
        if let Some((pid, slot)) = self.spares.give(&connection, &service) {
            return Handover::Started(pid, Child::new(connection.identity, &service, slot));
        }
        let Some(slot) = self.scoreboard.take() else {
            let error = io::Error::from_raw_os_error(libc::EAGAIN);
            return Handover::Failed { connection, service, error };
        };
        let mut work = Work { connection: &connection, service: &service, kit: self.supplies.kit(slot) };
        let is_double = self.model == Model::DoubleFork;
        let forked = match is_double {
            false => sys::fork_child(|| child::run(&mut work)),
            true => sys::fork_child(|| fork_again(&mut work)),
        };
        match forked {
            Ok(pid) if is_double => {
                Handover::Started(pid, Child::new_intermediate(connection.identity, &service, slot))
            }
            Ok(pid) => Handover::Started(pid, Child::new(connection.identity, &service, slot)),
            Err(error) => {
                self.scoreboard.give_back(slot);
                Handover::Failed { connection, service, error }
            }
        }
    }

    /// Serves a connection in this very process, without a child that is the supervisor's: the model `iterative`, and
    /// a single connection that was handed in. Needs [`Self::has_slot`].
    pub(crate) fn serve_in_place(&mut self, connection: Connection, service: &Arc<Service>) -> (Child, End) {
        let slot = self.scoreboard.take().unwrap_or_else(|| unreachable!("callers check `has_slot`"));
        let mut work = Work { connection: &connection, service, kit: self.supplies.kit(slot) };
        let end = in_place::serve(&mut work);
        let Connection { socket, identity } = connection;
        drop(socket); // the client need not wait for the record
        let mut child = Child::new(identity, service, slot);
        child.set_terminated_by(end.terminated_by);
        (child, end)
    }

    /// Forks spares up to `process.spares`.
    pub(crate) fn refill_spares(&mut self, now: Instant) {
        if self.model == Model::Fork {
            self.spares.refill(&mut self.scoreboard, &mut self.supplies, now);
        }
    }

    /// Whether the process that has exited was a spare without a connection.
    pub(crate) fn forget_spare(&mut self, pid: Pid, now: Instant) -> bool {
        let slot = self.spares.forget(pid, now);
        if let Some(slot) = slot {
            self.scoreboard.give_back(slot);
        }
        slot.is_some()
    }

    /// Takes back the slot of a child whose record is written.
    pub(crate) fn release(&mut self, slot: Slot) {
        self.scoreboard.give_back(slot);
    }

    /// When spares can be forked again.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        self.spares.next_event()
    }
}

/// The intermediate of a double fork: forks the child proper, which names itself in the slot, and exits. The child
/// becomes the supervisor's by adoption (PR_SET_CHILD_SUBREAPER(2const)), or lives on alone when the supervisor dies.
///
/// When a second process cannot be forked, this one serves the connection itself.
fn fork_again(work: &mut Work<'_>) -> u8 {
    let slot = work.kit.slot;
    let mut serve = || {
        slot.set_child(Pid::this().as_raw());
        child::run(work)
    };
    match sys::fork_child(&mut serve) {
        Ok(pid) => {
            slot.set_child(pid.as_raw());
            Outcome::Served.code()
        }
        Err(_) => serve(),
    }
}
