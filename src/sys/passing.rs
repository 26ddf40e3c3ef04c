//! Sockets from one process to another (unix(7), `SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Sends `bytes` and a copy of the descriptor `fd` as one message over a datagram or sequenced-packet socket. Never
/// waits.
///
/// # Errors
/// Those of sendmsg(2); EAGAIN when the receiver has not read enough.
pub(crate) fn send_fd(channel: BorrowedFd<'_>, bytes: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
    let rights = [fd.as_raw_fd()];
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

/// Waits for a message of [`send_fd`] that is exactly as long as `bytes`. `None`: the other end was closed.
///
/// # Errors
/// Those of recvmsg(2); `InvalidData` for a message of another length, or without a descriptor.
pub(crate) fn receive_fd(channel: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<Option<OwnedFd>> {
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
        // SAFETY: the kernel has just made this descriptor for this process; nothing else owns it.
        Some(fd) if is_whole => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
