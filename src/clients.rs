//! The clients of trusted proxies. A child reads which client the proxy names, reports the client to the supervisor, and
//! serves it or refuses it as the supervisor answers: limits and access lists are the supervisor's.
//!
//! Each connection of a trusted proxy has a channel of its own, so that the supervisor knows which connection a report is
//! of, and no child can disturb another. What a child reports there can only harm connections of trusted proxies.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};

use crate::connection::Peer;
use crate::refusal::{Cause, Refusal};
use crate::sys::{self, Patience};

/// Bytes of the longest message, of both kinds.
const MESSAGE_MAX: usize = 64;
/// How long a child waits for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A client, as a child reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Report {
    /// The peer itself: the proxy has named no other.
    Peer,
    /// The port may be 0.
    Inet(IpAddr, u16),
    /// The proxy has sent something that names no client, after what it has sent for another.
    Unknown,
}

/// What a child has reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    Client(Peer),
    /// What follows is of no client that is known.
    Unknown,
}

/// What the supervisor answers.
pub(crate) type Verdict = Result<(), Refusal>;

/// Decides about a client in this process.
pub(crate) type Decide<'a> = dyn Fn(Peer) -> Verdict + 'a;

/// Where a child asks about the clients of its connection.
pub(crate) enum Gate<'a> {
    /// Nowhere: the peer is the client.
    Closed,
    /// The supervisor, by this channel.
    Supervisor(BorrowedFd<'a>),
    /// This process, which is its own supervisor.
    Own(&'a Decide<'a>),
}

impl fmt::Debug for Gate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "Closed",
            Self::Supervisor(_) => "Supervisor",
            Self::Own(_) => "Own",
        })
    }
}

impl Gate<'_> {
    pub(crate) fn channel(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Supervisor(channel) => Some(*channel),
            Self::Closed | Self::Own(_) => None,
        }
    }

    /// Asks whether the client is served. `peer`: that of the connection. Waits for up to 5 seconds; without an answer the
    /// client is refused, since it may be one that access lists exclude.
    #[cold]
    #[inline(never)]
    pub(crate) fn ask(&self, client: Peer, peer: Peer) -> Verdict {
        match self {
            Self::Closed => Ok(()),
            Self::Own(decide) => decide(client),
            Self::Supervisor(channel) => {
                let report = match client {
                    Peer::Inet(address) if client != peer => Report::Inet(address.ip(), address.port()),
                    _ => Report::Peer,
                };
                let undecided = Refusal { cause: Cause::Undecided, retry_after: Some(1) };
                ask_supervisor(*channel, report).unwrap_or(Err(undecided))
            }
        }
    }

    /// Reports that what follows is of no client that is known, so that it counts for none. Waits as [`Self::ask`] does: what
    /// is reported afterwards must not be taken for that of the former client.
    #[cold]
    #[inline(never)]
    pub(crate) fn forget(&self) {
        if let Self::Supervisor(channel) = self {
            let _ = ask_supervisor(*channel, Report::Unknown); // its answer is not needed
        }
    }
}

fn ask_supervisor(channel: BorrowedFd<'_>, report: Report) -> io::Result<Verdict> {
    let mut buffer = [0; MESSAGE_MAX];
    let bytes = postcard::to_slice(&report, &mut buffer).map_err(io::Error::other)?;
    sys::send_message(channel, bytes, &[], Patience::Never)?;
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match poll(
            &mut [PollFd::new(channel, PollFlags::POLLIN)],
            sys::poll_timeout(deadline, Instant::now()),
        ) {
            Ok(0) if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    receive(channel, &mut buffer)
}

/// The next report at the supervisor's end of a channel. `None`: none will come, or what was sent is no report.
///
/// # Errors
/// EAGAIN when there is none now.
pub(crate) fn receive_client(channel: impl AsFd, peer: Peer) -> io::Result<Option<Reported>> {
    match receive(channel.as_fd(), &mut [0; MESSAGE_MAX]) {
        Ok(Report::Peer) => Ok(Some(Reported::Client(peer))),
        Ok(Report::Inet(ip, port)) => {
            let address = SocketAddr::new(ip.to_canonical(), port);
            Ok(Some(Reported::Client(Peer::Inet(address))))
        }
        Ok(Report::Unknown) => Ok(Some(Reported::Unknown)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
        Err(_) => Ok(None),
    }
}

/// Answers a report. Never waits.
///
/// # Errors
/// The child has gone, or does not read its answers.
pub(crate) fn answer(channel: impl AsFd, verdict: Verdict) -> io::Result<()> {
    let mut buffer = [0; MESSAGE_MAX];
    let bytes = postcard::to_slice(&verdict, &mut buffer).map_err(io::Error::other)?;
    sys::send_message(channel.as_fd(), bytes, &[], Patience::Never)
}

fn receive<'b, T: Deserialize<'b>>(
    channel: BorrowedFd<'_>,
    buffer: &'b mut [u8; MESSAGE_MAX],
) -> io::Result<T> {
    let Some((length, _)) = sys::receive_message(channel, buffer, Patience::Never)? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    match postcard::take_from_bytes(&buffer[..length]) {
        Ok((message, [])) => Ok(message),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_and_verdict_cross_the_channel() {
        let (ours, theirs) = sys::open_channel().unwrap();
        let peer = Peer::Unix { uid: 7, pid: 8 };
        let refusal = Refusal { cause: Cause::Penalty, retry_after: Some(u64::MAX) };
        let clients = ["[2001:db8::1]:0", "192.0.2.1:65535"].map(|text| Peer::Inet(text.parse().unwrap()));
        for client in [clients[0], clients[1], peer] {
            for verdict in [Ok(()), Err(refusal)] {
                answer(&ours, verdict).unwrap(); // the order does not matter to the channel
                assert_eq!(Gate::Supervisor(theirs.as_fd()).ask(client, peer), verdict);
                assert_eq!(receive_client(&ours, peer).unwrap(), Some(Reported::Client(client)));
            }
        }
        answer(&ours, Ok(())).unwrap();
        Gate::Supervisor(theirs.as_fd()).forget();
        assert_eq!(receive_client(&ours, peer).unwrap(), Some(Reported::Unknown));
        assert_eq!(receive_client(&ours, peer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_is_no_report_ends_the_channel() {
        let (ours, theirs) = sys::open_channel().unwrap();
        for bytes in [&b"\xff"[..], b"\0\0", &[0; 100]] {
            sys::send_message(theirs.as_fd(), bytes, &[], Patience::Never).unwrap();
            assert_eq!(receive_client(&ours, Peer::Unknown).unwrap(), None);
        }
        drop(theirs);
        assert_eq!(receive_client(&ours, Peer::Unknown).unwrap(), None);
    }

    #[test]
    fn client_is_refused_without_a_supervisor() {
        let (ours, theirs) = sys::open_channel().unwrap();
        drop(ours);
        let refusal = Gate::Supervisor(theirs.as_fd()).ask(Peer::Unknown, Peer::Unknown).unwrap_err();
        assert_eq!((refusal.cause, refusal.status()), (Cause::Undecided, 503));
    }
}
