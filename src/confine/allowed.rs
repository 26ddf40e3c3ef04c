//! The system calls of services that start no programs: those that fork servers and children make, and no others. All
//! others fail with EPERM.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use libc::*;
use seccompiler::{BackendError, BpfProgram, SeccompAction};

use super::calls::{Argument, Calls, fail, has, is};

/// With any arguments: descriptors, files that the domain allows, memory, time, and the end of a process.
const CALLS: &[i64] = &[
    // The connection, the channel of the fork server, the journal.
    SYS_read,
    SYS_write,
    SYS_pwrite64,
    SYS_readv,
    SYS_writev,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_sendto,
    SYS_sendmsg,
    SYS_ppoll,
    SYS_getsockname,
    SYS_getpeername,
    SYS_getsockopt,
    // Files.
    SYS_openat,
    SYS_openat2,
    SYS_newfstatat,
    SYS_fstat,
    SYS_statx,
    SYS_getdents64,
    SYS_lseek,
    SYS_pread64,
    SYS_sendfile,
    SYS_close,
    SYS_close_range,
    // Memory. Not mremap(2): it would grow the page of the own slot over those of others. realloc(3) does without.
    SYS_brk,
    SYS_munmap,
    SYS_madvise,
    SYS_getrandom,
    SYS_futex,
    // Signals that this process handles, and time.
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_restart_syscall,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_clock_gettime,
    SYS_gettimeofday,
    // Processes: their own numbers, and the ends of their own children.
    SYS_getpid,
    SYS_getppid,
    SYS_gettid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getrusage,
    SYS_set_robust_list,
    SYS_set_tid_address,
    SYS_rseq,
    SYS_umask,
    SYS_wait4,
    SYS_waitid,
    SYS_pidfd_open,
    SYS_exit,
    SYS_exit_group,
];

/// Calls of old that newer processors do not have.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[i64] = &[SYS_poll, SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[i64] = &[];

/// Flags of clone(2) that make a plain process, as fork(2) does: no thread, no namespace.
const FORK_FLAGS: i32 = CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;

/// Commands of fcntl(2) that have no effect on others: F_SETOWN and F_SETSIG would send signals.
const DESCRIPTOR_COMMANDS: [i32; 5] = [F_GETFD, F_SETFD, F_GETFL, F_DUPFD, F_DUPFD_CLOEXEC];

/// Options that a child sets for its connection. SO_ATTACH_FILTER, for one, would bring code into the kernel, and
/// SO_SNDBUF would make the socket to the journal, which children share, of no use.
const SOCKET_OPTIONS: [(i32, i32); 9] = [
    (SOL_SOCKET, SO_LINGER),
    (SOL_SOCKET, SO_KEEPALIVE),
    (IPPROTO_TCP, TCP_NODELAY),
    (IPPROTO_TCP, TCP_CORK),
    (IPPROTO_TCP, TCP_KEEPIDLE),
    (IPPROTO_TCP, TCP_KEEPINTVL),
    (IPPROTO_TCP, TCP_KEEPCNT),
    (IPPROTO_TCP, TCP_USER_TIMEOUT),
    (IPPROTO_TCP, TCP_NOTSENT_LOWAT),
];

/// `core`: whether a process may leave a core file. `lock`: the only file that it may lock. (A lock on a file that is served
/// would stop programs that write it.) `connection`: the number of the only descriptor that it may shut down.
pub(super) fn filter(
    core: bool,
    lock: Option<BorrowedFd<'_>>,
    connection: RawFd,
) -> Result<BpfProgram, BackendError> {
    let mut calls = Calls::default();
    calls.all(CALLS);
    calls.all(OLD_CALLS);
    // Memory that is never executed.
    let not_executed = [has(2, bits(PROT_EXEC), 0)];
    calls.when(SYS_mmap, &not_executed)?;
    calls.when(SYS_mprotect, &not_executed)?;
    calls.when(SYS_clone, &[has(0, bits(!FORK_FLAGS), 0)])?;
    // Its own limits and priority.
    calls.when(SYS_prlimit64, &[is(0, 0)])?;
    calls.when(SYS_setpriority, &[is(0, 0), is(1, 0)])?;
    calls.when(SYS_getpriority, &[is(0, 0), is(1, 0)])?;
    // A descriptor that processes share, such as the socket to the journal, must stay usable.
    calls.when(SYS_shutdown, &[is(0, bits(connection))])?;
    calls.when(SYS_fcntl, &[is(0, bits(connection)), is(1, bits(F_SETFL))])?;
    for command in DESCRIPTOR_COMMANDS {
        calls.when(SYS_fcntl, &[is(1, bits(command))])?;
    }
    if let Some(lock) = lock {
        calls.when(SYS_fcntl, &[is(0, bits(lock.as_raw_fd())), is(1, bits(F_SETLK))])?;
    }
    for (level, option) in SOCKET_OPTIONS {
        calls.when(SYS_setsockopt, &[is(1, bits(level)), is(2, bits(option))])?;
    }
    // The channels of spares.
    calls.when(SYS_socketpair, &[is(0, bits(AF_UNIX))])?;
    let mut options: Vec<Argument> = vec![is(0, bits(PR_GET_DUMPABLE))];
    if core {
        options.push(is(0, bits(PR_SET_DUMPABLE)));
    }
    for option in options {
        calls.when(SYS_prctl, &[option])?;
    }
    calls.filter(SeccompAction::Allow, fail(EPERM))
}

/// The 32 bits of an argument.
fn bits(value: i32) -> u64 {
    value.cast_unsigned().into()
}
