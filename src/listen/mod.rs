//! Listening sockets: handed in ([`activation`]) or bound here ([`bind`]).

#![forbid(unsafe_code)]

pub(crate) mod activation;
pub(crate) mod address;
pub(crate) mod bind;
mod hint;
mod holder;
pub(crate) mod keepalive;
pub(crate) mod unit;
mod urls;

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{SockaddrStorage, getsockname, setsockopt, sockopt};

use crate::connection::Connection;
use crate::sys;
use address::{Address, Mode};

/// A listener that lsbaws binds itself: `[listen.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenTable {
    pub(crate) name: String,
    pub(crate) addresses: Vec<Address>,
    /// Connections that the kernel queues (listen(2)).
    pub(crate) backlog: i32,
    /// Of a Unix socket in the file system.
    pub(crate) mode: Mode,
    /// The addresses are those of both families, of which this host may lack one: it is left out.
    pub(crate) may_lack: bool,
    /// The option `--listen` sets them.
    pub(crate) is_option: bool,
}

/// A listening socket and the name that leads to its service.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    /// Its address, for messages.
    pub(crate) address: String,
    socket: OwnedFd,
    origin: Origin,
}

/// A socket that was handed in, of a kind that lsbaws does not serve.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) name: String,
    /// The socket, for messages.
    pub(crate) subject: String,
    pub(crate) problem: String,
    socket: OwnedFd,
}

impl AsFd for Unusable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<Unusable> for Error {
    fn from(Unusable { subject, problem, .. }: Unusable) -> Self {
        Self::Activation(format!("{subject}: {problem}"))
    }
}

/// Where a listening socket comes from, and so whether lsbaws may end it.
#[derive(Debug)]
enum Origin {
    /// Handed in: it outlives the daemon, which never unlinks it or shuts it down. `has_keepalive`: the service manager
    /// has set keep-alive.
    Inherited { has_keepalive: bool },
    /// Bound here, at this file if it is a Unix socket in the file system: it ends with the daemon.
    Bound { configured: Address, file: Option<SocketFile> },
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.unlink();
    }
}

impl Listener {
    /// Bound here, so that its backlog ends with this process.
    pub(crate) fn is_owned(&self) -> bool {
        matches!(self.origin, Origin::Bound { .. })
    }

    /// The configured address of a listener that was bound here.
    pub(crate) fn configured(&self) -> Option<&Address> {
        match &self.origin {
            Origin::Bound { configured, .. } => Some(configured),
            Origin::Inherited { .. } => None,
        }
    }

    /// Sets how soon the kernel finds a vanished peer of a connection that is accepted from now on, unless the service
    /// manager has decided that: see [`keepalive::set_peer_timeout`].
    pub(crate) fn set_peer_timeout(&self, timeout: Duration) {
        if !matches!(self.origin, Origin::Inherited { has_keepalive: true }) {
            keepalive::set_peer_timeout(&self.socket, timeout);
        }
    }

    /// Connections that wait in the backlog. Of a Unix socket the kernel gives no number: then it is 1.
    pub(crate) fn count_waiting(&self) -> usize {
        match sys::count_backlog(self.socket.as_fd()) {
            Some(count) => count as usize,
            None => {
                let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
                usize::from(poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0))
            }
        }
    }

    /// Gives it the name that leads to another service.
    pub(crate) fn rename(&mut self, name: Arc<str>) {
        self.name = name;
    }

    /// Removes the file of a Unix socket that was bound here: no further client can connect, while the backlog can
    /// still be accepted. A file that has taken its place stays.
    pub(crate) fn unlink(&mut self) {
        if let Origin::Bound { file, .. } = &mut self.origin
            && let Some(file) = file.take()
            && SocketFile::at(&file.path).is_ok_and(|now| now == file)
        {
            let _ = fs::remove_file(&file.path); // no permission any more: the file stays
        }
    }

    /// Accepts one connection; `None` when the backlog is empty. Connections that failed in the backlog are skipped.
    ///
    /// # Errors
    /// The other errors of accept(2), such as running out of descriptors.
    pub(crate) fn accept(&self) -> io::Result<Option<Connection>> {
        loop {
            match sys::accept(self.socket.as_fd()) {
                Ok((socket, address)) => return Ok(Some(Connection::new(socket, address, &self.name))),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(None),
                    // Each of these takes a connection out of the backlog, so this ends: the connection was
                    // reset, or a network or firewall error is pending on it.
                    Some(
                        libc::EINTR
                        | libc::ECONNABORTED
                        | libc::EPROTO
                        | libc::EPERM
                        | libc::ENETDOWN
                        | libc::ENOPROTOOPT
                        | libc::EHOSTDOWN
                        | libc::ENONET
                        | libc::EHOSTUNREACH
                        | libc::ENETUNREACH,
                    ) => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

/// Sends without waiting for acknowledgements (TCP_NODELAY, tcp(7)). An accepted socket inherits the option, so that
/// no connection needs a system call for it.
fn set_no_delay(socket: &OwnedFd) {
    let _ = setsockopt(socket, sockopt::TcpNoDelay, &true); // fails for Unix sockets, which have no delay
}

/// The file of a Unix socket, with its identity.
#[derive(Debug, PartialEq, Eq)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }
}

/// The address that a listening socket is bound to, for messages: with the port that the kernel chose for 0.
fn local_address(socket: &OwnedFd) -> String {
    getsockname::<SockaddrStorage>(socket.as_raw_fd())
        .map_or_else(|_| "unknown address".into(), |address| address.to_string())
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Why no listener is available.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("unable to use the sockets handed in: {0}")]
    Activation(String),
    #[error("this host has neither 127.0.0.1 nor ::1 to listen on")]
    NoLoopback,
    /// `hint`: see [`hint::describe`].
    #[error("unable to listen on {address} (listen.{name}): {source}{hint}")]
    Bind { name: String, address: String, source: io::Error, hint: String },
}
