//! Deadlines of connections, drain, and the exit of the daemon.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgi::EXEC_UNTIL_ZOMBIE;
use crate::harness::{Server, Setup, connect, make_folder, read_to_end, serve, wait_dead};

/// A service that runs a script, for one second at most: enough to start it, on a busy host too.
fn exec(script: &str, more: &str) -> String {
    format!(
        "{more}[service.web]\nprotocol = 'exec'\nmax_duration = '1s'\ncommand = ['/bin/sh', '-c', '''{script}''']\n"
    )
}

#[test]
fn max_duration_terminates_the_group_of_a_program() {
    for model in ["fork", "double-fork"] {
        let process = format!("[process]\nmodel = '{model}'\n");
        let server = serve(&exec("sleep 1000 & echo $!; sleep 1000", &process));
        let mut stream = server.connect();
        let mut line = [0; 16];
        let count = stream.read(&mut line).unwrap();
        let sleeper = std::str::from_utf8(&line[..count]).unwrap().trim().parse().unwrap();
        let record = server.record();
        assert_eq!((record.get("signal"), record.get("terminated_by")), ("SIGTERM", "deadline"), "{model}");
        assert!(record.line.contains("(terminated: max_duration exceeded)"), "{}", record.line);
        wait_dead(Pid::from_raw(sleeper));
        assert_eq!(read_to_end(stream), "");
    }
}

#[test]
fn program_that_ignores_sigterm_is_killed() {
    let server = serve(&exec("trap '' TERM; echo here; while :; do sleep 1000; done", ""));
    let _stream = server.connect();
    let record = server.record();
    assert_eq!((record.get("signal"), record.get("terminated_by")), ("SIGKILL", "deadline"));
}

#[test]
fn hanging_child_is_killed() {
    let server = serve("[service.web]\nmax_duration = '1s'\n");
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    // A stopped child cannot end by itself.
    kill(Pid::from_raw(server.children()[0]), Signal::SIGSTOP).unwrap();
    let record = server.record();
    assert_eq!((record.get("signal"), record.get("terminated_by")), ("SIGKILL", "deadline"));
}

#[test]
fn record_reports_orphaned_processes() {
    let script = "sleep 1000 >/dev/null 2>&1 & echo done";
    let server = serve(&exec(script, "").replace("max_duration = '1s'", ""));
    assert_eq!(read_to_end(server.connect()), "done\n");
    let record = server.record();
    assert_eq!((record.get("orphans"), record.get("exit_code")), ("yes", "0"));
    assert!(record.line.contains("terminated orphaned processes of its program"), "{}", record.line);
}

/// A daemon that serves a sparse file of 4 GiB, and a client that has read its first bytes.
fn serve_large(process: &str) -> (Server, std::net::TcpStream, tempfile::TempDir) {
    let folder = make_folder();
    File::create(folder.path().join("large")).unwrap().set_len(4 << 30).unwrap();
    let root = folder.path().display();
    let server =
        serve(&format!("[process]\n{process}\n[[service.web.route]]\nhandler = 'files'\nroot = '{root}'\n"));
    let mut stream = server.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 4096]).unwrap();
    (server, stream, folder)
}

#[test]
fn drain_is_extended_while_bytes_move() {
    let (mut server, mut stream, _folder) = serve_large("drain_timeout = '2s'\ndrain_timeout_max = '1h'");
    server.signal(Signal::SIGTERM);
    server.notification_with("STOPPING=1");
    let mut taken = vec![0; 4 << 20];
    let mut extensions = 0;
    while extensions < 2 {
        // The daemon looks for movement every second.
        stream.read_exact(&mut taken).unwrap();
        let notification = server.notification_with("");
        if notification.starts_with("EXTEND_TIMEOUT_USEC=10000000") {
            extensions += 1;
        } else {
            assert!(notification.starts_with("STATUS=Draining: connections left 1"), "{notification}");
            assert!(notification.contains(" at web: GET /large, writing, for "), "{notification}");
        }
    }
    let rest = std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    assert!(rest > 3 << 30, "{rest}");
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(server.record().get("outcome"), "served");
}

#[test]
fn drain_terminates_stalled_transfers() {
    let (mut server, _stream, _folder) = serve_large("drain_timeout = '2s'\ndrain_timeout_max = '1h'");
    server.stop();
    assert_eq!(server.record().get("terminated_by"), "drain");
}

#[test]
fn drain_ends_at_drain_timeout_max() {
    let (mut server, mut stream, _folder) =
        serve_large("drain_timeout = '100ms'\ndrain_timeout_max = '1500ms'");
    server.signal(Signal::SIGTERM);
    let mut part = [0; 64];
    while matches!(stream.read(&mut part), Ok(1..)) {
        std::thread::yield_now();
    }
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(server.record().get("terminated_by"), "drain");
}

#[test]
fn idle_daemon_exits_and_its_successor_serves_the_backlog() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = "[process]\nidle_timeout = '300ms'\n[limits]\nkeepalive_timeout = '2s'\n";
    let start = || Setup::new(config).socket(listener.try_clone().unwrap()).names("web").start();
    // The connection is in the backlog before the daemon starts, so the daemon is not idle at first.
    let mut stream = connect(address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut server = start();
    assert_eq!(server.wait_notified("STOPPING="), "1");
    assert_eq!(server.wait().code(), Some(0));
    let lines = server.lines_to_end();
    let find = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
    assert!(
        find("GET / -> 200") < find("idle for 300ms, exiting; the next connection starts lsbaws again"),
        "{lines:?}"
    );
    let mut waiting = connect(address);
    waiting.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let _successor = start();
    assert!(read_to_end(waiting).ends_with("Hello, World!\n"));
}

#[test]
fn sigusr1_logs_the_status() {
    let server = serve("[[service.web.route]]\ndelay = '1h'\n");
    let mut stream = server.connect();
    stream.write_all(b"GET /slow?a=b HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let child = server.wait_delayed_child();
    server.signal(Signal::SIGUSR1);
    let line = server.wait_line("status: serving for ");
    assert!(line.contains("s on 127.0.0.1:"), "{line}");
    assert!(line.contains("1/512 connections, 0 spares, 0 ended, 0 refused"), "{line}");
    let line = server.wait_line("at web: GET /slow?a=b, handling, for ");
    assert!(line.contains(&format!("pid={child} ")), "{line}");
}

#[test]
fn max_duration_applies_to_programs_in_the_iterative_model() {
    let config = exec("cat", "[process]\nmodel = 'iterative'\n");
    let server = serve(&config);
    let _silent = server.connect();
    let mut behind = server.connect();
    behind.shutdown(std::net::Shutdown::Write).unwrap();
    let record = server.record();
    assert_eq!((record.get("signal"), record.get("terminated_by")), ("SIGTERM", "deadline"));
    assert_eq!(behind.read(&mut [0]).unwrap(), 0, "the next connection is served");
}

#[test]
fn zombies_are_not_orphaned_processes() {
    let script = format!("true & {EXEC_UNTIL_ZOMBIE}");
    let server = serve(&exec(&script, "").replace("max_duration = '1s'", ""));
    assert_eq!(read_to_end(server.connect()), "");
    let record = server.record();
    assert_eq!((record.get("orphans"), record.get("exit_code")), ("", "0"), "{}", record.line);
}
