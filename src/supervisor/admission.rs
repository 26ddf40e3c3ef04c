//! Admission: whether to take another connection now. Whatever stops us ends by itself: a child ends, or
//! a moment passes. Meanwhile the listeners are left out of the poll set and the kernel's backlog is the
//! queue.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};

use crate::connection::Connection;
use crate::handler::{Protocol, Service};
use crate::journal;
use crate::walls::{Wall, Watch};

/// Rest after accept(2) has run out of something.
const ACCEPT_REST: Duration = Duration::from_secs(1);
/// Wait between two attempts to fork for the same connection, and how long to go on with it.
const FORK_RETRY: Duration = Duration::from_millis(100);
const FORK_PATIENCE: Duration = Duration::from_secs(5);
/// A shortage is over when nothing has failed for this long.
const QUIET: Duration = Duration::from_secs(10);
/// How long a refused socket stays open for its answer to be read, and how many do at once.
const REFUSED_LINGER: Duration = Duration::from_secs(2);
const REFUSED_MAX: usize = 64;

const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 55\r\nRetry-After: 5\r\nConnection: close\r\n\r\n\
    503 Service Unavailable: the server is out of processes";

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
}

impl Shortage {
    /// Something has failed. True: that is new, and to be told.
    fn note(&mut self, now: Instant) -> bool {
        let is_new = self.last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        self.last = Some(now);
        is_new
    }
}

/// What keeps us from accepting, if anything.
#[derive(Debug, Default)]
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
    /// Sockets whose refusal is still to be read.
    lingering: VecDeque<(Instant, OwnedFd)>,
    refused: u64,
}

impl Admission {
    /// Nothing of ours stands in the way of accepting.
    pub fn is_open(&self) -> bool {
        self.resting_until.is_none() && self.waiting.is_none()
    }

    /// Connections that were refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// accept(2) has failed, most often for want of descriptors or memory: trying again at once would only
    /// spin. The connection stays in the backlog.
    pub fn defer_accepting(&mut self, listener: &str, error: &io::Error, now: Instant) {
        if self.accept_shortage.note(now) {
            journal::note_accept_exhausted(listener, error, self.watch.find_hit(error).as_ref());
        }
        self.resting_until = Some(now + ACCEPT_REST);
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
            journal::note_fork_exhausted(&error, self.wall.as_ref());
        }
        // Who comes late to where nothing is to be had need not wait as long as the first.
        let since = connection.identity.accepted_at.min(*self.no_fork_since.get_or_insert(now));
        if now.saturating_duration_since(since) >= FORK_PATIENCE {
            self.refuse(connection, &service, &error, now);
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
        while self.lingering.front().is_some_and(|(until, _)| now >= *until) {
            self.lingering.pop_front();
        }
    }

    /// Refuses whatever still waits: the daemon ends.
    pub fn close(&mut self, now: Instant) {
        if let Some(Waiting { connection, service, error, .. }) = self.waiting.take() {
            self.refuse(connection, &service, &error, now);
        }
    }

    /// Answers 503 without a process and without reading; who does not speak HTTP is only told that it is
    /// over. The socket stays open for a while: closing it now, over a request that nobody has read,
    /// would reset the connection and lose the answer.
    fn refuse(&mut self, connection: Connection, service: &Service, error: &io::Error, now: Instant) {
        let is_http = matches!(service.protocol, Protocol::Http(_));
        journal::record_refusal(
            &connection.identity,
            &service.name,
            is_http.then_some(503),
            error,
            self.wall.as_ref(),
        );
        self.refused += 1;
        let fd = connection.socket.as_raw_fd();
        if is_http {
            // A peer that cannot take 200 bytes, or is gone, gets no answer.
            let _ = send(fd, REFUSAL, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
        }
        let _ = shutdown(fd, Shutdown::Write);
        if self.lingering.len() == REFUSED_MAX {
            self.lingering.pop_front();
        }
        self.lingering.push_back((now + REFUSED_LINGER, connection.socket));
    }

    /// No connection waits for a process, and no refusal for being read.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_none() && self.lingering.is_empty()
    }

    /// When something ends by the mere passing of time.
    pub fn next_event(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref().map(|waiting| waiting.next_try);
        let refused = self.lingering.front().map(|(until, _)| *until);
        [self.resting_until, waiting, refused].into_iter().flatten().min()
    }
}
