//! Shortages of descriptors and processes: no busy loop, no connection lost without a record, recovery without a
//! restart.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::unistd::Pid;

use crate::harness::{Server, Setup, ask, can_look_inside, command, run_client, serve, unique_user};

/// Changes a limit of the running daemon, as its own user.
pub fn set_limit(server: &Server, limit: &str) {
    set_limit_of(server.pid(), limit);
}

/// The same for the daemon and its fork servers.
pub fn set_limit_of_all(server: &Server, limit: &str) {
    let fork_servers = server.fork_servers().into_iter().map(Pid::from_raw);
    fork_servers.chain([server.pid()]).for_each(|pid| set_limit_of(pid, limit));
}

fn set_limit_of(pid: Pid, limit: &str) {
    // The files of a process that protects itself are root's.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let id = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let pid = format!("--pid={pid}");
    let (uid, gid) = (id("Uid:"), id("Gid:"));
    assert!(command("prlimit").args([&pid, limit]).uid(uid).gid(gid).status().unwrap().success());
}

#[test]
fn connections_wait_until_descriptors_are_free() {
    if !can_look_inside() {
        return;
    }
    let server = serve("");
    let is_free = |fd: &usize| !Path::new(&format!("/proc/{}/fd/{fd}", server.pid())).exists();
    let max = (0..).find(is_free).unwrap();
    set_limit(&server, &format!("--nofile={max}:"));
    let mut waiting = server.connect();
    waiting.write_all(b"GET /waiting HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let line = server.wait_line("unable to accept: Too many open files");
    let expected = format!(": RLIMIT_NOFILE ({max}, {max} in use), raise LimitNOFILE=");
    assert!(line.contains(&expected), "{line}");
    let expected = format!(" system_limit=\"RLIMIT_NOFILE\" system_limit_max={max} system_limit_used={max}");
    assert!(line.contains(&expected), "{line}");
    waiting.set_nonblocking(true).unwrap();
    assert_eq!(
        waiting.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "the connection waits and is not closed"
    );
    waiting.set_nonblocking(false).unwrap();
    set_limit(&server, "--nofile=256:");
    assert!(ask(waiting, "").ends_with("Hello, World!\n"));
    assert_eq!(server.record().get("target"), "/waiting");
    server.wait_line("accept succeeds again after ");
}

#[test]
fn http_connection_without_a_process_receives_503() {
    let Some(user) = unique_user() else { return };
    // The limit counts all processes of a user: the supervisor and the fork server.
    let server = Setup::new("").user(user).prelude("ulimit -Su 2").serve();
    let answer = server.get("/");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("\r\nRetry-After: 5\r\n"), "{answer}");
    let (head, content) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", content.len())), "{head}");
    assert!(head.ends_with("\r\nRetry-After: 5\r\nConnection: close"), "{head}");
    let line = server.wait_line("unable to fork: Resource temporarily unavailable");
    assert!(line.contains(": RLIMIT_NPROC (2, 2 in use), raise LimitNPROC="), "{line}");
    assert!(line.contains(" system_limit=\"RLIMIT_NPROC\" system_limit_max=2 system_limit_used=2"), "{line}");
    let record = server.record();
    assert_eq!(
        (record.get("system_limit"), record.get("system_limit_max")),
        ("RLIMIT_NPROC", "2"),
        "{}",
        record.line
    );
    assert_eq!(
        (record.get("end"), record.get("status"), record.get("outcome")),
        ("refused", "503", "system-error")
    );
    set_limit_of_all(&server, "--nproc=100:");
    assert!(server.get("/").ends_with("Hello, World!\n"), "it recovers by itself");
}

#[test]
fn exec_connection_without_a_process_is_closed() {
    let Some(user) = unique_user() else { return };
    let config = "[service.web]\nprotocol = 'exec'\ncommand = '/bin/cat'\n";
    let server = Setup::new(config).user(user).prelude("ulimit -Su 2").serve();
    assert_eq!(ask(server.connect(), ""), "", "no HTTP response");
    let record = server.record();
    assert_eq!((record.get("end"), record.get("status")), ("refused", ""));
}

#[test]
fn double_fork_serves_with_one_process_at_a_time() {
    let Some(user) = unique_user() else { return };
    let config = "[process]\nmodel = 'double-fork'\n";
    let server = Setup::new(config).user(user).prelude("ulimit -u 4").serve();
    let result = run_client(server.address(), &["--max-conns", "20"]);
    assert_eq!(result["answered"]["200"], 20, "{result}");
    for _ in 0..20 {
        assert_eq!(server.record().get("outcome"), "served");
    }
}
