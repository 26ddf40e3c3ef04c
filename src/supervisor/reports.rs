//! What fork servers report: that they are ready, and what became of the connections that were handed over to them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::child::Child;
use super::connections::Connections;
use super::events::Event;
use super::failures::StartFailure;
use super::fork_server::{ForkServer, State};
use super::fork_servers::SPARE_PAUSE;
use super::unreported::is_child;
use crate::handover::Report;
use crate::journal;
use crate::sys::{self, Exit, Usage};

impl Connections {
    /// Acts on the reports of one fork server.
    pub(super) fn receive_reports(&mut self, server: u32, now: Instant) {
        loop {
            let Some(channel) = self.launcher.fork_servers.get(server).and_then(|server| server.channel())
            else {
                return;
            };
            match channel.receive_report() {
                Ok(Some((report, fd, sender))) => {
                    if let Some(problem) = self.find_forgery(server, &report, sender) {
                        return self.reject(server, &problem, now);
                    }
                    self.act_on(server, report, sender, fd, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The children that it has forked for have all reported.
                Ok(None) | Err(_) => return self.end_channel(server, now),
            }
        }
    }

    pub(super) fn receive_all_reports(&mut self, now: Instant) {
        for server in self.launcher.fork_servers.ids() {
            self.receive_reports(server, now);
        }
    }

    /// Why this report is not that of its sender, which the kernel names: code of an application runs in its fork server, and may
    /// have the channel. So a child can report itself alone, and only the fork server anything else.
    fn find_forgery(&self, id: u32, report: &Report, sender: Pid) -> Option<String> {
        let server = self.launcher.fork_servers.get(id)?;
        let may_send = match report {
            Report::Started { .. } | Report::Spare | Report::SpareReady | Report::SpareFailed { .. } => {
                sender != server.pid
            }
            _ => sender == server.pid,
        };
        (!may_send).then(|| format!("process {sender} has sent a report about another process"))
    }

    /// Kills a fork server that cannot be believed. Its connections go to the next one.
    fn reject(&mut self, id: u32, problem: &str, now: Instant) {
        if let Some(server) = self.launcher.fork_servers.get(id) {
            journal::log_service_error(&server.service.name, &format!("{problem}; killing its fork server"));
            server.kill();
        }
        self.end_channel(id, now);
    }

    fn act_on(&mut self, id: u32, report: Report, sender: Pid, fd: Option<OwnedFd>, now: Instant) {
        let Some(server) = self.launcher.fork_servers.get_mut(id) else { return };
        match report {
            Report::Ready { .. } if server.state != State::Starting => {}
            Report::Ready { gaps } => {
                server.gaps = gaps.iter().map(|gap| &*gap.word).collect::<Vec<_>>().join(" ").into();
                for gap in gaps {
                    journal::log_not_confined(&server.service.name, &gap.sentence);
                }
                self.launcher.fork_servers.set_ready(id, now);
                self.backpressure.expect_fork(now);
            }
            Report::Failed { sentence, details, waits } => {
                let failure = StartFailure { sentence, details };
                self.launcher.fork_servers.set_failed(id, failure, waits, now);
                self.backpressure.expect_fork(now);
            }
            Report::Changed => server.has_changed = true,
            Report::Spare => match (self.watch(sender, Event::Process(sender)), fd) {
                (Ok(pidfd), Some(channel)) => {
                    self.with_server(id, |server| server.add_spare(sender, pidfd, channel));
                }
                _ => {
                    end_unwatched(sender);
                    self.with_server(id, |server| server.lose_order(now + SPARE_PAUSE));
                }
            },
            Report::NoSpare { errno } => {
                let error = io::Error::from_raw_os_error(errno);
                server.warn(&format!("unable to fork a spare child: {error}; retrying in 1s"));
                server.lose_order(now + SPARE_PAUSE);
            }
            Report::SpareReady => server.set_spare_ready(sender),
            Report::SpareFailed { sentence, details } => server.log_spare_failure(sentence, &details),
            Report::Started { slot } => self.set_started(id, slot, sender, now),
            Report::NotForked { slot, errno } => {
                self.defer_awaited(id, slot, io::Error::from_raw_os_error(errno), now);
            }
            Report::Outdated { slot } => {
                let service = Arc::clone(&server.service);
                let is_ready = server.state == State::Ready;
                let must_wait = is_ready && self.replace_outdated(&service, now);
                let Some(slot) = slot else { return };
                if must_wait {
                    self.defer_awaited(id, slot, io::Error::other("its fork server is being started"), now);
                } else if let Some(child) = self.children.take_awaited(slot, id) {
                    self.start_again(child, now); // the fork server does not look again so soon
                }
            }
            Report::Warning { sentence } => {
                server.warn(&sentence);
            }
        }
    }

    /// Lets a connection that a fork server has not forked for wait for another try.
    fn defer_awaited(&mut self, server: u32, slot: u32, error: io::Error, now: Instant) {
        let Some(child) = self.children.take_awaited(slot, server) else { return };
        self.launcher.release(child.slot(), false);
        if let Some((connection, service)) = child.into_connection() {
            self.defer(connection, service, error, now);
        }
    }

    pub(super) fn with_server(&mut self, id: u32, action: impl FnOnce(&mut ForkServer)) {
        if let Some(server) = self.launcher.fork_servers.get_mut(id) {
            action(server);
        }
    }

    /// The connection with this slot has its process.
    fn set_started(&mut self, id: u32, slot: u32, pid: Pid, now: Instant) {
        let Some(server) = self.launcher.fork_servers.get_mut(id) else { return };
        server.has_served = true;
        let gaps = Arc::clone(&server.gaps);
        let event = Event::Child(slot);
        if self.children.get(slot).and_then(Child::awaited_of) != Some(id) {
            end_unwatched(pid); // no connection waits for it
            return;
        }
        let spare = self.children.take_spare(slot).filter(|spare| spare.pid == pid);
        // A spare is watched already.
        let mut pidfd = spare.map_or_else(|| self.watch(pid, event), |spare| Ok(spare.pidfd));
        if pidfd.is_err() {
            // The supervisor's copy of the connection is not needed any more, and has a descriptor.
            self.children.close_copy(slot, id);
            pidfd = self.watch(pid, event);
        }
        match pidfd {
            Ok(pidfd) => {
                self.children.set_started(slot, id, pid, pidfd, gaps);
                self.backpressure.record_fork(now);
            }
            Err(_) => {
                let (exit, usage) = end_unwatched(pid);
                if let Some(child) = self.children.take_awaited(slot, id) {
                    self.end_child(&child, pid, exit, usage, now);
                }
            }
        }
    }

    /// Reports when a child of this process exits. It is not reaped, so that the pid is its own.
    fn watch(&self, pid: Pid, event: Event) -> io::Result<OwnedFd> {
        let pidfd = sys::open_pidfd(pid.as_raw().unsigned_abs())?;
        self.events.add_process(&pidfd, event)?;
        Ok(pidfd)
    }

    /// A fork server has closed its channel: connections that it has not forked for go to the next one.
    fn end_channel(&mut self, id: u32, now: Instant) {
        if let Some(server) = self.launcher.fork_servers.get_mut(id) {
            server.close();
        }
        for child in self.children.take_all_awaited(id) {
            self.start_again(child, now);
        }
        self.forget_fork_servers(now);
    }

    /// Hands a connection over again that no process has.
    pub(super) fn start_again(&mut self, child: Child, now: Instant) {
        self.launcher.release(child.slot(), false);
        if let Some((connection, service)) = child.into_connection() {
            self.start(connection, service, now);
        }
    }
}

/// Kills and reaps a child of this process that cannot be watched: its end would not be seen.
fn end_unwatched(pid: Pid) -> (Exit, Usage) {
    if !is_child(pid) {
        return (Exit::Unknown, Usage::default());
    }
    let _ = kill(pid, Signal::SIGKILL); // not reaped, so that the pid is its own
    sys::wait_for(pid).map_or((Exit::Unknown, Usage::default()), |(_, exit, usage)| (exit, usage))
}
