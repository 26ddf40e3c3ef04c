//! Ready, status, watchdog, drain, exit.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::Pid;

use crate::gate::Gate;
use crate::harness::{Server, Setup, ask, connect_unix, make_folder, read_to_end, serve, wait_until};

const SLOW: &str = "[[service.web.route]]\n[[service.web.route]]\npath = '/slow'\ndelay = '1h'\n";
const SLOW_REQUEST: &str = "GET /slow?a=b HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

/// A connection whose child handles its request, and the PID of that child.
fn start_slow(server: &Server) -> (std::net::TcpStream, Pid) {
    let mut stream = server.connect();
    stream.write_all(SLOW_REQUEST.as_bytes()).unwrap();
    let child = server.wait_delayed_child();
    (stream, child)
}

#[test]
fn status_text_follows_the_counts() {
    let server = serve(SLOW);
    assert!(server.children().is_empty());
    let _slow = start_slow(&server);
    server.wait_notified("STATUS=Serving: listeners 1, connections 1, ended 0");
}

#[test]
fn watchdog_is_notified_repeatedly() {
    let server = Setup::new("").prelude("export WATCHDOG_USEC=200000 WATCHDOG_PID=$$").serve();
    for _ in 0..5 {
        assert_eq!(server.wait_notified("WATCHDOG="), "1");
    }
}

#[test]
fn iterative_server_disables_the_watchdog() {
    let config = "[process]\nmodel = 'iterative'\n";
    // Not the default address, which others may use.
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let watchdog = "export WATCHDOG_USEC=200000 WATCHDOG_PID=$$";
    let server = Setup::new(config).prelude(watchdog).socket(tcp).spawn();
    assert_eq!(server.wait_notified("WATCHDOG_USEC="), "0");
}

#[test]
fn sigterm_lets_children_finish() {
    let mut gate = Gate::new();
    let mut server = serve(&gate.route("/"));
    let mut client = server.connect();
    client.write_all(SLOW_REQUEST.as_bytes()).unwrap();
    gate.wait_reached();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_notified("STOPPING="), "1");
    server.wait_line("stopping: waiting up to 20s for 1 connection to finish");
    gate.open();
    assert!(read_to_end(client).ends_with("passed"));
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.lines_to_end().iter().any(|line| line.ends_with("stopped after 1 connection")));
}

#[test]
fn idle_daemon_stops_at_once() {
    let mut server = serve("");
    server.stop();
    let lines = server.lines_to_end();
    assert!(lines.iter().any(|line| line.contains("stopping: no connections to wait for")), "{lines:?}");
}

#[test]
fn drain_terminates_children_at_its_timeout() {
    let mut server = serve(&format!("{SLOW}[process]\ndrain_timeout = '100ms'\n"));
    let (mut stream, _) = start_slow(&server);
    server.stop();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
    let record = server.record();
    assert_eq!(
        (record.get("end"), record.get("signal"), record.get("terminated_by")),
        ("killed", "SIGTERM", "drain")
    );
    assert_eq!(
        (record.get("method"), record.get("target"), record.get("phase")),
        ("GET", "/slow?a=b", "handling")
    );
}

#[test]
fn child_that_cannot_be_terminated_is_killed() {
    let mut server = serve(&format!("{SLOW}[process]\ndrain_timeout = '100ms'\n"));
    let (_stream, child) = start_slow(&server);
    kill(child, Signal::SIGSTOP).unwrap(); // SIGTERM does not end a stopped process
    server.stop();
    let record = server.record();
    assert_eq!((record.get("signal"), record.get("terminated_by")), ("SIGKILL", "drain"));
}

#[test]
fn second_sigterm_stops_at_once() {
    let mut server = serve(SLOW);
    let (_stream, _) = start_slow(&server);
    server.signal(Signal::SIGTERM);
    server.wait_notified("STOPPING=");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    let record = server.record();
    assert_eq!(
        (record.get("signal"), record.get("terminated_by"), record.get("outcome")),
        ("SIGKILL", "stop", "killed")
    );
}

#[test]
fn sigint_drains_and_children_ignore_sigint() {
    let mut gate = Gate::new();
    let mut server = serve(&gate.route("/"));
    let mut client = server.connect();
    client.write_all(SLOW_REQUEST.as_bytes()).unwrap();
    gate.wait_reached();
    // A terminal, or `systemctl kill`, sends signals to children as well.
    for pid in server.children() {
        for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
            kill(Pid::from_raw(pid), signal).unwrap();
        }
    }
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait_notified("STOPPING="), "1");
    gate.open();
    assert!(read_to_end(client).ends_with("passed"));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn backlog_of_a_bound_socket_is_served_before_exit() {
    let folder = make_folder();
    let path = folder.path().join("web.sock");
    let mut server = Setup::new(&format!("[listen.web]\naddress = '{}'\n", path.display())).start();
    server.signal(Signal::SIGSTOP);
    let mut waiting = connect_unix(&path);
    waiting.write_all(SLOW_REQUEST.as_bytes()).unwrap();
    server.signal(Signal::SIGTERM);
    server.signal(Signal::SIGCONT);
    assert!(read_to_end(waiting).ends_with("Hello, World!\n"));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn connections_over_max_connections_are_deferred() {
    let mut server = serve(&format!("{SLOW}[limits]\nmax_connections = 2\n"));
    let (first, _) = start_slow(&server);
    let mut second = server.connect();
    second.write_all(SLOW_REQUEST.as_bytes()).unwrap();
    wait_until("the second has a child", || server.children().len() == 2);
    server.wait_idle_children(); // so both have reported
    let mut third = server.connect();
    third.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    server.wait_notified("STATUS=Serving: listeners 1, connections 2,");
    third.set_nonblocking(true).unwrap();
    assert_eq!(
        third.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "the third connection is in the backlog"
    );
    third.set_nonblocking(false).unwrap();
    for pid in server.children() {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    assert!(read_to_end(third).ends_with("Hello, World!\n"));
    drop((first, second));
    server.stop();
    // The connection was deferred before fork(2).
    let lines = server.lines_to_end();
    assert!(!lines.iter().any(|line| line.contains("unable to fork")), "{lines:?}");
}

#[test]
fn silent_client_receives_408() {
    // A child must read the incomplete request within that time, on a busy host too.
    let server = serve("[limits]\nhead_timeout = '1s'\n");
    assert!(read_to_end(server.connect()).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    let record = server.record();
    assert_eq!(
        (record.get("outcome"), record.get("status"), record.get("exit_code")),
        ("client-error", "408", "1")
    );
    let dripping = ask(server.connect(), "GET / HTTP/1.1\r\nHost:");
    assert!(dripping.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!(server.record().get("target"), "GET / HTTP/1.1");
}

#[test]
fn backlog_of_a_bound_socket_is_served_at_the_limit() {
    let folder = make_folder();
    let path = folder.path().join("web.sock");
    let mut gate = Gate::new();
    let config = format!(
        "[limits]\nmax_connections = 1\n[listen.web]\naddress = '{}'\n[[service.web.route]]\n{}",
        path.display(),
        gate.route("/slow")
    );
    let mut server = Setup::new(&config).start();
    let connect = |request: &str| {
        let mut stream = connect_unix(&path);
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let slow = connect(SLOW_REQUEST);
    gate.wait_reached();
    let waiting = [(); 4].map(|()| connect("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
    server.signal(Signal::SIGTERM);
    server.wait_notified("STOPPING=");
    gate.open();
    assert!(read_to_end(slow).ends_with("passed"));
    for stream in waiting {
        assert!(read_to_end(stream).ends_with("Hello, World!\n"));
    }
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.lines_to_end().iter().any(|line| line.contains("stopped after 5 connections")));
}

#[test]
fn iterative_server_stops_between_two_connections() {
    let config = "[process]\nmodel = 'iterative'\n[limits]\nhead_timeout = '300ms'\n";
    let mut server = Setup::new(config).serve();
    let silent = [(); 4].map(|()| server.connect());
    server.signal(Signal::SIGTERM);
    server.wait_notified("STOPPING=");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    let served = server.lines_to_end().iter().filter(|line| line.contains(" connection=")).count();
    assert!(served < silent.len(), "{served} connections were served before the end");
}

#[test]
fn double_fork_drains_and_stops() {
    for (drain_timeout, signals, terminated_by) in [("100ms", 1, "drain"), ("1h", 2, "stop")] {
        let process = format!("[process]\nmodel = 'double-fork'\ndrain_timeout = '{drain_timeout}'\n");
        let mut server = serve(&format!("{SLOW}{process}"));
        let (mut stream, _) = start_slow(&server);
        for _ in 0..signals {
            server.signal(Signal::SIGTERM);
            server.wait_notified("STOPPING=");
        }
        assert_eq!(server.wait().code(), Some(0));
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "the connection is closed");
        let record = server.record();
        assert_eq!((record.get("terminated_by"), record.get("target")), (terminated_by, "/slow?a=b"));
    }
}

#[test]
fn failing_listener_ends_neither_daemon_nor_children() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let other = listener.try_clone().unwrap();
    let mut gate = Gate::new();
    let mut server = Setup::new(&gate.route("/")).socket(listener).start();
    let mut stream = crate::harness::connect(address);
    stream.write_all(SLOW_REQUEST.as_bytes()).unwrap();
    gate.wait_reached();
    // After a shutdown of the listening socket by another process, accept(2) always fails.
    shutdown(other.as_raw_fd(), Shutdown::Both).unwrap();
    server.wait_line("unable to accept");
    gate.open();
    assert!(read_to_end(stream).ends_with("passed"));
    server.stop();
}

#[test]
fn client_that_does_not_read_ends_at_the_write_timeout() {
    let folder = make_folder();
    let path = folder.path().join("web.sock"); // the buffer of a Unix socket is small and does not grow
    let server = Setup::new(&format!(
        "[limits]\nwrite_timeout = '200ms'\n[listen.web]\naddress = '{}'\n[[service.web.route]]\nbody = '{}'\n",
        path.display(),
        "x".repeat(1_000_000)
    ));
    let server = server.start();
    let mut stream = connect_unix(&path);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let record = server.record();
    assert_eq!(
        (record.get("outcome"), record.get("phase"), record.get("status")),
        ("client-error", "writing", "200")
    );
}

#[test]
fn log_level_filters_messages() {
    let mut server = serve("[log]\nlevel = 'error'\n");
    server.get("/");
    server.stop();
    assert!(server.lines_to_end().is_empty());
}
