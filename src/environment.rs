//! What programs learn from their environment about a connection.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{SockaddrStorage, getsockname};

use crate::connection::{Connection, Peer};

/// The default search path of programs; the key `environment` may replace it.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables that describe a connection: those of systemd.exec(5) and of UCSPI-TCP 1.0, and the connection's
/// id, or that of a proxy, which its record has as well. `local`: the address that the client has connected to, if a proxy
/// names it.
pub(crate) fn describe_connection(
    connection: &Connection,
    local: Option<SocketAddr>,
    id: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut variables =
        vec![("UNIQUE_ID", id.map_or_else(|| connection.identity.id.to_string(), str::to_owned))];
    match connection.identity.client() {
        Peer::Inet(peer) => {
            let (address, port) = (peer.ip().to_string(), peer.port().to_string());
            variables.extend([
                ("PROTO", "TCP".to_owned()),
                ("TCPREMOTEIP", address.clone()),
                ("TCPREMOTEPORT", port.clone()),
                ("REMOTE_ADDR", address),
                ("REMOTE_PORT", port),
            ]);
            let named = local.map(|local| (local.ip().to_string(), local.port()));
            if let Some((address, port)) = named.or_else(|| local_address(connection.socket.as_fd())) {
                variables.extend([("TCPLOCALIP", address), ("TCPLOCALPORT", port.to_string())]);
            }
        }
        Peer::Unix { uid, pid } => variables.extend([
            ("PROTO", "IPC".to_owned()),
            ("IPCREMOTEEUID", uid.to_string()),
            ("IPCREMOTEPID", pid.to_string()),
        ]),
        Peer::Unknown => {}
    }
    variables
}

/// The local address and port of an Internet socket.
pub(crate) fn local_address(socket: BorrowedFd<'_>) -> Option<(String, u16)> {
    use std::os::fd::AsRawFd;
    let address = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok()?;
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some((v4.ip().to_string(), v4.port())),
        (_, Some(v6)) => Some((v6.ip().to_canonical().to_string(), v6.port())),
        _ => None,
    }
}
