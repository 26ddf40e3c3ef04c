//! Refusals: a connection that gets no process is answered by the supervisor, without reading and without waiting.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::poll;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use super::access_log::AccessLog;
use super::sources::TooMuch;
use crate::capacity::SystemLimit;
use crate::connection::Connection;
use crate::journal::{self, RefusalRecord};
use crate::outcome::Outcome;
use crate::refusal::{Cause, Refusal};
use crate::service::Service;
use crate::source::Source;
use crate::sys;
use crate::uplink::Answered;

/// How long a refused socket stays open for the client to read the answer.
const LINGER: Duration = Duration::from_secs(2);
/// How often the input of those sockets is discarded.
const SWEEP_INTERVAL: Duration = Duration::from_millis(50);
/// How many stay open at once.
const LINGERING_MAX: usize = 256;
/// Bytes of input that are discarded at a time.
const DISCARD_MAX: usize = 1 << 20;

/// The words of [`Reason::word`].
pub(crate) const REASONS: [&str; 6] = [
    "denied",
    "max_connections_per_source",
    "max_rate_per_source",
    "penalty",
    "no_process",
    "proxy_protocol",
];

/// Why a connection gets no process.
#[derive(Debug)]
pub(crate) enum Reason {
    /// The access lists of `[limits]` or of the service exclude the client.
    Denied,
    /// The service takes connections of proxies only, and the peer is no trusted one.
    NoProxy,
    /// Its source, or that wider network, has that many connections already, which the key allows at most.
    PerSourceLimit {
        network: Option<Source>,
        count: u32,
        key: &'static str,
    },
    TooMuch(TooMuch),
    /// fork(2) has failed, at that limit if it is known; or no fork server could take the connection, which the error says.
    NoProcess(io::Error, Option<SystemLimit>),
    /// Its fork server cannot start, as the error says, and is started again after this long, if that is known.
    NotLoaded(io::Error, Option<Duration>),
}

impl Reason {
    /// The value of `LSBAWS_REASON`: one of [`REASONS`].
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NoProxy => "proxy_protocol",
            Self::PerSourceLimit { .. } => "max_connections_per_source",
            Self::TooMuch(TooMuch::Rate(_)) => "max_rate_per_source",
            Self::TooMuch(TooMuch::Penalty(_)) => "penalty",
            Self::NoProcess(..) | Self::NotLoaded(..) => "no_process",
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::NoProcess(..) | Self::NotLoaded(..) => Outcome::SystemError,
            _ => Outcome::Refused,
        }
    }

    /// What the client reads.
    pub(crate) fn refusal(&self) -> Refusal {
        let (cause, retry_after) = match self {
            Self::Denied | Self::NoProxy => (Cause::Denied, None),
            Self::TooMuch(TooMuch::Rate(time)) => (Cause::Rate, Some(sys::whole_seconds(*time).max(1))),
            Self::TooMuch(TooMuch::Penalty(time)) => (Cause::Penalty, Some(sys::whole_seconds(*time).max(1))),
            Self::PerSourceLimit { .. } => (Cause::PerSourceLimit, Some(5)),
            Self::NoProcess(..) => (Cause::NoProcess, Some(5)),
            Self::NotLoaded(_, time) => (Cause::NotLoaded, Some(time.map_or(5, sys::whole_seconds).max(1))),
        };
        Refusal { cause, retry_after }
    }
}

/// For the record.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProxy => f.write_str("not in \"trusted_proxies\" (proxy_protocol)"),
            Self::Denied => f.write_str("denied by \"allow\" and \"deny\""),
            Self::PerSourceLimit { network: None, count, key } => {
                write!(f, "its source already has {count} connections ({key})")
            }
            Self::PerSourceLimit { network: Some(network), count, key } => {
                write!(
                    f,
                    "its network {network} already has {count} connections ({key}, limits.source_factor_v6_{})",
                    network.prefix_length()
                )
            }
            Self::TooMuch(TooMuch::Rate(_)) => {
                f.write_str("connection rate of its source exceeds limits.max_rate_per_source")
            }
            Self::TooMuch(TooMuch::Penalty(left)) => {
                let left = humantime::format_duration(Duration::from_secs(sys::whole_seconds(*left)));
                write!(f, "its source is penalized for another {left} (limits.penalty_after)")
            }
            Self::NoProcess(error, limit) => {
                if error.raw_os_error().is_some() {
                    f.write_str("unable to fork a child: ")?;
                }
                error.fmt(f)?;
                limit.as_ref().map_or(Ok(()), |limit| write!(f, ": {limit}"))
            }
            Self::NotLoaded(error, _) => error.fmt(f),
        }
    }
}

/// Sockets whose refusal the client has still to read.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    lingering: VecDeque<(Instant, OwnedFd)>,
    next_sweep: Option<Instant>,
    count: u64,
}

impl Refusals {
    /// Connections that were refused.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Answers a client of an HTTP service with a status, another with the text of its service, and closes. The
    /// socket stays open for a while: closing it now, over a request that was not read, would reset the connection
    /// and lose the answer.
    pub(crate) fn refuse(
        &mut self,
        connection: Connection,
        service: &Service,
        source: Option<Source>,
        reason: &Reason,
        access_log: &mut AccessLog,
        now: Instant,
    ) {
        let Refusal { retry_after, .. } = reason.refusal();
        let (status, why) = (reason.refusal().status(), reason.refusal().sentence());
        journal::record_refusal(&RefusalRecord {
            identity: &connection.identity,
            service: &service.name,
            status: service.is_http().then_some(status),
            outcome: reason.outcome(),
            reason: reason.word(),
            source,
            sentence: format_args!("{reason}"),
            system_limit: if let Reason::NoProcess(_, limit) = reason { limit.as_ref() } else { None },
        });
        self.count += 1;
        let fd = connection.socket.as_raw_fd();
        let answer = service.refuse(status, why, retry_after);
        if service.is_http() {
            let content = answer.split_once("\r\n\r\n").map_or(0, |(_, content)| content.len() as u64);
            access_log.write(
                &connection.identity,
                &service.name,
                &Answered { status, content, reason: why.as_bytes(), ..Answered::default() },
            );
        }
        if !answer.is_empty() {
            // A peer that has gone, or cannot take 300 bytes, gets no answer.
            let _ = send(fd, answer.as_bytes(), MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
        }
        let _ = shutdown(fd, Shutdown::Write); // the peer may have gone
        if self.lingering.len() >= LINGERING_MAX {
            self.close_oldest();
        }
        self.lingering.push_back((now + LINGER, connection.socket));
        self.next_sweep.get_or_insert(now + SWEEP_INTERVAL);
    }

    /// Discards what has arrived at refused sockets, and closes those whose client or time has ended.
    pub(crate) fn refresh(&mut self, now: Instant) {
        if self.next_sweep.is_none_or(|at| now < at) {
            return;
        }
        self.lingering.retain(|(until, socket)| is_open(socket) && now < *until);
        self.next_sweep = (!self.lingering.is_empty()).then(|| now + SWEEP_INTERVAL);
    }

    /// Closes all refused sockets, since descriptors are short. False: there were none.
    pub(crate) fn close_all(&mut self) -> bool {
        let is_any = !self.lingering.is_empty();
        while !self.lingering.is_empty() {
            self.close_oldest();
        }
        is_any
    }

    fn close_oldest(&mut self) {
        if let Some((_, socket)) = self.lingering.pop_front() {
            is_open(&socket); // closing resets nothing when no input is left
        }
    }

    /// Blocks until the clients have read their refusals, or their time is over: for a process that exits then.
    pub(crate) fn wait(&mut self) {
        while let Some(at) = self.next_sweep {
            let _ = poll(&mut [], sys::poll_timeout(at, Instant::now())); // interrupted: sweeps early
            self.refresh(Instant::now());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lingering.is_empty()
    }

    pub(crate) fn next_event(&self) -> Option<Instant> {
        self.next_sweep
    }
}

/// Discards what has arrived. False: the client has closed its side, or has gone.
fn is_open(socket: &OwnedFd) -> bool {
    let result = match sys::discard_input(socket.as_fd(), DISCARD_MAX) {
        // A Unix socket cannot discard, and closing it over unread input resets the connection as well.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_returns_when_the_application_is_loaded_again() {
        let retry_after = |pause| Reason::NotLoaded(io::Error::other("a"), pause).refusal().retry_after;
        assert_eq!(retry_after(Some(Duration::ZERO)), Some(1));
        assert_eq!(retry_after(Some(Duration::from_millis(6400))), Some(7));
        assert_eq!(retry_after(None), Some(5), "it is being loaded, or waits for a change");
    }
}
