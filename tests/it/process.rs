//! Process models, the state of a child, and the record of its end.

use std::fs;
use std::io::{Read, Write};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::gate::Gate;
use crate::harness::{Server, can_look_inside, command, read_to_end, run_client, serve};

const SLOW: &str = "[[service.web.route]]\n[[service.web.route]]\npath = '/slow'\ndelay = '1h'\n";

fn slow_server(model: &str) -> (Server, std::net::TcpStream) {
    let server = serve(&format!("{SLOW}[process]\nmodel = '{model}'\n"));
    let mut stream = server.connect();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    server.wait_delayed_child();
    (server, stream)
}

fn links(pid: i32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    entries.map(|entry| fs::read_link(entry.unwrap().path()).unwrap().display().to_string()).collect()
}

#[test]
fn every_model_serves_and_records() {
    for model in ["fork", "double-fork", "iterative"] {
        let server = serve(&format!("[process]\nmodel = '{model}'\n"));
        // The iterative server cannot serve a connection while another one is open.
        let held = if model == "iterative" { "1" } else { "50" };
        let result = run_client(server.address(), &["--max-clients", "1", "--max-conns", held]);
        assert_eq!(result["answered"]["200"].to_string(), held, "{model}: {result}");
        for _ in 0..held.parse().unwrap() {
            let record = server.record();
            assert_eq!(
                (record.get("outcome"), record.get("end"), record.get("exit_code")),
                ("served", "exited", "0"),
                "{model}"
            );
            let own = i64::from(server.pid().as_raw());
            assert_eq!(record.number("pid") == own, model == "iterative", "{model}");
            assert!(record.number("duration_usec") > 0 && record.number("bytes_out") > 100);
        }
        assert!(server.children().is_empty());
    }
}

#[test]
fn child_holds_only_its_connection() {
    if !can_look_inside() {
        return;
    }
    for model in ["fork", "double-fork"] {
        let (server, _stream) = slow_server(model);
        let sockets = |pid| {
            links(pid)
                .into_iter()
                .filter(|link| link.starts_with("socket:") || link.starts_with("anon_inode:"))
        };
        let child = server.children()[0];
        // The listeners, the channel of the fork server, the scoreboard and all other connections are closed. The log is open
        // twice.
        assert_eq!(sockets(child).count(), 1, "{model}: {:?}", links(child));
        assert_eq!(links(child).len(), 5, "{model}: {:?}", links(child));
    }
}

#[test]
fn child_has_default_signal_dispositions() {
    let (server, _stream) = slow_server("fork");
    let status = fs::read_to_string(format!("/proc/{}/status", server.children()[0])).unwrap();
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let bit = |signal: Signal| 1_u64 << (signal as i32 - 1);
    let of_the_supervisor = [Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];
    let blocked: u64 = of_the_supervisor.into_iter().chain([Signal::SIGURG]).map(bit).sum();
    assert_eq!(mask("SigBlk:"), blocked, "signals for the supervisor alone, and the one that wakes a child");
    assert_eq!(mask("SigCgt:"), bit(Signal::SIGURG), "no other signal has a handler");
    let is_ignored = |signal: Signal| mask("SigIgn:") & (1 << (signal as i32 - 1)) != 0;
    assert!(is_ignored(Signal::SIGPIPE), "a write to a closed connection is an error and does not kill");
    assert!(![Signal::SIGTERM, Signal::SIGSEGV, Signal::SIGBUS].into_iter().any(is_ignored));
}

#[test]
fn record_of_a_killed_child_names_its_request() {
    for model in ["fork", "double-fork"] {
        let (server, mut stream) = slow_server(model);
        kill(Pid::from_raw(server.children()[0]), Signal::SIGKILL).unwrap();
        let record = server.record();
        let expected = [
            ("end", "killed"),
            ("signal", "SIGKILL"),
            ("outcome", "killed"),
            ("method", "GET"),
            ("target", "/slow"),
            ("phase", "handling"),
            ("handler", "respond"),
            ("service", "web"),
            ("listener", "web"),
            ("requests", "1"),
            ("status", ""),
            ("exit_code", ""),
            ("terminated_by", ""),
        ];
        for (name, value) in expected {
            assert_eq!(record.get(name), value, "{model}: {name} in {}", record.line);
        }
        assert!(
            record.line.contains("GET /slow, child killed by SIGKILL while handling, after "),
            "{}",
            record.line
        );
        assert!(record.line.starts_with("ERROR"), "{}", record.line);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the connection is closed");
        assert!(server.get("/").ends_with("Hello, World!\n"), "other connections are served");
    }
}

#[test]
fn realtime_signal_is_recorded_by_number() {
    let (server, _stream) = slow_server("fork");
    command("kill").args(["-40", &server.children()[0].to_string()]).status().unwrap();
    let record = server.record();
    assert_eq!(record.get("end"), "killed");
    assert!(record.line.contains("signal=\"signal 40\""), "{}", record.line);
}

#[test]
fn double_forked_child_outlives_a_killed_daemon() {
    let mut gate = Gate::new();
    let mut server = serve(&format!("[process]\nmodel = 'double-fork'\n{}", gate.route("/")));
    let mut stream = server.connect();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    gate.wait_reached();
    server.signal(Signal::SIGKILL);
    server.wait();
    gate.open();
    assert!(read_to_end(stream).ends_with("passed"));
}
