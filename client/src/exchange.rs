//! Sends the request on each connection, and reads the response to the end of the connection.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv, send};

use crate::event::{Event, EventWriter};
use crate::response::{Response, Verdict};
use crate::wait::wait_ready;

/// Sends the request on all connections, then reads all responses until `timeout`. Each connection has one
/// event: any but [`Event::Connected`] and [`Event::NotConnected`].
pub(crate) fn run_exchanges(
    sockets: Vec<OwnedFd>,
    request: &[u8],
    timeout: Duration,
    events: &mut EventWriter,
) -> io::Result<()> {
    let deadline = Instant::now() + timeout;
    let mut exchanges: Vec<_> = sockets.into_iter().map(|socket| Exchange::start(socket, request)).collect();
    let mut buffer = vec![0; 64 * 1024];
    while !exchanges.is_empty() {
        events.flush()?;
        let sockets = exchanges.iter().map(|exchange| (exchange.socket.as_fd(), exchange.interest()));
        let Some(ready) = wait_ready(sockets, deadline)? else {
            break;
        };
        for (mut exchange, is_ready) in std::mem::take(&mut exchanges).into_iter().zip(ready) {
            match is_ready.then(|| exchange.advance(&mut buffer)).flatten() {
                Some(event) => events.push(event)?,
                None => exchanges.push(exchange),
            }
        }
    }
    for _ in exchanges {
        events.push(Event::TimedOut)?;
    }
    Ok(())
}

/// The request and response of one connection.
struct Exchange<'a> {
    socket: OwnedFd,
    since: Instant,
    /// Rest of the request that is not sent yet.
    unsent: &'a [u8],
    response: Response,
    /// Time from the request to the last byte of the response, if the response has a length of its own.
    complete: Option<Duration>,
}

impl<'a> Exchange<'a> {
    fn start(socket: OwnedFd, request: &'a [u8]) -> Self {
        let since = Instant::now();
        let mut exchange = Self { socket, since, unsent: request, response: Response::new(), complete: None };
        exchange.send();
        exchange
    }

    /// Sends as much of the request as the socket accepts. An error is ignored: a connection that the server
    /// has closed may still have a response to read, such as 408.
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

    /// Sends and reads without blocking. Returns the final event of the connection when it has ended.
    fn advance(&mut self, buffer: &mut [u8]) -> Option<Event> {
        self.send();
        match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Some(self.end(true)),
            Ok(length) => {
                self.response.push(&buffer[..length]);
                if self.response.is_complete() && self.complete.is_none() {
                    self.complete = Some(self.since.elapsed());
                }
                self.response.is_invalid().then_some(Event::Invalid)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            Err(_) => Some(self.end(false)),
        }
    }

    fn end(&self, is_closed: bool) -> Event {
        match self.response.verdict(is_closed) {
            Verdict::Complete(status) => {
                Event::Answered(status, self.complete.unwrap_or_else(|| self.since.elapsed()))
            }
            Verdict::Invalid => Event::Invalid,
            Verdict::Truncated => Event::Truncated,
        }
    }
}
