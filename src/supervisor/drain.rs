//! How the daemon stops, and how it announces that to balancers before: see [`super::lifecycle`].

use std::time::Instant;

use super::lifecycle::Step;
use super::{EXTENSION, Supervisor};
use crate::connection::Peer;
use crate::journal;

impl Supervisor {
    /// Acts on a stop signal: the first one announces the stop, if that is configured, and drains; another one kills.
    pub(super) fn stop(&mut self, now: Instant) {
        self.give_up_reload();
        let process = self.settings.process;
        match self.lifecycle.plan_stop(process.drain_lead, now) {
            Step::Announce(lead) => {
                journal::log_stop_announced(lead);
                self.set_announced(true);
                self.notifier.stopping(self.counts());
                self.notifier.extend_timeout(lead + process.drain_timeout + EXTENSION);
                return;
            }
            Step::Drain => self.drain(now),
            Step::Kill => {
                self.listeners.clear();
                self.lifecycle.kill(&mut self.connections, now);
            }
        }
        self.notifier.stopping(self.counts());
    }

    /// Gives up the listeners, and lets the connections finish.
    pub(super) fn drain(&mut self, now: Instant) {
        self.listeners.retire_all();
        self.lifecycle.drain(&mut self.connections, &self.settings.process, now);
        self.forget_reports();
    }

    /// Announces a drain, or ends it, as this caller requests.
    pub(super) fn request_drain(&mut self, must_drain: bool, caller: &Peer, now: Instant) {
        if self.lifecycle.request_drain(must_drain, now) {
            journal::log_drain_requested(must_drain, caller);
            self.set_announced(must_drain);
        }
    }

    /// Lets balancers know by their checks, and proxies by the responses on the connections that they keep open.
    fn set_announced(&mut self, is_announced: bool) {
        self.connections.children.announce_close(is_announced);
        self.forget_reports();
    }

    /// The daemon has stopped and everything has ended.
    pub(super) fn is_over(&self) -> bool {
        let is_drained = self.listeners.count() == 0 && self.connections.is_settled();
        !self.lifecycle.is_serving()
            && self.connections.is_over()
            && (is_drained || !self.lifecycle.is_accepting())
    }

    /// When the daemon has been idle for long enough to exit. Only where systemd holds the sockets, and waits for
    /// connections in its place.
    pub(super) fn idle_end(&self) -> Option<Instant> {
        let timeout = self.settings.process.idle_timeout;
        let timeout = timeout.filter(|_| self.is_inherited && self.lifecycle.permits_idle_exit())?;
        let is_idle = self.connections.is_idle() && !self.listeners.has_unserved_waiting();
        is_idle.then(|| self.idle_since + timeout)
    }

    /// Stops after `process.idle_timeout` without a connection. Later connections wait in the backlog, and systemd starts
    /// the daemon again for them.
    pub(super) fn stop_when_idle(&mut self, now: Instant) {
        match self.idle_end() {
            None => self.idle_since = now,
            Some(end) if now >= end => {
                journal::log_idle(self.settings.process.idle_timeout.unwrap_or_default());
                self.give_up_reload();
                self.drain(now);
                self.notifier.stopping(self.counts());
            }
            Some(_) => {}
        }
    }
}
