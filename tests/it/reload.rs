//! Reload (SIGHUP) while connections are open.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::harness::{
    Setup, ask, can_look_inside, connect_unix, make_folder, read_to_end, serve, wait_until,
};

const KEEP: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const CLOSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const ECHO: &str = "[service.web]\nprotocol = 'exec'\ncommand = '/bin/cat'\n";

fn saying(body: &str) -> String {
    format!("[[service.web.route]]\nbody = '{body}'\n")
}

fn read_some(stream: &mut impl Read) -> String {
    let mut bytes = [0; 4096];
    let count = stream.read(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[test]
fn reload_applies_to_new_connections() {
    let server = serve(&saying("old"));
    let mut before = server.connect();
    before.write_all(KEEP.as_bytes()).unwrap();
    assert!(read_some(&mut before).ends_with("old"));
    server.reload(&saying("new"));
    let reloading = server.notification_with("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    let ready = server.notification_with("READY=1");
    assert!(ready.contains("STATUS=Serving: "), "{ready}");
    assert!(server.get("/").ends_with("new"));
    assert!(ask(before, CLOSE).ends_with("old"), "an open connection keeps its configuration");
    server.wait_line("configuration reloaded, serving on 127.0.0.1:");
}

#[test]
fn reload_with_errors_changes_nothing() {
    let server = serve(&saying("old"));
    server.reload("[limits]\nmax_conections = 3\nhead_timeout = 'x'\n");
    let line = server.wait_line("reload failed, keeping the running configuration: ");
    assert!(line.contains("lsbaws.toml:2: limits.max_conections: unknown key"), "{line}");
    assert!(line.contains("lsbaws.toml:3: limits.head_timeout: expected a time"), "{line}");
    server.notification_with("READY=1");
    assert!(server.get("/").ends_with("old"));
    // A configuration without a service for a listener is an error.
    server.reload("[service.a]\n[service.b]\n");
    let line = server.wait_line("reload failed");
    assert!(line.contains("no [service.web] for listener \\\"web\\\""), "{line}");
    assert!(server.get("/").ends_with("old"));
    server.reload(&saying("new"));
    server.wait_line("configuration reloaded");
    assert!(server.get("/").ends_with("new"));
}

#[test]
fn reload_raises_and_lowers_limits() {
    let server = serve("[limits]\nmax_connections = 1\n");
    let mut first = server.connect();
    first.write_all(KEEP.as_bytes()).unwrap();
    read_some(&mut first);
    let mut second = server.connect();
    second.write_all(CLOSE.as_bytes()).unwrap();
    server.reload("[limits]\nmax_connections = 2\nmax_head_size = '64 KiB'\n");
    assert!(read_to_end(second).ends_with("Hello, World!\n"), "the limit permits a second connection");
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\nConnection: close\r\n\r\n", "x".repeat(40_000));
    assert!(ask(server.connect(), &long).starts_with("HTTP/1.1 200 "));
    server.reload("[limits]\nmax_connections = 1\n");
    server.wait_line("configuration reloaded");
    server.wait_line("configuration reloaded");
    let mut third = server.connect();
    third.write_all(CLOSE.as_bytes()).unwrap();
    third.set_nonblocking(true).unwrap();
    assert_eq!(
        third.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "it is in the backlog until the first ends"
    );
    third.set_nonblocking(false).unwrap();
    assert!(ask(first, CLOSE).ends_with("Hello, World!\n"));
    assert!(read_to_end(third).ends_with("Hello, World!\n"));
}

#[test]
fn reload_changes_the_log_level() {
    let server = serve("[log]\nlevel = 'error'\n");
    server.get("/unseen");
    server.wait_ended(1);
    server.reload("");
    server.notification_with("RELOADING=1");
    server.notification_with("READY=1");
    server.get("/seen");
    assert_eq!(server.record().get("target"), "/seen");
}

#[test]
fn reload_adds_and_removes_bound_listeners() {
    let folder = make_folder();
    let listen = |name: &str, files: &[&str]| {
        let paths: Vec<_> =
            files.iter().map(|file| format!("'{}'", folder.path().join(file).display())).collect();
        format!("[listen.{name}]\naddress = [{}]\n", paths.join(", "))
    };
    let connect = |file: &str| connect_unix(folder.path().join(file));
    let mut server = Setup::new(&(listen("web", &["a", "b"]) + &saying("one"))).start();
    let mut held = connect("a");
    held.write_all(KEEP.as_bytes()).unwrap();
    read_some(&mut held);
    // A client is in the backlog of a listener that is removed.
    server.signal(Signal::SIGSTOP);
    let mut waiting = connect("a");
    waiting.write_all(CLOSE.as_bytes()).unwrap();
    server.reload(&(listen("web", &["b", "c"]) + &saying("two")));
    server.signal(Signal::SIGCONT);
    assert!(read_to_end(waiting).starts_with("HTTP/1.1 200 "));
    server.wait_line("configuration reloaded");
    assert!(ask(connect("b"), CLOSE).ends_with("two"));
    assert!(ask(connect("c"), CLOSE).ends_with("two"));
    assert!(ask(held, CLOSE).ends_with("one"));
    assert!(!Path::new(&folder.path().join("a")).exists());
    // If one address cannot be bound, the others are not bound either.
    server.reload(&(listen("web", &["d", "none/e"]) + &saying("three")));
    server.wait_line("reload failed");
    assert!(!Path::new(&folder.path().join("d")).exists());
    assert!(ask(connect("c"), CLOSE).ends_with("two"));
    server.stop();
}

#[test]
fn reloads_lose_no_connection_and_leak_nothing() {
    if !can_look_inside() {
        return;
    }
    let server = serve("[process]\nspares = 2\n");
    // The first one opens the list of children.
    server.reload("[process]\nspares = 2\n");
    server.wait_line("configuration reloaded");
    server.get("/");
    server.record();
    wait_until("its spare is replaced", || {
        server.signal(Signal::SIGUSR1);
        server.wait_line("status: ").contains(", 2 spares,")
    });
    let before = server.count_fds();
    for round in 0..50 {
        server.reload(&format!("[process]\nspares = 2\n{}", saying(&round.to_string())));
        assert!(server.get("/").starts_with("HTTP/1.1 200 "));
    }
    server.reload(&format!("[process]\nspares = 2\n{}", saying("last")));
    wait_until("the last configuration is in use", || server.get("/").ends_with("last"));
    wait_until("no descriptor is leaked", || server.count_fds() <= before);
}

#[test]
fn reload_restores_a_retiring_listener() {
    let folder = make_folder();
    let path = |file: &str| folder.path().join(file);
    let listen = |files: &[&str]| {
        let paths: Vec<_> = files.iter().map(|file| format!("'{}'", path(file).display())).collect();
        let paths = paths.join(", ");
        format!("[limits]\nmax_connections = 1\n[listen.web]\naddress = [{paths}]\n{ECHO}")
    };
    let server = Setup::new(&listen(&["a", "b"])).start();
    let mut held = connect_unix(path("a"));
    held.write_all(b"held").unwrap();
    held.read_exact(&mut [0; 4]).unwrap();
    let waiting = connect_unix(path("a"));
    // The limit keeps the connection in the backlog, so the listener stays open.
    server.reload(&listen(&["b"]));
    server.wait_line("configuration reloaded");
    server.reload(&listen(&["a", "b"]));
    server.wait_line("configuration reloaded");
    let again = connect_unix(path("a"));
    drop(held);
    for mut stream in [waiting, again] {
        stream.write_all(b"served").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(stream), "served");
    }
}
