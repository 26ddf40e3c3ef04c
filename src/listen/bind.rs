//! Sockets that lsbaws binds itself, when none were handed in.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect, listen, setsockopt,
    socket, sockopt,
};
use nix::sys::stat::{self, umask};

use super::address::{Address, Mode};
use super::hint;
use super::{Error, ListenTable, Listener, Origin, SocketFile, local_address, set_no_delay};

/// Binds every address of `[listen.*]`. All or nothing, but for the default addresses: there those
/// that this host does not have (no IPv6) are left out.
///
/// # Errors
/// The first address that cannot be bound.
pub(crate) fn bind_listeners(tables: &[ListenTable]) -> Result<Vec<Listener>, Error> {
    let listeners = bind_missing(tables, &[])?;
    if listeners.is_empty() { Err(Error::NoLoopback) } else { Ok(listeners) }
}

/// The same, but for addresses that are `held` already.
///
/// # Errors
/// The first address that cannot be bound; none is bound then.
pub(crate) fn bind_missing(tables: &[ListenTable], held: &[&Address]) -> Result<Vec<Listener>, Error> {
    let all: Vec<&Address> = tables.iter().flat_map(|table| &table.addresses).collect();
    let mut listeners = Vec::new();
    for table in tables {
        for address in table.addresses.iter().filter(|address| !held.contains(address)) {
            match bind_one(table, address, &all) {
                Ok(socket) => {
                    let file =
                        if let Address::Path(path) = address { SocketFile::at(path).ok() } else { None };
                    let origin = Origin::Bound { configured: address.clone(), file };
                    let (name, address) = (table.name.as_str().into(), local_address(&socket));
                    listeners.push(Listener { name, address, socket, origin });
                }
                Err(source) if table.may_lack && is_unavailable(&source) => {}
                Err(source) => {
                    let hint = hint::describe(table, address, &source);
                    let (name, address) = (table.name.clone(), address.to_string());
                    return Err(Error::Bind { name, address, source, hint });
                }
            }
        }
    }
    Ok(listeners)
}

/// Binds a socket at this file that is no listener of a service.
///
/// # Errors
/// Those of bind(2) and listen(2).
pub(crate) fn bind_file(name: &str, path: &Path, mode: Mode) -> io::Result<Listener> {
    let socket = bind_path(path, mode)?;
    listen(&socket, Backlog::new(128)?)?;
    let origin =
        Origin::Bound { configured: Address::Path(path.to_owned()), file: SocketFile::at(path).ok() };
    Ok(Listener { name: name.into(), address: path.display().to_string(), socket, origin })
}

fn is_unavailable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

fn bind_one(table: &ListenTable, address: &Address, all: &[&Address]) -> io::Result<OwnedFd> {
    let fd = match address {
        Address::Tcp(tcp) => bind_tcp(*tcp, shares_port_with_v4(*tcp, all))?,
        Address::Path(path) => bind_path(path, table.mode)?,
        Address::Abstract(name) => {
            let fd = open_socket(AddressFamily::Unix)?;
            bind(fd.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
            fd
        }
    };
    set_no_delay(&fd);
    listen(&fd, Backlog::new(table.backlog)?)?;
    Ok(fd)
}

fn open_socket(family: AddressFamily) -> nix::Result<OwnedFd> {
    socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
}

/// `[::]` accepts IPv4 as well, whatever `net.ipv6.bindv6only` is, unless an IPv4 address with that port is configured
/// too.
fn shares_port_with_v4(address: SocketAddr, all: &[&Address]) -> bool {
    all.iter().any(|other| matches!(other, Address::Tcp(SocketAddr::V4(v4)) if v4.port() == address.port()))
}

fn bind_tcp(address: SocketAddr, v6_only: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = open_socket(family)?;
    // A restart can bind a port whose old connections are in TIME-WAIT.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        setsockopt(&fd, sockopt::Ipv6V6Only, &v6_only)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd)
}

fn bind_path(path: &Path, Mode(mode): Mode) -> io::Result<OwnedFd> {
    remove_stale(path)?;
    let fd = open_socket(AddressFamily::Unix)?;
    // The umask alone decides the mode of a socket's file (unix(7)): at no moment is it wider.
    let before = umask(stat::Mode::from_bits_truncate(!mode & 0o777));
    let bound = bind(fd.as_raw_fd(), &UnixAddr::new(path)?);
    umask(before);
    bound?;
    Ok(fd)
}

/// Removes the socket file of a daemon that was killed. A socket that answers is in use, and a file that is no socket
/// stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists and is not a socket"));
    }
    // This does not block, and the backlog of a socket in use may be full: an error other than this one.
    match connect(open_socket(AddressFamily::Unix)?.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path),
        Err(Errno::EACCES) => Err(io::Error::from_raw_os_error(libc::EACCES)),
        _ => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
    }
}
