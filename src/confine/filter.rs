//! Filters of system calls (seccomp(2)). They are linear, and short enough: since Linux 5.11 the kernel knows in advance
//! which calls a filter always allows, and does not run it for those.

use std::os::fd::{BorrowedFd, RawFd};

use seccompiler::{BpfProgram, apply_filter, sock_filter};

use super::calls::fail;
use super::{Confinement, allowed, denied};

/// Whether filters can be made for this processor.
pub(super) const IS_KNOWN_ARCHITECTURE: bool =
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"));

/// Installs the filters of a confinement. `lock`, `connection`: see [`super::apply`]. This process must have no_new_privs.
///
/// # Errors
/// Those of seccomp(2).
pub(super) fn install(
    confinement: &Confinement,
    lock: Option<BorrowedFd<'_>>,
    connection: RawFd,
) -> Result<(), seccompiler::Error> {
    if !IS_KNOWN_ARCHITECTURE {
        return Ok(());
    }
    let filters = if confinement.starts_programs {
        denied::filters(confinement.network)?
    } else {
        vec![allowed::filter(confinement.core, lock, connection)?]
    };
    for (position, filter) in filters.into_iter().enumerate() {
        let before = if position == 0 { refuse_x32() } else { Vec::new() };
        apply_filter(&[before, filter].concat())?;
    }
    Ok(())
}

/// On x86-64, makes the calls of the x32 interface fail as on a kernel without it: they have numbers of their own, and the
/// same architecture. A process that uses the 32-bit interface, which is another architecture, is killed by the filters: a
/// program for it could not do anything.
fn refuse_x32() -> BpfProgram {
    /// `__X32_SYSCALL_BIT`
    const X32: u32 = 0x4000_0000;
    // The codes of bpf(4), which libc has as wider integers.
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_IF_NOT_BELOW: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    if !cfg!(target_arch = "x86_64") {
        return Vec::new();
    }
    vec![
        // `nr`, the first field of struct seccomp_data.
        instruction(LOAD, 0, 0, 0),
        instruction(JUMP_IF_NOT_BELOW, 0, 1, X32),
        instruction(RETURN, 0, 0, fail(libc::ENOSYS).into()),
    ]
}
