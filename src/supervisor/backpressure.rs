//! Backpressure: what keeps the supervisor from accepting. It ends by itself: a child exits, or a moment passes.
//! Meanwhile the listeners are left out of the poll set, and connections queue in the kernel's backlog.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::refusal::Reason;
use crate::capacity::{SystemLimit, Watch};
use crate::connection::Connection;
use crate::journal;
use crate::service::Service;

/// Pause after accept(2) has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Pause between two attempts to fork for the same connection.
const FORK_PAUSE: Duration = Duration::from_millis(100);
/// How long fork(2) may fail until connections are refused.
const FORK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may wait for a fork server: it may have been handed over to one before that was found not to run.
const FORK_SERVER_TIMEOUT: Duration = Duration::from_secs(10);
/// A shortage is over when nothing has failed for this long.
const QUIET: Duration = Duration::from_secs(10);
/// A shortage that lasts is logged again after this long.
const REMINDER: Duration = Duration::from_secs(60);

/// A connection that waits for a process.
#[derive(Debug)]
struct Waiting {
    connection: Connection,
    service: Arc<Service>,
    next_try: Instant,
    error: io::Error,
}

impl Waiting {
    /// Processes are short for all services. Otherwise its own fork server cannot take it.
    fn is_for_want_of_processes(&self) -> bool {
        self.error.raw_os_error().is_some()
    }
}

/// A connection that has waited too long for a process, and why it got none.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) connection: Connection,
    pub(crate) service: Arc<Service>,
    pub(crate) reason: Reason,
}

/// A time in which something is short. It is over when nothing has failed for [`QUIET`].
#[derive(Debug, Default)]
struct Shortage {
    last: Option<Instant>,
    logged: Option<Instant>,
    failures: u64,
}

impl Shortage {
    /// Counts a failure. True: the shortage is new, or has lasted long, and is to be logged.
    fn record_failure(&mut self, now: Instant) -> bool {
        self.last = Some(now);
        self.failures += 1;
        let should_log = self.logged.is_none_or(|logged| now.saturating_duration_since(logged) >= REMINDER);
        if should_log {
            self.logged = Some(now);
        }
        should_log
    }

    /// When it will be over.
    fn end(&self) -> Option<Instant> {
        self.last.map(|last| last + QUIET)
    }

    /// The failures of a shortage that is over.
    fn take_over(&mut self, now: Instant) -> Option<u64> {
        let is_over = self.end().is_some_and(|end| now >= end);
        is_over.then(|| std::mem::take(self).failures)
    }
}

/// What keeps the supervisor from accepting, if anything.
#[derive(Debug, Default)]
pub(crate) struct Backpressure {
    paused_until: Option<Instant>,
    /// In the order of their tries.
    waiting: VecDeque<Waiting>,
    accept_shortage: Shortage,
    fork_shortage: Shortage,
    watch: Watch,
    /// The limit behind the shortage of processes, as far as it could be seen when the shortage began.
    limit: Option<SystemLimit>,
    /// The first failure since fork(2) has last succeeded.
    no_fork_since: Option<Instant>,
}

impl Backpressure {
    /// Nothing keeps the supervisor from accepting.
    pub(crate) fn is_open(&self) -> bool {
        self.paused_until.is_none() && !self.waiting.iter().any(Waiting::is_for_want_of_processes)
    }

    /// Nothing keeps the supervisor from accepting connections of this service.
    pub(crate) fn is_open_for(&self, service: &str) -> bool {
        !self.waiting.iter().any(|waiting| waiting.service.name == service)
    }

    /// Pauses after accept(2) has failed, most often for want of descriptors or memory: trying again at once would
    /// only spin. The connection stays in the backlog. Returns until when this one listener is to be left alone, if
    /// the failure is its own.
    pub(crate) fn pause_accepting(
        &mut self,
        listener: &str,
        error: &io::Error,
        now: Instant,
    ) -> Option<Instant> {
        if self.accept_shortage.record_failure(now) {
            journal::log_accept_exhausted(listener, error, self.watch.find_reached(error).as_ref());
        }
        let until = now + ACCEPT_PAUSE;
        let is_shortage = is_descriptor_shortage(error)
            || matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS));
        if !is_shortage {
            return Some(until);
        }
        self.paused_until = Some(until);
        None
    }

    /// Keeps a connection for which fork(2) has failed for another try; gives it back when that has lasted too long.
    pub(crate) fn defer(
        &mut self,
        connection: Connection,
        service: Arc<Service>,
        error: io::Error,
        now: Instant,
    ) -> Option<Expired> {
        // Otherwise no fork server could take it.
        if error.raw_os_error().is_some() && self.fork_shortage.record_failure(now) {
            self.limit = self.watch.find_reached(&error);
            journal::log_fork_exhausted(&error, self.limit.as_ref());
        }
        let accepted_at = connection.identity.accepted_at;
        let waiting = Waiting { connection, service, next_try: now + FORK_PAUSE, error };
        let (since, timeout) = match waiting.is_for_want_of_processes() {
            // A connection that arrives late in a shortage need not wait as long as the first.
            true => (accepted_at.min(*self.no_fork_since.get_or_insert(now)), FORK_TIMEOUT),
            false => (accepted_at, FORK_SERVER_TIMEOUT),
        };
        if now.saturating_duration_since(since) >= timeout {
            return Some(self.expire(waiting));
        }
        self.waiting.push_back(waiting);
        None
    }

    /// A connection has got its process: processes are available, if only now and then.
    pub(crate) fn record_fork(&mut self, now: Instant) {
        self.no_fork_since = None;
        self.expect_fork(now);
    }

    /// The next try may succeed at once.
    pub(crate) fn expect_fork(&mut self, now: Instant) {
        for waiting in &mut self.waiting {
            waiting.next_try = now;
        }
    }

    /// The connections that wait for a process and that it is time to try again for: all when a child has exited.
    pub(crate) fn take_waiting(&mut self, now: Instant, has_reaped: bool) -> Vec<(Connection, Arc<Service>)> {
        let is_due = |waiting: &&Waiting| has_reaped || now >= waiting.next_try;
        let count = self.waiting.iter().take_while(is_due).count();
        self.waiting.drain(..count).map(|waiting| (waiting.connection, waiting.service)).collect()
    }

    /// The connection that still waits when the daemon stops.
    pub(crate) fn take_expired(&mut self) -> Option<Expired> {
        let waiting = self.waiting.pop_front()?;
        Some(self.expire(waiting))
    }

    fn expire(&self, waiting: Waiting) -> Expired {
        let Waiting { connection, service, error, .. } = waiting;
        Expired { connection, service, reason: Reason::NoProcess(error, self.limit.clone()) }
    }

    /// Ends pauses: a child has exited, or their time is over. Logs shortages that are over.
    pub(crate) fn refresh(&mut self, now: Instant, has_reaped: bool) {
        self.paused_until.take_if(|until| has_reaped || now >= *until);
        for (call, shortage) in [("accept", &mut self.accept_shortage), ("fork", &mut self.fork_shortage)] {
            if let Some(failures) = shortage.take_over(now) {
                journal::log_shortage_over(call, failures);
            }
        }
    }

    /// No connection waits for a process.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When a pause or a shortage ends.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        let waiting = self.waiting.front().map(|waiting| waiting.next_try);
        let ends = [self.paused_until, waiting, self.accept_shortage.end(), self.fork_shortage.end()];
        ends.into_iter().flatten().min()
    }
}

/// Descriptors are short, of this process or of the system.
pub(crate) fn is_descriptor_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
