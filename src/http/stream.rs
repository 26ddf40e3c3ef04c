//! The connection's socket. Every wait for it has a limit: a deadline, or a time budget that only the progress of
//! the client refills.
//!
//! Every operation fails with [`Interrupted`]: the deadline or the time budget is over, or the peer has gone.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::sendfile::sendfile;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, setsockopt, shutdown, sockopt};

use super::budget::TimeBudget;
use crate::scoreboard::{Phase, Slot};
use crate::sys::{self, WakeUp};

/// The event that the client has closed its sending side (poll(2)). nix does not know this flag, and gives no events that
/// contain it.
pub(crate) const SENDING_CLOSED: PollFlags = PollFlags::from_bits_retain(libc::POLLRDHUP);

/// A non-blocking socket whose traffic is counted in a slot.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    socket: BorrowedFd<'a>,
    slot: Slot,
    /// The deadline of the whole connection.
    end: Option<Instant>,
    waited: Cell<bool>,
    /// Bytes sent so far.
    sent: Cell<u64>,
    /// By which the supervisor can interrupt a wait for the client.
    wake_up: WakeUp,
}

/// Why a stream operation ended.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// The deadline passed, or the budget is used up.
    TimedOut,
    /// The client has reset the connection, or the network has failed; or `send_file` could not read the file.
    Gone(io::Error),
}

impl<'a> Stream<'a> {
    pub(crate) fn new(socket: BorrowedFd<'a>, slot: Slot, end: Option<Instant>, wake_up: WakeUp) -> Self {
        Self { socket, slot, end, waited: Cell::new(false), sent: Cell::new(0), wake_up }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'a> {
        self.socket
    }

    /// Bytes sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// The deadline of the whole connection, if it has one.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.end
    }

    /// Whether the process has waited since the last call, so that the time may have changed.
    pub(crate) fn take_waited(&self) -> bool {
        self.waited.replace(false)
    }

    /// Records that the process has waited for something else.
    pub(crate) fn set_waited(&self) {
        self.waited.set(true);
    }

    /// Records that a response with this status has begun.
    pub(crate) fn record_response(&self, status: u16) {
        self.slot.set_status(status);
        self.slot.enter(Phase::Writing);
    }

    /// Records why a response is an error, for a status from 400 on.
    #[cold]
    pub(super) fn record_error(&self, status: u16, reason: &str) {
        if status >= 400 {
            self.slot.set_error(reason.as_bytes());
        }
    }

    /// Receives what has arrived. `None`: nothing yet. 0 is the end of input.
    pub(crate) fn try_receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, Interrupted> {
        loop {
            match recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(count) => {
                    self.slot.add_bytes_in(count);
                    return Ok(Some(count));
                }
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Interrupted::Gone(errno.into())),
            }
        }
    }

    /// Receives, waiting until `deadline` for a first byte. 0 is the end of input.
    ///
    /// Tries before it waits: most often the bytes have arrived, and neither poll(2) nor the clock is needed.
    pub(crate) fn receive(&self, buffer: &mut [u8], deadline: Instant) -> Result<usize, Interrupted> {
        loop {
            if let Some(count) = self.try_receive(buffer)? {
                return Ok(count);
            }
            let _held = self.wake_up.hold();
            if self.is_hurried() {
                return Err(Interrupted::TimedOut);
            }
            self.wait(PollFlags::POLLIN, deadline)?;
        }
    }

    /// Receives as [`Self::receive`], but no byte after the first `end`.
    pub(crate) fn receive_through(
        &self,
        end: u8,
        buffer: &mut [u8],
        deadline: Instant,
    ) -> Result<usize, Interrupted> {
        loop {
            match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_PEEK) {
                Ok(count) => {
                    let found = buffer[..count].iter().position(|&byte| byte == end);
                    return self.receive(&mut buffer[..found.map_or(count, |at| at + 1)], deadline);
                }
                Err(Errno::EAGAIN) => {
                    let _held = self.wake_up.hold();
                    if self.is_hurried() {
                        return Err(Interrupted::TimedOut);
                    }
                    self.wait(PollFlags::POLLIN, deadline)?;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Interrupted::Gone(errno.into())),
            }
        }
    }

    /// Waits for bytes to receive within `budget`.
    pub(crate) fn wait_for_more(&self, budget: &mut TimeBudget) -> Result<(), Interrupted> {
        self.wait_within(PollFlags::POLLIN, budget)
    }

    /// Whether the client has reset the connection, or both sides are closed.
    pub(crate) fn is_gone(&self) -> bool {
        let mut fds = [PollFd::new(self.socket, PollFlags::empty())]; // errors are reported in any case
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// Whether bytes can be received now.
    pub(crate) fn has_input(&self) -> bool {
        recv(self.socket.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK).is_ok_and(|count| count > 0)
    }

    /// Sends all of `bytes`. With `more`, the last of them may share a packet with the bytes sent next.
    pub(crate) fn send_all(
        &self,
        mut bytes: &[u8],
        more: bool,
        budget: &mut TimeBudget,
    ) -> Result<(), Interrupted> {
        let mut flags = MsgFlags::MSG_NOSIGNAL;
        if more {
            flags |= MsgFlags::from_bits_retain(libc::MSG_MORE);
        }
        while !bytes.is_empty() {
            match send(self.socket.as_raw_fd(), bytes, flags) {
                Ok(count) => {
                    self.count_sent(count, budget);
                    bytes = &bytes[count..];
                }
                Err(Errno::EAGAIN) => self.wait_within(PollFlags::POLLOUT, budget)?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Interrupted::Gone(errno.into())),
            }
        }
        Ok(())
    }

    /// Sends what the socket takes without blocking. Returns the number of bytes.
    pub(crate) fn try_send(&self, bytes: &[u8], budget: &mut TimeBudget) -> Result<usize, Interrupted> {
        while !bytes.is_empty() {
            match send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => {
                    self.count_sent(count, budget);
                    return Ok(count);
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Interrupted::Gone(errno.into())),
            }
        }
        Ok(0)
    }

    /// Sends `count` bytes of `file` from `offset` on (sendfile(2)).
    ///
    /// A file that has become shorter is an error: its length has been sent, so the response cannot be completed.
    pub(crate) fn send_file(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        count: u64,
        budget: &mut TimeBudget,
    ) -> Result<(), Interrupted> {
        let gone = |errno: Errno| Interrupted::Gone(errno.into());
        let mut position = i64::try_from(offset).map_err(|_| gone(Errno::EOVERFLOW))?;
        let mut left = count;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(SENDFILE_MAX);
            match sendfile(self.socket, file, Some(&mut position), part) {
                Ok(0) => return Err(gone(Errno::EIO)),
                Ok(sent) => {
                    self.count_sent(sent, budget);
                    left -= sent as u64;
                }
                Err(Errno::EAGAIN) => self.wait_within(PollFlags::POLLOUT, budget)?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(gone(errno)),
            }
        }
        Ok(())
    }

    fn count_sent(&self, count: usize, budget: &mut TimeBudget) {
        self.slot.add_bytes_out(count);
        self.sent.set(self.sent.get() + count as u64);
        budget.earn(count);
    }

    /// Sends the end of the connection. False: it has ended already.
    pub(crate) fn end_sending(&self) -> bool {
        shutdown(self.socket.as_raw_fd(), Shutdown::Write).is_ok()
    }

    /// Closes so that the response arrives: a socket closed with unread input sends a reset, which can destroy what
    /// the client has not read (RFC 9112, section 9.6). Shuts down the output, then discards input until the client
    /// closes, for at most `timeout` and `limit` bytes.
    pub(crate) fn close_lingering(&self, scratch: &mut [u8], timeout: Duration, limit: usize) {
        if !self.end_sending() {
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

    /// Makes the kernel discard what the client has not read, and reset the connection, when the process ends
    /// (socket(7), `SO_LINGER`). Otherwise the kernel keeps some megabytes for a reader that is given up.
    pub(crate) fn reset_on_close(&self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let _ = setsockopt(&self.socket, sockopt::Linger, &linger); // the peer may have gone
    }

    /// Bounds the time for which the kernel keeps a response that the client does not read, after the process has
    /// ended (tcp(7), `TCP_USER_TIMEOUT`). Small responses are left to the kernel.
    pub(crate) fn limit_unread(&self, timeout: Duration) {
        if self.sent.get() > UNREAD_MIN {
            let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
            let _ = setsockopt(&self.socket, sockopt::TcpUserTimeout, &millis); // fails for a Unix socket
        }
    }

    /// Waits for the first byte of another request. False: `deadline` has passed, the supervisor asks this process to close,
    /// or `handle_signals` does not want to continue. The supervisor asks in the slot, and with a signal.
    pub(crate) fn wait_for_request(
        &self,
        deadline: Instant,
        handle_signals: impl Fn() -> bool,
    ) -> Result<bool, Interrupted> {
        self.waited.set(true);
        let deadline = self.end.map_or(deadline, |end| end.min(deadline));
        loop {
            let held = self.wake_up.hold();
            let is_close_asked = self.slot.is_close_asked();
            // One that came before they were held interrupts nothing.
            if !is_close_asked && !handle_signals() {
                return Ok(false);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            // A request that arrives at the same moment is still answered.
            let left = if is_close_asked { Duration::ZERO } else { left };
            let mut fds = [PollFd::new(self.socket, PollFlags::POLLIN)];
            let ready = ppoll(&mut fds, Some(left.into()), Some(self.wake_up.mask()));
            drop(held);
            match ready {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) => {}
                Err(Errno::EINTR) if self.slot.is_close_asked() || handle_signals() => {}
                Err(Errno::EINTR) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(errno) => return Err(Interrupted::Gone(errno.into())),
            }
        }
    }

    /// The supervisor asks this process not to wait for a slow client: see [`Slot::hurry`].
    pub(crate) fn is_hurried(&self) -> bool {
        self.slot.is_hurried()
    }

    /// Waits for the client until `deadline`. False: the supervisor has interrupted the wait, for which the caller holds its
    /// signal (see [`Self::wait_for_request`]).
    fn wait(&self, events: PollFlags, deadline: Instant) -> Result<bool, Interrupted> {
        self.waited.set(true);
        let deadline = self.end.map_or(deadline, |end| end.min(deadline));
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Interrupted::TimedOut);
        }
        let mut fds = [PollFd::new(self.socket.as_fd(), events)];
        match ppoll(&mut fds, Some(left.into()), Some(self.wake_up.mask())) {
            Ok(0) => Err(Interrupted::TimedOut),
            Ok(_) => Ok(true),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(Interrupted::Gone(errno.into())),
        }
    }

    fn wait_within(&self, events: PollFlags, budget: &mut TimeBudget) -> Result<(), Interrupted> {
        let _held = self.wake_up.hold();
        loop {
            if self.is_hurried() {
                budget.hurry();
            }
            let start = Instant::now();
            let result = self.wait(events, start + budget.left());
            budget.spend(start.elapsed());
            if result? {
                return Ok(());
            }
        }
    }

    /// Waits until one of `fds` is ready, or until `deadline` or the end of the connection.
    pub(crate) fn poll(&self, fds: &mut [PollFd<'_>], deadline: Instant) -> Result<(), Interrupted> {
        self.waited.set(true);
        let deadline = self.end.map_or(deadline, |end| end.min(deadline));
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(Interrupted::TimedOut);
            }
            match poll(fds, sys::poll_timeout(deadline, now)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(Interrupted::Gone(errno.into())),
            }
        }
    }
}

/// Bytes that Linux sends by one sendfile(2), at most.
const SENDFILE_MAX: usize = 0x7fff_f000;
/// Bytes that are worth a system call to bound the time that the kernel keeps them.
const UNREAD_MIN: u64 = 64 << 10;
