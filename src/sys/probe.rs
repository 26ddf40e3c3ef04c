//! What a child can do in which an attacker executes code: any system call, any write to memory. In test builds only (the
//! feature `attacks`).

use std::ptr;

/// Makes a system call with six arguments. Returns what the kernel returns: a negative error number on failure.
pub(crate) fn call(number: i64, arguments: [i64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: none. The caller stands for an attacker, and this process exists to be attacked.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 { -i64::from(nix::errno::Errno::last_raw()) } else { result }
}

/// Writes to any address of this process.
pub(crate) fn poke(address: i64, bytes: &[u8]) {
    let Ok(address) = usize::try_from(address) else { return };
    let target = ptr::with_exposed_provenance_mut::<u8>(address);
    for (offset, &byte) in bytes.iter().enumerate() {
        // SAFETY: none, as in `call`.
        unsafe { target.wrapping_add(offset).write_volatile(byte) };
    }
}
