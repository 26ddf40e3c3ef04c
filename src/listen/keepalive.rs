//! Finding peers that have vanished without closing their connection, such as a host without power: the kernel probes
//! idle connections, and gives up those on which data is not acknowledged.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};

/// Probes of an idle connection that are not answered before the kernel resets it.
const PROBES: u32 = 4;
/// The largest value, in seconds, of the kernel's options for keep-alive (tcp(7)).
const SECONDS_MAX: u32 = 32_767;

/// Whether the service manager has set keep-alive itself (systemd.socket(5), `KeepAlive=`). An earlier daemon may have
/// set it on the same socket, and `TCP_USER_TIMEOUT` with it, which systemd does not set.
pub(crate) fn is_foreign(socket: &impl AsFd) -> bool {
    let socket = socket.as_fd();
    getsockopt(&socket, sockopt::KeepAlive).unwrap_or(false)
        && getsockopt(&socket, sockopt::TcpUserTimeout).is_ok_and(|millis| millis == 0)
}

/// Makes the kernel reset a connection whose peer does not answer for `timeout`, or does not take the data that waits for
/// it. To be set on the listening socket: accepted sockets inherit it, so that no connection needs a system call for it.
pub(crate) fn set_peer_timeout(socket: &impl AsFd, timeout: Duration) {
    let socket = socket.as_fd();
    let seconds = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX);
    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let (idle, interval) =
        ((seconds / 2).clamp(1, SECONDS_MAX), (seconds / (2 * PROBES)).clamp(1, SECONDS_MAX));
    let results = [
        setsockopt(&socket, sockopt::TcpKeepIdle, &idle),
        setsockopt(&socket, sockopt::TcpKeepInterval, &interval),
        setsockopt(&socket, sockopt::TcpKeepCount, &PROBES),
        setsockopt(&socket, sockopt::TcpUserTimeout, &millis),
        setsockopt(&socket, sockopt::KeepAlive, &true),
    ];
    let _ = results; // they fail for Unix sockets, whose peers cannot vanish
}
