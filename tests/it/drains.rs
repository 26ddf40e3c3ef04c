//! A drain, requested or before a stop, and checks that must not be "ok": on older connections, and without a report.

use std::fs;
use std::io::{Read, Write};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use crate::exhaustion::set_limit;
use crate::gate::Gate;
use crate::harness::{ask, connect, connect_unix, read_to_end, run, wait_until};
use crate::health::{CHECKS, Host, keep_alive};
use crate::proxies::ask_again;

#[test]
fn stop_is_announced_for_the_lead_time() {
    let mut host = Host::start(&format!("process.drain_lead = '1h'\nprocess.drain_timeout = '5s'\n{CHECKS}"));
    let mut idle = connect(host.web);
    keep_alive(&mut idle);
    host.server.signal(Signal::SIGTERM);
    let notification = host.server.notification_with("STOPPING=1");
    assert!(notification.contains("STATUS=Draining, still serving: "), "{notification}");
    assert_eq!(host.server.wait_notified("EXTEND_TIMEOUT_USEC="), "3615000000");
    host.server
        .wait_line("stopping in 1h: health checks fail, connections are still served (process.drain_lead)");
    assert_eq!(host.check(), (503, "draining: the daemon is stopping\n".into()));
    assert_eq!(host.agent_line(), "up drain\n");
    assert_eq!(host.state(), ("draining".into(), "stop".into()));
    assert!(keep_alive(&mut idle).contains("\r\nConnection: close\r\n"));
    assert!(keep_alive(&mut connect(host.web)).ends_with("Hello, World!\n"));
    let (code, _, message) = run(&["undrain", "--socket", &host.status]);
    assert_eq!((code, &*message), (71, "lsbaws: the daemon is stopping\n"));
    host.server.signal(Signal::SIGHUP);
    host.server.wait_line("reload ignored: the daemon is stopping");
    host.server.signal(Signal::SIGTERM);
    host.server.wait_line_without("stopping: ", "reloaded");
    assert_eq!(host.server.wait().code(), Some(0));
}

#[test]
fn second_signal_ends_the_lead_time() {
    let mut gate = Gate::new();
    let route = gate.route("/slow");
    let mut host = Host::start(&format!("process.drain_lead = '1h'\n{route}{CHECKS}"));
    let mut busy = connect(host.web);
    write!(busy, "GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    gate.wait_reached();
    // A drain that was requested counts as lead time, of which the rest is in whole seconds.
    host.control("drain");
    host.server.signal(Signal::SIGTERM);
    let line = host.server.wait_line("stopping in ");
    assert!(!line.contains("ms") && !line.contains("us:"), "{line}");
    host.server.signal(Signal::SIGINT);
    host.server.wait_line("stopping: waiting up to 20s for 1 connection to finish");
    gate.open();
    assert!(read_to_end(busy).ends_with("passed"));
    assert_eq!(host.server.wait().code(), Some(0));
}

#[test]
fn older_connection_gets_no_ok_in_a_drain() {
    let health = "[[service.web.route]]\npath = '/health'\nhandler = 'health'\n";
    for process in ["model = 'fork'", "model = 'double-fork'", "spares = 1"] {
        let host = Host::start(&format!("process.{process}\n{health}{CHECKS}"));
        let mut idle = connect(host.web);
        assert!(!keep_alive(&mut idle).contains("Connection: close"));
        host.control("drain");
        let answer = ask(idle, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\ndraining\n"), "{answer}");
    }
}

#[test]
fn every_response_of_a_service_for_checks_closes() {
    let checks = CHECKS.replacen("handler", "path = '/health'\nhandler", 1);
    let host = Host::start(&checks);
    for (request, status) in [("POST /health", 405), ("GET /", 404), ("OPTIONS *", 200)] {
        let answer = ask_again(
            &mut connect(host.health),
            &format!("{request} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
        );
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
}

#[test]
fn iterative_daemon_announces_a_drain() {
    let host = Host::start(&format!("process.model = 'iterative'\n{CHECKS}"));
    host.control("drain");
    assert!(keep_alive(&mut connect(host.web)).contains("\r\nConnection: close\r\n"));
}

#[test]
fn check_fails_when_no_report_can_be_made() {
    if !geteuid().is_root() {
        return; // the descriptors of the daemon are its own
    }
    let host = Host::start(&format!("process.model = 'iterative'\n{CHECKS}"));
    assert_eq!(host.check(), (200, "ok\n".into()));
    host.server.wait_idle();
    let used: Vec<_> = fs::read_dir(format!("/proc/{}/fd", host.server.pid())).unwrap().collect();
    let used: Vec<u32> = used
        .iter()
        .map(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    // One number is free: that of the connection.
    let free = (0..).find(|number| !used.contains(number)).unwrap();
    set_limit(&host.server, &format!("--nofile={}:", free + 1));
    assert_eq!(host.check(), (503, "failed: unable to observe the daemon\n".into()));
    assert_eq!(host.agent_line(), "ready down # failed: unable to observe the daemon\n");
    set_limit(&host.server, "--nofile=512:");
    wait_until("the checks succeed", || host.check().0 == 200);
}

#[test]
fn held_connection_does_not_keep_its_place_for_agent_checks() {
    let host = Host::start(&CHECKS.replace("'agent-check'\n", "'agent-check'\nmax_connections = 1\n"));
    let begin = std::time::Instant::now();
    let held: Vec<_> = (0..10).map(|_| connect(host.agent)).collect();
    (&held[0]).write_all(b"agent-send\n").unwrap();
    assert_eq!(host.agent_line(), "up ready 100%\n");
    let duration = begin.elapsed();
    assert!(duration < std::time::Duration::from_secs(10), "{duration:?}"); // of 2 s each before
}

#[test]
fn request_may_come_in_pieces_and_another_line_gets_no_answer() {
    let host = Host::start(CHECKS);
    for line in ["drain\r\n", "drain\ndrain\n", "drain and much more than that\n"] {
        let mut stream = connect_unix(&host.status);
        stream.write_all(line.as_bytes()).unwrap();
        // Bytes that were not read reset the connection.
        assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0, "{line:?}");
    }
    assert_eq!(host.state().0, "serving");
    let mut stream = connect_unix(&host.status);
    stream.write_all(b"drai").unwrap();
    host.server.wait_idle();
    stream.write_all(b"n\n").unwrap();
    assert_ne!(read_to_end(stream), "");
    assert_eq!(host.state().0, "draining");
}
