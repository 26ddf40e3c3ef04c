//! Reaping: what has exited is waited for, joined with its slot and its resource usage, and recorded.

use std::io;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgrp};

use super::admission::Admission;
use super::children::{Child, Children};
use super::handover::Launcher;
use super::orphans::Orphans;
use crate::child::in_place::End;
use crate::journal::{self, Record};
use crate::outcome::Outcome;
use crate::scoreboard::Phase;
use crate::service::Protocol;
use crate::sys::{self, Exit, Usage};

/// Turns processes that have exited into records.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    orphans: Orphans,
    /// Connections whose record is written.
    recorded: u64,
    /// Orphaned processes that were reaped here.
    orphans_reaped: u64,
}

impl Reaper {
    /// Connections whose record is written.
    pub(crate) fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Orphaned processes that were reaped.
    pub(crate) fn orphans_reaped(&self) -> u64 {
        self.orphans_reaped
    }

    /// Sends orphaned processes the signals that are due.
    pub(crate) fn refresh(&mut self, now: Instant) {
        self.orphans.refresh(now);
    }

    /// Kills all orphaned processes.
    pub(crate) fn kill_all(&mut self, now: Instant) {
        self.orphans.kill_all(now);
    }

    /// No orphaned process runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.orphans.is_empty()
    }

    /// When orphaned processes get a signal.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        self.orphans.next_event()
    }

    /// Reaps every process that has exited, and writes the records of those that were children. One SIGCHLD may stand
    /// for many.
    ///
    /// # Errors
    /// Those of wait4(2).
    pub(crate) fn reap(
        &mut self,
        children: &mut Children,
        launcher: &mut Launcher,
        admission: &mut Admission,
    ) -> io::Result<()> {
        while let Some((pid, exit, usage)) = sys::reap_one()? {
            let Some(child) = children.remove(pid) else {
                // What is neither child nor spare is a program's orphan that came to the subreaper.
                if !launcher.forget_spare(pid, Instant::now()) {
                    self.orphans_reaped += 1;
                }
                continue;
            };
            if let Some(proper) = find_proper_child(&child, children) {
                let is_terminated = child.terminated_by().is_some();
                let child = child.into_proper();
                if is_terminated {
                    child.send(proper, Signal::SIGKILL);
                }
                children.add(proper, child);
            } else {
                self.record(&child, (pid, exit, usage), children, admission);
                launcher.release(child.slot());
            }
        }
        Ok(())
    }

    /// Writes the record of a connection that this process has served itself.
    pub(crate) fn record_in_place(
        &mut self,
        child: &Child,
        end: &End,
        children: &Children,
        admission: &mut Admission,
    ) {
        self.record(child, (end.pid, end.exit, end.usage), children, admission);
    }

    fn record(
        &mut self,
        child: &Child,
        (pid, exit, usage): (Pid, Exit, Usage),
        children: &Children,
        admission: &mut Admission,
    ) {
        let snapshot = child.slot().read();
        let phase = snapshot.phase;
        let (identity, service) = (child.identity(), child.service());
        // A program that the child has become has exit codes of its own.
        let is_program = matches!(service.protocol, Protocol::Exec(_)) && phase == Phase::Program;
        let group = if is_program { Some(pid) } else { child.slot().group().map(Pid::from_raw) };
        let group = group.filter(|&group| group != getpgrp() && !children.contains(group));
        let has_orphans = group.is_some_and(|group| self.orphans.terminate(group, Instant::now()));
        let limit = service.rlimits.find_cause(exit, snapshot.program, usage);
        journal::record_connection(&Record {
            identity,
            service: &service.name,
            handler: service.handler_name(snapshot.route),
            is_program,
            pid: pid.as_raw(),
            exit,
            terminated_by: child.terminated_by(),
            has_orphans,
            limit: limit.filter(|_| child.terminated_by().is_none()),
            usage,
            duration: identity.accepted_at.elapsed(),
            snapshot,
        });
        self.recorded += 1;
        if let Exit::Exited(code) = exit
            && let Some(outcome) = Outcome::from_code(code).filter(|_| !is_program)
        {
            admission.record_outcome(&identity.peer, outcome, phase, Instant::now());
        }
    }
}

/// The child whose intermediate has exited: a child of the supervisor from now on. The kernel gave it to the supervisor,
/// a subreaper, when the intermediate became reapable, so that it cannot have been reaped. A slot may hold anything:
/// only a child of this process that has no connection yet is accepted.
fn find_proper_child(intermediate: &Child, children: &Children) -> Option<Pid> {
    let named = intermediate.slot().child().filter(|_| intermediate.is_intermediate()).map(Pid::from_raw);
    named.filter(|&pid| sys::is_own_child(pid) && !children.contains(pid))
}
