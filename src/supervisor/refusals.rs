//! Refusals: a connection that gets no process is answered by the parent, without reading and without waiting.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use super::sources::TooMuch;
use crate::capacity::Wall;
use crate::connection::Connection;
use crate::journal::{self, Refused};
use crate::outcome::Outcome;
use crate::service::{Protocol, Service};
use crate::source::Source;
use crate::sys;

/// How long a refused socket stays open for its answer to be read, how often what arrives there is thrown away,
/// and how many do at once.
const LINGER: Duration = Duration::from_secs(2);
const SWEEP: Duration = Duration::from_millis(50);
const LINGERING_MAX: usize = 256;
/// So much of what a refused client sends is thrown away at a time.
const DISCARD_MAX: usize = 1 << 20;

/// Why a connection gets no process.
#[derive(Debug)]
pub enum Reason<'a> {
    /// The lists of `[limits]` or of its service do not let it in.
    Denied,
    /// Its source has so many connections already, by the key of that name.
    Share(u32, &'static str),
    TooMuch(TooMuch),
    NoProcess(&'a io::Error, Option<&'a Wall>),
}

impl Reason<'_> {
    /// As LSBAWS_REASON has it.
    fn word(&self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Share(..) => "max_connections_per_source",
            Self::TooMuch(TooMuch::Rate(_)) => "max_rate_per_source",
            Self::TooMuch(TooMuch::Penalty(_)) => "penalty",
            Self::NoProcess(..) => "no_process",
        }
    }

    fn outcome(&self) -> Outcome {
        if matches!(self, Self::NoProcess(..)) { Outcome::SystemError } else { Outcome::Refused }
    }

    fn status(&self) -> u16 {
        if matches!(self, Self::Denied) { 403 } else { 503 }
    }

    /// When it is worth another try.
    fn retry_after(&self) -> Option<u64> {
        let seconds = |time: &Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
        match self {
            Self::Denied => None,
            Self::TooMuch(TooMuch::Rate(time) | TooMuch::Penalty(time)) => Some(seconds(time).max(1)),
            Self::Share(..) | Self::NoProcess(..) => Some(5),
        }
    }

    /// What the client is told.
    fn answer(&self) -> String {
        let content = match self {
            Self::Denied => "403 Forbidden: this address is not allowed to connect",
            Self::Share(..) => "503 Service Unavailable: too many connections from this address",
            Self::TooMuch(TooMuch::Rate(_)) => {
                "503 Service Unavailable: too many connections in a short time"
            }
            Self::TooMuch(TooMuch::Penalty(_)) => "503 Service Unavailable: too many bad requests",
            Self::NoProcess(..) => "503 Service Unavailable: the server is out of processes",
        };
        let line = content.split(':').next().unwrap_or(content);
        let retry = self.retry_after().map_or(String::new(), |seconds| format!("Retry-After: {seconds}\r\n"));
        format!(
            "HTTP/1.1 {line}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{retry}\
             Connection: close\r\n\r\n{content}",
            content.len()
        )
    }
}

/// For the record.
impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("denied by allow and deny"),
            Self::Share(count, key) => write!(f, "{count} connections of its source already ({key})"),
            Self::TooMuch(TooMuch::Rate(_)) => {
                f.write_str("its source comes too fast (limits.max_rate_per_source)")
            }
            Self::TooMuch(TooMuch::Penalty(left)) => {
                let left = Duration::from_secs(left.as_secs() + 1);
                let left = humantime::format_duration(left);
                write!(f, "its source was at fault too often, {left} to go (limits.penalty_after)")
            }
            Self::NoProcess(error, wall) => {
                write!(f, "no process for it: {error}")?;
                wall.map_or(Ok(()), |wall| write!(f, ": {wall}"))
            }
        }
    }
}

/// Sockets whose refusal is still to be read.
#[derive(Debug, Default)]
pub struct Refusals {
    lingering: VecDeque<(Instant, OwnedFd)>,
    next_sweep: Option<Instant>,
    count: u64,
}

impl Refusals {
    /// Connections that were refused.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Answers whoever speaks HTTP with a status; others get the text of their service, or nothing, and the end.
    /// The socket stays open for a while: closing it now, over a request that nobody has read, would reset
    /// the connection and lose the answer.
    pub fn refuse(
        &mut self,
        connection: Connection,
        service: &Service,
        source: Option<Source>,
        reason: &Reason<'_>,
        now: Instant,
    ) {
        let is_http = matches!(service.protocol, Protocol::Http(_));
        journal::record_refusal(&Refused {
            identity: &connection.identity,
            service: &service.name,
            status: is_http.then(|| reason.status()),
            outcome: reason.outcome(),
            reason: reason.word(),
            source,
            sentence: format_args!("{reason}"),
            wall: if let Reason::NoProcess(_, wall) = reason { *wall } else { None },
        });
        self.count += 1;
        let fd = connection.socket.as_raw_fd();
        let answer = if is_http { reason.answer() } else { service.refusal.clone() };
        if !answer.is_empty() {
            // A peer that cannot take 300 bytes, or is gone, gets no answer.
            let _ = send(fd, answer.as_bytes(), MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
        }
        let _ = shutdown(fd, Shutdown::Write);
        if self.lingering.len() >= LINGERING_MAX {
            self.close_oldest();
        }
        self.lingering.push_back((now + LINGER, connection.socket));
        self.next_sweep.get_or_insert(now + SWEEP);
    }

    /// Throws away what has arrived at refused sockets, and closes those whose client or time is at its end.
    pub fn refresh(&mut self, now: Instant) {
        if self.next_sweep.is_none_or(|at| now < at) {
            return;
        }
        self.lingering.retain(|(until, socket)| goes_on(socket) && now < *until);
        self.next_sweep = (!self.lingering.is_empty()).then(|| now + SWEEP);
    }

    /// Closes them all, since descriptors are short. False: there were none.
    pub fn close_all(&mut self) -> bool {
        let is_any = !self.lingering.is_empty();
        while !self.lingering.is_empty() {
            self.close_oldest();
        }
        is_any
    }

    fn close_oldest(&mut self) {
        if let Some((_, socket)) = self.lingering.pop_front() {
            goes_on(&socket); // with nothing unread, closing resets nothing
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lingering.is_empty()
    }

    pub fn next_event(&self) -> Option<Instant> {
        self.next_sweep
    }
}

/// Throws away what has arrived. False: the client has ended its side, or is gone.
fn goes_on(socket: &OwnedFd) -> bool {
    let result = match sys::discard_input(socket.as_fd(), DISCARD_MAX) {
        // A Unix socket cannot throw away, and closing over unread bytes resets it as well.
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => {
            let mut some = [0; 4096];
            recv(socket.as_raw_fd(), &mut some, MsgFlags::MSG_DONTWAIT).map_err(io::Error::from)
        }
        result => result,
    };
    match result {
        Ok(count) => count > 0,
        Err(error) => matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)),
    }
}
