//! One client process: opens its connections, waits for the others, asks on all, reads the answers.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, connect,
    getsockopt, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::answer::{Answer, Verdict};
use super::results::{Event, EventWriter};
use super::target::{Address, Target};

/// A client process' ends of the pipes that it shares with the parent and the other clients.
pub(super) struct Pipes {
    /// Closed by every client once its connections are open (or it is dead): the parent sees the end.
    pub ready: PipeWriter,
    /// Closed by the parent once all clients are ready: every client sees the end.
    pub go: PipeReader,
    /// Takes an [`Event`] for everything that becomes of a connection.
    pub events: PipeWriter,
}

/// The whole life of a client process with `count` connections. `timeout` bounds the opening of all
/// of them, and then again all answers, since all wait together.
pub(super) fn run(target: &Target, count: u32, timeout: Duration, pipes: Pipes) -> io::Result<()> {
    let Pipes { ready, mut go, events } = pipes;
    let mut events = EventWriter::new(events);
    let sockets = open_all(&target.addresses, count, timeout, &mut events)?;
    events.flush()?;
    drop(ready);
    go.read_to_end(&mut Vec::new())?;
    ask_all(sockets, &target.request(), timeout, &mut events)?;
    events.flush()
}

/// A connection that is being opened.
struct Opening {
    socket: OwnedFd,
    since: Instant,
    /// How many of the addresses have been tried; the last of these is under way.
    tried: usize,
    /// Why the first address failed, which says more than the others' errors.
    error: Option<Errno>,
}

/// What came of trying the next address.
enum Attempt {
    Open(OwnedFd),
    Pending(Opening),
    Failed(Errno),
}

/// Opens `count` connections at once and returns those that opened in time.
fn open_all(
    addresses: &[Address],
    count: u32,
    timeout: Duration,
    events: &mut EventWriter,
) -> io::Result<Vec<OwnedFd>> {
    let deadline = Instant::now() + timeout;
    let mut open = Vec::new();
    let mut pending = Vec::new();
    for _ in 0..count {
        let since = Instant::now();
        let attempt = try_addresses(addresses, 0, None, since, deadline);
        settle(attempt, since, &mut open, &mut pending, events)?;
    }
    while !pending.is_empty() {
        let wanted = pending.iter().map(|opening: &Opening| (&opening.socket, PollFlags::POLLOUT));
        let Some(ready) = wait_ready(wanted, deadline, events)? else {
            break;
        };
        for (opening, ready) in std::mem::take(&mut pending).into_iter().zip(ready) {
            if !ready {
                pending.push(opening);
                continue;
            }
            let since = opening.since;
            let attempt = finish(opening, addresses, deadline);
            settle(attempt, since, &mut open, &mut pending, events)?;
        }
    }
    for _ in pending {
        events.push(Event::Refused(Errno::ETIMEDOUT))?;
    }
    Ok(open)
}

/// Puts an attempt where it belongs, and reports it if that is its end.
fn settle(
    attempt: Attempt,
    since: Instant,
    open: &mut Vec<OwnedFd>,
    pending: &mut Vec<Opening>,
    events: &mut EventWriter,
) -> io::Result<()> {
    match attempt {
        Attempt::Pending(opening) => pending.push(opening),
        Attempt::Failed(errno) => events.push(Event::Refused(errno))?,
        Attempt::Open(socket) => {
            open.push(socket);
            events.push(Event::Connected(since.elapsed()))?;
        }
    }
    Ok(())
}

/// Tries the addresses from number `tried` on until one does not fail at once.
fn try_addresses(
    addresses: &[Address],
    tried: usize,
    mut error: Option<Errno>,
    since: Instant,
    deadline: Instant,
) -> Attempt {
    for (number, address) in addresses.iter().enumerate().skip(tried) {
        match start_connect(address, deadline) {
            Ok((socket, true)) => return Attempt::Open(socket),
            Ok((socket, false)) => {
                return Attempt::Pending(Opening { socket, since, tried: number + 1, error });
            }
            Err(errno) => error = error.or(Some(errno)),
        }
    }
    Attempt::Failed(error.unwrap_or(Errno::EADDRNOTAVAIL))
}

/// Looks at a connection that poll(2) calls ready: open, or on to the next address.
fn finish(opening: Opening, addresses: &[Address], deadline: Instant) -> Attempt {
    let Opening { socket, since, tried, error } = opening;
    match check_open(&socket) {
        Ok(()) => Attempt::Open(socket),
        Err(errno) => {
            drop(socket);
            try_addresses(addresses, tried, error.or(Some(errno)), since, deadline)
        }
    }
}

/// How a connect(2) that did not block ended.
fn check_open(socket: &OwnedFd) -> nix::Result<()> {
    match getsockopt(socket, sockopt::SocketError)? {
        0 => Ok(()),
        code => Err(Errno::from_raw(code)),
    }
}

/// Begins to connect; says whether the connection is open already.
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
        // An interrupted connect goes on by itself, as one that is in progress (connect(2)).
        Err(Errno::EINPROGRESS | Errno::EINTR) => {}
        Err(errno) => return Err(errno),
    }
    // To this same host the connection is open by now; to wait until all are begun would make it late.
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    let is_open = poll(&mut fds, PollTimeout::ZERO)? > 0;
    if is_open {
        check_open(&socket)?;
    }
    Ok((socket, is_open))
}

/// Connects a Unix socket. This one blocks: without blocking, a full backlog is an error (EAGAIN) that
/// poll(2) cannot wait out. The send timeout bounds the wait (socket(7)).
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

/// A connection that was asked, or is about to be.
struct Asking<'a> {
    socket: OwnedFd,
    since: Instant,
    /// What of the request is still to be sent.
    unsent: &'a [u8],
    answer: Answer,
    /// Time from asking to the last byte of the answer, once the answer itself says that it is whole.
    complete: Option<Duration>,
}

/// Asks on every connection, then reads all answers to the end of their connections.
fn ask_all(
    sockets: Vec<OwnedFd>,
    request: &[u8],
    timeout: Duration,
    events: &mut EventWriter,
) -> io::Result<()> {
    let deadline = Instant::now() + timeout;
    let mut asking: Vec<_> = sockets.into_iter().map(|socket| Asking::start(socket, request)).collect();
    let mut buffer = vec![0; 64 * 1024];
    while !asking.is_empty() {
        let wanted = asking.iter().map(|asking| (&asking.socket, asking.interest()));
        let Some(ready) = wait_ready(wanted, deadline, events)? else {
            break;
        };
        for (mut one, ready) in std::mem::take(&mut asking).into_iter().zip(ready) {
            match ready.then(|| one.advance(&mut buffer)).flatten() {
                Some(event) => events.push(event)?,
                None => asking.push(one),
            }
        }
    }
    for _ in asking {
        events.push(Event::TimedOut)?;
    }
    Ok(())
}

impl<'a> Asking<'a> {
    fn start(socket: OwnedFd, request: &'a [u8]) -> Self {
        let since = Instant::now();
        let mut asking = Self { socket, since, unsent: request, answer: Answer::new(), complete: None };
        asking.send();
        asking
    }

    /// Sends what the socket takes. A connection that the server has closed meanwhile takes nothing,
    /// but may still hold an answer, such as 408: reading will tell.
    fn send(&mut self) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        while !self.unsent.is_empty() {
            match send(self.socket.as_raw_fd(), self.unsent, flags) {
                Ok(sent) => self.unsent = &self.unsent[sent..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => self.unsent = &[],
            }
        }
    }

    fn interest(&self) -> PollFlags {
        if self.unsent.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT }
    }

    /// Sends and reads what can be without waiting; returns the connection's end when it has come.
    fn advance(&mut self, buffer: &mut [u8]) -> Option<Event> {
        self.send();
        match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Some(self.end(true)),
            Ok(length) => {
                self.answer.push(&buffer[..length]);
                if self.answer.is_complete() && self.complete.is_none() {
                    self.complete = Some(self.since.elapsed());
                }
                self.answer.is_wrong().then_some(Event::Wrong)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            Err(_) => Some(self.end(false)),
        }
    }

    fn end(&self, closed: bool) -> Event {
        match self.answer.verdict(closed) {
            Verdict::Answered(status) => {
                Event::Answered(status, self.complete.unwrap_or_else(|| self.since.elapsed()))
            }
            Verdict::Wrong => Event::Wrong,
            Verdict::Short => Event::Short,
        }
    }
}

/// Waits until a socket is ready, and says of each in order whether it is; `None` at the deadline.
/// Events are sent off first, so that the parent hears of them while this process waits.
fn wait_ready<'a>(
    wanted: impl Iterator<Item = (&'a OwnedFd, PollFlags)>,
    deadline: Instant,
    events: &mut EventWriter,
) -> io::Result<Option<Vec<bool>>> {
    events.flush()?;
    let mut fds: Vec<_> = wanted.map(|(socket, flags)| PollFd::new(socket.as_fd(), flags)).collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        // Rounded up: poll(2) counts milliseconds, and a wait of 0 would spin.
        let wait = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, wait) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => {
                return Ok(Some(fds.iter().map(|fd| fd.any().unwrap_or(true)).collect()));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}
