//! A connection: an accepted socket and its identity, which is made once and used in every record.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
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
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix { uid, pid } => write!(f, "unix:uid={uid},pid={pid}"),
        }
    }
}

/// What a connection is called in records.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Unique among the connections of this host: start of the daemon and a count.
    pub id: String,
    pub peer: Peer,
    /// Name of the listener that it came through.
    pub listener: String,
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
    pub fn new(socket: OwnedFd, address: RemoteAddress, listener: &str) -> io::Result<Self> {
        let peer = match address {
            RemoteAddress::Inet(address) => Peer::Inet(address),
            RemoteAddress::Unnamed => {
                let credentials = getsockopt(&socket.as_fd(), sockopt::PeerCredentials)?;
                Peer::Unix { uid: credentials.uid(), pid: credentials.pid() }
            }
        };
        let identity =
            Identity { id: next_id(), peer, listener: listener.to_owned(), accepted_at: Instant::now() };
        Ok(Self { socket, identity })
    }
}

/// Microseconds of the first connection since the epoch, and how many there were before this one.
fn next_id() -> String {
    static START: AtomicU64 = AtomicU64::new(0);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    if START.load(Relaxed) == 0 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        START.store(u64::try_from(now.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
    format!("{:x}-{}", START.load(Relaxed), COUNT.fetch_add(1, Relaxed))
}
