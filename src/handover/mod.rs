//! What the supervisor and a fork server send to each other: a connection goes one way, what became of it the other.
//!
//! The children of a fork server have a copy of its end of the channel until they have reported that they have started,
//! which they do before they read a byte of the connection. So when the supervisor finds that the channel is closed, it has
//! every report: a connection without one was not forked for.

#![forbid(unsafe_code)]

pub(crate) mod briefing;
pub(crate) mod leftovers;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::Pid;

use serde::{Deserialize, Serialize};

use crate::confine::Gap;
use crate::connection::{Id, Peer};
use crate::sys::{self, Patience};

/// Bytes of the longest report: that of a fork server that cannot start.
pub(crate) const REPORT_MAX: usize = 4096;
/// Begins the report of an interpreter that cannot start: the rest is a sentence. No other report begins with it.
pub(crate) const PLAIN: u8 = 0xff;
/// Bytes of a sentence in a report, and of the lines below it.
const SENTENCE_MAX: usize = 1000;
const DETAILS_MAX: usize = REPORT_MAX - SENTENCE_MAX - 16;
/// Bytes of the longest order: the name of a listener has up to 255 bytes, and a path is not sent.
pub(crate) const ORDER_MAX: usize = 512;

/// A connection for which a child is to be forked; its socket comes with the message, and its supplements.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handover<'a> {
    pub(crate) id: Id,
    pub(crate) peer: Peer,
    /// Name of the listener that accepted it.
    pub(crate) listener: &'a str,
    /// By CLOCK_MONOTONIC: see [`sys::instant_of`].
    pub(crate) accepted_at: u64,
    /// Which page of the scoreboard is the child's.
    pub(crate) slot: u32,
}

/// What a child gets beside its connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Supplements<T> {
    /// A report of the status of the daemon, for a service that shows it.
    pub(crate) status: Option<T>,
    /// The channel by which it reports clients, if its peer is a trusted proxy.
    pub(crate) reports: Option<T>,
}

/// What the supervisor orders: from a fork server, or a connection from a spare.
#[derive(Debug)]
pub(crate) enum Order<'a> {
    /// A child for this connection.
    Serve(Handover<'a>, OwnedFd, Supplements<OwnedFd>),
    /// A child that waits for a connection.
    ForkSpare,
}

/// The message of an order.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum OrderMessage<'a> {
    /// Whether the status of the daemon comes with it.
    Serve(#[serde(borrow)] Handover<'a>, bool),
    ForkSpare,
}

/// What a fork server, or a child of it that is about to start, reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The fork server is confined, and waits for connections. `gaps`: what the kernel cannot do.
    Ready { gaps: Vec<Gap> },
    /// The fork server cannot start, and exits: when files of its applications change, if it waits for that. `details`: lines
    /// of a traceback.
    Failed { sentence: String, details: String, waits: bool },
    /// The sender is a child that waits for a connection. Its channel comes with the message.
    Spare,
    /// It can take a connection. Before this report only one without an application can.
    SpareReady,
    /// A child that was to wait for a connection cannot, and exits: what `on_fork` names has failed.
    SpareFailed { sentence: String, details: String },
    /// No child could be forked that waits for a connection: the errno of clone(2).
    NoSpare { errno: i32 },
    /// The connection with this slot has its process: the sender.
    Started { slot: u32 },
    /// No process could be forked for the connection with this slot: the errno of clone(2).
    NotForked { slot: u32, errno: i32 },
    /// The path of a root leads to another directory now, or a file of users has changed: another fork server is needed. The
    /// connection with this slot was not forked for.
    Outdated { slot: Option<u32> },
    /// The files of the applications have changed.
    Changed,
    /// An administrator should know this sentence.
    Warning { sentence: String },
}

impl Report {
    /// A fork server that cannot start. Of lines that are too long together, the last ones are kept.
    pub(crate) fn failed(sentence: &str, details: &str, waits: bool) -> Self {
        Self::Failed { sentence: cut(sentence), details: keep_last(details), waits }
    }

    /// A spare that cannot wait for a connection.
    pub(crate) fn spare_failed(sentence: &str, details: &str) -> Self {
        Self::SpareFailed { sentence: cut(sentence), details: keep_last(details) }
    }

    /// What an administrator should know.
    pub(crate) fn warning(sentence: &str) -> Self {
        Self::Warning { sentence: cut(sentence) }
    }
}

fn keep_last(details: &str) -> String {
    let start = details.ceil_char_boundary(details.len().saturating_sub(DETAILS_MAX));
    match start {
        0 => details.to_owned(),
        start => details[start..].split_once('\n').map_or("", |(_, whole)| whole).to_owned(),
    }
}

fn cut(sentence: &str) -> String {
    sentence[..sentence.floor_char_boundary(SENTENCE_MAX)].to_owned()
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
    pub(crate) fn hand_over(
        &self,
        handover: Handover<'_>,
        connection: BorrowedFd<'_>,
        supplements: Supplements<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let message = OrderMessage::Serve(handover, supplements.status.is_some());
        match (supplements.status, supplements.reports) {
            (None, None) => self.send(&message, &[connection], Patience::Never),
            (Some(one), None) | (None, Some(one)) => self.send(&message, &[connection, one], Patience::Never),
            (Some(one), Some(other)) => self.send(&message, &[connection, one, other], Patience::Never),
        }
    }

    /// Lets the other end find that nothing more will come. It can still be received from.
    pub(crate) fn shut_down(&self) {
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Write); // the other end is closed already
    }

    /// Orders a spare. Never waits.
    ///
    /// # Errors
    /// Those of [`Self::hand_over`].
    pub(crate) fn order_spare(&self) -> io::Result<()> {
        self.send(&OrderMessage::ForkSpare, &[], Patience::Never)
    }

    /// Waits for an order. `None`: none will come.
    ///
    /// # Errors
    /// Those of recvmsg(2); `InvalidData` for what is no order.
    pub(crate) fn receive_order<'b>(&self, buffer: &'b mut [u8; ORDER_MAX]) -> io::Result<Option<Order<'b>>> {
        let Some((length, fds)) = sys::receive_message(self.as_fd(), buffer, Patience::Wait)? else {
            return Ok(None);
        };
        match (decode(&buffer[..length])?, fds) {
            (OrderMessage::Serve(handover, has_status), [Some(connection), one, other]) => {
                let (status, reports) = if has_status { (one, other) } else { (None, one) };
                Ok(Some(Order::Serve(handover, connection, Supplements { status, reports })))
            }
            (OrderMessage::ForkSpare, [None, None, None]) => Ok(Some(Order::ForkSpare)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Reports to the supervisor. Waits while it has too much to read.
    ///
    /// # Errors
    /// EPIPE when the supervisor has closed its end.
    pub(crate) fn report(&self, report: &Report) -> io::Result<()> {
        self.send(report, &[], Patience::Wait)
    }

    /// The same with a descriptor.
    ///
    /// # Errors
    /// Those of [`Self::report`].
    pub(crate) fn report_with(&self, report: &Report, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.send(report, &[fd], Patience::Wait)
    }

    /// The next report, the descriptor that came with it, and the process that has sent it, as the kernel knows it. `None`: the
    /// channel is closed, and none will come. Never waits.
    ///
    /// # Errors
    /// EAGAIN when there is none now; `InvalidData` for what is no report.
    pub(crate) fn receive_report(&self) -> io::Result<Option<(Report, Option<OwnedFd>, Pid)>> {
        let mut buffer = [0; REPORT_MAX];
        match sys::receive_message_of(self.as_fd(), &mut buffer, Patience::Never)? {
            Some((length, [fd, ..], sender)) => match &buffer[..length] {
                [PLAIN, text @ ..] => {
                    Ok(Some((Report::failed(&String::from_utf8_lossy(text), "", false), fd, sender)))
                }
                bytes => Ok(Some((decode(bytes)?, fd, sender))),
            },
            None => Ok(None),
        }
    }

    fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>], patience: Patience) -> io::Result<()> {
        // On the stack for all but the longest: a child that allocates copies a page.
        let mut buffer = [0; ORDER_MAX];
        let long;
        let bytes = match postcard::to_slice(message, &mut buffer) {
            Ok(bytes) => bytes,
            Err(_) => {
                long = postcard::to_allocvec(message).map_err(io::Error::other)?;
                &long[..]
            }
        };
        sys::send_message(self.as_fd(), bytes, fds, patience)
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
