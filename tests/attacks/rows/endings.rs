//! Attempts to confuse the supervisor about its children.

use std::time::Duration;

use super::{Row, Scene, row};
use crate::arena::{Kind, parent_of};
use crate::call;
use crate::harness::Record;
use crate::steps::{Seen, Steps};

const THAT_FORK: &[Kind] = &[Kind::Mixed, Kind::Cgi, Kind::Exec, Kind::App];

pub const ROWS: &[Row] = &[
    row("hold a client's connection beyond the end of its child: fork, exit", hold_connection).by(THAT_FORK),
    row("a flood of processes that the supervisor did not make: clone(CLONE_PARENT)", |scene| {
        flood(scene, libc::CLONE_PARENT)
    })
    .by(THAT_FORK),
    row("a flood of orphans", |scene| flood(scene, 0)).by(THAT_FORK),
    row("the supervisor reaps a child unseen: join its group, end it", silent_reap)
        .by(THAT_FORK)
        .with_own_daemon(),
];

/// A process with the client's socket that is not counted any more.
fn hold_connection(scene: &mut Scene<'_>) -> Seen {
    let mut steps = Steps::default();
    let child = call!(steps, SYS_fork);
    steps.in_child(&child, |s| {
        call!(s, SYS_setsid);
        s.sleep(10_000);
    });
    steps.in_parent(&child, |s| _ = call!(s, SYS_exit_group, 0));
    scene.attacker.send(&steps);
    match scene.attacker.ends_within(Duration::from_secs(15)) {
        true => Seen::Denied("ended with its connection".into()),
        false => Seen::Open("held".into()),
    }
}

fn flood(scene: &mut Scene<'_>, flags: i32) -> Seen {
    let user = crate::place::user();
    let before = count_processes(user);
    let mut steps = Steps::default();
    let made = steps.flood(300, flags | libc::SIGCHLD, 10_000);
    let answer = scene.attacker.run(&steps);
    if answer.get(&made).is_none_or(|made| made < 200) {
        return Seen::Denied(format!("{:?} made", answer.get(&made)));
    }
    scene.attacker.close();
    let start = std::time::Instant::now();
    while count_processes(user) > before && start.elapsed() < Duration::from_secs(15) {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    match count_processes(user) <= before {
        true => Seen::Denied("ended with their connection".into()),
        false => Seen::Open("they live on".into()),
    }
}

fn count_processes(user: u32) -> usize {
    crate::arena::list_processes()
        .into_iter()
        .filter(|pid| {
            crate::arena::status_field(*pid, "Uid")
                .is_some_and(|ids| ids.split_whitespace().next() == Some(&user.to_string()))
        })
        .count()
}

/// The processes of two connections in one group. The test itself ends them, since an attacker may not.
fn silent_reap(scene: &mut Scene<'_>) -> Seen {
    let kind = scene.facts.kind;
    for _ in 0..5 {
        let mut others: Vec<_> = (0..6).map(|_| scene.arena.attacker(kind)).collect();
        let pids: Vec<_> = others.iter_mut().map(|other| other.hold()).collect();
        let mut attacker = scene.arena.attacker(kind);
        let own = attacker.hold();
        let children: Vec<_> = pids
            .iter()
            .chain([&own])
            .map(|&pid| if kind == Kind::Cgi { parent_of(pid).unwrap() } else { pid })
            .collect();
        if kind != Kind::Cgi {
            let mut steps = Steps::default();
            for pid in &pids {
                call!(steps, SYS_setpgid, 0, *pid);
                call!(steps, SYS_kill, *pid, libc::SIGKILL);
            }
            call!(steps, SYS_exit_group, 0);
            attacker.send(&steps);
        }
        for &child in &children {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::SIGKILL);
        }
        let Some(server) = scene.arena.server() else { return Seen::Absent };
        let mut missing = children;
        while !missing.is_empty() {
            let Some(line) = server.line_within(" connection=", Duration::from_secs(10)) else {
                return Seen::Open(format!("{} children without a record", missing.len()));
            };
            let record = Record::parse(&line);
            missing.retain(|pid| record.get("pid") != pid.to_string());
        }
    }
    Seen::Denied("each child has its record".into())
}
