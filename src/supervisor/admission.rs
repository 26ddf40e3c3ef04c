//! Admission: whether to take another connection now. Whatever stops us ends by itself: a child ends, or
//! a moment passes. Meanwhile the listeners are left out of the poll set and the kernel's backlog is the
//! queue.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::poll;

use super::refusals::{Reason, Refusals};
use crate::capacity::{Wall, Watch};
use crate::connection::Connection;
use crate::journal;
use crate::service::Service;
use crate::source::{Prefixes, Source};
use crate::sys;

/// Rest after accept(2) has run out of something.
const ACCEPT_REST: Duration = Duration::from_secs(1);
/// Wait between two attempts to fork for the same connection, and how long to go on with it.
const FORK_RETRY: Duration = Duration::from_millis(100);
const FORK_PATIENCE: Duration = Duration::from_secs(5);
/// A shortage is over when nothing has failed for this long.
const QUIET: Duration = Duration::from_secs(10);
/// One that goes on is told again after so long.
const REMINDER: Duration = Duration::from_secs(60);

/// A connection that waits for a process.
#[derive(Debug)]
struct Waiting {
    connection: Connection,
    service: Arc<Service>,
    next_try: Instant,
    error: io::Error,
}

/// A time in which something is short. It is over when nothing has failed for [`QUIET`].
#[derive(Debug, Default)]
struct Shortage {
    last: Option<Instant>,
    told: Option<Instant>,
    failures: u64,
}

impl Shortage {
    /// Something has failed. True: that is new, or has gone on for long, and to be told.
    fn note(&mut self, now: Instant) -> bool {
        self.last = Some(now);
        self.failures += 1;
        let is_to_be_told = self.told.is_none_or(|told| now.saturating_duration_since(told) >= REMINDER);
        if is_to_be_told {
            self.told = Some(now);
        }
        is_to_be_told
    }

    /// When it will be over.
    fn end(&self) -> Option<Instant> {
        self.last.map(|last| last + QUIET)
    }

    /// It is over: how often something has failed in it.
    fn take_over(&mut self, now: Instant) -> Option<u64> {
        let is_over = self.end().is_some_and(|end| now >= end);
        is_over.then(|| std::mem::take(self).failures)
    }
}

/// What keeps us from accepting, if anything.
#[derive(Debug)]
pub struct Admission {
    resting_until: Option<Instant>,
    waiting: Option<Waiting>,
    accept_shortage: Shortage,
    fork_shortage: Shortage,
    watch: Watch,
    /// What the shortage of processes comes from, as far as that could be seen when it began.
    wall: Option<Wall>,
    /// The first failure since a fork has last succeeded.
    no_fork_since: Option<Instant>,
    refusals: Refusals,
    prefixes: Prefixes,
}

impl Admission {
    pub fn new(prefixes: Prefixes) -> Self {
        Self {
            resting_until: None,
            waiting: None,
            accept_shortage: Shortage::default(),
            fork_shortage: Shortage::default(),
            watch: Watch::default(),
            wall: None,
            no_fork_since: None,
            refusals: Refusals::default(),
            prefixes,
        }
    }

    /// What a source is, from now on.
    pub fn set_prefixes(&mut self, prefixes: Prefixes) {
        self.prefixes = prefixes;
    }

    /// Nothing of ours stands in the binding of accepting.
    pub fn is_open(&self) -> bool {
        self.resting_until.is_none() && self.waiting.is_none()
    }

    /// Connections that were refused.
    pub fn refused(&self) -> u64 {
        self.refusals.count()
    }

    /// accept(2) has failed, most often for want of descriptors or memory: trying again at once would only
    /// spin. The connection stays in the backlog. Returns until when this one listener is to be left alone, if it is
    /// its own trouble.
    pub fn defer_accepting(&mut self, listener: &str, error: &io::Error, now: Instant) -> Option<Instant> {
        let is_full = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
        if is_full && self.refusals.close_all() {
            return None; // that was it: tried again at once
        }
        if self.accept_shortage.note(now) {
            journal::log_accept_exhausted(listener, error, self.watch.find_hit(error).as_ref());
        }
        let until = now + ACCEPT_REST;
        let is_shortage = is_full || matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS));
        if !is_shortage {
            return Some(until);
        }
        self.resting_until = Some(until);
        None
    }

    /// fork(2) has failed: the connection is kept for another try, unless that has gone on for long enough.
    pub fn defer_connection(
        &mut self,
        connection: Connection,
        service: Arc<Service>,
        error: io::Error,
        now: Instant,
    ) {
        if self.fork_shortage.note(now) {
            self.wall = self.watch.find_hit(&error);
            journal::log_fork_exhausted(&error, self.wall.as_ref());
        }
        // Who comes late to where nothing is to be had need not wait as long as the first.
        let since = connection.identity.accepted_at.min(*self.no_fork_since.get_or_insert(now));
        if now.saturating_duration_since(since) >= FORK_PATIENCE {
            let wall = self.wall.clone();
            self.refuse(connection, &service, &Reason::NoProcess(&error, wall.as_ref()), now);
        } else {
            self.waiting = Some(Waiting { connection, service, next_try: now + FORK_RETRY, error });
        }
    }

    /// fork(2) has succeeded: there are processes to be had, if only now and then.
    pub fn note_forked(&mut self) {
        self.no_fork_since = None;
    }

    /// The connection that waits for a process, when it is time to try again or `freed` something.
    pub fn take_waiting(&mut self, now: Instant, freed: bool) -> Option<(Connection, Arc<Service>)> {
        let waiting = self.waiting.take_if(|waiting| freed || now >= waiting.next_try)?;
        Some((waiting.connection, waiting.service))
    }

    /// A child has ended, so there may be room again; and what was only a matter of time is over.
    pub fn refresh(&mut self, now: Instant, freed: bool) {
        self.resting_until.take_if(|until| freed || now >= *until);
        self.refusals.refresh(now);
        for (what, shortage) in [("accept", &mut self.accept_shortage), ("fork", &mut self.fork_shortage)] {
            if let Some(failures) = shortage.take_over(now) {
                journal::log_shortage_over(what, failures);
            }
        }
    }

    /// Refuses whatever still waits: the daemon ends.
    pub fn close(&mut self, now: Instant) {
        if let Some(Waiting { connection, service, error, .. }) = self.waiting.take() {
            let wall = self.wall.clone();
            self.refuse(connection, &service, &Reason::NoProcess(&error, wall.as_ref()), now);
        }
    }

    /// Refuses a connection that has been accepted.
    pub fn refuse(&mut self, connection: Connection, service: &Service, reason: &Reason<'_>, now: Instant) {
        let source = Source::of(&connection.identity.peer, self.prefixes);
        self.refusals.refuse(connection, service, source, reason, now);
    }

    /// Stays until refusals have been read: this process ends with them.
    pub fn wait_for_refusals(&mut self) {
        while let Some(at) = self.refusals.next_event() {
            let _ = poll(&mut [], sys::poll_timeout(at, Instant::now()));
            self.refusals.refresh(Instant::now());
        }
    }

    /// No connection waits for a process, and no refusal for being read.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_none() && self.refusals.is_empty()
    }

    /// When something ends by the mere passing of time.
    pub fn next_event(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref().map(|waiting| waiting.next_try);
        let shortages = [self.accept_shortage.end(), self.fork_shortage.end()].into_iter().flatten().min();
        [self.resting_until, waiting, self.refusals.next_event(), shortages].into_iter().flatten().min()
    }
}
