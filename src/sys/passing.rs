//! Messages from one process to another, with or without a descriptor (unix(7), `SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials, send,
    sendmsg, setsockopt, socketpair, sockopt,
};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

/// Whether a call may wait for the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Wait,
    Never,
}

impl Patience {
    fn flags(self) -> MsgFlags {
        match self {
            Self::Wait => MsgFlags::empty(),
            Self::Never => MsgFlags::MSG_DONTWAIT,
        }
    }
}

/// The two ends of a channel that keeps the bounds of messages, close-on-exec (socketpair(2), `SOCK_SEQPACKET`).
///
/// # Errors
/// Those of socketpair(2).
pub(crate) fn open_channel() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// The same, whose first end learns from the kernel which process has sent a message (unix(7), `SO_PASSCRED`).
///
/// # Errors
/// Those of socketpair(2) and setsockopt(2).
pub(crate) fn open_channel_with_senders() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = open_channel()?;
    setsockopt(&ours, sockopt::PassCred, &true)?;
    Ok((ours, theirs))
}

/// Descriptors that come with one message, the first ones first.
pub(super) type Received = [Option<OwnedFd>; 3];

/// Sends `bytes` and copies of up to three descriptors as one message over a datagram or sequenced-packet socket.
///
/// # Errors
/// Those of sendmsg(2); with `Patience::Never` EAGAIN when the receiver has not read enough.
pub(crate) fn send_message(
    channel: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    patience: Patience,
) -> io::Result<()> {
    let flags = patience.flags() | MsgFlags::MSG_NOSIGNAL;
    loop {
        let send_with = |rights: &[RawFd]| {
            let control = [ControlMessage::ScmRights(rights)];
            sendmsg::<()>(channel.as_raw_fd(), &[IoSlice::new(bytes)], &control, flags, None)
        };
        let result = match fds {
            [fd] => send_with(&[fd.as_raw_fd()]),
            [one, two] => send_with(&[one.as_raw_fd(), two.as_raw_fd()]),
            [one, two, three, ..] => send_with(&[one.as_raw_fd(), two.as_raw_fd(), three.as_raw_fd()]),
            // The call that sends responses: a child has its code already.
            [] => send(channel.as_raw_fd(), bytes, flags),
        };
        match result {
            Err(nix::errno::Errno::EINTR) => {}
            result => return Ok(result.map(drop)?),
        }
    }
}

/// Receives a message into `bytes`: its length, and the descriptors that came with it. `None`: every copy of the other
/// end is closed. Allocates nothing: a fork server that does copies a page for each connection.
///
/// # Errors
/// Those of recvmsg(2), EAGAIN with `Patience::Never`; `InvalidData` for a message that is longer than `bytes`.
pub(crate) fn receive_message(
    channel: BorrowedFd<'_>,
    bytes: &mut [u8],
    patience: Patience,
) -> io::Result<Option<(usize, Received)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    Ok(receive(channel, bytes, patience, &mut space)?.map(|(length, fds, _)| (length, fds)))
}

/// The same from a channel of [`open_channel_with_senders`], with the sender of the message. An empty message is invalid.
///
/// # Errors
/// Those of [`receive_message`].
pub(crate) fn receive_message_of(
    channel: BorrowedFd<'_>,
    bytes: &mut [u8],
    patience: Patience,
) -> io::Result<Option<(usize, Received, Pid)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3), ScmCredentials(1))];
    match receive(channel, bytes, patience, &mut space)? {
        Some((length, fds, Some(sender))) => Ok(Some((length, fds, sender))),
        None => Ok(None),
        Some(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn receive(
    channel: BorrowedFd<'_>,
    bytes: &mut [u8],
    patience: Patience,
    space: &mut [MaybeUninit<u8>],
) -> io::Result<Option<(usize, Received, Option<Pid>)>> {
    let mut control = RecvAncillaryBuffer::new(space);
    let mut parts = [IoSliceMut::new(bytes)];
    let flags = match patience {
        Patience::Wait => RecvFlags::CMSG_CLOEXEC,
        Patience::Never => RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    };
    let received = loop {
        match recvmsg(channel, &mut parts, &mut control, flags) {
            // The other end was closed with messages that it had not read. Those that it has sent are still there: the
            // kernel reports this once, before them.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            result => break result?,
        }
    };
    let (mut descriptors, mut sender) = (Received::default(), None);
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(mut fds) => descriptors = [fds.next(), fds.next(), fds.next()],
            RecvAncillaryMessage::ScmCredentials(process) => {
                sender = Some(Pid::from_raw(process.pid.as_raw_nonzero().get()));
            }
            _ => {}
        }
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match (received.bytes, sender) {
        (0, None) => Ok(None), // messages are never empty
        (0, Some(_)) => Err(io::ErrorKind::InvalidData.into()),
        (length, sender) => Ok(Some((length, descriptors, sender))),
    }
}

/// What [`receive_from_sender`] has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FromSender {
    /// A message of this length, from this process.
    Message(usize, Pid),
    /// A message that is too long, or that came with descriptors, which are closed.
    Invalid,
    /// The other end is closed.
    End,
}

/// Receives a message into `bytes` from a socket that has `SO_PASSCRED`, without waiting. The kernel gives every message
/// the process ID of its sender, an empty one as well, so that what has none is the end.
///
/// # Errors
/// Those of recvmsg(2), EAGAIN when there is no message now.
pub(crate) fn receive_from_sender(channel: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<FromSender> {
    // Room for the sender alone: the kernel installs no descriptor that came with the message.
    let mut control = nix::cmsg_space!(UnixCredentials);
    let mut parts = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let received = loop {
        match nix::sys::socket::recvmsg::<()>(channel.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Err(nix::errno::Errno::EINTR) => {}
            result => break result?,
        }
    };
    if received.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Ok(FromSender::Invalid);
    }
    let sender = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmCredentials(sender) => Some(Pid::from_raw(sender.pid())),
        _ => None,
    });
    Ok(sender.map_or(FromSender::End, |pid| FromSender::Message(received.bytes, pid)))
}
