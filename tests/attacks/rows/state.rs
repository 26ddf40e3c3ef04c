//! What a child holds: descriptors, memory, its slot, the log.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use super::{CONFINED, HTTP, PROGRAMS, Row, Scene, row};
use crate::arena::{Kind, status_field};
use crate::harness::Record;
use crate::steps::{Seen, Steps};
use crate::{call, goal};

pub const ROWS: &[Row] = &[
    row("descriptors that it inherits", descriptors),
    row("secrets of other services and of the daemon, in its memory and environment", secrets).by(CONFINED),
    row("memory that it shares with other processes", shared_memory).by(CONFINED),
    row("what protects it from others: not dumpable, no dumps", protections).by(HTTP),
    row("privileges: capabilities, no_new_privs, a filter", privileges).by(CONFINED),
    row("grow its slot over those of others: mremap, remap_file_pages", grow_slot).by(HTTP),
    row("rubbish in its slot", |scene| hostile_slot(scene, |_| vec![u64::MAX, 0, 1 << 63, 0x5555_5555_5555_5555])).by(HTTP),
    row("numbers of others in its slot: their processes and groups", |scene| {
        hostile_slot(scene, |scene| {
            let targets = scene.facts.targets();
            targets.iter().flat_map(|(_, pid)| [pid.cast_unsigned().into(), i64::from(-pid).cast_unsigned()]).collect()
        })
    })
    .by(HTTP),
    row("give its slot's memory back: MADV_REMOVE, munmap", |scene| {
        let Some(slot) = find_slot(scene) else { return Seen::Denied("no slot".into()) };
        let seen = scene.attempt(|s, _| {
            goal!(s, "removed", SYS_madvise, slot.0, 4096, libc::MADV_REMOVE);
        });
        scene.attacker.close();
        seen
    })
    .by(HTTP)
    .open(HTTP, "its own slot only: its record lacks the request"),
    row("shut down or redirect the descriptors that children share: journal, standard error", |scene| {
        let child = scene.attacker.child();
        let shared = list_descriptors(child).into_iter().filter(|(number, _)| ![0, 3].contains(number));
        let shared: Vec<_> = shared.map(|(number, _)| number).collect();
        scene.attempt(|s, _| {
            let (none, size) = (s.zeros(16), s.bytes(&1i32.to_ne_bytes()));
            for number in shared {
                goal!(s, "shutdown", SYS_shutdown, number, libc::SHUT_RDWR);
                goal!(s, "connect", SYS_connect, number, &none, 16);
                goal!(s, "setsockopt", SYS_setsockopt, number, libc::SOL_SOCKET, libc::SO_SNDBUF, &size, 4);
                goal!(s, "ftruncate", SYS_ftruncate, number, 0);
                goal!(s, "pipe", SYS_fcntl, number, libc::F_SETPIPE_SZ, 4096);
                goal!(s, "flags", SYS_fcntl, number, libc::F_SETFL, libc::O_NONBLOCK);
                goal!(s, "owner", SYS_fcntl, number, libc::F_SETOWN, 1);
            }
        })
    })
    .by(HTTP)
    .open(&[Kind::Mixed], "messages of children may be lost; records only with `log.target = \"stderr\"`")
    .spoils(),
    row("the daemon's own log from a program: truncate, flags, forged lines", program_log).by(PROGRAMS).with_own_daemon(),
    row("forge lines of the daemon's log from an HTTP child", |scene| {
        scene.attempt(|s, _| {
            let line = "<6>forged line\n";
            let text = s.text(line);
            goal!(s, "written", SYS_write, 2, &text, line.len());
        })
    })
    .by(HTTP)
    .open(HTTP, "a child writes its own messages there; in the journal, `_PID` tells them from the supervisor's records"),
];

/// The numbers of open descriptors, and what they lead to.
pub(super) fn list_descriptors(pid: i32) -> Vec<(i32, String)> {
    let mut list: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let target = fs::read_link(&path).ok()?;
            Some((path.file_name()?.to_str()?.parse().ok()?, target.to_str()?.to_owned()))
        })
        .collect();
    list.sort();
    list
}

/// Nothing but the standard descriptors, the connection, roots of its own service, and the journal.
fn descriptors(scene: &mut Scene<'_>) -> Seen {
    let pid = scene.attacker.hold();
    let sockets = |target: &str| target.starts_with("socket:");
    let mut found = Vec::new();
    let mut own_sockets = Vec::new();
    for (number, target) in list_descriptors(pid) {
        // A socket may have two numbers.
        if sockets(&target) && number > 2 && !own_sockets.contains(&target) {
            own_sockets.push(target.clone());
        }
        let is_root = target.starts_with(&scene.facts.folder);
        let is_own = number <= 2 || sockets(&target) && own_sockets.len() <= 2 || is_root;
        if !is_own || scene.facts.kind.is_program() && number > 2 {
            found.push(target.split(':').next().unwrap().to_owned());
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() { Seen::Denied("its own only".into()) } else { Seen::Open(found.join(", ")) }
}

/// Everything that a process could read of itself.
fn read_memory(pid: i32) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let parse = |text| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = (parse(start), parse(end));
        let mut bytes = vec![0; usize::try_from(end - start).unwrap().min(64 << 20)];
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            all.extend(bytes);
        }
    }
    all
}

fn secrets(scene: &mut Scene<'_>) -> Seen {
    let pid = scene.attacker.hold();
    let mut memory = read_memory(pid);
    memory.extend(fs::read(format!("/proc/{pid}/environ")).unwrap());
    let own = match scene.facts.kind {
        Kind::Http => "none",
        Kind::Mixed | Kind::Cgi => "mixed",
        Kind::Exec => "exec",
        Kind::App => "app",
        Kind::Free => "free",
    };
    let secrets =
        ["secret-of-mixed", "secret-of-exec", "secret-of-free", "secret-of-the-daemon", "NOTIFY_SOCKET="];
    let has = |text: &str| memory.windows(text.len()).any(|part| part == text.as_bytes());
    let found: Vec<_> = secrets.into_iter().filter(|text| !text.ends_with(own) && has(text)).collect();
    if found.is_empty() { Seen::Denied("none".into()) } else { Seen::Open(found.join(", ")) }
}

/// Shared mappings that are writable: the address and the size of each.
fn list_shared(pid: i32) -> Vec<(u64, u64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let shared = maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|access| access == "rw-s"));
    shared
        .map(|line| {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let parse = |text| u64::from_str_radix(text, 16).unwrap();
            (parse(start), parse(end) - parse(start))
        })
        .collect()
}

fn shared_memory(scene: &mut Scene<'_>) -> Seen {
    let pid = scene.attacker.hold();
    let shared = list_shared(pid);
    match shared[..] {
        [] => Seen::Denied("none".into()),
        [(_, 4096)] => Seen::Denied("its own slot".into()),
        _ => Seen::Open(format!("{} KiB", shared.iter().map(|(_, size)| size / 1024).sum::<u64>())),
    }
}

fn find_slot(scene: &mut Scene<'_>) -> Option<(u64, u64)> {
    let child = scene.attacker.child();
    list_shared(child).first().copied()
}

fn protections(scene: &mut Scene<'_>) -> Seen {
    let pid = scene.attacker.child();
    let mut missing = Vec::new();
    if fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid() != 0 {
        missing.push("dumpable");
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    if core.split_whitespace().filter(|word| *word == "0").count() != 2 {
        missing.push("core");
    }
    if missing.is_empty() {
        Seen::Denied("all".into())
    } else {
        Seen::Open(format!("without {}", missing.join(", ")))
    }
}

fn privileges(scene: &mut Scene<'_>) -> Seen {
    let pid = scene.attacker.hold();
    let expected = [
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ];
    let differs = |(name, value): &(&str, &str)| status_field(pid, name).as_deref() != Some(value);
    let wrong: Vec<_> = expected.iter().filter(|pair| differs(pair)).map(|(name, _)| *name).collect();
    if wrong.is_empty() { Seen::Denied("none".into()) } else { Seen::Open(wrong.join(", ")) }
}

fn grow_slot(scene: &mut Scene<'_>) -> Seen {
    let Some((slot, size)) = find_slot(scene) else { return Seen::Denied("no slot".into()) };
    scene.attempt(|s, _| {
        goal!(s, "other pages", SYS_remap_file_pages, slot, 4096, 0, 1, 0);
        goal!(s, "grown", SYS_mremap, slot, size, size + 65536, libc::MREMAP_MAYMOVE);
    })
}

/// Fills the slot with each word in turn, and ends. The records must hold what the kernel says.
fn hostile_slot(scene: &mut Scene<'_>, words: impl Fn(&Scene<'_>) -> Vec<u64>) -> Seen {
    let mut wrong = Vec::new();
    for word in words(scene) {
        let Some((slot, size)) = find_slot(scene) else { return Seen::Denied("no slot".into()) };
        let child = scene.attacker.child();
        let mut steps = Steps::default();
        let count = usize::try_from(size.min(4096) / 8).unwrap();
        steps.poke(slot, &word.to_ne_bytes().repeat(count));
        let pid = call!(steps, SYS_getpid);
        if scene.attacker.run(&steps).get(&pid).is_none() {
            wrong.push("no answer".to_owned());
        }
        scene.attacker.close();
        if let Some(server) = scene.arena.server() {
            let record = loop {
                let line = server.line_within(" connection=", Duration::from_secs(10));
                let record = line.map(|line| Record::parse(&line));
                if record.as_ref().is_none_or(|record| record.get("pid") == child.to_string()) {
                    break record;
                }
            };
            match record {
                None => wrong.push("no record".to_owned()),
                Some(record) if record.get("outcome") == "served" => {}
                Some(record) => wrong.push(format!("recorded as {:?}", record.get("outcome"))),
            }
        }
    }
    wrong.dedup();
    if wrong.is_empty() { Seen::Denied("its own record only".into()) } else { Seen::Open(wrong.join(", ")) }
}

/// Standard error of a program must not be the daemon's.
fn program_log(scene: &mut Scene<'_>) -> Seen {
    let pid = scene.attacker.hold();
    let own = fs::read_link(format!("/proc/{pid}/fd/2")).unwrap();
    let daemons = fs::read_link(format!("/proc/{}/fd/2", scene.facts.supervisor)).unwrap();
    if own == daemons {
        Seen::Open("it is the daemon's".into())
    } else {
        Seen::Denied("a pipe of its own".into())
    }
}
