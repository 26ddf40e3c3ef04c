//! System calls, each tried without the filters as well.

use crate::sys::CONNECTION;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};

use libc::*;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

use super::*;

#[test]
fn children_make_no_other_calls() {
    in_own_process("calls::children_make_no_other_calls", || {
        let ours = i64::from(std::process::id());
        let calls: &[(i64, [i64; 6])] = &[
            (SYS_execve, NULL),
            (SYS_execveat, NULL),
            (SYS_socket, [AF_UNIX.into(), SOCK_DGRAM.into(), 0, 0, 0, 0]),
            (SYS_socket, [AF_INET.into(), SOCK_STREAM.into(), 0, 0, 0, 0]),
            (SYS_socketpair, [AF_INET.into(), SOCK_STREAM.into(), 0, 0, 0, 0]),
            (SYS_connect, BAD),
            (SYS_bind, BAD),
            (SYS_listen, BAD),
            (SYS_accept4, BAD),
            (SYS_kill, [ours, 0, 0, 0, 0, 0]),
            (SYS_tkill, [ours, 0, 0, 0, 0, 0]),
            (SYS_tgkill, [ours, ours, 0, 0, 0, 0]),
            (SYS_rt_sigqueueinfo, [ours, 0, 0, 0, 0, 0]),
            (SYS_pidfd_send_signal, BAD),
            (SYS_pidfd_getfd, BAD),
            (SYS_ptrace, [PTRACE_PEEKUSER.into(), 1 << 22, 0, 0, 0, 0]),
            (SYS_process_vm_readv, [ours, 0, 0, 0, 0, 0]),
            (SYS_process_vm_writev, [ours, 0, 0, 0, 0, 0]),
            (SYS_memfd_create, NULL),
            (SYS_io_uring_setup, NULL),
            (SYS_userfaultfd, BAD),
            (SYS_mount, NULL),
            (SYS_unshare, NULL),
            (SYS_setns, BAD),
            (SYS_keyctl, BAD),
            (SYS_shmget, NULL),
            (SYS_msgget, NULL),
            (SYS_semget, [0, 1, 0, 0, 0, 0]),
            (SYS_mq_open, NULL),
            (SYS_setrlimit, [RLIMIT_NOFILE.into(), 0, 0, 0, 0, 0]),
            (SYS_prlimit64, [ours, RLIMIT_NOFILE.into(), 0, 0, 0, 0]),
            (SYS_setpriority, [PRIO_PROCESS.into(), ours, 0, 0, 0, 0]),
            (SYS_setpriority, [PRIO_PGRP.into(), 0, 0, 0, 0, 0]),
            (SYS_sched_setaffinity, NULL),
            (SYS_clone, [(CLONE_NEWUTS | CLONE_SIGHAND | SIGCHLD).into(), 0, 0, 0, 0, 0]),
            (SYS_clone, [CLONE_THREAD.into(), 0, 0, 0, 0, 0]),
            (SYS_clone3, NULL),
            (SYS_bpf, BAD),
            (SYS_perf_event_open, NULL),
            (SYS_seccomp, BAD),
            (SYS_landlock_create_ruleset, NULL),
            (SYS_setpgid, [0, -1, 0, 0, 0, 0]),
            (SYS_ioctl, [0, 0x5412, 0, 0, 0, 0]),
            (SYS_ioctl, BAD),
            (SYS_fcntl, [0, F_SETOWN.into(), 0, 0, 0, 0]),
            (SYS_fcntl, [0, 10, 0, 0, 0, 0]),
            (SYS_shutdown, [1, 2, 0, 0, 0, 0]),
            (SYS_shutdown, [4, 2, 0, 0, 0, 0]),
            (SYS_setsockopt, [0, SOL_SOCKET.into(), SO_ATTACH_FILTER.into(), 0, 0, 0]),
            (SYS_setsockopt, [0, IPPROTO_TCP.into(), TCP_ULP.into(), 0, 0, 0]),
            (SYS_mmap, [0, 4096, PROT_EXEC.into(), (MAP_PRIVATE | MAP_ANONYMOUS).into(), -1, 0]),
            (SYS_mprotect, [0, 0, (PROT_READ | PROT_EXEC).into(), 0, 0, 0]),
            (SYS_pkey_mprotect, [0, 0, PROT_EXEC.into(), -1, 0, 0]),
            (SYS_prctl, [PR_SET_DUMPABLE.into(), 0, 0, 0, 0, 0]),
            (SYS_prctl, [PR_SET_PTRACER.into(), 0, 0, 0, 0, 0]),
            (SYS_inotify_init1, NULL),
            (SYS_setuid, NULL),
            (SYS_capset, NULL),
            (SYS_chdir, NULL),
            (SYS_unlinkat, BAD),
            (SYS_renameat2, BAD),
            (SYS_ftruncate, BAD),
            (SYS_fallocate, BAD),
        ];
        assert_all_denied(calls, EPERM, &children());
        assert_x32_is_missing();
        // What a child does need works.
        assert!(UnixDatagram::pair().is_ok());
        assert_eq!(fs::read("/etc/passwd").unwrap().first(), Some(&b'r'));
        assert_ne!(try_call((SYS_shutdown, [3, 2, 0, 0, 0, 0])), EPERM);
        let (child, status) = fork();
        assert!(child != 0 && status == 0);
    });
}

#[test]
fn children_lock_the_file_of_logins_alone() {
    in_own_process("calls::children_lock_the_file_of_logins_alone", || {
        let files = [c"a", c"b"].map(|name| sys::create_memory_file(name).unwrap());
        prctl::set_no_new_privs().unwrap();
        filter::install(&children(), Some(files[0].as_fd()), CONNECTION).unwrap();
        for (file, command, errno) in [
            (&files[0], F_SETLK, EFAULT), // for the null pointer
            (&files[0], F_SETLKW, EPERM),
            (&files[0], F_OFD_SETLK, EPERM),
            (&files[0], F_SETLEASE, EPERM),
            (&files[1], F_SETLK, EPERM),
        ] {
            let call = (SYS_fcntl, [file.as_raw_fd().into(), command.into(), 0, 0, 0, 0]);
            assert_eq!(try_call(call), errno, "{command}");
        }
    });
}

/// Forks a process that exits with 0, as fork servers do, and waits for it.
fn fork() -> (i64, i32) {
    let flags = i64::from(SIGCHLD);
    match sys::try_call(SYS_clone, [flags, 0, 0, 0, 0, 0]).unwrap() {
        0 => sys::exit_now(0),
        child => {
            let pid = Pid::from_raw(i32::try_from(child).unwrap());
            let status = waitpid(pid, None).unwrap();
            (child, i32::from(status != WaitStatus::Exited(pid, 0)))
        }
    }
}

/// Checks that each call fails with `errno` under the filter of a confinement, and would not without it.
fn assert_all_denied(calls: &[(i64, [i64; 6])], errno: i32, confinement: &Confinement) {
    prctl::set_no_new_privs().unwrap();
    if geteuid().is_root() {
        for call in calls {
            assert_ne!(try_call(*call), errno, "{call:?} proves nothing");
        }
    }
    filter::install(confinement, None, CONNECTION).unwrap();
    for call in calls {
        assert_eq!(try_call(*call), errno, "{call:?}");
    }
}

/// The x32 numbers of getpid(2) and ptrace(2).
fn assert_x32_is_missing() {
    for number in [39, 521] {
        assert_eq!(try_call((0x4000_0000 + number, NULL)), ENOSYS);
    }
}

#[test]
fn programs_make_no_calls_that_reach_others() {
    in_own_process("calls::programs_make_no_calls_that_reach_others", || {
        let ours = i64::from(std::process::id());
        let namespace = |flag: i32| {
            (SYS_clone, [i64::from(flag | SIGCHLD | CLONE_PARENT_SETTID | CLONE_SIGHAND), 0, 0, 0, 0, 0])
        };
        let calls: &[(i64, [i64; 6])] = &[
            (SYS_ptrace, [PTRACE_PEEKUSER.into(), 1 << 22, 0, 0, 0, 0]),
            (SYS_process_vm_readv, [ours, 0, 0, 0, 0, 0]),
            (SYS_process_vm_writev, [ours, 0, 0, 0, 0, 0]),
            (SYS_process_madvise, BAD),
            (SYS_process_mrelease, BAD),
            (SYS_pidfd_getfd, BAD),
            (SYS_kcmp, [ours, ours, -1, 0, 0, 0]),
            (SYS_unshare, NULL),
            (SYS_setns, BAD),
            (SYS_mount, NULL),
            (SYS_umount2, NULL),
            (SYS_pivot_root, NULL),
            (SYS_chroot, NULL),
            (SYS_open_tree, BAD),
            (SYS_move_mount, BAD),
            (SYS_fsopen, NULL),
            (SYS_fsconfig, BAD),
            (SYS_fsmount, BAD),
            (SYS_fspick, BAD),
            (SYS_mount_setattr, BAD),
            (457, NULL),
            (458, NULL),
            (467, BAD),
            (SYS_open_by_handle_at, NULL),
            (SYS_fanotify_init, BAD),
            (SYS_bpf, BAD),
            (SYS_perf_event_open, NULL),
            (SYS_userfaultfd, BAD),
            (SYS_add_key, NULL),
            (SYS_request_key, NULL),
            (SYS_keyctl, BAD),
            (SYS_init_module, NULL),
            (SYS_finit_module, BAD),
            (SYS_kexec_load, BAD),
            (SYS_kexec_file_load, BAD),
            (SYS_reboot, NULL),
            (SYS_swapon, NULL),
            (SYS_swapoff, NULL),
            (SYS_acct, NULL),
            (SYS_quotactl, BAD),
            (SYS_syslog, BAD),
            (SYS_sethostname, BAD),
            (SYS_setdomainname, BAD),
            (SYS_settimeofday, NULL),
            (SYS_clock_settime, NULL),
            namespace(CLONE_NEWNS),
            namespace(CLONE_NEWUTS),
            namespace(CLONE_NEWIPC),
            namespace(CLONE_NEWUSER),
            namespace(CLONE_NEWPID),
            namespace(CLONE_NEWNET),
            namespace(CLONE_NEWCGROUP),
            (SYS_prlimit64, [ours, RLIMIT_NOFILE.into(), 0, 0, 0, 0]),
            (SYS_sched_setaffinity, [ours, 0, 0, 0, 0, 0]),
            (SYS_sched_setattr, [ours, 0, 0, 0, 0, 0]),
            (SYS_sched_setparam, [ours, 0, 0, 0, 0, 0]),
            (SYS_sched_setscheduler, [ours, 0, 0, 0, 0, 0]),
            (SYS_move_pages, [ours, 0, 0, 0, 0, 0]),
            (SYS_setpriority, [PRIO_PROCESS.into(), ours, 0, 0, 0, 0]),
            (SYS_setpriority, [PRIO_USER.into(), 0, 0, 0, 0, 0]),
            (SYS_ioprio_set, [1, ours, 0, 0, 0, 0]),
            (SYS_ioprio_set, [2, 0, 0, 0, 0, 0]),
            (SYS_ioctl, [-1, 0x5412, 0, 0, 0, 0]),
            (SYS_ioctl, [-1, 0x541c, 0, 0, 0, 0]),
            // The kernel ignores the upper half of the register.
            (SYS_ioctl, [-1, 0x1_0000_5412, 0, 0, 0, 0]),
            (SYS_personality, [0x0008, 0, 0, 0, 0, 0]),
        ];
        assert_all_denied(calls, EPERM, &programs());
        for call in [SYS_clone3, SYS_memfd_create, SYS_io_uring_setup, SYS_io_uring_enter] {
            assert_eq!(try_call((call, BAD)), ENOSYS, "{call}");
        }
        for family in [AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG] {
            let arguments = [i64::from(family), SOCK_DGRAM.into(), 0, 0, 0, 0];
            assert_eq!(try_call((SYS_socket, arguments)), EAFNOSUPPORT, "{family}");
        }
        assert_eq!(
            try_call((SYS_socketpair, [AF_TIPC.into(), SOCK_STREAM.into(), 0, 0, 0, 0])),
            EAFNOSUPPORT
        );
        assert_x32_is_missing();
        assert!(UnixStream::pair().is_ok());
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).map(|_| ()), Ok(()));
        assert!(sh("nice -n 1 true; ulimit -n 20; (echo) | cat >/dev/null & wait"));
    });
}
