//! Memory that processes share.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Bytes of a page. A kernel with larger ones, as some for arm64 have, cannot map a slot of the scoreboard.
pub(crate) const PAGE: usize = 4096;

/// Not to be run as a program. A kernel can be told to permit no other file (Linux 6.3, `vm.memfd_noexec`).
const MFD_NOEXEC_SEAL: MFdFlags = MFdFlags::from_bits_retain(8);

/// Makes an empty memory file, close-on-exec, whose size can only grow (memfd_create(2)): a process that maps it never
/// gets SIGBUS.
///
/// # Errors
/// Those of memfd_create(2).
pub(crate) fn create_memory_file(name: &CStr) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = match memfd_create(name, flags | MFD_NOEXEC_SEAL) {
        Err(Errno::EINVAL) => memfd_create(name, flags)?, // an older kernel
        file => file?,
    };
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK))?;
    Ok(file)
}

/// Forbids that a memory file grows.
///
/// # Errors
/// Those of fcntl(2).
pub(crate) fn forbid_growth(file: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW))?;
    Ok(())
}

/// Forbids every later change of a memory file.
///
/// # Errors
/// Those of fcntl(2).
pub(crate) fn seal(file: BorrowedFd<'_>) -> io::Result<()> {
    let seals = SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

/// Maps pages of a memory file as words that all processes with the file share (mmap(2), `MAP_SHARED`): `count` pages
/// from `first` on. They stay mapped until the process ends.
///
/// # Errors
/// Those of mmap(2); EINVAL for none, ENOMEM for more than fit.
pub(crate) fn map_shared_words(
    file: BorrowedFd<'_>,
    first: usize,
    count: usize,
) -> io::Result<&'static [AtomicU64]> {
    let no_memory = || io::Error::from_raw_os_error(libc::ENOMEM);
    let length = count.checked_mul(PAGE).ok_or_else(no_memory)?;
    let offset = first.checked_mul(PAGE).and_then(|offset| offset.try_into().ok()).ok_or_else(no_memory)?;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, at an address of the kernel's choice, overlaps nothing.
    let address =
        unsafe { libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, file.as_raw_fd(), offset) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is page-aligned, `length` long and never unmapped, and the file cannot shrink; every bit pattern
    // is a valid atomic integer, and atomics are sound between processes as between threads.
    Ok(unsafe { std::slice::from_raw_parts(address.cast(), length / size_of::<AtomicU64>()) })
}
