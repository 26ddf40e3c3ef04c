//! A connection: an accepted socket and its identity, which is made once and used in every record.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use nix::sys::socket::{getsockopt, sockopt};

use crate::sys::RemoteAddress;

/// The remote end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Inet(SocketAddr),
    /// Who connected to a Unix socket, by the kernel's word (unix(7), `SO_PEERCRED`).
    Unix {
        uid: u32,
        pid: i32,
    },
    /// Gone before it could be asked for, or of an address family that we cannot tell.
    Unknown,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix { uid, pid } => write!(f, "unix:uid={uid},pid={pid}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// A connection's number: unique among the connections of this host. Shown as `START-NUMBER`.
#[derive(Debug, Clone, Copy)]
pub struct Id {
    /// Microseconds of the first connection since the epoch.
    start: u64,
    number: u64,
}

impl Id {
    /// As bytes, for another process of this program.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.start) << 64 | u128::from(self.number)).to_ne_bytes()
    }

    #[allow(clippy::cast_possible_truncation)] // the two halves
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_ne_bytes(bytes);
        Self { start: (both >> 64) as u64, number: both as u64 }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.start, self.number)
    }
}

/// What a connection is called in records. Making one allocates nothing: the parent makes it between
/// two forks, where each page that it writes to is a page fault.
#[derive(Debug, Clone)]
pub struct Identity {
    pub id: Id,
    pub peer: Peer,
    /// Name of the listener that it came through.
    pub listener: Arc<str>,
    pub accepted_at: Instant,
}

/// An accepted socket and its identity.
#[derive(Debug)]
pub struct Connection {
    pub socket: OwnedFd,
    pub identity: Identity,
}

impl Connection {
    /// Gives a freshly accepted or inherited socket its identity.
    pub fn new(socket: OwnedFd, address: RemoteAddress, listener: &Arc<str>) -> Self {
        Self::with_id(next_id(), socket, address, listener)
    }

    /// The same for one that has its number already: another process has accepted it.
    pub fn with_id(id: Id, socket: OwnedFd, address: RemoteAddress, listener: &Arc<str>) -> Self {
        let peer = match address {
            RemoteAddress::Inet(address) => Peer::Inet(address),
            RemoteAddress::Unnamed => getsockopt(&socket.as_fd(), sockopt::PeerCredentials)
                .map_or(Peer::Unknown, |peer| Peer::Unix { uid: peer.uid(), pid: peer.pid() }),
            RemoteAddress::Gone => Peer::Unknown,
        };
        let identity = Identity { id, peer, listener: Arc::clone(listener), accepted_at: Instant::now() };
        Self { socket, identity }
    }
}

fn next_id() -> Id {
    static START: AtomicU64 = AtomicU64::new(0);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    if START.load(Relaxed) == 0 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        START.store(u64::try_from(now.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
    Id { start: START.load(Relaxed), number: COUNT.fetch_add(1, Relaxed) }
}
