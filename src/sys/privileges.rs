//! Capabilities, which neither the standard library nor nix can give up.

use std::io;

/// `_LINUX_CAPABILITY_VERSION_3` (capget(2)).
const VERSION: u32 = 0x2008_0522;

/// The numbers of capabilities are below this one; the kernel has about forty.
const CAPABILITIES_MAX: libc::c_ulong = 64;

/// Empties the bounding set, from which programs could get capabilities (capabilities(7)). A process without CAP_SETPCAP
/// cannot, and has nothing to fear from it once it has no_new_privs.
pub(crate) fn empty_bounding_set() {
    for capability in 0..CAPABILITIES_MAX {
        // SAFETY: PR_CAPBSET_DROP takes an integer.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
}

/// Gives up all capabilities of this process, and those that programs would inherit (capset(2)). A process without any makes
/// no such call: the filter of lsbaws.service denies it.
///
/// # Errors
/// Those of capset(2).
pub(crate) fn drop_capabilities() -> io::Result<()> {
    // Version and process; the effective, permitted and inheritable set in two parts each.
    let header = [VERSION, 0];
    let mut sets = [u32::MAX; 6];
    // SAFETY: the pointers are to live arrays laid out like the structures of capget(2), which fills the second.
    let result = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) };
    if result == 0 && sets == [0; 6] {
        return Ok(());
    }
    sets = [0; 6];
    // SAFETY: the pointers are to live arrays laid out like the structures of capset(2), which reads them. The ambient set
    // follows: it never has what the other sets lack.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a system call that tests expect to fail, with these arguments; a pointer among them must be null.
#[cfg(test)]
pub(crate) fn try_call(number: i64, arguments: [i64; 6]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the kernel finds no memory at null, and nothing in this process depends on the descriptors of the tests.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}
