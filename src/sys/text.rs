//! The text of this program as huge pages of a memory file. A child then takes one fault for 2 MiB of code, and not one for
//! each 64 KiB that it touches: that is a third of all that a connection costs. Processes of this program share the file.
//!
//! It needs a program that is linked for it (.cargo/config.toml): the segment with the text begins at a huge page, and the next
//! one at another. It needs a kernel that loads it at such an address (static-pie: Linux 6.10) and has `MADV_COLLAPSE` (6.1).
//! No mapping is writable and executable at any time, so that `MemoryDenyWriteExecute=` allows it.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr;

use nix::sys::stat::fstat;

use super::memory::{create_memory_file, seal};

const HUGE_PAGE: usize = 2 << 20;

/// Copies the text of this program to a memory file that nothing can change.
///
/// # Errors
/// Those of memfd_create(2) and `MADV_COLLAPSE`; `Unsupported` where the program is not linked, or not loaded, as needed.
pub(crate) fn copy_text() -> io::Result<OwnedFd> {
    let text = find_text()?;
    let program = File::open("/proc/self/exe")?;
    let file = File::from(create_memory_file(c"lsbaws-text")?);
    file.set_len(round_up(text.addresses.len()).try_into().map_err(io::Error::other)?)?;
    let mut part = vec![0; HUGE_PAGE];
    let (mut at, length) = (0, text.addresses.len());
    while at < length {
        let part = &mut part[..HUGE_PAGE.min(length - at)];
        let count = program.read_at(part, text.offset + at as u64)?;
        if count == 0 {
            break; // the file ends within the last page of the segment
        }
        file.write_all_at(&part[..count], at as u64)?;
        at += count;
    }
    seal(file.as_fd())?;
    // Without a right to write, even for kernels before 6.7, which do not map a sealed file otherwise (fcntl(2)).
    let file = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    collapse(file.as_fd(), round_up(length))?;
    Ok(file.into())
}

/// Lets this process execute its text from the file of [`copy_text`].
///
/// # Errors
/// Those of mmap(2); `Unsupported` where this process is not loaded as needed.
pub(crate) fn run_from(file: BorrowedFd<'_>) -> io::Result<()> {
    let text = find_text()?;
    if usize::try_from(fstat(file)?.st_size) != Ok(round_up(text.addresses.len())) {
        return Err(io::ErrorKind::Unsupported.into()); // that of another program
    }
    let access = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: the file has the bytes that are at these addresses already, since it is made from the file of this very
    // program, and cannot change: the code that runs does not notice. Nothing but the text is mapped at these addresses.
    unsafe { map(text.addresses.start as *mut _, round_up(text.addresses.len()), access, Some(file)) }?;
    Ok(())
}

/// Gathers the pages of a memory file into huge ones (madvise(2), `MADV_COLLAPSE`).
fn collapse(file: BorrowedFd<'_>, length: usize) -> io::Result<()> {
    let room = length + HUGE_PAGE;
    // SAFETY: a new mapping, at an address of the kernel's choice, overlaps nothing.
    let start = unsafe { map(ptr::null_mut(), room, libc::PROT_NONE, None) }?;
    let aligned = start.map_addr(round_up);
    // SAFETY: the addresses are within the room, to which nothing refers.
    let mapped = unsafe { map(aligned, length, libc::PROT_READ, Some(file)) };
    let collapsed = mapped.and_then(|_| {
        // SAFETY: this changes where bytes are and not which.
        match unsafe { libc::madvise(aligned, length, libc::MADV_COLLAPSE) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    });
    // SAFETY: nothing refers to the room.
    unsafe { libc::munmap(start, room) };
    collapsed
}

/// Maps a file, in place of what is at these addresses; without a file, reserves addresses.
///
/// # Safety
/// Nothing may rely on what a file replaces.
unsafe fn map(
    address: *mut libc::c_void,
    length: usize,
    access: libc::c_int,
    file: Option<BorrowedFd<'_>>,
) -> io::Result<*mut libc::c_void> {
    let (flags, fd) = match file {
        Some(file) => (libc::MAP_SHARED | libc::MAP_FIXED, file.as_raw_fd()),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: as the caller promises.
    match unsafe { libc::mmap(address, length, access, flags, fd, 0) } {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        mapped => Ok(mapped),
    }
}

/// Where the text of this process is.
struct Text {
    addresses: Range<usize>,
    /// Where it begins in the file of the program.
    offset: u64,
}

/// Finds the segment that this function is in (proc_pid_maps(5)), if it begins at a huge page and is followed by nothing up to
/// the next.
fn find_text() -> io::Result<Text> {
    let unsupported = || io::Error::from(io::ErrorKind::Unsupported);
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut segments = maps.lines().filter_map(parse_segment);
    let own = find_text as *const () as usize;
    let text = segments.find(|text| text.addresses.contains(&own)).ok_or_else(unsupported)?;
    let end = text.addresses.start + round_up(text.addresses.len());
    let is_alone = segments.next().is_none_or(|next| next.addresses.start >= end);
    if text.addresses.start.is_multiple_of(HUGE_PAGE) && is_alone { Ok(text) } else { Err(unsupported()) }
}

/// A line such as `5581a0000000-5581a0354000 r-xp 00000000 fe:00 1234 /usr/bin/lsbaws`.
fn parse_segment(line: &str) -> Option<Text> {
    let mut words = line.split(' ');
    let (start, end) = words.next()?.split_once('-')?;
    let offset = u64::from_str_radix(words.nth(1)?, 16).ok()?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(Text { addresses: number(start)?..number(end)?, offset })
}

fn round_up(length: usize) -> usize {
    length.next_multiple_of(HUGE_PAGE)
}
