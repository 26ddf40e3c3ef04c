//! What the kernel knows of a TCP socket (tcp(7), `TCP_INFO`).

use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// For how long no byte has moved in either direction. `None`: not a TCP socket.
pub(crate) fn idle_time(socket: BorrowedFd<'_>) -> Option<Duration> {
    let info = read_info(socket)?;
    Some(Duration::from_millis(info.tcpi_last_data_sent.min(info.tcpi_last_data_recv).into()))
}

/// Connections that wait in the backlog of a listening socket. `None`: not a TCP socket.
pub(crate) fn count_backlog(listener: BorrowedFd<'_>) -> Option<u32> {
    read_info(listener).map(|info| info.tcpi_unacked) // so the kernel names it for a listening socket
}

fn read_info(socket: BorrowedFd<'_>) -> Option<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(mem::size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: the pointer is to a live local as long as `length` has it.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    // SAFETY: zeroed bytes are a valid tcp_info, however many of them the kernel has written over.
    (result == 0).then(|| unsafe { info.assume_init() })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn kernel_counts_the_backlog_and_the_idle_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(count_backlog(listener.as_fd()), Some(0));
        let streams = [(); 3].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        assert_eq!(count_backlog(listener.as_fd()), Some(3));
        std::thread::park_timeout(Duration::from_millis(50));
        assert!(idle_time(streams[0].as_fd()).unwrap() >= Duration::from_millis(40));
        std::io::Write::write_all(&mut &streams[0], b"x").unwrap();
        assert!(idle_time(streams[0].as_fd()).unwrap() < idle_time(streams[1].as_fd()).unwrap());
        let (unix, _other) = UnixStream::pair().unwrap();
        assert_eq!((idle_time(unix.as_fd()), count_backlog(unix.as_fd())), (None, None));
    }
}
