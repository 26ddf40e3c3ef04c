//! What the supervisor and a fork server send to each other: a connection goes one way, what became of it the other.
//!
//! The children of a fork server have a copy of its end of the channel until they have reported that they have started,
//! which they do before they read a byte of the connection. So when the supervisor finds that the channel is closed, it has
//! every report: a connection without one was not forked for.

#![forbid(unsafe_code)]

pub(crate) mod briefing;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};

use crate::confine::Gap;
use crate::connection::{Id, Peer};
use crate::sys::{self, Patience};

/// Bytes of the longest message: that of a fork server that cannot start.
pub(crate) const MESSAGE_MAX: usize = 4096;

/// A connection for which a child is to be forked; its socket comes with the message.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handover<'a> {
    pub(crate) id: Id,
    pub(crate) peer: Peer,
    /// Name of the listener that accepted it.
    pub(crate) listener: &'a str,
    /// By CLOCK_MONOTONIC: see [`sys::monotonic_nanoseconds`].
    pub(crate) accepted_at: u64,
    /// Which page of the scoreboard is the child's.
    pub(crate) slot: u32,
}

/// What a fork server, or a child of it that is about to start, reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The fork server is confined, and waits for connections. `gaps`: what the kernel cannot do.
    Ready { gaps: Vec<Gap> },
    /// The fork server cannot start, and exits.
    Failed { sentence: String },
    /// A child exists that waits for a connection.
    Spare { pid: i32 },
    /// The connection with this slot has its process.
    Started { slot: u32, pid: i32 },
    /// No process could be forked for the connection with this slot: the errno of clone(2).
    NotForked { slot: u32, errno: i32 },
    /// The connection with this slot was not forked for, since the path of a root leads to another directory now: another
    /// fork server is needed, which may serve that.
    RootMoved { slot: u32 },
    /// An administrator should know this sentence.
    Warning { sentence: String },
}

/// One end of a channel between the supervisor and a fork server, or between a fork server and a spare.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The same with a descriptor above `least`: see [`sys::move_above`].
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub(crate) fn move_above(self, least: RawFd) -> io::Result<Self> {
        sys::move_above(least, self.0).map(Self)
    }

    /// Hands over a connection. Never waits.
    ///
    /// # Errors
    /// EAGAIN when the fork server has too many to fork for, EPIPE when it has exited.
    pub(crate) fn hand_over(&self, handover: &Handover<'_>, connection: BorrowedFd<'_>) -> io::Result<()> {
        self.send(handover, Some(connection), Patience::Never)
    }

    /// Waits for a connection. `None`: none will come. `buffer` has room for [`MESSAGE_MAX`] bytes.
    ///
    /// # Errors
    /// Those of recvmsg(2); `InvalidData` for what is no handover.
    pub(crate) fn receive_connection<'b>(
        &self,
        buffer: &'b mut [u8],
    ) -> io::Result<Option<(Handover<'b>, OwnedFd)>> {
        let Some((length, fd)) = sys::receive_message(self.as_fd(), buffer, Patience::Wait)? else {
            return Ok(None);
        };
        let handover = decode(&buffer[..length])?;
        fd.map(|fd| Some((handover, fd))).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Reports to the supervisor. Waits while it has too much to read.
    ///
    /// # Errors
    /// EPIPE when the supervisor has closed its end.
    pub(crate) fn report(&self, report: &Report) -> io::Result<()> {
        self.send(report, None, Patience::Wait)
    }

    /// The next report. `None`: the channel is closed, and none will come. Never waits.
    ///
    /// # Errors
    /// EAGAIN when there is none now; `InvalidData` for what is no report.
    pub(crate) fn receive_report(&self) -> io::Result<Option<Report>> {
        let mut buffer = [0; MESSAGE_MAX];
        match sys::receive_message(self.as_fd(), &mut buffer, Patience::Never)? {
            Some((length, _)) => decode(&buffer[..length]).map(Some),
            None => Ok(None),
        }
    }

    fn send(
        &self,
        message: &impl Serialize,
        fd: Option<BorrowedFd<'_>>,
        patience: Patience,
    ) -> io::Result<()> {
        // On the stack for all but the longest: a child that allocates copies a page.
        let mut buffer = [0; 512];
        let long;
        let bytes = match postcard::to_slice(message, &mut buffer) {
            Ok(bytes) => bytes,
            Err(_) => {
                long = postcard::to_allocvec(message).map_err(io::Error::other)?;
                &long[..]
            }
        };
        sys::send_message(self.as_fd(), bytes, fd, patience)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reads a message that is exactly as long as `bytes`.
pub(crate) fn decode<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> io::Result<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
