//! Accepted sockets, and the addresses of their peers.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The remote address of an accepted socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemoteAddress {
    Inet(SocketAddr),
    /// `AF_UNIX` and others, where the address does not identify the peer.
    Unnamed,
    /// The peer has reset the connection, and the kernel does not know its address any more.
    Gone,
}

/// Accepts one connection, close-on-exec and non-blocking (accept4(2)), with the peer's address, which
/// the kernel gives in the same call; nix's `accept4` does not return it.
///
/// # Errors
/// Those of accept4(2).
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, RemoteAddress)> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = socklen::<libc::sockaddr_storage>();
    // SAFETY: the address pointer is to a live local as long as `length` says.
    let fd = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            storage.as_mut_ptr().cast(),
            &raw mut length,
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: accept4 has just made this descriptor; nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((socket, decode_address(&storage)))
}

/// The peer's address of a connected socket (getpeername(2)); an error when it is not connected.
pub(crate) fn remote_address(socket: BorrowedFd<'_>) -> io::Result<RemoteAddress> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = socklen::<libc::sockaddr_storage>();
    // SAFETY: the address pointer is to a live local as long as `length` says.
    let result =
        unsafe { libc::getpeername(socket.as_raw_fd(), storage.as_mut_ptr().cast(), &raw mut length) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(decode_address(&storage))
}

#[expect(clippy::cast_possible_truncation, reason = "a socket address has 128 bytes")]
fn socklen<T>() -> libc::socklen_t {
    mem::size_of::<T>() as libc::socklen_t
}

/// Reads a socket address that was zeroed and then filled in by the kernel.
fn decode_address(storage: &MaybeUninit<libc::sockaddr_storage>) -> RemoteAddress {
    let pointer = storage.as_ptr();
    // SAFETY: zeroed bytes are a valid sockaddr_storage, whatever the kernel has written over them.
    let family = i32::from(unsafe { (*pointer).ss_family });
    match family {
        libc::AF_INET => {
            // SAFETY: the family says which type the kernel wrote; it fits in sockaddr_storage.
            let raw = unsafe { &*pointer.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
            RemoteAddress::Inet(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says which type the kernel wrote; it fits in sockaddr_storage.
            let raw = unsafe { &*pointer.cast::<libc::sockaddr_in6>() };
            let (ip, port) = (raw.sin6_addr.s6_addr.into(), u16::from_be(raw.sin6_port));
            let v6 = SocketAddrV6::new(ip, port, 0, raw.sin6_scope_id);
            // An IPv4 client of a dual-stack listener has its IPv4 address.
            let canonical = v6.ip().to_canonical();
            RemoteAddress::Inet(if canonical.is_ipv4() {
                SocketAddr::new(canonical, port)
            } else {
                v6.into()
            })
        }
        _ => RemoteAddress::Unnamed,
    }
}
