//! Opens connections, all at the same time.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, connect, getsockopt,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::event::{Event, EventWriter};
use crate::target::Address;
use crate::wait::wait_ready;

/// Opens `count` connections to the first address that accepts them, and returns those that opened before
/// `timeout`. Each connection has one event: [`Event::Connected`] or [`Event::NotConnected`].
pub(crate) fn open_connections(
    addresses: &[Address],
    count: u32,
    timeout: Duration,
    events: &mut EventWriter,
) -> io::Result<Vec<OwnedFd>> {
    let mut attempts = Attempts { open: Vec::new(), pending: Vec::new(), events };
    let deadline = Instant::now() + timeout;
    for _ in 0..count {
        let progress = try_addresses(addresses, 0, None, Instant::now(), deadline);
        attempts.record_attempt(progress)?;
    }
    while let Some(finished) = attempts.wait_finished(deadline)? {
        for attempt in finished {
            let progress = finish_attempt(attempt, addresses, deadline);
            attempts.record_attempt(progress)?;
        }
    }
    for _ in &attempts.pending {
        attempts.events.push(Event::NotConnected(Errno::ETIMEDOUT))?;
    }
    Ok(attempts.open)
}

/// The attempts of a client process to open its connections.
struct Attempts<'a> {
    open: Vec<OwnedFd>,
    pending: Vec<Attempt>,
    events: &'a mut EventWriter,
}

/// A connection that is being opened.
struct Attempt {
    socket: OwnedFd,
    since: Instant,
    /// Number of addresses that were tried, including the current one.
    tried: usize,
    /// The error of the first address, which explains more than those of the others.
    error: Option<Errno>,
}

/// Result of a step of an attempt.
enum Progress {
    Open(OwnedFd, Duration),
    Pending(Attempt),
    Failed(Errno),
}

impl Attempts<'_> {
    fn record_attempt(&mut self, progress: Progress) -> io::Result<()> {
        match progress {
            Progress::Pending(attempt) => self.pending.push(attempt),
            Progress::Failed(errno) => self.events.push(Event::NotConnected(errno))?,
            Progress::Open(socket, time) => {
                self.open.push(socket);
                self.events.push(Event::Connected(time))?;
            }
        }
        Ok(())
    }

    /// Waits until connect(2) has finished for some attempts, and removes those. Returns `None` when no
    /// attempt is pending and at the deadline.
    fn wait_finished(&mut self, deadline: Instant) -> io::Result<Option<Vec<Attempt>>> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        self.events.flush()?;
        let sockets = self.pending.iter().map(|attempt| (attempt.socket.as_fd(), PollFlags::POLLOUT));
        let Some(ready) = wait_ready(sockets, deadline)? else {
            return Ok(None);
        };
        let mut ready = ready.into_iter();
        Ok(Some(self.pending.extract_if(.., |_| ready.next().unwrap_or(false)).collect()))
    }
}

/// Tries the addresses from index `tried` until one does not fail immediately.
fn try_addresses(
    addresses: &[Address],
    tried: usize,
    mut error: Option<Errno>,
    since: Instant,
    deadline: Instant,
) -> Progress {
    for (index, address) in addresses.iter().enumerate().skip(tried) {
        match start_connect(address, deadline) {
            Ok((socket, true)) => return Progress::Open(socket, since.elapsed()),
            Ok((socket, false)) => {
                return Progress::Pending(Attempt { socket, since, tried: index + 1, error });
            }
            Err(errno) => error = error.or(Some(errno)),
        }
    }
    Progress::Failed(error.unwrap_or(Errno::EADDRNOTAVAIL))
}

/// Checks an attempt whose connect(2) has finished. Tries the next address if it has failed.
fn finish_attempt(attempt: Attempt, addresses: &[Address], deadline: Instant) -> Progress {
    let Attempt { socket, since, tried, error } = attempt;
    match check_open(&socket) {
        Ok(()) => Progress::Open(socket, since.elapsed()),
        Err(errno) => {
            drop(socket);
            try_addresses(addresses, tried, error.or(Some(errno)), since, deadline)
        }
    }
}

/// Result of a connect(2) that did not block.
fn check_open(socket: &OwnedFd) -> nix::Result<()> {
    match getsockopt(socket, sockopt::SocketError)? {
        0 => Ok(()),
        code => Err(Errno::from_raw(code)),
    }
}

/// Starts to connect. Returns the socket and whether the connection is open.
fn start_connect(address: &Address, deadline: Instant) -> nix::Result<(OwnedFd, bool)> {
    match address {
        Address::Inet(address) => connect_inet(&SockaddrStorage::from(*address)),
        Address::Path(path) => Ok((connect_unix(&UnixAddr::new(path)?, deadline)?, true)),
        Address::Abstract(name) => {
            Ok((connect_unix(&UnixAddr::new_abstract(name.as_bytes())?, deadline)?, true))
        }
    }
}

fn connect_inet(address: &SockaddrStorage) -> nix::Result<(OwnedFd, bool)> {
    let family = address.family().unwrap_or(AddressFamily::Inet);
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    match connect(socket.as_raw_fd(), address) {
        Ok(()) => return Ok((socket, true)),
        // The kernel continues an interrupted connect(2) in the background.
        Err(Errno::EINPROGRESS | Errno::EINTR) => {}
        Err(errno) => return Err(errno),
    }
    // A connection to the same host is open by now. Checked here, so that its time does not include the start
    // of the other attempts.
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    let is_open = poll(&mut fds, PollTimeout::ZERO)? > 0;
    if is_open {
        check_open(&socket)?;
    }
    Ok((socket, is_open))
}

/// Connects a Unix socket. This blocks: a nonblocking connect(2) fails with EAGAIN when the backlog is full,
/// and poll(2) cannot wait for room in it. The send timeout limits the time (socket(7)).
fn connect_unix(address: &UnixAddr, deadline: Instant) -> nix::Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let seconds = left.as_secs().try_into().unwrap_or(i64::MAX);
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::new(seconds, left.subsec_micros().into()))?;
        match connect(socket.as_raw_fd(), address) {
            Ok(()) => return Ok(socket),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT),
            Err(errno) => return Err(errno),
        }
    }
}
