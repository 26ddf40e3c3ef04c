//! The title of a process: what ps(1) shows instead of the arguments that it was started with.

use std::fs;
use std::io;
use std::ptr;

use nix::errno::Errno;

/// `struct prctl_mm_map` (PR_SET_MM_MAP, prctl(2)): where the parts of the memory of a process are.
#[repr(C)]
#[derive(Debug)]
struct MemoryMap {
    code: [u64; 2],
    data: [u64; 2],
    brk: [u64; 2],
    stack: u64,
    arguments: [u64; 2],
    environment: [u64; 2],
    auxiliary: *const u64,
    auxiliary_size: u32,
    /// None: the program stays.
    program: u32,
}

/// Lets the kernel take the arguments of this process, and of those that it forks, from `area`: a text up to a NUL. The last
/// byte of the area is not NUL, which makes it a title (`get_mm_cmdline` of the kernel). A process changes its title by
/// changing this memory, without a system call. The area must be private memory: the kernel reads no file there.
///
/// # Errors
/// Those of prctl(2): EINVAL for a kernel without `CONFIG_CHECKPOINT_RESTORE`, or EPERM by a filter.
pub(crate) fn set_title_area(area: &[u8]) -> io::Result<()> {
    let numbers = read_own_stat()?;
    // Fields of proc_pid_stat(5), counted from 1.
    let field = |number: usize| numbers.get(number - 3).copied().ok_or(io::ErrorKind::InvalidData);
    // SAFETY: sbrk with 0 changes nothing.
    let brk = unsafe { libc::sbrk(0) };
    let start = area.as_ptr() as u64;
    let map = MemoryMap {
        code: [field(26)?, field(27)?],
        data: [field(45)?, field(46)?],
        brk: [field(47)?, brk as u64],
        stack: field(28)?,
        arguments: [start, start + area.len() as u64],
        environment: [start + area.len() as u64; 2], // empty
        auxiliary: ptr::null(),
        auxiliary_size: 0,
        program: u32::MAX,
    };
    let (option, size) = (libc::PR_SET_MM_MAP, size_of::<MemoryMap>());
    // SAFETY: the kernel reads the structure, which is as long as `size`, and keeps the numbers only to show the memory there to
    // readers of /proc.
    let result = unsafe { libc::prctl(libc::PR_SET_MM, option, &raw const map, size, 0) };
    Ok(Errno::result(result).map(drop)?)
}

/// The fields of /proc/self/stat from the third on; 0 for one that is no number.
fn read_own_stat() -> io::Result<Vec<u64>> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = text.rsplit_once(") ").ok_or(io::ErrorKind::InvalidData)?;
    Ok(fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}
