//! Other processes: signals, memory, descriptors, limits, groups.

use super::{Facts, LOOSE, Row, Scene, row};
use crate::arena::{Kind, Process, status_field};
use crate::harness::wait_until;
use crate::steps::{Part, Seen, Steps};
use crate::{call, goal};

const SCOPE: u32 = 6; // Landlock's scope of signals

pub const ROWS: &[Row] = &[
    row("signal the supervisor", |scene| signal(scene, |facts| facts.supervisor)).landlock(SCOPE),
    row("signal the fork server", |scene| signal(scene, |facts| facts.fork_server)).landlock(SCOPE),
    row("signal the process of another connection", |scene| signal(scene, |facts| facts.sibling))
        .landlock(SCOPE),
    row("signal a process of another service", |scene| signal(scene, |facts| facts.stranger)).landlock(SCOPE),
    row("signal process groups, and every process", |scene| {
        scene.attempt(|s, facts| {
            for (target, pid) in facts.targets() {
                let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).unwrap();
                let result = s.call(libc::SYS_kill, &[(-group.as_raw()).into(), libc::SIGCONT.into()]);
                s.must_fail(target, &result);
            }
            call!(s, SYS_kill, -1, libc::SIGURG); // what it reached is found by the state of the others
        })
    })
    .landlock(SCOPE),
    row("signal the supervisor by the owner of a socket: F_SETOWN, F_SETSIG, O_ASYNC", signal_by_owner),
    row("signal the supervisor by a timer: SIGEV_THREAD_ID", |scene| {
        scene.attempt(|s, facts| {
            // struct sigevent: value, signal, SIGEV_THREAD_ID, thread
            let event = [
                &[0; 8][..],
                &9i32.to_ne_bytes(),
                &4i32.to_ne_bytes(),
                &facts.supervisor.to_ne_bytes(),
                &[0; 48],
            ];
            let (event, timer) = (s.bytes(&event.concat()), s.zeros(8));
            goal!(s, "timer_create", SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &timer);
        })
    }),
    row("trace other processes: ptrace", |scene| {
        each_target(scene, |s, pid| {
            vec![
                call!(s, SYS_ptrace, libc::PTRACE_SEIZE, pid, 0, 0),
                call!(s, SYS_ptrace, libc::PTRACE_ATTACH, pid, 0, 0),
            ]
        })
    }),
    row("memory of other processes: process_vm_readv, process_vm_writev", |scene| {
        each_target(scene, |s, pid| {
            let buffer = s.zeros(8);
            let own = s.parts(&[Part::Of(&buffer), Part::Bytes(&8u64.to_ne_bytes())]);
            let there =
                s.parts(&[Part::Bytes(&first_address(pid).to_ne_bytes()), Part::Bytes(&8u64.to_ne_bytes())]);
            vec![
                call!(s, SYS_process_vm_readv, pid, &own, 1, &there, 1, 0),
                call!(s, SYS_process_vm_writev, pid, &own, 1, &there, 1, 0),
            ]
        })
    }),
    row("descriptors of other processes: pidfd_getfd", |scene| {
        each_target(scene, |s, pid| {
            let process = call!(s, SYS_pidfd_open, pid, 0);
            (0..8).map(|number| call!(s, SYS_pidfd_getfd, &process, number, 0)).collect()
        })
    }),
    row("limits of other processes: prlimit64", |scene| {
        each_target(scene, |s, pid| {
            let limit = s.bytes(&[4u64.to_ne_bytes(), 4u64.to_ne_bytes()].concat());
            vec![call!(s, SYS_prlimit64, pid, libc::RLIMIT_NOFILE, &limit, 0)]
        })
    }),
    row("priority, processors and scheduling of other processes", |scene| {
        each_target(scene, |s, pid| {
            let (mask, policy) = (s.bytes(&1u64.to_ne_bytes()), s.zeros(8));
            vec![
                call!(s, SYS_setpriority, libc::PRIO_PROCESS, pid, 19),
                call!(s, SYS_sched_setaffinity, pid, 8, &mask),
                call!(s, SYS_sched_setscheduler, pid, libc::SCHED_BATCH, &policy),
                call!(s, SYS_ioprio_set, 1, pid, 3 << 13 | 7), // IOPRIO_WHO_PROCESS, IOPRIO_CLASS_IDLE
            ]
        })
    }),
    row(
        "pages and marks of other processes: move_pages, migrate_pages, kcmp, process_madvise, process_mrelease",
        |scene| {
            each_target(scene, |s, pid| {
                let node = s.bytes(&1u64.to_ne_bytes());
                let process = call!(s, SYS_pidfd_open, pid, 0);
                let page = s.parts(&[
                    Part::Bytes(&first_address(pid).to_ne_bytes()),
                    Part::Bytes(&4096u64.to_ne_bytes()),
                ]);
                vec![
                    call!(s, SYS_move_pages, pid, 0, 0, 0, 0, 0),
                    call!(s, SYS_migrate_pages, pid, 64, &node, &node),
                    call!(s, SYS_kcmp, pid, pid, 0, 0, 0),
                    call!(s, SYS_process_madvise, &process, &page, 1, libc::MADV_COLD, 0),
                    call!(s, SYS_process_mrelease, &process, 0),
                ]
            })
        },
    ),
    row("join the process group or the session of others: setpgid", |scene| {
        each_target(scene, |s, pid| {
            let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).unwrap().as_raw();
            vec![call!(s, SYS_setpgid, 0, group), call!(s, SYS_setpgid, pid, 0)]
        })
    }),
    row("make processes and threads", |scene| {
        scene.attempt(|s, _| {
            let fork = goal!(s, "fork", SYS_fork);
            s.in_child(&fork, |s| _ = call!(s, SYS_exit_group, 0));
            let thread = goal!(s, "thread", SYS_clone, libc::CLONE_VM | libc::SIGCHLD, 0, 0, 0, 0);
            s.in_child(&thread, |s| _ = call!(s, SYS_exit, 0));
        })
    })
    .by(&[Kind::Http]),
    row("become a child of another parent: clone(CLONE_PARENT)", |scene| leave_behind(scene, Escape::Parent))
        .by(LOOSE),
    row("leave a process behind: fork, setsid", |scene| leave_behind(scene, Escape::Session)).by(LOOSE),
    row("leave a process behind that ignores SIGTERM", |scene| leave_behind(scene, Escape::Deaf)).by(LOOSE),
    row("namespaces: unshare, clone, setns", |scene| {
        scene.attempt(|s, facts| {
            let namespaces = [
                libc::CLONE_NEWUSER,
                libc::CLONE_NEWNS,
                libc::CLONE_NEWNET,
                libc::CLONE_NEWPID,
                libc::CLONE_NEWIPC,
                libc::CLONE_NEWUTS,
                libc::CLONE_NEWCGROUP,
                0x80, // CLONE_NEWTIME
            ];
            let process = call!(s, SYS_pidfd_open, facts.supervisor, 0);
            goal!(s, "setns", SYS_setns, &process, libc::CLONE_NEWNS);
            let child = goal!(s, "clone", SYS_clone, libc::CLONE_NEWUSER | libc::SIGCHLD, 0, 0, 0, 0);
            s.in_child(&child, |s| _ = call!(s, SYS_exit_group, 0));
            // struct clone_args: flags, and zeros but for the exit signal
            let flags = u64::from(libc::CLONE_NEWUSER.cast_unsigned()).to_ne_bytes();
            let signal = u64::from(libc::SIGCHLD.cast_unsigned()).to_ne_bytes();
            let arguments = s.bytes(&[&flags[..], &[0; 24], &signal, &[0; 48]].concat());
            let child = goal!(s, "clone3", SYS_clone3, &arguments, 88);
            s.in_child(&child, |s| _ = call!(s, SYS_exit_group, 0));
            for namespace in namespaces {
                goal!(s, "unshare", SYS_unshare, namespace);
            }
        })
    }),
    row("raise its own limits", |scene| {
        scene.attempt(|s, _| {
            let limit = s.bytes(&[u64::MAX.to_ne_bytes(), u64::MAX.to_ne_bytes()].concat());
            goal!(s, "core", SYS_setrlimit, libc::RLIMIT_CORE, &limit);
            goal!(s, "core", SYS_prlimit64, 0, libc::RLIMIT_CORE, &limit, 0);
            goal!(s, "processes", SYS_prlimit64, 0, libc::RLIMIT_NPROC, &limit, 0);
            goal!(s, "nice", SYS_setpriority, libc::PRIO_PROCESS, 0, -5);
        })
    })
    .by(super::CONFINED),
    row("write a core dump", core_dump).by(super::CONFINED),
];

/// The lowest address of a process.
fn first_address(pid: i32) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    u64::from_str_radix(maps.split('-').next().unwrap(), 16).unwrap()
}

fn signal(scene: &mut Scene<'_>, target: impl Fn(&Facts) -> i32) -> Seen {
    scene.attempt(|s, facts| {
        let pid = target(facts);
        let process = call!(s, SYS_pidfd_open, pid, 0);
        let information =
            s.bytes(&[&libc::SIGURG.to_ne_bytes()[..], &[0; 4], &(-1i32).to_ne_bytes(), &[0; 116]].concat());
        goal!(s, "signalled", SYS_kill, pid, 0);
        goal!(s, "signalled", SYS_rt_sigqueueinfo, pid, libc::SIGURG, &information);
        goal!(s, "signalled", SYS_rt_tgsigqueueinfo, pid, pid, libc::SIGURG, &information);
        goal!(s, "signalled", SYS_pidfd_send_signal, &process, libc::SIGURG, 0, 0);
        goal!(s, "signalled", SYS_tkill, pid, libc::SIGURG);
        goal!(s, "signalled", SYS_tgkill, pid, pid, libc::SIGSTOP);
    })
}

/// Steps for each process that the attacker must not reach.
fn each_target(scene: &mut Scene<'_>, add: impl Fn(&mut Steps, i32) -> Vec<crate::steps::Arg>) -> Seen {
    scene.attempt(|s, facts| {
        for (target, pid) in facts.targets() {
            for result in add(s, pid) {
                s.must_fail(target, &result);
            }
        }
    })
}

/// The kernel sends the signal when the client sends a byte. kill(2) is not involved.
fn signal_by_owner(scene: &mut Scene<'_>) -> Seen {
    if matches!(scene.facts.kind, Kind::Cgi | Kind::Free) {
        return Seen::Absent; // it has no socket
    }
    let facts = scene.facts.clone();
    let mut steps = Steps::default();
    let (own, set_flags) = (facts.connection, libc::F_SETFL);
    goal!(steps, "owner", SYS_fcntl, own, libc::F_SETOWN, facts.supervisor);
    goal!(steps, "signal", SYS_fcntl, own, 10, libc::SIGSTOP); // F_SETSIG
    call!(steps, SYS_fcntl, own, set_flags, libc::O_ASYNC | libc::O_RDWR);
    let answer = scene.attacker.run(&steps);
    let seen = steps.judge(&answer);
    // The bytes of the next request.
    let mut steps = Steps::default();
    call!(steps, SYS_getpid);
    scene.attacker.run(&steps);
    let is_well = Process::find(facts.supervisor).is_some_and(|process| process.is_well());
    match seen {
        Seen::Open(_) if is_well => Seen::Denied("no signal arrives".into()),
        Seen::Open(_) => Seen::Open("supervisor stopped".into()),
        other => other,
    }
}

#[derive(Clone, Copy)]
enum Escape {
    Session,
    Deaf,
    Parent,
}

/// A process that the attacker has made, and that must end with the connection.
fn leave_behind(scene: &mut Scene<'_>, escape: Escape) -> Seen {
    let mut steps = Steps::default();
    let flags = if matches!(escape, Escape::Parent) { libc::CLONE_PARENT } else { 0 };
    let child = call!(steps, SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0);
    steps.in_child(&child, |s| {
        call!(s, SYS_setsid);
        if matches!(escape, Escape::Deaf) {
            // struct sigaction of the kernel: SIG_IGN
            let ignore = s.bytes(&[1u64.to_ne_bytes(), [0; 8], [0; 8], [0; 8]].concat());
            call!(s, SYS_rt_sigaction, libc::SIGTERM, &ignore, 0, 8);
        }
        // A second fork, so that no parent knows it.
        let grandchild = call!(s, SYS_fork);
        s.in_child(&grandchild, |s| s.sleep(10_000));
        s.sleep(10_000);
        call!(s, SYS_exit_group, 0);
    });
    let answer = scene.attacker.run(&steps);
    let Some(pid) = answer.get(&child) else { return Seen::Open("no answer".into()) };
    if pid < 0 {
        return Seen::Denied(crate::steps::name_error(pid));
    }
    let pid = i32::try_from(pid).unwrap();
    let process = Process::find(pid);
    scene.attacker.close();
    let start = std::time::Instant::now();
    let is_gone = || {
        Process::find(pid) != process || status_field(pid, "State").is_none_or(|state| state.starts_with('Z'))
    };
    while !is_gone() && start.elapsed() < std::time::Duration::from_secs(15) {
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    if is_gone() {
        return Seen::Denied("ended with its connection".into());
    }
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
    Seen::Open("lives on".into())
}

/// Into a directory from which it could be downloaded.
fn core_dump(scene: &mut Scene<'_>) -> Seen {
    let mut steps = Steps::default();
    let limit = steps.bytes(&[u64::MAX.to_ne_bytes(), u64::MAX.to_ne_bytes()].concat());
    let www = steps.text(scene.facts.path("www"));
    call!(steps, SYS_prlimit64, 0, libc::RLIMIT_CORE, &limit, 0);
    call!(steps, SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
    call!(steps, SYS_chdir, &www);
    let pid = call!(steps, SYS_getpid);
    call!(steps, SYS_kill, &pid, libc::SIGSEGV);
    call!(steps, SYS_tgkill, &pid, &pid, libc::SIGSEGV);
    let mut attacker = scene.arena.attacker(scene.facts.kind);
    let child = attacker.child();
    std::mem::swap(&mut attacker, &mut scene.attacker);
    scene.attacker.run(&steps);
    if !matches!(scene.facts.kind, Kind::Cgi | Kind::Free) {
        scene.attacker.close();
        wait_until("the child has ended", || Process::find(child).is_none());
    }
    let mut dumps = Vec::new();
    for folder in ["www", "cgi", "."] {
        for entry in std::fs::read_dir(scene.arena.path(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("core") {
                dumps.push(path);
            }
        }
    }
    for dump in &dumps {
        let _ = std::fs::remove_file(dump);
    }
    if dumps.is_empty() { Seen::Denied("no dump".into()) } else { Seen::Open("dumped".into()) }
}
