//! A connection: an accepted socket, and the identity that every record of it uses.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::socket::{getsockopt, sockopt};
use serde::{Deserialize, Serialize};

use crate::sys::{self, RemoteAddress};

/// The remote end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Peer {
    /// Port 0: not known, as of many clients that a proxy names.
    Inet(SocketAddr),
    /// The process that connected to a Unix socket, as the kernel knows it (unix(7), `SO_PEERCRED`).
    Unix { uid: u32, pid: i32 },
    /// The peer had gone before its address could be read, or the address family is unknown.
    Unknown,
}

impl Peer {
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(address) => Some(address.ip()),
            Self::Unix { .. } | Self::Unknown => None,
        }
    }

    /// The same client, perhaps by another port.
    pub(crate) fn is_same_host(&self, other: &Self) -> bool {
        self == other || self.ip().is_some() && self.ip() == other.ip()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) if address.port() == 0 => address.ip().fmt(f),
            Self::Inet(address) => address.fmt(f),
            Self::Unix { uid, pid } => write!(f, "unix:uid={uid},pid={pid}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// The id of a connection, unique on this host. Shown as `START-NUMBER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Id {
    /// When the first connection came: microseconds since the epoch.
    start: u64,
    number: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.start, self.number)
    }
}

/// What records call a connection.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) id: Id,
    pub(crate) peer: Peer,
    /// The client that a trusted proxy has named last.
    client: Cell<Option<Peer>>,
    /// Name of the listener that accepted it.
    pub(crate) listener: Arc<str>,
    pub(crate) accepted_at: Instant,
}

impl Identity {
    pub(crate) fn new(id: Id, peer: Peer, listener: Arc<str>, accepted_at: Instant) -> Self {
        Self { id, peer, client: Cell::new(None), listener, accepted_at }
    }

    /// The client that a trusted proxy has named, if it has named one.
    pub(crate) fn named_client(&self) -> Option<Peer> {
        self.client.get()
    }

    /// The client: the peer itself, or the one that a trusted proxy has named.
    pub(crate) fn client(&self) -> Peer {
        self.client.get().unwrap_or(self.peer)
    }

    /// A trusted proxy, the peer, has named the client of what follows.
    pub(crate) fn set_client(&self, client: Peer) {
        self.client.set((client != self.peer).then_some(client));
    }

    /// The client, for messages.
    pub(crate) fn describe_client(&self) -> impl fmt::Display {
        let peer = self.peer;
        let client = self.client.get();
        fmt::from_fn(move |f| match client {
            Some(client) => write!(f, "{client} via {peer}"),
            None => write!(f, "{peer}"),
        })
    }
}

/// An accepted socket and its identity.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    pub(crate) identity: Identity,
}

impl Connection {
    /// Gives an accepted or inherited socket its identity.
    pub(crate) fn new(socket: OwnedFd, address: RemoteAddress, listener: &Arc<str>) -> Self {
        let id = next_id();
        let peer = match address {
            RemoteAddress::Inet(address) => Peer::Inet(address),
            RemoteAddress::Unnamed => getsockopt(&socket.as_fd(), sockopt::PeerCredentials)
                .map_or(Peer::Unknown, |peer| Peer::Unix { uid: peer.uid(), pid: peer.pid() }),
            RemoteAddress::Gone => Peer::Unknown,
        };
        let identity = Identity::new(id, peer, Arc::clone(listener), Instant::now());
        Self { socket, identity }
    }
}

/// A copy of the socket of a program, by which the supervisor sees that nothing moves.
#[derive(Debug)]
pub(crate) struct IdleWatch {
    socket: OwnedFd,
    timeout: Duration,
    next_look: Instant,
}

impl IdleWatch {
    /// Watches a connection that begins at `now`. `None` for a Unix socket, of which the kernel does not know it.
    pub(crate) fn new(socket: OwnedFd, timeout: Duration, now: Instant) -> Option<Self> {
        sys::idle_time(socket.as_fd())?;
        Some(Self { socket, timeout, next_look: now + timeout })
    }

    /// When [`Self::is_over`] has something to look at.
    pub(crate) fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Whether no byte has moved for the timeout.
    pub(crate) fn is_over(&mut self, now: Instant) -> bool {
        if now < self.next_look {
            return false;
        }
        let idle = sys::idle_time(self.socket.as_fd()).unwrap_or_default();
        self.next_look = now + self.timeout.saturating_sub(idle);
        idle >= self.timeout
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
