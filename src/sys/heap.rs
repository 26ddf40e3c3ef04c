//! What a process has allocated, as huge pages: a fork then copies one entry of a page table for 2 MiB, and not 512. With a
//! large application in memory, that is a fifth of all that a connection costs.

use std::fs;
use std::io;
use std::ops::Range;

const HUGE_PAGE: usize = 2 << 20;

/// Gathers private memory of this process into huge pages (madvise(2), `MADV_COLLAPSE`, Linux 6.1), where at least half of it
/// is in use. Memory that is allocated later has small pages.
///
/// # Errors
/// Those of reading /proc/self/smaps. What the kernel cannot gather stays as it is.
pub(crate) fn gather_heap() -> io::Result<()> {
    for addresses in find_heap(&fs::read_to_string("/proc/self/smaps")?) {
        let (start, length) = (addresses.start as *mut libc::c_void, addresses.len());
        // SAFETY: this changes where bytes are and not which.
        let _ = unsafe { libc::madvise(start, length, libc::MADV_COLLAPSE) };
    }
    Ok(())
}

/// The huge pages within private writable mappings of no file (proc_pid_smaps(5)). The stack is none of them.
fn find_heap(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut mapping = None;
    for line in smaps.lines() {
        if let Some(used) = line.strip_prefix("Rss:") {
            let used: usize = used.trim().trim_end_matches(" kB").parse().unwrap_or(0);
            found
                .extend(mapping.take().filter(|addresses: &Range<usize>| used * 1024 >= addresses.len() / 2));
        } else if let Some(addresses) = parse_mapping(line) {
            mapping = addresses;
        }
    }
    found
        .into_iter()
        .map(|addresses| addresses.start.next_multiple_of(HUGE_PAGE)..addresses.end / HUGE_PAGE * HUGE_PAGE)
        .filter(|pages| !pages.is_empty())
        .collect()
}

/// The addresses of a mapping, if it may be gathered; `None` for lines that begin none.
fn parse_mapping(line: &str) -> Option<Option<Range<usize>>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let parse = |text| usize::from_str_radix(text, 16).ok();
    let addresses = parse(start)?..parse(end)?;
    let is_private = words.next() == Some("rw-p");
    let is_heap = matches!(words.nth(3), None | Some("[heap]"));
    Some((is_private && is_heap).then_some(addresses))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_those_of_private_memory_in_use() {
        let smaps = "\
            00400000-00a00000 r-xp 00000000 08:01 12 /usr/bin/python3\nRss: 6144 kB\n\
            01100000-01700000 rw-p 00000000 00:00 0 [heap]\nSize: 6144 kB\nRss: 5000 kB\nVmFlags: rd wr\n\
            7f0000000000-7f0000400000 rw-p 00000000 00:00 0\nRss: 2048 kB\n\
            7f0001000000-7f0001800000 rw-p 00000000 00:00 0\nRss: 16 kB\n\
            7f0002000000-7f0002400000 rw-s 00000000 00:01 7 /dev/zero\nRss: 4096 kB\n\
            7f0003000000-7f0003100000 rw-p 00000000 00:00 0\nRss: 1024 kB\n\
            7ffc00000000-7ffc00400000 rw-p 00000000 00:00 0 [stack]\nRss: 4096 kB\n";
        assert_eq!(find_heap(smaps), [0x120_0000..0x160_0000, 0x7f00_0000_0000..0x7f00_0040_0000]);
    }
}
