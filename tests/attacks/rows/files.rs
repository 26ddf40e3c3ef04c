//! Files, directories, /proc and devices.

use std::fs;

use super::{Facts, HTTP, LOOSE, PROGRAMS, Row, Scene, row};
use crate::arena::Kind;
use crate::steps::{Seen, Steps};
use crate::{call, goal};

use libc::{AT_FDCWD, O_CREAT, O_RDONLY, O_RDWR, O_WRONLY};

const MAY_READ: &str = "a program reads what its user may, unless `read` names what it needs";
const OWN: &str = "its own process only";

pub const ROWS: &[Row] = &[
    row("read /etc/passwd", |scene| {
        scene.attempt(|s, _| {
            let path = s.text("/etc/passwd");
            goal!(s, "read", SYS_openat, AT_FDCWD, &path, O_RDONLY);
        })
    })
    .open(LOOSE, MAY_READ),
    row("read below another route's root, of the same service", |scene| open_file(scene, "other/secret"))
        .by(&[Kind::Http])
        .open(&[Kind::Http], "the next request of the connection may be for it: a service for each secret"),
    row("read a root of another service", |scene| {
        let name = if scene.facts.kind == Kind::Http { "cgi/program.py" } else { "other/secret" };
        open_file(scene, name)
    })
    .open(&[Kind::Mixed, Kind::Cgi, Kind::Exec], MAY_READ),
    row("climb out of a root by its descriptor", climb).by(HTTP).open(&[Kind::Mixed], MAY_READ),
    row("create a file in a root", |scene| {
        let name = if scene.facts.kind == Kind::Http { "www/new" } else { "cgi/new" };
        create_file(scene, name)
    }),
    row("create a file beside the roots", |scene| create_file(scene, "out/new")),
    row("create a file in /tmp", |scene| {
        scene.attempt(|s, facts| {
            let path = s.text(format!("/tmp/lsbaws-attack-{:?}", facts.kind));
            goal!(s, "written", SYS_openat, AT_FDCWD, &path, O_CREAT | O_WRONLY, 0o600);
            call!(s, SYS_unlink, &path);
        })
    })
    .open(LOOSE, "programs need it; it is private under the unit"),
    row("create a file in /", |scene| {
        scene.attempt(|s, _| {
            let path = s.text("/lsbaws-attack");
            goal!(s, "written", SYS_openat, AT_FDCWD, &path, O_CREAT | O_WRONLY, 0o600);
            call!(s, SYS_unlink, &path);
        })
    }),
    row("remove, rename, link or truncate files of its user", change_files),
    row("change mode, owner, times or attributes of files of its user", change_modes).open(
        LOOSE,
        "Landlock has no right for it: files that a program must not change belong to another user",
    ),
    row("/proc/self: environ, mem, maps", |scene| {
        open_each(scene, &["/proc/self/environ", "/proc/self/mem", "/proc/self/maps"], O_RDONLY)
    })
    .open(LOOSE, OWN),
    row("/proc/PID/environ, mem and maps of others", |scene| {
        open_of_others(scene, &["environ", "mem", "maps"], O_RDONLY)
    }),
    row("/proc/PID/mem of others, for writing", |scene| open_of_others(scene, &["mem"], O_RDWR)),
    row("/proc/PID/root and /proc/PID/fd of others", |scene| {
        open_of_others(
            scene,
            &["root/etc/passwd", "cwd/etc/passwd", "fd/0", "fd/1", "fd/2", "fd/3", "fd/4"],
            O_RDONLY,
        )
    }),
    row("/proc/PID/oom_score_adj and others that only modes protect, for writing", |scene| {
        open_of_others(
            scene,
            &["oom_score_adj", "timerslack_ns", "clear_refs", "coredump_filter", "comm"],
            O_WRONLY,
        )
    }),
    row("reopen its standard error for reading, by /proc/self/fd/2", |scene| {
        open_each(scene, &["/proc/self/fd/2"], O_RDONLY)
    })
    .open(&[Kind::Cgi], "what it reads is its own"),
    row("files of the kernel: /proc/sys, /sys, control groups, for writing", |scene| {
        let paths = [
            "/proc/sys/kernel/core_pattern",
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "/sys/fs/cgroup/cgroup.procs",
        ];
        open_each(scene, &paths, O_WRONLY)
    }),
    row("devices: /dev/kmsg, /dev/mem, /dev/fuse", |scene| {
        open_each(scene, &["/dev/kmsg", "/dev/mem", "/dev/fuse"], O_RDWR)
    }),
    row("a new terminal: /dev/ptmx", |scene| open_each(scene, &["/dev/ptmx"], O_RDWR))
        .open(LOOSE, "a device of its own"),
    row("shared memory: /dev/shm", |scene| {
        scene.attempt(|s, _| {
            let path = s.text("/dev/shm/lsbaws-attack");
            goal!(s, "created", SYS_openat, AT_FDCWD, &path, O_CREAT | O_RDWR, 0o600);
            call!(s, SYS_unlink, &path);
        })
    }),
    row("open files by handle", |scene| {
        scene.attempt(|s, facts| {
            let handle = s.bytes(&[&[8, 0, 0, 0, 1, 0, 0, 0][..], &[7; 128]].concat());
            goal!(s, "open_by_handle_at", SYS_open_by_handle_at, facts.connection, &handle, O_RDONLY);
        })
    }),
    row("start a program", |scene| {
        scene.attempt(|s, _| {
            let path = s.text("/bin/true");
            let arguments = s.parts(&[crate::steps::Part::Of(&path), crate::steps::Part::Zeros(8)]);
            goal!(s, "executed", SYS_execve, &path, &arguments, 0);
        })
    })
    .by(HTTP)
    .open(&[Kind::Mixed], "the service starts programs"),
    row("start a program that it has written", execute_written).by(PROGRAMS),
    row("start a program from a memory file", execute_memory),
    row("watch files of others: fanotify", |scene| {
        scene.attempt(|s, _| {
            goal!(s, "fanotify_init", SYS_fanotify_init, 4, O_RDONLY); // FAN_CLASS_CONTENT
        })
    }),
];

fn open_file(scene: &mut Scene<'_>, name: &str) -> Seen {
    scene.attempt(|s, facts| {
        let path = s.text(facts.path(name));
        goal!(s, "read", SYS_openat, AT_FDCWD, &path, O_RDONLY);
    })
}

fn create_file(scene: &mut Scene<'_>, name: &str) -> Seen {
    scene.attempt(|s, facts| {
        let path = s.text(facts.path(name));
        goal!(s, "written", SYS_openat, AT_FDCWD, &path, O_CREAT | O_WRONLY, 0o600);
        call!(s, SYS_unlink, &path);
    })
}

fn open_each(scene: &mut Scene<'_>, paths: &[&str], flags: i32) -> Seen {
    scene.attempt(|s, _| {
        for path in paths {
            let path = s.text(path);
            goal!(s, "opened", SYS_openat, AT_FDCWD, &path, flags);
        }
    })
}

fn open_of_others(scene: &mut Scene<'_>, names: &[&str], flags: i32) -> Seen {
    scene.attempt(|s, facts| {
        for (target, pid) in facts.targets() {
            for name in names {
                let path = s.text(format!("/proc/{pid}/{name}"));
                let opened = s.call(libc::SYS_openat, &[AT_FDCWD.into(), path, flags.into()]);
                s.must_fail(target, &opened);
            }
        }
    })
}

/// A root that the child holds, by the number of its descriptor.
fn climb(scene: &mut Scene<'_>) -> Seen {
    let child = scene.attacker.child();
    let is_root = |number: &i32| {
        fs::read_link(format!("/proc/{child}/fd/{number}"))
            .is_ok_and(|path| path.starts_with(&scene.facts.folder))
    };
    let roots: Vec<_> = (3..64).filter(is_root).collect();
    if roots.is_empty() {
        return Seen::Denied("no descriptor".into());
    }
    scene.attempt(|s, _| {
        let path = s.text("../../../../../../../etc/passwd");
        for root in roots {
            goal!(s, "read", SYS_openat, root, &path, O_RDONLY);
        }
    })
}

fn change_files(scene: &mut Scene<'_>) -> Seen {
    let page = scene.arena.path("www/page");
    let content = fs::read(&page).unwrap();
    let seen = scene.attempt(|s, facts| {
        let (page, other) = (s.text(facts.path("www/page")), s.text(facts.path("out/other")));
        let missing = s.text(facts.path("out/missing"));
        goal!(s, "truncate", SYS_truncate, &page, 1);
        goal!(s, "link", SYS_link, &page, &other);
        goal!(s, "symlink", SYS_symlink, &page, &missing);
        goal!(s, "mkdir", SYS_mkdir, &missing, 0o700);
        goal!(s, "mknod", SYS_mknod, &missing, 0o10_600, 0); // a FIFO
        goal!(s, "rename", SYS_rename, &page, &other);
        goal!(s, "unlink", SYS_unlink, &page);
    });
    crate::place::prepare_folder(scene.arena.folder());
    fs::write(&page, content).unwrap();
    for name in ["out/other", "out/missing"] {
        let path = scene.arena.path(name);
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    }
    seen
}

fn change_modes(scene: &mut Scene<'_>) -> Seen {
    let seen = scene.attempt(|s, facts: &Facts| {
        let (page, name) = (s.text(facts.path("www/page")), s.text("user.attack"));
        goal!(s, "chmod", SYS_chmod, &page, 0o644);
        goal!(s, "fchmodat", SYS_fchmodat, AT_FDCWD, &page, 0o644);
        goal!(s, "chown", SYS_chown, &page, crate::place::user(), crate::place::user());
        goal!(s, "utimensat", SYS_utimensat, AT_FDCWD, &page, 0, 0);
        goal!(s, "setxattr", SYS_setxattr, &page, &name, &name, 4, 0);
    });
    // Which of them a file system knows is of no interest.
    if let Seen::Open(_) = seen { Seen::Open("changed".into()) } else { seen }
}

/// The steps that write a script to a new descriptor.
fn write_script(s: &mut Steps, descriptor: &crate::steps::Arg) {
    let script = b"#!/bin/sh\nexit 0\n";
    let buffer = s.bytes(script);
    call!(s, SYS_write, descriptor, &buffer, script.len());
}

fn execute_written(scene: &mut Scene<'_>) -> Seen {
    scene.attempt(|s, facts| {
        let path = s.text(format!("/tmp/lsbaws-attack-program-{:?}", facts.kind));
        let file = call!(s, SYS_openat, AT_FDCWD, &path, O_CREAT | O_WRONLY, 0o755);
        write_script(s, &file);
        call!(s, SYS_close, &file);
        goal!(s, "executed", SYS_execve, &path, 0, 0);
        call!(s, SYS_unlink, &path);
    })
}

fn execute_memory(scene: &mut Scene<'_>) -> Seen {
    scene.attempt(|s, _| {
        let (name, empty) = (s.text("attack"), s.text(""));
        let file = call!(s, SYS_memfd_create, &name, 0);
        s.is_means(&file);
        write_script(s, &file);
        goal!(s, "executed", SYS_execveat, &file, &empty, 0, 0, libc::AT_EMPTY_PATH);
    })
}
