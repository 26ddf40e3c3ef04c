//! Hands a connection over to a process and hears its pid: a spare that waits for one, or a child that is forked now. The
//! supervisor keeps its copy of the connection until then, so that a handover that fails loses nothing.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use nix::unistd::Pid;

use super::children::Child;
use super::settings::{Model, Process};
use super::spares::Spares;
use crate::child;
use crate::child::in_place::{self, End};
use crate::child::spare::Binding;
use crate::child::supplies::{ChildSettings, Supplies};
use crate::child::work::Work;
use crate::connection::Connection;
use crate::outcome::Outcome;
use crate::scoreboard::{Scoreboard, Slot};
use crate::service::Service;
use crate::sys;

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
    pub(crate) fn new(children: ChildSettings, process: &Process) -> io::Result<Self> {
        Ok(Self {
            model: process.model,
            scoreboard: Scoreboard::new(process.max_connections + process.spares)?,
            spares: Spares::new(process),
            supplies: Supplies::new(children),
        })
    }

    /// Prepares for children. To be called last, so that their end of the drain's socket is the descriptor before
    /// that of their connection: each gap between descriptors costs a child a system call.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub(crate) fn open_drain(&mut self) -> io::Result<()> {
        self.supplies.open_drain()
    }

    /// Signals the children to begin no further requests on their connections.
    pub(crate) fn drain(&mut self) {
        self.supplies.drain();
        self.spares.retire(Vec::new());
    }

    /// What holds from the next fork on. The process model stays.
    ///
    /// # Errors
    /// Those of mmap(2), for a larger scoreboard; nothing has changed then.
    pub(crate) fn reconfigure(&mut self, children: ChildSettings, process: &Process) -> io::Result<()> {
        self.scoreboard.resize(process.max_connections + process.spares)?;
        self.spares.set_target(process);
        self.supplies.reconfigure(children);
        Ok(())
    }

    /// Sets where connections may come from. Spares that were forked with others exit.
    pub(crate) fn set_bindings(&mut self, bindings: Vec<Binding>) {
        self.spares.retire(bindings);
    }

    pub(crate) fn has_slot(&self) -> bool {
        !self.scoreboard.is_full()
    }

    /// Connections are served in this process: the model `iterative`.
    pub(crate) fn serves_in_place(&self) -> bool {
        self.model == Model::Iterative
    }

    /// Children that wait for a connection.
    pub(crate) fn count_spares(&self) -> usize {
        self.spares.count()
    }

    /// Gives a connection its process. Needs [`Self::has_slot`].
    ///
    /// # Errors
    /// Those of fork(2).
    pub(crate) fn hand_over(
        &mut self,
        connection: &Connection,
        service: &Arc<Service>,
    ) -> io::Result<(Pid, Child)> {
        let identity = &connection.identity;
        if let Some((pid, slot)) = self.spares.give(connection, service) {
            return Ok((pid, Child::new(identity.clone(), service, slot)));
        }
        let Some(slot) = self.scoreboard.take() else {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        };
        let mut work = Work { connection, service, kit: self.supplies.kit(slot) };
        let forked = match self.model {
            Model::Fork | Model::Iterative => sys::fork_child(|| child::run(&mut work))
                .map(|pid| (pid, Child::new(identity.clone(), service, slot))),
            Model::DoubleFork => sys::fork_child(|| fork_again(&mut work))
                .map(|pid| (pid, Child::new_intermediate(identity.clone(), service, slot))),
        };
        forked.inspect_err(|_| self.scoreboard.give_back(slot))
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

    /// Kills the spares.
    pub(crate) fn kill_spares(&self) {
        self.spares.kill_all();
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
