//! Systems made of files, and what is seen of them.

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

/// A host with version 2 of control groups, and the daemon as a service of its own user.
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
             Max open files            1024                 524288               files     \n",
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

fn names(walls: &[Wall]) -> Vec<(&str, u64, u64)> {
    walls.iter().map(|wall| (wall.name.as_str(), wall.limit, wall.used)).collect()
}

#[test]
fn every_wall_of_a_host_is_seen() {
    let host = make_host();
    let walls = System::new(host.path()).list_walls();
    assert_eq!(
        names(&walls),
        [
            ("RLIMIT_NPROC", 200, 3),
            ("pids.max of /system.slice/lsbaws.service", 300, 12),
            ("kernel.threads-max", 1000, 150),
            ("kernel.pid_max", 32768, 150),
            ("memory.max of /system.slice/lsbaws.service", 50 << 20, 10 << 20),
            ("RLIMIT_NOFILE", 1024, 2),
        ]
    );
}

#[test]
fn version_1_is_read_as_well() {
    let host = make_system(&[
        ("proc/self/cgroup", "8:pids:/box/a.scope\n4:memory:/box\n3:cpu,cpuacct:/\n0::/\n"),
        ("sys/fs/cgroup/pids/box/a.scope/pids.max", "9\n"),
        ("sys/fs/cgroup/pids/box/a.scope/pids.current", "9\n"),
        ("sys/fs/cgroup/pids/box/pids.max", "max\n"),
        ("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "1048576\n"),
        ("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "1048575\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n"),
    ]);
    let walls = System::new(host.path()).list_walls();
    assert_eq!(
        names(&walls),
        [("pids.max of /box/a.scope", 9, 9), ("memory.max of /box", 1_048_576, 1_048_575)]
    );
    assert_eq!(walls[0].remedy, "TasksMax= of a.scope");
    assert_eq!(walls[1].remedy, "a control group");
}

#[test]
fn where_nothing_can_be_read_there_is_no_wall() {
    let empty = make_system(&[]);
    assert_eq!(System::new(empty.path()).list_walls(), []);
    let broken = make_system(&[
        ("proc/self/cgroup", "what\n0::\n::\n"),
        ("proc/self/status", "Uid:\n"),
        ("proc/self/limits", "Max processes\n"),
        ("proc/loadavg", "-\n"),
        ("proc/sys/kernel/threads-max", "many\n"),
    ]);
    assert_eq!(System::new(broken.path()).list_walls(), []);
}

#[test]
fn the_limit_of_a_user_does_not_concern_the_privileged() {
    for status in [
        "Uid:\t0\t0\t0\t0\nCapEff:\t0000000000000000\n",
        "Uid:\t990\t990\t990\t990\nCapEff:\t0000000001000000\n",
    ] {
        let host = make_host();
        fs::write(host.path().join("proc/self/status"), status).unwrap();
        let walls = System::new(host.path()).processes();
        assert!(walls.iter().all(|wall| wall.name != "RLIMIT_NPROC"), "{status}");
    }
}

fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

#[test]
fn the_wall_that_is_hit_is_named() {
    let host = make_host();
    let set = |path: &str, text: &str| fs::write(host.path().join(path), text).unwrap();
    let mut watch = Watch::new(System::new(host.path()));
    let mut hit = |errno| watch.find_hit(&error(errno)).map(|wall| wall.name);
    assert_eq!(hit(libc::EAGAIN), None, "nothing is full");
    assert_eq!(hit(libc::ENOMEM), None);
    assert_eq!(hit(libc::EMFILE).as_deref(), Some("RLIMIT_NOFILE"));
    assert_eq!(hit(libc::ENFILE).as_deref(), Some("fs.file-max"));
    assert_eq!(hit(libc::ECONNABORTED), None);
    set(&format!("{OWN}/memory.current"), "62390272\n");
    assert_eq!(hit(libc::ENOMEM).as_deref(), Some("memory.max of /system.slice/lsbaws.service"));
    set("proc/loadavg", "0.10 0.20 0.30 2/1000 4711\n");
    assert_eq!(hit(libc::EAGAIN).as_deref(), Some("kernel.threads-max"));
    set(&format!("{OWN}/pids.current"), "300\n");
    assert_eq!(hit(libc::EAGAIN).as_deref(), Some("pids.max of /system.slice/lsbaws.service"));
    set("proc/11/status", "Uid:\t990\t990\t990\t990\nThreads:\t200\n");
    assert_eq!(hit(libc::EAGAIN).as_deref(), Some("RLIMIT_NPROC"));
}

#[test]
fn a_group_that_was_full_a_moment_ago_is_known_by_its_failures() {
    let host = make_host();
    let mut watch = Watch::new(System::new(host.path()));
    fs::write(host.path().join(OWN).join("pids.events"), "max 5\n").unwrap();
    let hit = watch.find_hit(&error(libc::EAGAIN)).unwrap();
    assert_eq!((hit.name.as_str(), hit.used), ("pids.max of /system.slice/lsbaws.service", 12));
    assert_eq!(watch.find_hit(&error(libc::EAGAIN)), None, "no failure since");
}
