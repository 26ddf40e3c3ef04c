//! The children: forked, listed by PID, reaped, recorded.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::unistd::{Pid, getpgrp};

use super::orphans::Orphans;
use super::settings::{AdmissionRules, Model, Process};
use super::sources::Sources;
use super::spares::{REST, Spare, Spares};
use crate::child::session::RESPONSE_ROOM;
use crate::child::spare;
use crate::child::work::{Kit, Work};
use crate::child::{self};
use crate::connection::{Connection, Identity};
use crate::http::limits::Limits;
use crate::http::{self, date::Date};
use crate::journal::{self, Record};
use crate::outcome::Outcome;
use crate::outcome::TerminatedBy;
use crate::scoreboard::{Phase, Scoreboard, Slot};
use crate::service::{Protocol, Service};
use crate::sys::{self, Exit, GRACE, Usage};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

/// A process that serves, or is about to serve, one connection.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) identity: Identity,
    pub(super) service: Arc<Service>,
    pub(super) slot: Slot,
    /// This is the intermediate of a double fork; the child proper is named in the slot.
    pub(super) is_intermediate: bool,
    pub(super) terminated_by: Option<TerminatedBy>,
    /// When to act: to end it, or, when it was told to end already, to kill it.
    pub(super) due: Option<Instant>,
}

impl Child {
    fn new(identity: Identity, service: &Arc<Service>, slot: Slot) -> Self {
        let due = service.max_duration.map(|duration| {
            // Whoever speaks HTTP looks at the time itself, and answers.
            let grace = if matches!(service.protocol, Protocol::Http(_)) { GRACE } else { Duration::ZERO };
            identity.accepted_at + duration + grace
        });
        Self {
            identity,
            service: Arc::clone(service),
            slot,
            is_intermediate: false,
            terminated_by: None,
            due,
        }
    }

    /// Sends a signal to the process; where it has become a program, to its group, which is what it has started as well.
    pub(super) fn send(&self, pid: Pid, signal: Signal) {
        let result = match self.service.protocol {
            // No group yet: it has not become the program.
            Protocol::Exec(_) => killpg(pid, signal).or_else(|_| kill(pid, signal)),
            Protocol::Http(_) => kill(pid, signal),
        };
        let _ = result; // gone already: as wanted
    }
}

/// All children, and the scoreboard that they write to.
#[derive(Debug)]
pub struct Children {
    /// In no order, and dense: a hash table would spread few children over many pages, each of which is
    /// a page fault after each fork.
    pub(super) by_pid: Vec<(Pid, Child)>,
    /// Nobody is due before that.
    pub(super) next_due: Option<Instant>,
    pub(super) spares: Spares,
    pub(super) scoreboard: Scoreboard,
    pub(super) mask: SigSet,
    pub(super) date: Date,
    pub(super) buffer: Vec<u8>,
    /// The two ends of one socket, ours and the children's: when ours is closed, they notice that there
    /// shall be no further requests.
    pub(super) drain: (Option<UnixStream>, Option<UnixStream>),
    pub orphans: Orphans,
    pub(super) limits: Limits,
    pub(super) rules: AdmissionRules,
    pub(super) sources: Sources,
    pub(super) process: Process,
    /// Connections whose record has been written.
    recorded: u64,
    /// Processes that programs left behind, and that were reaped here.
    pub(super) strangers: u64,
}

impl Children {
    pub fn new(limits: Limits, process: Process, rules: AdmissionRules) -> io::Result<Self> {
        http::request::warm_up();
        Ok(Self {
            by_pid: Vec::with_capacity(process.max_connections),
            next_due: None,
            spares: Spares::default(),
            scoreboard: Scoreboard::new(process.max_connections + process.spares)?,
            mask: child::signal_mask(),
            date: Date::now(),
            buffer: vec![0; limits.max_head_size + RESPONSE_ROOM],
            drain: (None, None),
            orphans: Orphans::new(),
            limits,
            rules,
            sources: Sources::default(),
            process,
            recorded: 0,
            strangers: 0,
        })
    }

    /// Prepares for children. To be called last, so that theirs is the descriptor before that of their
    /// connection: each gap between descriptors costs a child a system call.
    pub fn open_drain(&mut self) -> io::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        self.drain = (Some(ours), Some(theirs));
        Ok(())
    }

    /// Lets the children know that there shall be no further requests on their connections.
    pub fn drain(&mut self) {
        self.drain.0 = None;
        self.spares.retire(Vec::new());
    }

    /// There is a slot for one more connection.
    pub fn has_room(&self) -> bool {
        self.count() < self.process.max_connections && !self.scoreboard.is_full()
    }

    /// Connections that have a process.
    pub fn count(&self) -> usize {
        self.scoreboard.in_use() - self.spares.count()
    }

    /// Nobody is left: no child, no spare, nothing that a program has left behind.
    pub fn is_alone(&self) -> bool {
        self.scoreboard.in_use() == 0 && self.orphans.is_empty()
    }

    /// When something is to be done for the children by the mere passing of time.
    pub fn next_event(&self) -> Option<Instant> {
        [self.next_due, self.spares.next_event()].into_iter().flatten().min()
    }

    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Gives a connection its process, by the configured model. Needs [`Children::has_room`].
    ///
    /// When there is no process to be had, the connection comes back with the error of fork(2).
    pub fn serve(
        &mut self,
        connection: Connection,
        service: &Arc<Service>,
    ) -> Result<(), (Connection, io::Error)> {
        let is_intermediate = match self.process.model {
            Model::Iterative => {
                self.serve_here(connection, service);
                return Ok(());
            }
            Model::Fork => false,
            Model::DoubleFork => true,
        };
        if let Some((pid, slot)) = self.spares.give(&connection, service) {
            self.add(pid, Child::new(connection.identity, service, slot));
            return Ok(());
        }
        let Some(slot) = self.scoreboard.take() else {
            return Err((connection, io::Error::from_raw_os_error(libc::EAGAIN)));
        };
        let mut work = self.prepare(&connection, service, slot);
        let forked = match is_intermediate {
            false => sys::fork_child(|| child::run(&mut work)),
            true => sys::fork_child(|| fork_again(&mut work)),
        };
        match forked {
            Ok(pid) => {
                let mut child = Child::new(connection.identity, service, slot);
                child.is_intermediate = is_intermediate;
                self.add(pid, child);
                Ok(()) // the parent's copy of the socket is closed here
            }
            Err(error) => {
                self.scoreboard.give_back(slot);
                Err((connection, error))
            }
        }
    }

    fn add(&mut self, pid: Pid, child: Child) {
        self.next_due = [self.next_due, child.due].into_iter().flatten().min();
        self.by_pid.push((pid, child));
    }

    /// Serves in this very process, without a child: the model `iterative`, and a single connection
    /// that was handed in. `None` when there is no slot.
    pub fn serve_here(&mut self, connection: Connection, service: &Arc<Service>) -> Option<Outcome> {
        let slot = self.scoreboard.take()?;
        if let Protocol::Exec(_) = service.protocol {
            return Some(self.run_here(connection, service, slot));
        }
        let before = sys::own_usage();
        let outcome = child::serve(&mut self.prepare(&connection, service, slot));
        let Connection { socket, identity } = connection;
        drop(socket); // the client need not wait for the record
        let child = Child::new(identity, service, slot);
        let usage = sys::own_usage().since(before);
        self.record(&child, Pid::this(), Exit::Exited(outcome.code()), usage);
        Some(outcome)
    }

    /// Runs a program for a connection and waits for its end: becoming it would leave nobody to write the
    /// record.
    fn run_here(&mut self, connection: Connection, service: &Arc<Service>, slot: Slot) -> Outcome {
        let mut work = self.prepare(&connection, service, slot);
        let forked = sys::fork_child(|| child::run(&mut work));
        let Connection { socket, identity } = connection;
        drop(socket);
        let mut child = Child::new(identity, service, slot);
        let (pid, exit, usage) = match forked.and_then(|pid| child.wait_for_end(pid)) {
            Ok(end) => end,
            Err(error) => {
                journal::log_warning(&format!("{}: unable to run its program: {error}", child.identity.peer));
                (Pid::this(), Exit::Exited(Outcome::SystemError.code()), Usage::default())
            }
        };
        self.record(&child, pid, exit, usage);
        match exit {
            Exit::Exited(0) => Outcome::Served,
            _ => Outcome::HandlerError,
        }
    }

    fn prepare<'a>(&'a mut self, connection: &'a Connection, service: &'a Service, slot: Slot) -> Work<'a> {
        self.date.refresh();
        Work {
            connection,
            service,
            kit: Kit {
                limits: &self.limits,
                drain: self.drain.1.as_ref().map(AsFd::as_fd),
                slot,
                mask: self.mask,
                date: &mut self.date,
                buffer: &mut self.buffer,
            },
        }
    }

    /// Reaps every child that has ended, and writes its record. One SIGCHLD may stand for many.
    pub fn reap(&mut self) -> io::Result<()> {
        while let Some((pid, exit, usage)) = sys::reap_one()? {
            let Some(index) = self.by_pid.iter().position(|&(listed, _)| listed == pid) else {
                match self.spares.forget(pid, Instant::now()) {
                    Some(slot) => self.scoreboard.give_back(slot),
                    // A stranger (a program's grandchild that came to us) decides nothing.
                    None => self.strangers += 1,
                }
                continue;
            };
            let (_, child) = self.by_pid.swap_remove(index);
            if child.is_intermediate {
                self.adopt(child, pid, exit, usage);
            } else {
                self.record(&child, pid, exit, usage);
            }
        }
        Ok(())
    }

    /// The intermediate of a double fork has ended: from now on its child is ours. The kernel gave it to
    /// us in the moment in which the intermediate became reapable, so that it cannot have been reaped.
    fn adopt(&mut self, mut child: Child, intermediate: Pid, exit: Exit, usage: Usage) {
        // Only a child of ours that has no connection yet: a slot may say anything.
        let is_new = |pid: &Pid| sys::is_own_child(*pid) && !self.is_listed(*pid);
        let named = child.slot.child().map(Pid::from_raw).filter(is_new);
        let Some(pid) = named else {
            self.record(&child, intermediate, exit, usage);
            return;
        };
        child.is_intermediate = false;
        if child.terminated_by.is_some() {
            child.send(pid, Signal::SIGKILL);
        }
        self.add(pid, child);
    }

    fn record(&mut self, child: &Child, pid: Pid, exit: Exit, usage: Usage) {
        let told = child.slot.read();
        let phase = told.phase;
        // A program that the child has become has exit codes of its own.
        let is_program = matches!(child.service.protocol, Protocol::Exec(_)) && told.phase == Phase::Program;
        let group = if is_program { Some(pid) } else { child.slot.group().map(Pid::from_raw) };
        let group = group.filter(|&group| group != getpgrp() && !self.is_listed(group));
        let left_behind = group.is_some_and(|group| self.orphans.end(group, Instant::now()));
        let rlimits = &child.service.rlimits;
        journal::record_connection(&Record {
            identity: &child.identity,
            service: &child.service.name,
            handler: child.service.handler_name(told.route),
            is_program,
            pid: pid.as_raw(),
            exit,
            terminated_by: child.terminated_by,
            left_behind,
            limit: rlimits.find_cause(exit, told.program, usage).filter(|_| child.terminated_by.is_none()),
            usage,
            wall: child.identity.accepted_at.elapsed(),
            told,
        });
        self.scoreboard.give_back(child.slot);
        self.recorded += 1;
        if !is_program && let Exit::Exited(code) = exit {
            self.note_verdict(&child.identity.peer, Outcome::from_code(code), phase);
        }
    }

    fn is_listed(&self, pid: Pid) -> bool {
        self.by_pid.iter().any(|&(listed, _)| listed == pid)
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
                        journal::log_warning(&format!(
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
        let spare = spare::Spare {
            channel: theirs.as_fd(),
            bindings: &self.spares.bindings,
            kit: Kit {
                limits: &self.limits,
                drain: self.drain.1.as_ref().map(AsFd::as_fd),
                slot,
                mask: self.mask,
                date: &mut self.date,
                buffer: &mut self.buffer,
            },
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

/// The intermediate of a double fork: forks the child proper, which names itself in the slot, and ends. The
/// child becomes the parent's by adoption (`PR_SET_CHILD_SUBREAPER`), or lives on alone when the parent dies.
///
/// When there is no second process to be had, the first is one: it serves the connection itself.
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
