//! Systems made of files, and the limits found in them.

use std::fs;

use tempfile::TempDir;

use super::*;

/// A folder with these files.
pub(crate) fn make_system(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

const OWN: &str = "sys/fs/cgroup/system.slice/lsbaws.service";

/// A host with the daemon as a service of a user of its own.
pub(crate) fn make_host() -> TempDir {
    let own = |name: &str| format!("{OWN}/{name}");
    make_system(&[
        ("proc/self/cgroup", "0::/system.slice/lsbaws.service\n"),
        (&own("pids.max"), "300\n"),
        (&own("pids.current"), "12\n"),
        (&own("pids.events"), "max 4\n"),
        (&own("memory.max"), "52428800\n"),
        (&own("memory.current"), "20971520\n"),
        (&own("memory.stat"), "anon 1\ninactive_file 10485760\nactive_file 7\n"),
        ("sys/fs/cgroup/system.slice/pids.max", "max\n"),
        ("sys/fs/cgroup/system.slice/pids.current", "40\n"),
        ("sys/fs/cgroup/system.slice/memory.max", "max\n"),
        ("sys/fs/cgroup/system.slice/memory.current", "1\n"),
        (
            "proc/self/limits",
            "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max processes             200                  400                  processes \n\
             Max open files            512                  1024                 files     \n",
        ),
        ("proc/self/status", "Name:\tlsbaws\nUid:\t990\t0\t0\t0\nThreads:\t1\nCapEff:\t0000000000000000\n"),
        ("proc/11/status", "Uid:\t990\t990\t990\t990\nThreads:\t3\n"),
        ("proc/12/status", "Uid:\t1\t990\t990\t990\nThreads:\t5\n"),
        ("proc/13/comm", "going\n"),
        ("proc/loadavg", "0.10 0.20 0.30 2/150 4711\n"),
        ("proc/sys/kernel/threads-max", "1000\n"),
        ("proc/sys/kernel/pid_max", "32768\n"),
        ("proc/sys/fs/file-nr", "97\t0\t100\n"),
        ("proc/self/fd/0", ""),
        ("proc/self/fd/1", ""),
    ])
}

fn numbers(limits: &[SystemLimit]) -> Vec<(String, u64, u64)> {
    limits.iter().map(|limit| (limit.name(), limit.max(), limit.used())).collect()
}

#[test]
fn all_limits_of_a_host_are_found() {
    let host = make_host();
    let limits = System::new(host.path()).find_limits();
    assert_eq!(
        numbers(&limits),
        [
            ("RLIMIT_NPROC".to_owned(), 200, 3),
            ("pids.max of /system.slice/lsbaws.service".to_owned(), 300, 12),
            ("kernel.threads-max".to_owned(), 1000, 150),
            ("kernel.pid_max".to_owned(), 32768, 150),
            ("memory.max of /system.slice/lsbaws.service".to_owned(), 50 << 20, 10 << 20),
            ("RLIMIT_NOFILE".to_owned(), 1024, 2),
        ]
    );
}

#[test]
fn groups_above_the_own_one_count() {
    let host = make_system(&[
        ("proc/self/cgroup", "8:pids:/box/a.scope\n0::/box/a.scope\n"),
        ("sys/fs/cgroup/box/a.scope/pids.max", "9\n"),
        ("sys/fs/cgroup/box/a.scope/pids.current", "9\n"),
        ("sys/fs/cgroup/box/pids.max", "max\n"),
        ("sys/fs/cgroup/box/memory.max", "1048576\n"),
        ("sys/fs/cgroup/box/memory.current", "1048575\n"),
    ]);
    let limits = System::new(host.path()).find_limits();
    let shown = ["pids.max of /box/a.scope (9, 9 in use)", "memory.max of /box (1 MiB, 0 MiB in use)"];
    assert_eq!(limits.iter().map(SystemLimit::describe).collect::<Vec<_>>(), shown);
    assert_eq!((limits[0].remedy(), limits[1].remedy()), ("TasksMax=", "it"));
    assert_eq!(limits[0].to_string(), format!("{}, raise TasksMax=", shown[0]));
}

#[test]
fn unreadable_limits_are_skipped() {
    let empty = make_system(&[]);
    assert_eq!(System::new(empty.path()).find_limits(), []);
    let broken = make_system(&[
        ("proc/self/cgroup", "what\n0::\n::\n"),
        ("proc/self/status", "Uid:\n"),
        ("proc/self/limits", "Max processes\n"),
        ("proc/loadavg", "-\n"),
        ("proc/sys/kernel/threads-max", "many\n"),
    ]);
    assert_eq!(System::new(broken.path()).find_limits(), []);
}

#[test]
fn privileged_processes_have_no_user_limit() {
    for status in [
        "Uid:\t0\t0\t0\t0\nCapEff:\t0000000000000000\n",
        "Uid:\t990\t990\t990\t990\nCapEff:\t0000000001000000\n",
    ] {
        let host = make_host();
        fs::write(host.path().join("proc/self/status"), status).unwrap();
        let limits = System::new(host.path()).find_processes();
        assert!(limits.iter().all(|limit| limit.name() != "RLIMIT_NPROC"), "{status}");
    }
}

fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

#[test]
fn the_reached_limit_is_named() {
    let host = make_host();
    let set = |path: &str, text: &str| fs::write(host.path().join(path), text).unwrap();
    let mut watch = Watch::new(System::new(host.path()));
    let mut find = |errno| watch.find_reached(&error(errno)).map(|limit| limit.name());
    assert_eq!(find(libc::EAGAIN), None, "no limit is reached");
    assert_eq!(find(libc::ENOMEM), None);
    assert_eq!(find(libc::EMFILE).as_deref(), Some("RLIMIT_NOFILE"));
    assert_eq!(find(libc::ENFILE).as_deref(), Some("fs.file-max"));
    assert_eq!(find(libc::ECONNABORTED), None);
    set(&format!("{OWN}/memory.current"), "62390272\n");
    assert_eq!(find(libc::ENOMEM).as_deref(), Some("memory.max of /system.slice/lsbaws.service"));
    set("proc/loadavg", "0.10 0.20 0.30 2/1000 4711\n");
    assert_eq!(find(libc::EAGAIN).as_deref(), Some("kernel.threads-max"));
    set(&format!("{OWN}/pids.current"), "300\n");
    assert_eq!(find(libc::EAGAIN).as_deref(), Some("pids.max of /system.slice/lsbaws.service"));
    set("proc/11/status", "Uid:\t990\t990\t990\t990\nThreads:\t200\n");
    assert_eq!(find(libc::EAGAIN).as_deref(), Some("RLIMIT_NPROC"));
}

#[test]
fn a_group_is_found_by_its_failed_forks() {
    let host = make_host();
    let mut watch = Watch::new(System::new(host.path()));
    fs::write(host.path().join(OWN).join("pids.events"), "max 5\n").unwrap();
    let limit = watch.find_reached(&error(libc::EAGAIN)).unwrap();
    assert_eq!((limit.name().as_str(), limit.used()), ("pids.max of /system.slice/lsbaws.service", 12));
    assert_eq!(watch.find_reached(&error(libc::EAGAIN)), None, "no failure since");
}
