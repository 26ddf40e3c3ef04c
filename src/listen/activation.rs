//! Sockets handed in: by systemd (sd_listen_fds(3)), or on standard input by inetd, xinetd, tcpserver and the like.
//!
//! The environment is read, never changed: programs get one of their own.

use std::env;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{GetSockOpt, SockType, SockaddrStorage, UnixAddr, getsockname, getsockopt, sockopt};
use nix::sys::stat::fstat;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::{Error, Listener, Origin, Unusable, keepalive, local_address, set_no_delay};
use crate::connection::Connection;
use crate::sys::{self, RemoteAddress};

/// The limit of systemd as well (`FDNAME_MAX`). An order to a fork server has room for it.
const NAME_MAX: usize = 255;
/// The name of a socket without one, as in sd_listen_fds_with_names(3).
pub(crate) const NO_NAME: &str = "unknown";

/// More sockets than a service manager hands in.
const LISTEN_FDS_MAX: u64 = 65_536;

/// What this process was started with.
#[derive(Debug)]
pub(crate) enum Activation {
    /// No sockets: bind some.
    None,
    /// At least one listener, and sockets that cannot be served.
    Listeners(Vec<Listener>, Vec<Unusable>),
    /// One connected socket: serve it, then end. `took_stderr`: standard error was that socket too.
    Connection { connection: Connection, took_stderr: bool },
}

impl Activation {
    /// Standard error was the client's connection, and is /dev/null now.
    pub(crate) fn took_stderr(&self) -> bool {
        matches!(self, Self::Connection { took_stderr: true, .. })
    }
}

/// Takes over all sockets that were handed in, and checks which of them lsbaws can serve.
///
/// # Errors
/// If it can serve none: a sentence that names the socket and what was expected of it.
pub(crate) fn receive() -> Result<Activation, Error> {
    let sockets = receive_from_systemd()?;
    if sockets.is_empty() {
        return receive_from_inetd();
    }
    let mut listeners = Vec::new();
    let (mut connections, mut unusable) = (Vec::new(), Vec::new());
    for (name, socket) in sockets {
        match inspect(&name, socket) {
            Ok(Socket::Listening(listener)) => listeners.push(listener),
            Ok(Socket::Connected(connection)) => connections.push(connection),
            Err(socket) => unusable.push(socket),
        }
    }
    // Others are served without it.
    if listeners.is_empty() && !unusable.is_empty() {
        return Err(unusable.swap_remove(0).into());
    }
    match (listeners.is_empty(), connections.pop()) {
        (_, None) => Ok(Activation::Listeners(listeners, unusable)),
        (true, Some(connection)) if connections.is_empty() => Ok(Activation::Connection {
            connection,
            took_stderr: false,
        }),
        _ => Err(Error::Activation(
            "expected listening sockets (Accept=no), or a single connected one (Accept=yes), found both or several"
                .into(),
        )),
    }
}

/// The descriptors of `LISTEN_FDS` with their names, if they are for this process.
fn receive_from_systemd() -> Result<Vec<(String, OwnedFd)>, Error> {
    let fail = |problem: String| Error::Activation(problem);
    // libsystemd allocates for any number.
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let is_ours = number("LISTEN_PID") == Some(std::process::id().into());
    if let Some(count) = number("LISTEN_FDS").filter(|&count| is_ours && count > LISTEN_FDS_MAX) {
        return Err(fail(format!("LISTEN_FDS={count} is more than {LISTEN_FDS_MAX}")));
    }
    // Without names, or with too few, libsystemd's `receive_descriptors_with_names` silently drops sockets: so the
    // descriptors come from there, and the names from here.
    let descriptors =
        libsystemd::activation::receive_descriptors(false).map_err(|error| fail(error.to_string()))?;
    let names: Vec<String> = match env::var("LISTEN_FDNAMES") {
        Ok(names) => names.split(':').map(str::to_owned).collect(),
        Err(_) => vec![NO_NAME.to_owned(); descriptors.len()],
    };
    if !descriptors.is_empty() && names.len() != descriptors.len() {
        let (names, fds) = (names.len(), descriptors.len());
        return Err(fail(format!("LISTEN_FDNAMES has {names} names for LISTEN_FDS={fds} sockets")));
    }
    let adopt = |(name, descriptor): (String, libsystemd::activation::FileDescriptor)| {
        let fd = descriptor.into_raw_fd();
        if name.len() > NAME_MAX {
            return Err(fail(format!("LISTEN_FDNAMES: a name has more than {NAME_MAX} bytes")));
        }
        let name = if name.is_empty() { NO_NAME.to_owned() } else { name };
        let socket = sys::adopt_fd(fd)
            .map_err(|error| fail(format!("socket \"{name}\" (descriptor {fd}): {error}")))?;
        Ok((name, socket))
    };
    names.into_iter().zip(descriptors).map(adopt).collect()
}

enum Socket {
    Listening(Listener),
    Connected(Connection),
}

/// Distinguishes listening from connected stream sockets, and refuses everything else.
fn inspect(name: &str, socket: OwnedFd) -> Result<Socket, Unusable> {
    match prepare(&socket) {
        Ok(None) => {
            let (address, has_keepalive) = (local_address(&socket), keepalive::is_foreign(&socket));
            let origin = Origin::Inherited { has_keepalive };
            Ok(Socket::Listening(Listener { name: name.into(), address, socket, origin }))
        }
        Ok(Some(peer)) => Ok(Socket::Connected(Connection::new(socket, peer, &name.into()))),
        Err(problem) => {
            let subject = format!("socket \"{name}\" (descriptor {})", socket.as_raw_fd());
            Err(Unusable { name: name.to_owned(), subject, problem, socket })
        }
    }
}

/// Prepares a socket that can be served, and gives the peer of a connected one. The error is a sentence.
fn prepare(socket: &OwnedFd) -> Result<Option<RemoteAddress>, String> {
    match query(socket, sockopt::SockType) {
        None => return Err("expected a socket, found something else".into()),
        Some(SockType::Stream) => {}
        Some(other) => {
            let found = match other {
                SockType::Datagram => "a datagram socket (ListenDatagram=)",
                SockType::SeqPacket => "a sequential-packet socket (ListenSequentialPacket=)",
                _ => "a socket of another type",
            };
            return Err(format!("expected a stream socket (ListenStream=), found {found}"));
        }
    }
    // Accepting until the backlog is empty needs a non-blocking socket, and so does a connection with deadlines.
    set_nonblocking(socket).map_err(|error| format!("unable to make it non-blocking: {error}"))?;
    set_no_delay(socket);
    if query(socket, sockopt::AcceptConn) == Some(true) {
        return Ok(None);
    }
    let peer = connected_to(socket.as_fd());
    peer.map(Some)
        .ok_or_else(|| "expected a listening or a connected socket, found one that is neither".into())
}

/// The peer of a connected socket; `None` for a socket that never was connected. A socket that its peer has reset still
/// has a local port.
fn connected_to(socket: BorrowedFd<'_>) -> Option<RemoteAddress> {
    sys::remote_address(socket).ok().or_else(|| {
        let local = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok()?;
        let port = match (local.as_sockaddr_in(), local.as_sockaddr_in6()) {
            (Some(v4), _) => v4.port(),
            (_, Some(v6)) => v6.port(),
            _ => 0,
        };
        (port != 0).then_some(RemoteAddress::Gone)
    })
}

/// The connection that inetd and the like put on standard input, if one of them started this process.
///
/// An Internet socket there can be nothing else; a listening one comes from inetd's `wait`. A Unix socket counts only
/// when it was accepted from a named one: a socket pair, which ssh and others use for a pipe, has no name.
fn receive_from_inetd() -> Result<Activation, Error> {
    let stdin = std::io::stdin();
    let stdin = stdin.as_fd();
    if query(&stdin, sockopt::SockType) != Some(SockType::Stream) {
        return Ok(Activation::None);
    }
    let is_listening = query(&stdin, sockopt::AcceptConn) == Some(true);
    match connected_to(stdin) {
        None if !is_listening => return Ok(Activation::None),
        Some(RemoteAddress::Unnamed) if !has_unix_name(stdin) => return Ok(Activation::None),
        _ => {}
    }
    let fail = |error: std::io::Error| Error::Activation(format!("the socket on standard input: {error}"));
    let socket = stdin.try_clone_to_owned().map_err(fail)?;
    let took_stderr = is_same_file(stdin, std::io::stderr().as_fd());
    let null = File::options().read(true).write(true).open("/dev/null").map_err(fail)?;
    free_standard_descriptors(&null, took_stderr).map_err(|errno| fail(errno.into()))?;
    Ok(match inspect("inetd", socket)? {
        Socket::Connected(connection) => Activation::Connection { connection, took_stderr },
        Socket::Listening(listener) => Activation::Listeners(vec![listener], Vec::new()),
    })
}

/// The socket is bound to a name of unix(7).
fn has_unix_name(socket: BorrowedFd<'_>) -> bool {
    getsockname::<UnixAddr>(socket.as_raw_fd())
        .is_ok_and(|address| address.path().is_some() || address.as_abstract().is_some())
}

/// Puts /dev/null where inetd put the connection, so that the client never reads a log line or a panic message.
/// Standard error stays when it is something else, such as tcpserver's log.
fn free_standard_descriptors(null: &File, took_stderr: bool) -> nix::Result<()> {
    dup2_stdin(null)?;
    dup2_stdout(null)?;
    if took_stderr { dup2_stderr(null) } else { Ok(()) }
}

fn is_same_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    match (fstat(one), fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

fn query<O: GetSockOpt>(socket: &impl AsFd, option: O) -> Option<O::Val> {
    getsockopt(&socket.as_fd(), option).ok()
}

fn set_nonblocking(socket: &OwnedFd) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    if !flags.contains(OFlag::O_NONBLOCK) {
        fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    }
    Ok(())
}
