//! The surface of the kernel that no child needs.

use super::{LOOSE, Row, row};
use crate::steps::Part;
use crate::{call, goal};

pub const ROWS: &[Row] = &[
    row("mounts: mount, umount2, fsopen, open_tree, move_mount, pivot_root, chroot", |scene| {
        scene.attempt(|s, _| {
            let (kind, root, empty) = (s.text("tmpfs"), s.text("/"), s.text(""));
            goal!(s, "mount", SYS_mount, &kind, &root, &kind, 0, 0);
            goal!(s, "umount2", SYS_umount2, &root, 0);
            goal!(s, "fsopen", SYS_fsopen, &kind, 0);
            goal!(s, "open_tree", SYS_open_tree, libc::AT_FDCWD, &root, 1); // OPEN_TREE_CLONE
            goal!(s, "move_mount", SYS_move_mount, libc::AT_FDCWD, &root, libc::AT_FDCWD, &root, 0);
            goal!(s, "mount_setattr", SYS_mount_setattr, libc::AT_FDCWD, &root, 0, &empty, 32);
            goal!(s, "pivot_root", SYS_pivot_root, &root, &root);
            goal!(s, "chroot", SYS_chroot, &root);
        })
    }),
    row("io_uring", |scene| {
        scene.attempt(|s, _| {
            let parameters = s.zeros(120);
            goal!(s, "io_uring_setup", SYS_io_uring_setup, 8, &parameters);
        })
    }),
    row("userfaultfd", |scene| {
        scene.attempt(|s, _| {
            goal!(s, "any", SYS_userfaultfd, 0);
            goal!(s, "user mode", SYS_userfaultfd, 1); // UFFD_USER_MODE_ONLY
        })
    }),
    row("bpf", |scene| {
        scene.attempt(|s, _| {
            // The smallest array: its type, and the sizes of a key, a value and all
            let map = s.bytes(
                &[&[2, 4, 4, 1].map(|number: u32| number.to_ne_bytes()).concat()[..], &[0; 112]].concat(),
            );
            let attributes = s.zeros(128);
            goal!(s, "program", SYS_bpf, 5, &attributes, 128); // BPF_PROG_LOAD
            goal!(s, "map", SYS_bpf, 0, &map, 128); // BPF_MAP_CREATE
        })
    }),
    row("perf_event_open", |scene| {
        scene.attempt(|s, _| {
            // struct perf_event_attr: PERF_TYPE_SOFTWARE, its size, exclude_kernel and exclude_hv
            let attributes =
                [&1u32.to_ne_bytes()[..], &128u32.to_ne_bytes(), &[0; 32], &0x60u64.to_ne_bytes(), &[0; 80]];
            let attributes = s.bytes(&attributes.concat());
            goal!(s, "own process", SYS_perf_event_open, &attributes, 0, -1, -1, 0);
        })
    }),
    row("keys: add_key, keyctl, request_key", |scene| {
        scene.attempt(|s, _| {
            let (kind, name) = (s.text("user"), s.text("attack"));
            goal!(s, "add_key", SYS_add_key, &kind, &name, &name, 6, -2); // the process keyring
            goal!(s, "keyctl", SYS_keyctl, 0, -4, 1); // the user's keyring
            goal!(s, "request_key", SYS_request_key, &kind, &name, 0, 0);
        })
    }),
    row("System V memory, messages and semaphores, message queues", |scene| {
        scene.attempt(|s, _| {
            let name = s.text("attack");
            let memory = goal!(s, "shmget", SYS_shmget, 0, 4096, libc::IPC_CREAT | 0o600);
            call!(s, SYS_shmctl, &memory, libc::IPC_RMID, 0);
            let queue = goal!(s, "msgget", SYS_msgget, 0, libc::IPC_CREAT | 0o600);
            call!(s, SYS_msgctl, &queue, libc::IPC_RMID, 0);
            let semaphores = goal!(s, "semget", SYS_semget, 0, 1, libc::IPC_CREAT | 0o600);
            call!(s, SYS_semctl, &semaphores, 0, libc::IPC_RMID, 0);
            goal!(s, "mq_open", SYS_mq_open, &name, libc::O_CREAT | libc::O_RDWR, 0o600, 0);
            call!(s, SYS_mq_unlink, &name);
        })
    })
    .open(LOOSE, "PrivateIPC= of the unit removes them with the service"),
    row("memory that is both writable and executable", |scene| {
        scene.attempt(|s, _| {
            let access = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
            let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            goal!(s, "mapped", SYS_mmap, 0, 4096, access, kind, -1, 0);
            let page = call!(s, SYS_mmap, 0, 4096, libc::PROT_READ | libc::PROT_WRITE, kind, -1, 0);
            goal!(s, "mapped", SYS_mprotect, &page, 4096, libc::PROT_READ | libc::PROT_EXEC);
            goal!(s, "mapped", SYS_pkey_mprotect, &page, 4096, access, -1);
        })
    })
    .open(LOOSE, "compilers at run time need it; MemoryDenyWriteExecute= of the unit denies it"),
    row("a memory file", |scene| {
        scene.attempt(|s, _| {
            let name = s.text("attack");
            goal!(s, "created", SYS_memfd_create, &name, 0);
            goal!(s, "secret", SYS_memfd_secret, 0);
        })
    }),
    row("old interfaces: personality, modify_ldt, uselib, sysfs", |scene| {
        scene.attempt(|s, _| {
            let name = s.text("attack");
            goal!(s, "personality", SYS_personality, 0x0004_0000); // ADDR_NO_RANDOMIZE
            goal!(s, "modify_ldt", SYS_modify_ldt, 0, &name, 0);
            goal!(s, "uselib", SYS_uselib, &name);
            goal!(s, "sysfs", SYS_sysfs, 3);
        })
    }),
    row(
        "the kernel's log and the host: syslog, kexec, modules, reboot, swap, clock, host name, accounting",
        |scene| {
            scene.attempt(|s, _| {
                let name = s.text("/");
                let time = s.zeros(16);
                goal!(s, "syslog", SYS_syslog, 3, &name, 6);
                goal!(s, "kexec", SYS_kexec_load, 0, 0, 0, 0);
                goal!(s, "module", SYS_init_module, &name, 6, &name);
                goal!(s, "module", SYS_finit_module, 0, &name, 0);
                goal!(s, "module", SYS_delete_module, &name, 0);
                goal!(s, "reboot", SYS_reboot, 0xfee1_dead_u32, 0x2812_1969, 0);
                goal!(s, "swap", SYS_swapon, &name, 0);
                goal!(s, "clock", SYS_clock_settime, libc::CLOCK_REALTIME, &time);
                goal!(s, "host name", SYS_sethostname, &name, 6);
                goal!(s, "accounting", SYS_acct, &name);
                goal!(s, "quota", SYS_quotactl, 0x80_0001, &name, 0, 0);
                goal!(s, "ports", SYS_iopl, 3);
                goal!(s, "ports", SYS_ioperm, 0, 1, 1);
                goal!(s, "hangup", SYS_vhangup);
            })
        },
    ),
    row("other users and capabilities: setuid, setgroups, capset, securebits", |scene| {
        scene.attempt(|s, _| {
            let group = s.zeros(4);
            // _LINUX_CAPABILITY_VERSION_3, this process; all capabilities
            let header = s.bytes(&[0x2008_0522u32.to_ne_bytes(), [0; 4]].concat());
            let all = s.bytes(&[255; 24]);
            goal!(s, "setuid", SYS_setuid, 0);
            goal!(s, "setresuid", SYS_setresuid, 0, 0, 0);
            goal!(s, "setgid", SYS_setgid, 0);
            goal!(s, "setgroups", SYS_setgroups, 1, &group);
            goal!(s, "capset", SYS_capset, &header, &all);
            goal!(s, "securebits", SYS_prctl, libc::PR_SET_SECUREBITS, 1, 0, 0, 0);
        })
    }),
    row("real-time scheduling", |scene| {
        scene.attempt(|s, _| {
            let parameters = s.bytes(&1i32.to_ne_bytes());
            goal!(s, "FIFO", SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &parameters);
        })
    }),
    row("its own memory by process_vm_readv", |scene| {
        scene.attempt(|s, _| {
            let pid = call!(s, SYS_getpid);
            let buffer = s.zeros(8);
            let own = s.parts(&[Part::Of(&buffer), Part::Bytes(&8u64.to_ne_bytes())]);
            goal!(s, "own memory", SYS_process_vm_readv, &pid, &own, 1, &own, 1, 0);
        })
    })
    .by(super::HTTP),
];
