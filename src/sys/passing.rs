//! Sockets from one process to another (unix(7), `SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Sends `bytes`, and with them a copy of `socket`, as one message over a pair of sequenced-packet sockets.
/// Never waits.
pub(crate) fn send_socket(channel: BorrowedFd<'_>, bytes: &[u8], socket: BorrowedFd<'_>) -> io::Result<()> {
    let rights = [socket.as_raw_fd()];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(
        channel.as_raw_fd(),
        &[IoSlice::new(bytes)],
        &[ControlMessage::ScmRights(&rights)],
        flags,
        None,
    )?;
    Ok(())
}

/// Waits for a message of [`send_socket`] that is exactly as long as `bytes`. `None`: the other end was closed.
pub(crate) fn receive_socket(channel: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<Option<OwnedFd>> {
    let length = bytes.len();
    let mut space = nix::cmsg_space!(RawFd);
    let mut parts = [IoSliceMut::new(bytes)];
    let received = loop {
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(channel.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Err(nix::errno::Errno::EINTR) => {}
            result => break result?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let is_whole = received.bytes == length;
    let rights = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(rights) => rights.first().copied(),
        _ => None,
    });
    match rights {
        // SAFETY: the kernel has just made this descriptor for this process; nothing else owns it. (There is
        // one: that is what `send_socket` sends.)
        Some(fd) if is_whole => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
