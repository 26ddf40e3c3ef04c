//! The signals and the threads of applications: tests/wsgi/signals.py.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Server, make_folder, read_to_end, serve, wait_until};
use crate::proxies::ask_again;
use crate::wsgi_template::{content, route_in};

const APPLICATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wsgi");

/// What a program has blocked, and ignores, that a shell starts.
const NONE: &str = "0000000000000000 0000000000000000";

fn route(keys: &str) -> String {
    route_in(Path::new(APPLICATIONS), "signals:app", keys)
}

/// Another request of a connection.
fn ask(stream: &mut TcpStream, target: &str) -> String {
    content(&ask_again(stream, &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))).to_owned()
}

fn pid_of(answer: &str) -> Pid {
    Pid::from_raw(answer.parse().unwrap_or_else(|_| panic!("{answer}")))
}

#[test]
fn programs_of_applications_block_and_ignore_no_signals() {
    let server = serve(&route(""));
    for target in ["/program", "/thread"] {
        assert_eq!(content(&server.get(target)), NONE, "{target}");
    }
    let spare = serve(&(route("") + "[process]\nspares = 1\n"));
    assert_eq!(content(&spare.get("/program")), NONE);
    // As every process of Python: SIGPIPE and SIGXFSZ.
    assert_eq!(content(&server.get("/own")), "0000000000000000 0000000001001000");
}

#[test]
fn applications_may_handle_every_signal() {
    let server = serve(&route(""));
    for name in ["SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGURG", "SIGTERM", "SIGALRM"] {
        assert_eq!(content(&server.get(&format!("/handle/{name}"))), "True", "{name}");
    }
}

#[test]
fn signals_of_the_supervisor_end_no_process() {
    let server = serve(&(route("") + "[limits]\nkeepalive_timeout = '1h'\n"));
    let mut stream = server.connect();
    let pid = pid_of(&ask(&mut stream, "/pid"));
    let [fork_server] = server.fork_servers()[..] else { panic!() };
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGURG] {
        kill(pid, signal).unwrap();
        kill(Pid::from_raw(fork_server), signal).unwrap();
        assert_eq!(pid_of(&ask(&mut stream, "/pid")), pid, "{signal}");
    }
    assert_eq!(server.fork_servers(), [fork_server]);
}

#[test]
fn handler_runs_while_its_process_waits() {
    let server = serve(&(route("") + "[limits]\nkeepalive_timeout = '1h'\n"));
    let mut stream = server.connect();
    let pid = pid_of(&ask(&mut stream, "/leave/SIGUSR1"));
    kill(pid, Signal::SIGUSR1).unwrap();
    assert_eq!(read_to_end(&mut stream), "");
    assert_eq!(server.record().get("outcome"), "served");
}

#[test]
fn drain_closes_idle_children_that_handle_signals() {
    let folder = make_folder();
    let ticker = folder.path().join("ticks").display().to_string();
    let writable = format!("[service.web.confine]\nwritable = ['{}']\n", folder.path().display());
    for (keys, first) in [
        ("", "/pid"),
        ("environment = { HANDLED = 'SIGTERM SIGHUP SIGINT' }", "/pid"),
        // Its threads get signals as well.
        ("", &*format!("/ticker{ticker}")),
    ] {
        let mut server = serve(&(route(keys) + &writable + "[process]\ndrain_timeout = '1h'\n"));
        let mut stream = server.connect();
        ask(&mut stream, first);
        server.signal(Signal::SIGTERM);
        assert_eq!(read_to_end(&mut stream), "");
        assert_eq!(server.record().get("outcome"), "served", "{keys}");
        assert!(server.wait().success());
    }
}

#[test]
fn sigterm_handler_does_not_outlast_the_drain() {
    let config = route("environment = { HANDLED = 'SIGTERM' }") + "[process]\ndrain_timeout = '100ms'\n";
    let mut server = serve(&config);
    let mut stream = server.connect();
    write!(stream, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    server.wait_line("begun");
    server.signal(Signal::SIGTERM);
    let record = server.record();
    assert_eq!((record.get("signal"), record.get("terminated_by")), ("SIGKILL", "drain"), "{}", record.line);
    assert!(server.wait().success());
}

#[test]
fn sigterm_handler_of_an_application_runs_at_the_drain() {
    let mut server = serve(&(route("") + "[process]\ndrain_timeout = '100ms'\n"));
    let mut stream = server.connect();
    ask(&mut stream, "/leave/SIGTERM");
    write!(stream, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    server.wait_line("begun");
    server.signal(Signal::SIGTERM);
    assert!(read_to_end(&mut stream).starts_with("HTTP/1.1 500 "));
    let record = server.record();
    assert_eq!((record.get("outcome"), record.get("exit_code")), ("handler-error", "2"), "{}", record.line);
    assert!(server.wait().success());
}

fn wait_for_ticks(server: &Server, path: &Path) {
    let length = || fs::metadata(path).map_or(0, |file| file.len());
    wait_until("its thread runs", || length() > 0);
    let before = length();
    wait_until("its thread still runs", || length() > before + 2);
    assert!(server.rest().iter().all(|line| !line.contains("ERROR")));
}

#[test]
fn threads_run_while_their_process_waits() {
    let folder = make_folder();
    let path = folder.path().join("ticks");
    let writable = format!("[service.web.confine]\nwritable = ['{}']\n", folder.path().display());
    let server = serve(&(route("") + &writable));
    let mut stream = server.connect();
    ask(&mut stream, &format!("/ticker{}", path.display()));
    wait_for_ticks(&server, &path);
    drop(stream);
    fs::remove_file(&path).unwrap();
    let keys = format!("on_fork = 'signals:start_ticker'\nenvironment = {{ TICKER = '{}' }}", path.display());
    let server = serve(&(route(&keys) + &writable + "[process]\nspares = 1\n"));
    wait_for_ticks(&server, &path);
}

#[test]
fn threads_of_libraries_end_before_the_first_fork() {
    let server = serve(&route_in(Path::new(APPLICATIONS), "atfork:app", ""));
    assert_eq!(content(&server.get("/")), "['pool']");
    assert!(server.rest().iter().all(|line| !line.contains("has started threads")));
}

#[test]
fn hanging_handler_of_a_fork_delays_the_start_alone() {
    let route = |keys| route_in(Path::new(APPLICATIONS), "atforkhang:app", keys);
    let server = serve(&route(""));
    assert_eq!(content(&server.get("/")), "fine");
    server.wait_line("handlers of pthread_atfork(3) have not returned in a child within 1s");
    // A copy does not outlive its fork server.
    let server = serve(&route(""));
    for _ in 0..3 {
        server.wait_line("a handler hangs");
        for fork_server in server.fork_servers() {
            kill(Pid::from_raw(fork_server), Signal::SIGKILL).unwrap();
        }
    }
    wait_until("no copy of an earlier fork server is left", || server.children().is_empty());
}
