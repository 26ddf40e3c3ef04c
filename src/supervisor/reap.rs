//! Reaping: a process that has exited is waited for, joined with its slot and its resource usage, and recorded. It is known
//! by its pidfd, so that the cost does not grow with the number of processes. What it has left behind is found.

use std::time::Instant;

use nix::unistd::{Pid, getsid};

use super::children::Child;
use super::connections::Connections;
use crate::child::in_place::End;
use crate::journal::{self, Record};
use crate::outcome::Outcome;
use crate::scoreboard::Phase;
use crate::service::{Leftover, Protocol};
use crate::sys::{self, Exit, Usage};

impl Connections {
    /// The child with this slot may have exited: reaps and records it.
    pub(super) fn reap_child(&mut self, slot: u32, now: Instant) {
        let Some(pid) = self.children.get(slot).and_then(Child::pid) else { return };
        let (exit, usage) = match sys::reap(pid) {
            Ok(None) => return,
            Ok(Some(end)) => end,
            // It has been reaped elsewhere, which should not happen: its record must not be lost.
            Err(_) => (Exit::Unknown, Usage::default()),
        };
        if let Some(child) = self.children.remove(slot) {
            self.end_child(&child, pid, exit, usage, now);
        }
    }

    /// A child is reaped: records it, and takes back what it had.
    pub(super) fn end_child(&mut self, child: &Child, pid: Pid, exit: Exit, usage: Usage, now: Instant) {
        let has_orphans =
            child.service().can_leave_orphans() && self.find_orphans(child.service().leftover, now);
        self.record(child, pid, exit, usage, has_orphans);
        self.launcher.release(child.slot(), !self.orphans.is_idle());
    }

    /// A fork server, a spare or an orphan may have exited.
    pub(super) fn reap_process(&mut self, pid: Pid, now: Instant) {
        if let Some(is_kept) = self.orphans.reap(pid) {
            self.find_orphans(if is_kept { Leftover::Keep } else { Leftover::End }, now);
            if self.orphans.is_idle() {
                self.launcher.release_withheld();
            }
        } else {
            self.launcher.fork_servers.reap(pid, now);
            self.launcher.fork_servers.forget_ended();
        }
    }

    /// Finds the processes that connections have left behind. True: there are some that run, and they are terminated.
    fn find_orphans(&mut self, leftover: Leftover, now: Instant) -> bool {
        let mut is_left = false;
        loop {
            let unknown = self.list_unknown(now);
            if unknown.is_empty() {
                return is_left && leftover == Leftover::End;
            }
            for pid in unknown {
                // What one has started that has exited is found in the next round.
                is_left |= self.orphans.add(pid, leftover == Leftover::Keep, &self.events, now);
            }
        }
    }

    /// The children of this process that are neither known nor about to report.
    fn list_unknown(&mut self, now: Instant) -> Vec<Pid> {
        let Self { orphans, children, launcher, .. } = self;
        let is_known = |pid| children.contains(pid) || launcher.fork_servers.contains(pid);
        // Without a list from the kernel the processes stay until the daemon stops.
        let mut unknown = orphans.list_unknown(is_known).unwrap_or_default();
        // A child that has not reported yet is in the session of its fork server. It reports before it leaves that session,
        // so that the report of a child that has left is here.
        let is_starting =
            |&pid: &Pid| getsid(Some(pid)).is_ok_and(|session| launcher.fork_servers.has_session(session));
        unknown.retain(|pid| !is_starting(pid));
        if unknown.is_empty() {
            return unknown;
        }
        self.receive_all_reports(now);
        let Self { children, launcher, .. } = self;
        unknown.retain(|&pid| !children.contains(pid) && !launcher.fork_servers.contains(pid));
        unknown
    }

    /// Writes the record of a connection that this process has served itself.
    pub(super) fn record_in_place(&mut self, child: &Child, end: &End) {
        self.record(child, end.pid, end.exit, end.usage, false);
    }

    fn record(&mut self, child: &Child, pid: Pid, exit: Exit, usage: Usage, has_orphans: bool) {
        let snapshot = child.slot().read();
        let phase = snapshot.phase;
        let (identity, service) = (child.identity(), child.service());
        // A program that the child has become has exit codes of its own.
        let is_program = matches!(service.protocol, Protocol::Exec(_)) && phase == Phase::Program;
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
            gaps: child.gaps(),
            limit: limit.filter(|_| child.terminated_by().is_none()),
            usage,
            duration: identity.accepted_at.elapsed(),
            snapshot,
        });
        self.recorded += 1;
        if let Exit::Exited(code) = exit
            && let Some(outcome) = Outcome::from_code(code).filter(|_| !is_program)
        {
            self.admission.record_outcome(&identity.peer, outcome, phase, Instant::now());
        }
    }
}
