//! The handler `health`, the protocol `agent-check`, and what they report of a drain.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;

use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::gate::Gate;
use crate::harness::{
    LSBAWS, Server, Setup, ask, command, connect, find_program, make_folder, read_to_end, run, serve, skip,
    wait_until,
};
use crate::proxies::ask_again;

/// A service for each kind of check, and behind them one with content.
pub const CHECKS: &str = "[[service.health.route]]\nhandler = 'health'\n[service.agent]\nprotocol = 'agent-check'\n\
     [[service.web.route]]\n";

/// A daemon with a socket for each of these services, and their addresses.
pub struct Host {
    pub server: Server,
    pub web: SocketAddr,
    pub health: SocketAddr,
    pub agent: SocketAddr,
    pub status: String,
    _folder: TempDir,
}

impl Host {
    pub fn start(config: &str) -> Self {
        let folder = make_folder();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let status = folder.path().join("status.sock").to_str().unwrap().to_owned();
        let sockets = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [web, health, agent] = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let config = format!("process.status_socket = '{status}'\n{config}");
        let setup = sockets.into_iter().fold(Setup::new(&config), Setup::socket);
        let server = setup.names("web:health:agent").start();
        Self { server, web, health, agent, status, _folder: folder }
    }

    /// The status and the content of a check.
    pub fn check(&self) -> (u16, String) {
        check(self.health, "GET", "/", "")
    }

    pub fn agent_line(&self) -> String {
        read_to_end(connect(self.agent))
    }

    pub fn control(&self, word: &str) {
        assert_eq!(run(&[word, "--socket", &self.status]), (0, String::new(), String::new()), "{word}");
    }

    pub fn state(&self) -> (String, serde_json::Value) {
        let (_, text, _) = run(&["status", "--json", "--socket", &self.status]);
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        (report["daemon"]["state"].as_str().unwrap().to_owned(), report["daemon"]["drain"].clone())
    }
}

fn check(address: SocketAddr, method: &str, target: &str, fields: &str) -> (u16, String) {
    let answer = ask(connect(address), &format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let (head, content) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.contains("\r\nCache-Control: no-store") && head.contains("\r\nConnection: close"), "{head}");
    (head[9..12].parse().unwrap(), content.to_owned())
}

pub fn keep_alive(stream: &mut TcpStream) -> String {
    ask_again(stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
}

const REQUESTED: &str = "draining: requested by \"lsbaws drain\"\n";

#[test]
fn health_is_ok_while_the_daemon_serves() {
    for process in ["model = 'fork'", "model = 'double-fork'", "spares = 1", "model = 'iterative'"] {
        let host = Host::start(&format!("process.{process}\n{CHECKS}"));
        for _ in 0..3 {
            assert_eq!(host.check(), (200, "ok\n".into()), "{process}");
            assert_eq!(host.agent_line(), "up ready 100%\n", "{process}");
        }
        let json = "Accept: application/json\r\n";
        assert_eq!(check(host.health, "GET", "/a", json), (200, "{\"status\":\"ok\"}\n".into()));
        assert_eq!(check(host.health, "HEAD", "/", ""), (200, String::new()));
        // The default of HAProxy's "option httpchk".
        assert_eq!(check(host.health, "OPTIONS", "/", "").0, 200);
    }
}

#[test]
fn drain_is_answered_by_checks_and_ended() {
    let host = Host::start(CHECKS);
    let mut idle = connect(host.web);
    assert!(!keep_alive(&mut idle).contains("Connection: close"));
    host.control("drain");
    host.server
        .wait_line("draining, as requested: health checks fail, connections are still served peer=unix:uid=");
    assert_eq!(host.check(), (503, REQUESTED.into()));
    assert_eq!(check(host.health, "OPTIONS", "/", "").0, 503);
    let json = check(host.health, "GET", "/", "Accept: application/json\r\n");
    assert_eq!(json.1, "{\"status\":\"draining\",\"reason\":\"requested by \\\"lsbaws drain\\\"\"}\n");
    assert_eq!(host.agent_line(), "up drain\n");
    assert_eq!(host.state(), ("draining".into(), "request".into()));
    let (_, text, _) = run(&["status", "--socket", &host.status]);
    assert!(text.lines().next().unwrap().contains(": draining (lsbaws drain), up for "), "{text}");
    host.server.wait_notified("STATUS=Draining, still serving: listeners 3, connections");
    // No request on a connection that is kept open is lost, and the proxy learns that it is the last one.
    let answer = keep_alive(&mut idle);
    assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("Hello, World!\n"), "{answer}");
    let mut new = connect(host.web);
    assert!(keep_alive(&mut new).contains("\r\nConnection: close\r\n"));
    host.control("drain"); // again
    host.control("undrain");
    host.server.wait_line_without("serving again, as requested peer=unix:uid=", "draining, as requested");
    assert_eq!((host.check().0, host.agent_line()), (200, "up ready 100%\n".into()));
    assert_eq!(host.state(), ("serving".into(), serde_json::Value::Null));
    assert!(!keep_alive(&mut connect(host.web)).contains("Connection: close"));
}

#[test]
fn idle_connection_keeps_open_when_a_drain_ends() {
    let host = Host::start(CHECKS);
    let mut idle = connect(host.web);
    keep_alive(&mut idle);
    host.control("drain");
    host.control("undrain");
    assert!(!keep_alive(&mut idle).contains("Connection: close"));
    assert!(keep_alive(&mut idle).ends_with("Hello, World!\n"));
}

#[test]
fn drain_survives_a_reload_and_prevents_the_idle_exit() {
    let mut host = Host::start(CHECKS);
    host.control("drain");
    host.server.reload(&format!(
        "process.status_socket = '{}'\nprocess.idle_timeout = '100ms'\n{CHECKS}",
        host.status
    ));
    host.server.wait_line("configuration reloaded");
    assert_eq!(host.check(), (503, REQUESTED.into()));
    assert_eq!(host.state(), ("draining".into(), "request".into()));
    host.control("undrain");
    assert_eq!(host.server.wait().code(), Some(0), "it is idle");
}

#[test]
fn full_service_fails_its_checks_unless_a_connection_is_idle() {
    let mut gate = Gate::new();
    let config = format!(
        "[limits]\nmax_connections = 40\n[service.web]\nmax_connections = 2\n{}{CHECKS}",
        gate.route("/slow")
    );
    let host = Host::start(&config);
    let mut busy = connect(host.web);
    write!(busy, "GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    gate.wait_reached();
    assert_eq!((host.check().0, host.agent_line()), (200, "up ready 50%\n".into()));
    let mut idle = connect(host.web);
    keep_alive(&mut idle);
    wait_until("the second is idle", || host.agent_line() == "up ready 50%\n");
    assert_eq!(host.check().0, 200);
    let (mut reading, request) = (idle, b"GET / HTTP/1.1\r\n");
    reading.write_all(request).unwrap();
    wait_until("no connection is idle", || host.check() == (503, "full: service web\n".into()));
    assert_eq!(host.agent_line(), "up ready 1%\n");
    drop(reading);
    wait_until("a place is free", || host.check().0 == 200);
    gate.open();
    assert!(read_to_end(busy).ends_with("passed"));
}

#[test]
fn checks_are_answered_when_all_other_places_are_taken() {
    let config = "[limits]\nmax_connections = 20\nhead_timeout = '1h'\n";
    let few = "[service.health]\nmax_connections = 2\n";
    let host = Host::start(&format!("{config}{few}{CHECKS}"));
    let _open: Vec<_> = (0..20).map(|_| connect(host.web)).collect();
    wait_until("the service is full", || host.check() == (503, "full: service web\n".into()));
    assert_eq!(host.agent_line(), "up ready 1%\n");
}

#[test]
fn scope_names_the_services_of_a_check() {
    let config = "[service.web]\nmax_connections = 1\n[[service.health.route]]\nhandler = 'health'\n\
         services = ['agent']\nformat = 'json'\n[service.agent]\nprotocol = 'agent-check'\nservices = 'web'\n";
    let host = Host::start(config);
    let _open = connect(host.web);
    wait_until("the service is full", || host.agent_line() == "up ready 1%\n");
    assert_eq!(host.check(), (200, "{\"status\":\"ok\"}\n".into()));
    let set = "service.health.route=[{handler='health',services=['web','none']}]";
    let (code, _, message) = run(&["check", "--set", set, "--set", "service.web.reserve=0"]);
    assert_eq!(code, 78);
    let expected =
        "service.health.route[0].services[1]: no service has the name \"none\" (configured: health, web)";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn route_for_checks_and_the_status_share_a_service() {
    let server = serve(
        "[[service.web.route]]\npath = '/health'\nhandler = 'health'\n\
         [[service.web.route]]\npath = '/status'\nhandler = 'status'\n[[service.web.route]]\n",
    );
    for _ in 0..2 {
        assert_eq!(check(server.address(), "GET", "/health", ""), (200, "ok\n".into()));
        assert!(server.get("/status").contains("lsbaws_draining 0\n"));
    }
    let post = ask(server.connect(), "POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
}

#[test]
fn single_connection_is_healthy() {
    use std::os::unix::net::UnixStream;
    for (config, request, expected) in [
        ("[[service.web.route]]\nhandler = 'health'\n", "GET / HTTP/1.0\r\n\r\n", "\r\n\r\nok\n"),
        ("[service.web]\nprotocol = 'agent-check'\n", "", "up ready 100%\n"),
    ] {
        let (client, socket) = UnixStream::pair().unwrap();
        let mut server = Setup::new(config).socket(socket).names("connection").spawn();
        let answer = ask(client, request);
        assert!(answer.ends_with(expected), "{answer}");
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn application_that_cannot_be_loaded_fails_the_checks() {
    if find_program("python3").is_none() {
        return skip("there is no python3");
    }
    let folder = make_folder();
    fs::write(folder.path().join("broken.py"), "import no_such_module\n").unwrap();
    let directory = folder.path().display();
    let host = Host::start(&format!(
        "[[service.shop.route]]\nhandler = 'wsgi'\napplication = 'broken:app'\ndirectory = '{directory}'\n{CHECKS}"
    ));
    wait_until("the checks fail", || host.check() == (503, "failed: service shop\n".into()));
    assert_eq!(host.agent_line(), "ready down # failed: service shop\n");
}

#[test]
fn only_root_and_the_user_of_the_daemon_may_drain() {
    if !geteuid().is_root() {
        return skip("only root can be two users");
    }
    let host = Host::start(CHECKS);
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&host.status, fs::Permissions::from_mode(0o666)).unwrap();
    let mut drain = command(LSBAWS);
    drain.args(["drain", "--socket", &host.status]).uid(65534).gid(65534);
    assert_eq!(drain.output().unwrap().status.code(), Some(77));
    assert_eq!(host.check().0, 200);
    assert_eq!(run(&["drain", "--socket", "/nonexistent"]).0, 69);
    let Some(setpriv) = find_program("setpriv") else { return };
    // As the programs of a service that runs as root.
    let mut drain = command(setpriv);
    drain.args(["--no-new-privs", LSBAWS, "drain", "--socket", &host.status]);
    assert_eq!(drain.output().unwrap().status.code(), Some(77));
    assert_eq!(host.check().0, 200);
}

#[test]
fn agent_line_is_read_when_the_balancer_sends_something() {
    let host = Host::start(&format!("{CHECKS}[log]\nlevel = 'debug'\n"));
    let mut stream = connect(host.agent);
    stream.write_all(b"agent-send\n").unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    assert_eq!(line, "up ready 100%\n");
    drop(stream);
    let record = host.server.record();
    assert_eq!((record.get("handler"), record.get("outcome")), ("agent-check", "served"), "{}", record.line);
    assert!(record.line.contains("DEBUG"), "{}", record.line);
    assert!(record.line.contains(": agent-check -> up ready 100%, served, after "), "{}", record.line);
}
