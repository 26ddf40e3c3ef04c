//! Spares: children forked ahead of their connections.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{
    Server, Setup, ask, can_look_inside, connect, make_folder, run, run_client, serve, wait_dead, wait_until,
};

/// Waits until the supervisor has so many spares: they report to it by themselves.
fn wait_spares(server: &Server, count: usize) {
    let spares = format!(", {count} spares,");
    wait_until("the spares have reported", || {
        server.signal(Signal::SIGUSR1);
        server.wait_line("status: ").contains(&spares)
    });
}

#[test]
fn spare_serves_one_connection_and_is_replaced() {
    let mut server = serve("[process]\nspares = 2\n");
    wait_spares(&server, 2);
    let mut spares: HashSet<i64> = server.children().into_iter().map(i64::from).collect();
    assert_eq!(spares.len(), 2);
    for _ in 0..5 {
        assert!(server.get("/").ends_with("Hello, World!\n"));
        let record = server.record();
        assert!(spares.remove(&record.number("pid")), "{}", record.line);
        assert_eq!((record.get("outcome"), record.get("handler")), ("served", "respond"));
        wait_spares(&server, 2);
        spares.extend(server.children().into_iter().map(i64::from));
    }
    server.stop();
    let lines = server.lines_to_end();
    assert!(lines.iter().any(|line| line.contains("stopped after 5 connections")), "{lines:?}");
}

#[test]
fn more_clients_than_spares_are_served() {
    let server = serve("[process]\nspares = 3\n[limits]\nmax_connections = 8\n");
    let result = run_client(server.address(), &["--max-conns", "100"]);
    assert_eq!(result["answered"]["200"], 100, "{result}");
    for _ in 0..100 {
        assert_eq!(server.record().get("outcome"), "served");
    }
}

/// Waits until a spare waits for its connection, so that it has closed the descriptors that it does not need. (The
/// kernel has no event for that.)
fn wait_ready(spare: i32) {
    wait_until("a spare waits for its connection", || {
        fs::read_to_string(format!("/proc/{spare}/wchan")).unwrap().contains("wait_for_more_packets")
    });
}

#[test]
fn spare_holds_only_the_descriptors_it_needs() {
    if !can_look_inside() {
        return;
    }
    let folder = make_folder();
    let server = serve(&format!(
        "[process]\nspares = 2\n[[service.web.route]]\nhandler = 'files'\nroot = '{}'\n",
        folder.path().display()
    ));
    for spare in server.children() {
        wait_ready(spare);
        let links = fs::read_dir(format!("/proc/{spare}/fd")).unwrap();
        let names: Vec<_> = links.map(|link| fs::read_link(link.unwrap().path()).unwrap()).collect();
        let sockets = names.iter().filter(|name| name.to_string_lossy().starts_with("socket:")).count();
        assert!(sockets <= 2, "its own channel and that of the fork server: {names:?}");
    }
}

#[test]
fn killed_spares_lose_no_connection() {
    let server = serve("[process]\nspares = 2\n");
    for spare in server.children() {
        kill(Pid::from_raw(spare), Signal::SIGKILL).unwrap();
        wait_dead(Pid::from_raw(spare));
    }
    for _ in 0..3 {
        assert!(server.get("/").ends_with("Hello, World!\n"));
        assert_eq!(server.record().get("end"), "exited");
    }
}

#[test]
fn stopped_spare_does_not_keep_the_daemon() {
    let mut server = serve("[process]\nspares = 2\ndrain_timeout = '100ms'\n");
    for spare in server.children() {
        kill(Pid::from_raw(spare), Signal::SIGSTOP).unwrap();
    }
    server.stop();
}

#[test]
fn spares_serve_every_listener() {
    let sockets = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let [web, echo] = sockets;
    let config =
        "[process]\nspares = 2\n[service.web]\n[service.echo]\nprotocol = 'exec'\ncommand = '/bin/cat'\n";
    let server = Setup::new(config).socket(web).socket(echo).names("web:echo").start();
    for _ in 0..3 {
        let mut stream = connect(addresses[1]);
        stream.write_all(b"so it is").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(ask(stream, ""), "so it is");
        assert_eq!(server.record().get("service"), "echo");
        let answer = ask(connect(addresses[0]), "GET / HTTP/1.0\r\n\r\n");
        assert!(answer.ends_with("Hello, World!\n"));
        let record = server.record();
        assert_eq!(record.get("service"), "web");
        assert!(record.get("peer").starts_with("127.0.0.1:"), "{}", record.line);
    }
}

#[test]
fn spares_need_the_model_fork() {
    let (code, _, message) =
        run(&["check", "--set", "process.spares=1", "--set", "process.model=double-fork"]);
    assert_eq!(code, 78);
    assert!(message.contains("process.spares: expected 0 with model = \"double-fork\""), "{message}");
}
