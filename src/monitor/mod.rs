//! `lsbaws status` and `lsbaws top`: ask a running daemon for its status, by its status socket, and show it. `lsbaws drain` and
//! `lsbaws undrain` ask it by the same socket.

#![forbid(unsafe_code)]

mod screen;
mod text;
mod top;

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::status::control::ControlRequest;
use crate::status::health::DrainCause;
use crate::status::{self, StatusReport};
use crate::sys::{self, Patience};

/// How long the daemon may take to answer, in seconds.
const TIMEOUT: i64 = 5;

/// Why there is no status to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the daemon is not running, or has no status socket at {0} (process.status_socket)")]
    NotRunning(PathBuf),
    #[error("the status socket {0} is for root and the user of the daemon only")]
    NotPermitted(PathBuf),
    #[error("{0}")]
    Refused(&'static str),
    #[error("unable to read the status from {path}: {source}")]
    System { path: PathBuf, source: io::Error },
}

/// Shows the status on a screen that refreshes itself; where there is no terminal, once.
///
/// # Errors
/// See [`Error`].
pub(crate) fn watch(path: &Path) -> Result<(), Error> {
    match io::stdout().is_terminal() && io::stdin().is_terminal() {
        true => top::run(path),
        false => show(path, false),
    }
}

/// Writes the status of the daemon with this status socket to standard output, for a person or as JSON.
///
/// # Errors
/// See [`Error`]. A closed pipe is none.
pub(crate) fn show(path: &Path, as_json: bool) -> Result<(), Error> {
    let mut text = match as_json {
        true => status::read_text(request(path, ControlRequest::Status)?.as_fd())
            .map_err(|source| Error::System { path: path.to_owned(), source })?,
        false => fetch(path, ControlRequest::Status)?.to_string().into_bytes(),
    };
    if as_json {
        text.push(b'\n');
    }
    let _ = io::stdout().write_all(&text); // a closed pipe
    Ok(())
}

/// Announces a drain to balancers, or ends it.
///
/// # Errors
/// See [`Error`].
pub(crate) fn drain(path: &Path, must_drain: bool) -> Result<(), Error> {
    let (request, expected) = match must_drain {
        true => (ControlRequest::Drain, Some(DrainCause::Request)),
        false => (ControlRequest::Undrain, None),
    };
    match fetch(path, request)?.daemon.drain {
        drain if drain == expected => Ok(()),
        Some(DrainCause::Stop) => Err(Error::Refused("the daemon is stopping")),
        _ => Err(Error::Refused("the daemon does not know this request: it is older than this program")),
    }
}

/// Gets a report, after the request has been acted on.
fn fetch(path: &Path, request: ControlRequest) -> Result<StatusReport, Error> {
    StatusReport::read(self::request(path, request)?.as_fd())
        .map_err(|source| Error::System { path: path.to_owned(), source })
}

/// Gets the memory file of a report.
fn request(path: &Path, request: ControlRequest) -> Result<OwnedFd, Error> {
    let received = try_request(path, request).map_err(|source| match source.raw_os_error() {
        Some(libc::ENOENT | libc::ECONNREFUSED | libc::ENOTDIR) => Error::NotRunning(path.to_owned()),
        Some(libc::EACCES) => Error::NotPermitted(path.to_owned()),
        _ => Error::System { path: path.to_owned(), source },
    })?;
    // The daemon has closed the connection.
    received.ok_or_else(|| Error::NotPermitted(path.to_owned()))
}

fn try_request(path: &Path, request: ControlRequest) -> io::Result<Option<OwnedFd>> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(TIMEOUT))?;
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(TIMEOUT))?; // of connect(2) as well
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    // A daemon that may not answer this process has disconnected it, perhaps already.
    let _ = send(socket.as_raw_fd(), request.line().as_bytes(), MsgFlags::MSG_NOSIGNAL);
    let mut greeting = [0; status::GREETING.len()];
    match sys::receive_message(socket.as_fd(), &mut greeting, Patience::Wait) {
        Ok(Some((_, [Some(file), ..]))) if greeting == *status::GREETING => Ok(Some(file)),
        Ok(None) => Ok(None),
        Ok(Some(_)) => Err(io::Error::other("this is not the status socket of lsbaws")),
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
            Err(io::Error::other(format!("no answer for {TIMEOUT} seconds")))
        }
        Err(error) => Err(error),
    }
}
