//! What children send to the supervisor while they serve. All children of a fork server share one socket, from which they
//! cannot read; the kernel adds the process ID of the sender to each message (unix(7), `SO_PASSCRED`), so that no child can
//! send in the name of another. Nothing here waits: a message that finds no room is lost, and its sender counts it.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::sys::{self, FromSender, Patience};

/// Bytes of the longest message.
pub(crate) const MESSAGE_MAX: usize = 4352;
/// Bytes of messages that wait, as the kernel counts them, which doubles this (socket(7)).
const ROOM: usize = 512 << 10;
/// More messages than can wait: the kernel counts at least 512 bytes for each.
pub(crate) const WAITING_MAX: usize = 2 * ROOM / 512;

/// What a child sends.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message<'a> {
    /// A request has been answered.
    #[serde(borrow)]
    Access(Answered<'a>),
    /// Something for the log, of a child that does not have it.
    #[serde(borrow)]
    Note(Note<'a>),
}

/// A request that has been answered. What the client did not send is empty.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answered<'a> {
    /// Empty for a malformed request, whose target is its first line.
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    /// The version of a valid request is HTTP/1.`minor`.
    pub(crate) minor: u8,
    pub(crate) host: &'a [u8],
    /// The client uses TLS, as a trusted proxy reports.
    pub(crate) is_https: bool,
    pub(crate) referer: &'a [u8],
    pub(crate) agent: &'a [u8],
    /// The ids of the request and of its trace, as a proxy reports them.
    pub(crate) id: &'a [u8],
    pub(crate) trace_id: &'a [u8],
    /// The authenticated user.
    pub(crate) user: &'a [u8],
    /// Why lsbaws itself has answered with an error.
    pub(crate) reason: &'a [u8],
    pub(crate) status: u16,
    /// Bytes of content that were sent.
    pub(crate) content: u64,
    /// From the first byte of the request, or the accept of its connection, in microseconds.
    pub(crate) duration: u64,
}

impl Answered<'_> {
    /// The same with texts that fit a message together.
    pub(crate) fn cut(self) -> Self {
        const fn cut(text: &[u8], max: usize) -> &[u8] {
            if text.len() > max { text.split_at(max).0 } else { text }
        }
        Self {
            method: cut(self.method, 32),
            target: cut(self.target, 2048),
            host: cut(self.host, 256),
            referer: cut(self.referer, 768),
            agent: cut(self.agent, 640),
            id: cut(self.id, 128),
            trace_id: cut(self.trace_id, 32),
            user: cut(self.user, 64),
            reason: cut(self.reason, 128),
            ..self
        }
    }
}

/// Bytes of the texts of a note that is sent. Together they fit a message.
const WHAT_MAX: usize = 512;
const TEXT_MAX: usize = 2048;

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NoteKind {
    /// A line that a program has written.
    Output,
    /// A program cannot be run, or did not do what it should.
    ProgramFailed,
    /// A limit of the service cannot be set.
    LimitNotSet,
    /// A system call has failed.
    SystemError,
}

/// A note. What is empty has no field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note<'a> {
    pub(crate) kind: NoteKind,
    /// The begin of the sentence.
    pub(crate) what: &'a str,
    /// Its end, which may be of foreign origin.
    pub(crate) text: &'a [u8],
    /// As a record shows it.
    pub(crate) target: &'a str,
    /// The key of the limit.
    pub(crate) limit: &'a str,
}

impl<'a> Note<'a> {
    /// A line that a program has written, while it answered a request for `target`.
    pub(crate) fn output(target: &'a str, line: &'a [u8]) -> Self {
        Self { kind: NoteKind::Output, what: "", text: line, target, limit: "" }
    }

    /// The same with texts that fit a message together.
    pub(crate) fn cut(self) -> Self {
        let what = &self.what[..self.what.floor_char_boundary(WHAT_MAX)];
        Self { what, text: &self.text[..self.text.len().min(TEXT_MAX)], ..self }
    }
}

/// A message, and the slot that its sender claims to have. The supervisor looks the process up by it.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope<'a> {
    slot: u32,
    #[serde(borrow)]
    message: Message<'a>,
}

/// The end of the children of a fork server.
#[derive(Debug)]
pub(crate) struct Uplink(OwnedFd);

/// The end of the supervisor.
#[derive(Debug)]
pub(crate) struct Receiver(OwnedFd);

/// What a receiver has found.
#[derive(Debug)]
pub(crate) enum Received<'b> {
    /// A message of this process, which claims to have this slot.
    Message { pid: Pid, slot: u32, message: Message<'b> },
    /// Something else.
    Invalid,
    /// Every copy of the other end is closed, or one process has shut it down.
    End,
}

/// Opens both ends.
///
/// # Errors
/// Those of socketpair(2) and setsockopt(2).
pub(crate) fn open() -> io::Result<(Receiver, Uplink)> {
    let (ours, theirs) = sys::open_channel_with_senders()?;
    // Without the privilege to exceed net.core.wmem_max, as much as that permits.
    setsockopt(&theirs, sockopt::SndBufForce, &ROOM)
        .or_else(|_| setsockopt(&theirs, sockopt::SndBuf, &ROOM))?;
    Ok((Receiver(ours), Uplink(theirs)))
}

impl Uplink {
    /// That of a descriptor that was inherited.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Uplink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends a message of the child with this slot, without waiting.
///
/// # Errors
/// EAGAIN while too many wait; EPIPE when the supervisor has closed its end; `InvalidData` for a message that is longer than
/// [`MESSAGE_MAX`].
#[cold]
#[inline(never)]
pub(crate) fn send(uplink: BorrowedFd<'_>, slot: u32, message: Message<'_>) -> io::Result<()> {
    let mut buffer = [0; MESSAGE_MAX];
    let bytes = postcard::to_slice(&Envelope { slot, message }, &mut buffer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    sys::send_message(uplink, bytes, &[], Patience::Never)
}

impl Receiver {
    /// The next message. Never waits.
    ///
    /// # Errors
    /// EAGAIN when there is none now.
    pub(crate) fn receive<'b>(&self, buffer: &'b mut [u8; MESSAGE_MAX]) -> io::Result<Received<'b>> {
        Ok(match sys::receive_from_sender(self.0.as_fd(), buffer)? {
            FromSender::Message(length, pid) => match postcard::take_from_bytes(&buffer[..length]) {
                Ok((Envelope { slot, message }, [])) => Received::Message { pid, slot, message },
                _ => Received::Invalid,
            },
            FromSender::Invalid => Received::Invalid,
            FromSender::End => Received::End,
        })
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{ControlMessage, MsgFlags, Shutdown, sendmsg, shutdown};

    use super::*;

    fn answered(target: &[u8]) -> Message<'_> {
        Message::Access(Answered { method: b"GET", target, status: 200, ..Answered::default() })
    }

    #[test]
    fn message_arrives_with_the_process_that_sent_it() {
        let (receiver, uplink) = open().unwrap();
        send(uplink.as_fd(), 7, answered(b"/a")).unwrap();
        let mut buffer = [0; MESSAGE_MAX];
        match receiver.receive(&mut buffer).unwrap() {
            Received::Message { pid, slot: 7, message } => {
                assert_eq!((pid, message), (Pid::this(), answered(b"/a")));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(receiver.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn more_than_fits_is_refused_and_never_exceeds_the_bound() {
        let (receiver, uplink) = open().unwrap();
        let sent = (0..=WAITING_MAX).take_while(|_| send(uplink.as_fd(), 0, answered(b"/")).is_ok()).count();
        assert!((64..WAITING_MAX).contains(&sent), "{sent}");
        let empty = || sys::send_message(uplink.as_fd(), b"", &[], Patience::Never);
        assert!(empty().is_err() && send(uplink.as_fd(), 0, answered(&[b'/'; MESSAGE_MAX])).is_err());
        let mut buffer = [0; MESSAGE_MAX];
        for _ in 0..sent {
            assert!(matches!(receiver.receive(&mut buffer).unwrap(), Received::Message { .. }));
        }
        // Empty messages need the least room.
        let empties = (0..=WAITING_MAX).take_while(|_| empty().is_ok()).count();
        assert!(empties < WAITING_MAX, "{empties}");
    }

    #[test]
    fn longest_texts_fit_a_message() {
        let (receiver, uplink) = open().unwrap();
        let text = &[b'x'; 10_000];
        let (method, target, host, referer, agent, user) = (text, text, text, text, text, text);
        let answered = Answered { method, target, host, referer, agent, user, ..Answered::default() };
        let answered = Answered { reason: text, id: text, trace_id: text, ..answered };
        let answered = Answered { status: u16::MAX, content: u64::MAX, duration: u64::MAX, ..answered };
        send(uplink.as_fd(), u32::MAX, Message::Access(answered.cut())).unwrap();
        let mut buffer = [0; MESSAGE_MAX];
        assert!(matches!(receiver.receive(&mut buffer).unwrap(), Received::Message { .. }));
    }

    #[test]
    fn what_is_no_message_is_invalid_and_not_the_end() {
        let (receiver, uplink) = open().unwrap();
        let mut buffer = [0; MESSAGE_MAX];
        for bytes in [&b""[..], b"\xff", &[0; MESSAGE_MAX + 1]] {
            sys::send_message(uplink.as_fd(), bytes, &[], Patience::Never).unwrap();
            assert!(matches!(receiver.receive(&mut buffer).unwrap(), Received::Invalid), "{}", bytes.len());
        }
        let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let rights = [uplink.0.as_raw_fd()];
        let parts = [io::IoSlice::new(b"x")];
        let control = [ControlMessage::ScmRights(&rights)];
        sendmsg::<()>(rights[0], &parts, &control, MsgFlags::empty(), None).unwrap();
        assert!(matches!(receiver.receive(&mut buffer).unwrap(), Received::Invalid));
        assert!(std::fs::read_dir("/proc/self/fd").unwrap().count() <= before, "a descriptor was taken");
        shutdown(rights[0], Shutdown::Write).unwrap();
        assert!(matches!(receiver.receive(&mut buffer).unwrap(), Received::End));
    }
}
