//! The system calls that programs do not get: those that reach other processes or the kernel itself. A program may make all
//! others, within its domain.

use libc::*;
use seccompiler::{BackendError, BpfProgram, SeccompAction};

use super::calls::{Calls, fail, has, is, is_not};

/// Fail with EPERM.
const FORBIDDEN: &[i64] = &[
    // Other processes.
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_process_mrelease,
    SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_migrate_pages,
    // The slots of other connections: a child of a service with programs holds one page of their file, and these would grow
    // it, or move it to others. realloc(3) does without.
    SYS_mremap,
    SYS_remap_file_pages,
    // Namespaces and mounts.
    SYS_unshare,
    SYS_setns,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_open_tree,
    SYS_move_mount,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    STATMOUNT,
    LISTMOUNT,
    OPEN_TREE_ATTR,
    // Files by their handles, past all paths.
    SYS_open_by_handle_at,
    SYS_fanotify_init,
    // Code in the kernel, and parts of it with a history of holes.
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_lookup_dcookie,
    SYS_nfsservctl,
    // The machine.
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_syslog,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_vhangup,
];

/// Commands and requests without names in the libc crate (fcntl(2), asm-generic/sockios.h).
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;

/// Calls without names in the libc crate; new calls have one number on all processors.
const STATMOUNT: i64 = 457;
const LISTMOUNT: i64 = 458;
const OPEN_TREE_ATTR: i64 = 467;

#[cfg(target_arch = "x86_64")]
const FORBIDDEN_OLD: &[i64] =
    &[SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS__sysctl, SYS_uselib, SYS_ustat, SYS_sysfs];
#[cfg(not(target_arch = "x86_64"))]
const FORBIDDEN_OLD: &[i64] = &[];

/// Fail with ENOSYS, as on a kernel without them, so that a library uses what it used before them. The arguments of clone3(2)
/// are in memory, where no filter can read them. A memory file can be executed, although it lies in no directory that the
/// domain knows. io_uring makes calls that no filter sees.
const MISSING: &[i64] = &[
    SYS_clone3,
    SYS_memfd_create,
    SYS_memfd_secret,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
];

/// Flags of clone(2) that make namespaces.
const NAMESPACES: [i32; 7] =
    [CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWCGROUP];

/// `network`: whether the programs have it.
pub(super) fn filters(network: bool) -> Result<Vec<BpfProgram>, BackendError> {
    let allow = || SeccompAction::Allow;
    Ok(vec![
        missing().filter(fail(ENOSYS), allow())?,
        foreign_sockets(network)?.filter(fail(EAFNOSUPPORT), allow())?,
        forbidden()?.filter(fail(EPERM), allow())?,
    ])
}

fn missing() -> Calls {
    let mut calls = Calls::default();
    calls.all(MISSING);
    calls
}

/// Sockets of other families than programs have.
fn foreign_sockets(network: bool) -> Result<Calls, BackendError> {
    let mut calls = Calls::default();
    let mut foreign = vec![is_not(0, bits(AF_UNIX))];
    calls.when(SYS_socketpair, &foreign)?;
    if network {
        foreign.extend([AF_INET, AF_INET6, AF_NETLINK].map(|family| is_not(0, bits(family))));
        // getifaddrs(3) asks for the addresses of this machine.
        calls.when(SYS_socket, &[is(0, bits(AF_NETLINK)), is_not(2, bits(NETLINK_ROUTE))])?;
    }
    calls.when(SYS_socket, &foreign)?;
    Ok(calls)
}

fn forbidden() -> Result<Calls, BackendError> {
    let mut calls = Calls::default();
    calls.all(FORBIDDEN);
    calls.all(FORBIDDEN_OLD);
    for flag in NAMESPACES {
        calls.when(SYS_clone, &[has(0, bits(flag), bits(flag))])?;
    }
    // Limits, priorities and processors of other processes. 0 is the process itself.
    for call in [
        SYS_prlimit64,
        SYS_sched_setaffinity,
        SYS_sched_setattr,
        SYS_sched_setparam,
        SYS_sched_setscheduler,
        SYS_move_pages,
        SYS_get_robust_list,
    ] {
        calls.when(call, &[is_not(0, 0)])?;
    }
    const IOPRIO_WHO_PROCESS: u64 = 1;
    for (call, process) in
        [(SYS_setpriority, bits(PRIO_PROCESS.cast_signed())), (SYS_ioprio_set, IOPRIO_WHO_PROCESS)]
    {
        calls.when(call, &[is_not(0, process)])?;
        calls.when(call, &[is_not(1, 0)])?;
    }
    // Input to a terminal that others read from. TIOCLINUX pastes a selection.
    for request in [0x5412, 0x541c] {
        calls.when(SYS_ioctl, &[is(1, request)])?;
    }
    // Signals by a descriptor: to its owner, when something can be read from it.
    for command in [F_SETOWN, F_SETSIG, F_SETOWN_EX] {
        calls.when(SYS_fcntl, &[is(1, bits(command))])?;
    }
    for request in [FIOSETOWN, SIOCSPGRP] {
        calls.when(SYS_ioctl, &[is(1, request)])?;
    }
    // Other personalities than that of Linux have weaker rules for memory. The last value only asks.
    calls.when(SYS_personality, &[is_not(0, 0), is_not(0, bits(-1))])?;
    Ok(calls)
}

/// The 32 bits of an argument.
fn bits(value: i32) -> u64 {
    value.cast_unsigned().into()
}
