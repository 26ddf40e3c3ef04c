//! Reaping: a process that has exited is waited for, joined with its slot and its resource usage, and recorded. It is known
//! by its pidfd, so that the cost does not grow with the number of processes. What it has left behind is found.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use nix::unistd::{Pid, getsid};

use super::admission::Ending;
use super::child::Child;
use super::connections::Connections;
use super::events::Event;
use super::orphans::Found;
use crate::child::in_place::End;
use crate::handover::leftovers;
use crate::journal::{self, Record, RefusalNote};
use crate::outcome::Outcome;
use crate::scoreboard::Phase;
use crate::sys::{self, Exit, Usage};

/// Between two tries to reap a process that is traced.
const RETRY: Duration = Duration::from_millis(100);
/// How often the children of this process are listed for one that has ended.
const WALKS: usize = 8;

impl Connections {
    /// The child with this slot may have exited: reaps and records it.
    pub(super) fn reap_child(&mut self, slot: u32, now: Instant) {
        if let Some((server, spare)) =
            self.children.get(slot).and_then(|child| child.awaited_of().zip(child.spare()))
        {
            let pid = spare.pid;
            // It may have started, and ended, before its report was read.
            self.receive_reports(server, now);
            let is_awaited =
                self.children.get(slot).and_then(Child::spare).is_some_and(|spare| spare.pid == pid);
            if is_awaited && !matches!(sys::reap(pid), Ok(None)) {
                // A spare that has died without its connection.
                if let Some(child) = self.children.take_awaited(slot, server) {
                    self.start_again(child, now);
                }
                return;
            }
        }
        let Some((pid, server)) = self.children.get(slot).and_then(|child| child.pid().zip(child.server()))
        else {
            return;
        };
        let (exit, usage) = match sys::reap(pid) {
            Ok(None) => return self.reap_later(Event::Child(slot), now),
            Ok(Some(end)) => end,
            // It has been reaped elsewhere, which should not happen: its record must not be lost.
            Err(_) => (Exit::Unknown, Usage::default()),
        };
        self.receive_last_messages(server, now);
        self.read_last_output(server, pid, now);
        if let Some(child) = self.children.remove(slot) {
            self.end_child(&child, pid, exit, usage, now);
        }
    }

    /// A child is reaped: records it, and takes back what it had.
    pub(super) fn end_child(&mut self, child: &Child, pid: Pid, exit: Exit, usage: Usage, now: Instant) {
        let service = child.service();
        let has_orphans = service.can_leave_orphans() && self.find_orphans(now);
        self.record(child, pid, exit, usage, has_orphans);
        // A copy of an HTTP child has its slot mapped. A program has not.
        self.launcher.release(child.slot(), has_orphans && !service.is_program());
    }

    /// A fork server, a spare, an orphan or a writer of access lines may have exited.
    pub(super) fn reap_process(&mut self, pid: Pid, now: Instant) {
        if self.orphans.contains(pid) {
            match self.orphans.reap(pid) {
                true => {
                    self.find_orphans(now);
                }
                false => self.reap_later(Event::Process(pid), now),
            }
            return;
        }
        if self.access_log.pids().any(|writer| writer == pid) {
            if !self.access_log.reap(pid, now) {
                self.reap_later(Event::Process(pid), now);
            }
            return;
        }
        if let Some(server) = self.launcher.fork_servers.find_process(pid) {
            self.receive_reports(server, now); // why it has exited
        }
        match self.launcher.fork_servers.reap(pid, now) {
            true => self.forget_fork_servers(now),
            false => self.reap_later(Event::Process(pid), now),
        }
    }

    /// A process has exited and cannot be reaped yet, since another one traces it (ptrace(2)).
    fn reap_later(&mut self, event: Event, now: Instant) {
        self.unreaped.push((event, now + RETRY));
    }

    /// Tries again to reap what could not be reaped.
    pub(super) fn reap_again(&mut self, now: Instant) {
        let due = self.unreaped.iter().filter(|(_, at)| now >= *at).map(|&(event, _)| event).collect();
        self.unreaped.retain(|(_, at)| now < *at);
        self.act_on_events(due, now);
    }

    /// Forgets fork servers of which nothing exists any more. A child of theirs may have died before it could report.
    pub(super) fn forget_fork_servers(&mut self, now: Instant) {
        if self.launcher.fork_servers.forget_ended() {
            self.find_orphans(now);
        }
    }

    /// Finds the processes that connections have left behind. True: there are some that run, and they are terminated.
    pub(super) fn find_orphans(&mut self, now: Instant) -> bool {
        if !self.orphans.begin_walk(self.children.count(), now) {
            return false;
        }
        let mut are_ending = false;
        for _ in 0..WALKS {
            let mut has_exited = false;
            for pid in self.list_unknown(now) {
                match self.orphans.add(pid, leftovers::may_live(pid), &self.events, now) {
                    Found::Exited => has_exited = true,
                    Found::Ending => are_ending = true,
                    Found::Kept => {}
                }
            }
            // What an exited one has started is the supervisor's now.
            if !has_exited {
                return are_ending;
            }
        }
        // Processes that fork and exit, one after another.
        self.orphans.put_off_walk(now);
        are_ending
    }

    /// The children of this process that are neither known nor about to report.
    fn list_unknown(&mut self, now: Instant) -> Vec<Pid> {
        // Without a list from the kernel the processes stay until the daemon stops.
        let mut unknown = self.orphans.list_children().unwrap_or_default();
        self.retain_unknown(&mut unknown);
        // A child that has not reported yet is in the session of its fork server. It reports before it leaves that session,
        // so that the report of a child that has left is here.
        let fork_servers = &self.launcher.fork_servers;
        let is_starting =
            |&pid: &Pid| getsid(Some(pid)).is_ok_and(|session| fork_servers.has_session(session));
        unknown.retain(|pid| !is_starting(pid));
        if !unknown.is_empty() {
            self.receive_all_reports(now);
            self.retain_unknown(&mut unknown);
        }
        unknown
    }

    pub(super) fn retain_unknown(&self, pids: &mut Vec<Pid>) {
        let known: HashSet<Pid> = self
            .children
            .pids()
            .chain(self.launcher.fork_servers.pids())
            .chain(self.orphans.pids())
            .chain(self.access_log.pids())
            .collect();
        pids.retain(|pid| !known.contains(pid));
    }

    /// Writes the record of a connection that this process has served itself.
    pub(super) fn record_in_place(&mut self, child: &Child, end: &End) {
        self.record(child, end.pid, end.exit, end.usage, false);
    }

    fn record(&mut self, child: &Child, pid: Pid, exit: Exit, usage: Usage, has_orphans: bool) {
        let snapshot = child.slot().read();
        let (phase, status) = (snapshot.phase, snapshot.status);
        let (identity, service) = (child.identity(), child.service());
        // A program that the child has become has exit codes of its own.
        let is_program = service.is_program() && phase == Phase::Program;
        let limit = service.rlimits.find_cause(exit, snapshot.program, snapshot.exception.as_deref(), usage);
        let now = Instant::now();
        let duration = now.saturating_duration_since(identity.accepted_at);
        let (traffic, since) = child.new_traffic(now);
        let outcome = journal::record_connection(&Record {
            identity,
            service: &service.name,
            handler: service.handler_name(snapshot.route),
            is_program,
            pid: pid.as_raw(),
            exit,
            terminated_by: child.terminated_by(),
            has_orphans: has_orphans || snapshot.has_orphans,
            gaps: child.gaps(),
            limit: limit.filter(|_| child.terminated_by().is_none()),
            usage,
            duration,
            snapshot,
            refusal: child.refused().map(|reason| RefusalNote {
                word: reason.word(),
                source: self.admission.source_of(&identity.client()),
                sentence: reason.to_string(),
            }),
        });
        self.statistics.record_traffic(&service.name, traffic, since, now);
        self.statistics.record_ended(&service.name, outcome, duration, usage);
        self.recorded += 1;
        if let Exit::Exited(code) = exit
            && let Some(outcome) = Outcome::from_code(code).filter(|_| !is_program)
            && let Some(client) = child.responsible_client()
        {
            let ending = Ending { outcome, phase, status };
            self.admission.record_outcome(&client, child.known(), service, ending, now);
        }
    }
}
