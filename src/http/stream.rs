//! The connection's socket with deadlines: each operation has a total, which single bytes do not renew.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use crate::scoreboard::Slot;

/// A socket whose traffic is counted in a slot.
#[derive(Debug)]
pub struct Stream<'a> {
    socket: BorrowedFd<'a>,
    slot: &'static Slot,
    waited: Cell<bool>,
}

/// Why a stream operation ended.
#[derive(Debug)]
pub enum Interrupted {
    /// The deadline passed.
    TimedOut,
    /// The peer has reset the connection, or the network lost it.
    Gone(io::Error),
}

impl<'a> Stream<'a> {
    pub fn new(socket: BorrowedFd<'a>, slot: &'static Slot) -> Self {
        Self { socket, slot, waited: Cell::new(false) }
    }

    /// Something was not there at once: time has passed.
    pub fn has_waited(&self) -> bool {
        self.waited.get()
    }

    /// Receives what there is, waiting until `deadline` for a first byte. 0 is the end of input.
    ///
    /// Most often the bytes are there already: waiting, and looking at the clock, come second.
    pub fn receive(&self, buffer: &mut [u8], deadline: Instant) -> Result<usize, Interrupted> {
        loop {
            match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(count) => {
                    self.slot.add_bytes_in(count);
                    return Ok(count);
                }
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLIN, deadline)?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Interrupted::Gone(errno.into())),
            }
        }
    }

    /// Bytes wait to be received.
    pub fn has_input(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.socket.as_raw_fd(), &mut [0], flags).is_ok_and(|count| count > 0)
    }

    /// Sends all of `bytes` within `timeout`.
    pub fn send_all(&self, mut bytes: &[u8], timeout: Duration) -> Result<(), Interrupted> {
        let mut deadline = None;
        while !bytes.is_empty() {
            match send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => {
                    self.slot.add_bytes_out(count);
                    bytes = &bytes[count..];
                }
                Err(Errno::EAGAIN) => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + timeout);
                    self.wait(PollFlags::POLLOUT, deadline)?;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Interrupted::Gone(errno.into())),
            }
        }
        Ok(())
    }

    /// Closes so that the response arrives: a socket closed with unread input sends a reset, which can
    /// destroy what the peer has not read yet (RFC 9112, section 9.6). So: end of output first, then
    /// input is thrown away until the peer ends its side, within `timeout` and `limit` bytes.
    pub fn close_lingering(&self, scratch: &mut [u8], timeout: Duration, limit: usize) {
        if shutdown(self.socket.as_raw_fd(), Shutdown::Write).is_err() {
            return;
        }
        let deadline = Instant::now() + timeout;
        let mut left = limit;
        while left > 0 {
            match self.receive(scratch, deadline) {
                Ok(0) | Err(_) => return,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    }

    fn wait(&self, events: PollFlags, deadline: Instant) -> Result<(), Interrupted> {
        self.waited.set(true);
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Interrupted::TimedOut);
        }
        // Rounded up: a wait that ends a moment early would only go round again.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.socket.as_fd(), events)], timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Interrupted::Gone(errno.into())),
        }
    }
}
