//! The failures of the simple servers in the text that the project started from.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};

use crate::harness::{Setup, ask, can_look_inside, read_to_end, run_client, serve, unique_user};

const REQUEST: &str = "GET /fast HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
const SLOW_REQUEST: &str = "GET /slow HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

fn with_slow_route(delay: &str) -> String {
    format!("[[service.web.route]]\n[[service.web.route]]\npath = '/slow'\ndelay = '{delay}'\n")
}

#[test]
fn slow_request_does_not_block_others() {
    let server = serve(&with_slow_route("1h"));
    let mut slow = server.connect();
    slow.write_all(SLOW_REQUEST.as_bytes()).unwrap();
    for _ in 0..3 {
        assert!(ask(server.connect(), REQUEST).ends_with("Hello, World!\n"));
    }
    slow.set_nonblocking(true).unwrap();
    assert_eq!(
        slow.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "the slow request is still being served"
    );
}

#[test]
fn iterative_server_serves_in_order() {
    let server = serve(&format!("{}[process]\nmodel = 'iterative'\n", with_slow_route("300ms")));
    let mut slow = server.connect();
    slow.write_all(SLOW_REQUEST.as_bytes()).unwrap();
    assert!(ask(server.connect(), REQUEST).ends_with("Hello, World!\n"));
    slow.set_nonblocking(true).unwrap();
    assert!(read_to_end(slow).ends_with("Hello, World!\n"), "the first response precedes the second");
    assert_eq!(server.record().get("target"), "/slow");
    assert_eq!(server.record().get("target"), "/fast");
}

#[test]
fn connection_closes_when_its_child_ends() {
    let server = serve(&with_slow_route("1h"));
    let mut before = server.connect();
    before.write_all(SLOW_REQUEST.as_bytes()).unwrap();
    let mut client = server.connect();
    let mut after = server.connect();
    after.write_all(SLOW_REQUEST.as_bytes()).unwrap();
    // Neither the supervisor nor children forked before and after this one may hold its socket.
    client.write_all(REQUEST.as_bytes()).unwrap();
    assert!(read_to_end(client).ends_with("Hello, World!\n"));
}

#[test]
fn many_clients_are_served_with_256_descriptors() {
    let server = Setup::new("").prelude("ulimit -n 256").serve();
    let result = run_client(server.address(), &["--max-clients", "2", "--max-conns", "150"]);
    assert_eq!(result["answered"]["200"], 300, "{result}");
}

#[test]
fn many_clients_are_served_with_60_processes() {
    let Some(user) = unique_user() else { return };
    let config = "[limits]\nmax_connections = 1000\n[[service.web.route]]\ndelay = '20ms'\n";
    let mut server = Setup::new(config).user(user).prelude("ulimit -u 60").serve();
    let result = run_client(server.address(), &["--max-clients", "4", "--max-conns", "125"]);
    assert_eq!(result["answered"]["200"], 500, "{result}");
    server.stop();
    let reports =
        server.lines_to_end().iter().filter(|line| line.contains("unable to fork: Resource")).count();
    assert_eq!(reports, 1, "a shortage is reported once");
}

#[test]
fn simultaneous_exits_leave_no_zombie() {
    let server = serve("");
    let result = run_client(server.address(), &["--max-clients", "128", "--max-conns", "1"]);
    assert_eq!(result["answered"]["200"], 128, "{result}");
    for _ in 0..128 {
        assert_eq!(server.record().get("outcome"), "served");
    }
    // A child is reaped before its record is written.
    assert!(server.children().is_empty());
}

#[test]
fn many_signals_lose_no_connection() {
    let server = serve("");
    let (pid, over) = (server.pid(), Arc::new(AtomicBool::new(false)));
    let storm = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            while !over.load(Ordering::Relaxed) {
                // Stopping and continuing interrupts system calls whatever is blocked (signal(7)).
                for signal in
                    [Signal::SIGCHLD, Signal::SIGSTOP, Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGWINCH]
                {
                    kill(pid, signal).unwrap();
                }
                thread::yield_now();
            }
        }
    });
    let result = run_client(server.address(), &["--max-clients", "8", "--max-conns", "125"]);
    over.store(true, Ordering::Relaxed);
    storm.join().unwrap();
    assert_eq!(result["answered"]["200"], 1000, "{result}");
}

#[test]
fn ten_thousand_connections_leak_no_descriptor() {
    if !can_look_inside() {
        return;
    }
    let server = serve("");
    server.get("/");
    server.record(); // its child is reaped, so its socket is closed
    let before = server.count_fds();
    for _ in 0..10 {
        let result = run_client(server.address(), &["--max-clients", "10", "--max-conns", "100"]);
        assert_eq!(result["answered"]["200"], 1000, "{result}");
    }
    server.wait_recorded(10_000);
    assert!(server.count_fds() <= before);
}

#[test]
fn ignored_sigchld_of_the_caller_loses_no_record() {
    let server = Setup::new("").prelude("trap '' CHLD").serve();
    server.get("/");
    assert_eq!(server.record().get("outcome"), "served");
}

#[test]
fn closed_standard_error_does_not_stop_the_server() {
    let mut server = Setup::new("").prelude("exec 2>&-").serve();
    for _ in 0..3 {
        assert!(server.get("/").ends_with("Hello, World!\n"));
    }
    server.stop();
}

#[test]
fn vanished_client_does_not_affect_others() {
    let server = serve("");
    drop(server.connect());
    let record = server.record();
    assert_eq!(
        (record.get("outcome"), record.get("requests"), record.get("phase")),
        ("served", "0", "reading")
    );
    assert!(server.get("/").ends_with("Hello, World!\n"));
}
