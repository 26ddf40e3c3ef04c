//! Memory that processes share.

use std::io;
use std::ptr;
use std::sync::atomic::AtomicU64;

/// Maps `count` words, all zero, that every later fork shares (mmap(2), `MAP_SHARED|MAP_ANONYMOUS`). They begin
/// at a page, and stay mapped until the process ends.
///
/// # Errors
/// Those of mmap(2); ENOMEM for none, or for more than fit.
pub(crate) fn map_shared_words(count: usize) -> io::Result<&'static [AtomicU64]> {
    let length = count
        .checked_mul(size_of::<AtomicU64>())
        .filter(|&length| length > 0)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping overlaps nothing.
    let address = unsafe { libc::mmap(ptr::null_mut(), length, access, kind, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is page-aligned, zeroed, `length` long and never unmapped; every bit pattern is a valid
    // atomic integer, and atomics are sound between processes as between threads.
    Ok(unsafe { std::slice::from_raw_parts(address.cast(), count) })
}
