//! Where connections come from: sockets that were handed in ([`activation`]), or bound here ([`bind`]).

pub mod activation;
pub mod bind;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use crate::connection::Connection;
use crate::sys;

/// A listening socket and the name that leads to its service.
#[derive(Debug)]
pub struct Listener {
    pub name: Arc<str>,
    /// Its address, for people.
    pub address: String,
    socket: OwnedFd,
    origin: Origin,
}

/// Who made a listening socket, and so who may end it.
#[derive(Debug)]
enum Origin {
    /// Handed in: it lives on without us, and is never unlinked or shut down.
    Inherited,
    /// Bound here, at this file if it is a Unix socket in the file system: it ends with us.
    Bound(Option<PathBuf>),
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.unlink();
    }
}

impl Listener {
    /// Bound here, so that its backlog dies with this process.
    pub fn is_owned(&self) -> bool {
        matches!(self.origin, Origin::Bound(_))
    }

    /// Removes the file of a Unix socket that was bound here: nobody new can connect, while the backlog can
    /// still be accepted.
    pub fn unlink(&mut self) {
        if let Origin::Bound(path) = &mut self.origin
            && let Some(path) = path.take()
        {
            // Gone already, or not ours to remove any more: there is nobody to tell.
            let _ = fs::remove_file(path);
        }
    }

    /// Accepts one connection; `None` when nobody is waiting any more.
    ///
    /// A peer that has gone away meanwhile is that peer's affair, and counts as nobody: poll(2) will tell of
    /// the others. The other errors of accept(2), such as running out of descriptors, are returned.
    pub fn accept(&self) -> io::Result<Option<Connection>> {
        match sys::accept(self.socket.as_fd()) {
            Ok((socket, address)) => Ok(Some(Connection::new(socket, address, &self.name))),
            Err(error) if error.raw_os_error().is_some_and(is_transient) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Nobody is there, or an error that speaks of one connection, not of the listener (accept(2), "Error
/// handling").
fn is_transient(code: i32) -> bool {
    matches!(
        code,
        libc::EAGAIN
            | libc::EINTR
            | libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
            | libc::ETIMEDOUT
    )
}

/// Why there is nothing to serve on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("unable to use the sockets handed in: {0}")]
    Activation(String),
    #[error("this host has neither 127.0.0.1 nor ::1 to listen on")]
    NoLoopback,
    #[error("unable to listen on {address} (listen.{name}): {source}")]
    Bind { name: String, address: String, source: io::Error },
}
