//! Descriptors: inherited ones, and those that a child must not hold.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;

/// The number of the connection's descriptor in a child: the lowest free one, in every fork server. A filter of system
/// calls can name it.
pub(crate) const CONNECTION: RawFd = 3;

/// Takes ownership of a descriptor that this process was started with (sockets handed in).
///
/// Fails when there is no such descriptor. Each number may be adopted once, before this process opens any
/// descriptor of its own.
pub(crate) fn adopt_fd(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD takes no pointer; it only asks whether the descriptor is open.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open (just asked) and was inherited at start, so that nothing in
    // this process owns it; `listen::activation` adopts each number once, before any other is made.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Moves a descriptor to the lowest free number above `least`.
///
/// # Errors
/// Those of fcntl(2).
pub(crate) fn move_above(least: RawFd, fd: OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes no pointer.
    let moved = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least + 1) };
    if moved < 0 {
        return Err(io::Error::last_os_error());
    }
    drop(fd);
    // SAFETY: fcntl has just made this descriptor; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(moved) })
}

/// Puts the open file of `new` in place of that of `old`, whose number stays (dup3(2)).
///
/// # Errors
/// Those of dup3(2). `old` stays as it was.
pub(crate) fn replace_fd(old: BorrowedFd<'_>, new: OwnedFd) -> nix::Result<()> {
    // SAFETY: dup3 takes three integers. The number stays open, and its owner the same.
    Errno::result(unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) })?;
    drop(new);
    Ok(())
}

/// Closes every descriptor from 3 on but those `kept` (close_range(2), once for each gap between them): what
/// a child must not hold. For a child of [`super::fork_child`] only, which never uses or drops an owner of what is
/// closed.
///
/// # Errors
/// Those of close_range(2).
#[expect(clippy::needless_pass_by_value, reason = "an iterator is passed by value, as everywhere")]
pub(crate) fn close_all_but(kept: impl Iterator<Item = RawFd> + Clone) -> io::Result<()> {
    let mut next = 3;
    // Few, and in no order: searched again and again rather than sorted, which would take memory.
    while let Some(fd) = kept.clone().filter(|&fd| fd >= next).min() {
        if fd > next {
            close_range(next, fd - 1)?;
        }
        next = fd + 1;
    }
    close_range(next, RawFd::MAX)
}

/// Closes these descriptors. For a child of [`super::fork_child`] only, which never uses or drops an owner of what is closed.
///
/// # Errors
/// Those of close_range(2).
pub(crate) fn close_each(fds: impl IntoIterator<Item = RawFd>) -> io::Result<()> {
    fds.into_iter().try_for_each(|fd| close_range(fd, fd))
}

/// Fails where the kernel (before Linux 5.9) or a filter has no close_range(2): every child would fail.
pub(crate) fn require_close_range() -> io::Result<()> {
    close_range(RawFd::MAX, RawFd::MAX) // never open
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: the child that calls this never uses, nor drops, an owner of what is closed: it ends
    // by `_exit` (see fork_child).
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Discards up to `limit` bytes that have arrived at a TCP socket, without copying them (tcp(7), `MSG_TRUNC`).
/// Returns how many; 0 is the end of input. Other sockets fail with EFAULT.
///
/// # Errors
/// Those of recv(2).
pub(crate) fn discard_input(socket: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: TCP writes nothing with MSG_TRUNC, and for other sockets the kernel reports null as a bad address.
    let count = unsafe { libc::recv(socket.as_raw_fd(), ptr::null_mut(), limit, flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Descriptors in settings for a process that is exec'd: it inherits them, and knows them by their numbers.
pub(crate) mod by_number {
    use std::os::fd::{AsRawFd, OwnedFd};

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the number. [`crate::sys::keep_for_program`] lets the new process inherit the descriptor.
    pub(crate) fn serialize<S: Serializer>(fd: &OwnedFd, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(fd.as_raw_fd())
    }

    /// Takes ownership of the inherited descriptor, under another number: a child must find its connection at
    /// [`super::CONNECTION`].
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OwnedFd, D::Error> {
        super::adopt_above(i32::deserialize(deserializer)?)
    }
}

/// The same for a descriptor that may be absent.
pub(crate) mod option_by_number {
    use std::os::fd::{AsRawFd, OwnedFd};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(fd: &Option<OwnedFd>, serializer: S) -> Result<S::Ok, S::Error> {
        fd.as_ref().map(AsRawFd::as_raw_fd).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<OwnedFd>, D::Error> {
        Option::<i32>::deserialize(deserializer)?.map(super::adopt_above).transpose()
    }
}

fn adopt_above<E: serde::de::Error>(number: RawFd) -> Result<OwnedFd, E> {
    adopt_fd(number).and_then(|fd| move_above(CONNECTION, fd)).map_err(E::custom)
}
