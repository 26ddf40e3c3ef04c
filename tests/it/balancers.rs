//! The checks of a real HAProxy, by the handler `health` and the protocol `agent-check`.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::behind::{Proxy, open_socket, start};
use crate::gate::Gate;
use crate::harness::{connect, connect_unix, find_program, make_folder, read_to_end, wait_until};
use crate::health::{CHECKS, Host};

/// HAProxy in front of a host, with these parameters of its server.
struct Balancer {
    proxy: Proxy,
    control: PathBuf,
    _folder: TempDir,
}

impl Balancer {
    fn start(server: SocketAddr, parameters: &str) -> Option<Self> {
        let (program, folder, own) = (find_program("haproxy")?, make_folder(), make_folder());
        let control = own.path().join("control");
        let text = format!(
            "global\n stats socket {} level admin\n\
             defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             frontend web\n bind fd@3\n default_backend hosts\n\
             backend hosts\n option httpchk\n server a {server} weight 100 {parameters}\n",
            control.display()
        );
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, text).unwrap();
        let arguments = ["-q", "-db", "-f", file.to_str().unwrap()].map(str::to_owned);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let proxy = start(&program, &arguments, Signal::SIGKILL, folder, vec![open_socket()]);
        wait_until("HAProxy is ready", || UnixStream::connect(&control).is_ok());
        Some(Self { proxy, control, _folder: own })
    }

    /// The value of a column of its statistics about the server.
    fn column(&self, name: &str) -> String {
        let mut control = connect_unix(&self.control);
        control.write_all(b"show stat\n").unwrap();
        let text = read_to_end(control);
        let mut lines = text.lines();
        let at = lines.next().unwrap().split(',').position(|column| column == name).unwrap();
        let row = lines.find(|line| line.starts_with("hosts,a,")).unwrap();
        row.split(',').nth(at).unwrap().to_owned()
    }

    fn wait(&self, name: &str, value: &str) {
        wait_until(&format!("{name} is {value}"), || self.column(name) == value);
    }
}

const AGENT: &str = "agent-check agent-inter 50ms agent-port";

#[test]
fn haproxy_follows_the_agent() {
    let mut gate = Gate::new();
    let config = format!("[service.web]\nmax_connections = 4\n{}{CHECKS}", gate.route("/slow"));
    let host = Host::start(&config);
    let Some(balancer) = Balancer::start(host.web, &format!("{AGENT} {}", host.agent.port())) else { return };
    balancer.wait("agent_status", "L7OK");
    assert_eq!((balancer.column("status"), balancer.column("weight")), ("no check".into(), "100".into()));
    let mut busy = connect(host.web);
    write!(busy, "GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    gate.wait_reached();
    balancer.wait("weight", "75");
    host.control("drain");
    wait_until("it drains", || balancer.column("status").starts_with("DRAIN"));
    host.control("undrain");
    balancer.wait("status", "no check");
    gate.open();
    balancer.wait("weight", "100");
}

#[test]
fn haproxy_takes_a_failed_host_down_and_up_again() {
    let Some(_) = find_program("python3") else { return };
    let folder = make_folder();
    let directory = folder.path().display();
    fs::write(folder.path().join("broken.py"), "import no_such_module\n").unwrap();
    let shop = format!(
        "[[service.shop.route]]\nhandler = 'wsgi'\napplication = 'broken:app'\ndirectory = '{directory}'\n"
    );
    let host = Host::start(&format!("{shop}{CHECKS}"));
    let Some(balancer) = Balancer::start(host.web, &format!("{AGENT} {}", host.agent.port())) else { return };
    wait_until("it is down", || balancer.column("status").starts_with("DOWN"));
    assert_eq!(balancer.column("last_agt"), "via agent : down (failed: service shop)");
    host.server.reload(&format!("process.status_socket = '{}'\n{CHECKS}", host.status));
    host.server.wait_line("configuration reloaded");
    balancer.wait("status", "no check");
}

#[test]
fn haproxy_checks_the_health() {
    let mut host = Host::start(&format!("process.drain_lead = '1h'\n{CHECKS}"));
    let parameters = format!("check inter 50ms fall 2 rise 1 port {}", host.health.port());
    let Some(balancer) = Balancer::start(host.web, &parameters) else { return };
    balancer.wait("check_status", "L7OK");
    assert_eq!(balancer.column("status"), "UP");
    host.control("drain");
    balancer.wait("status", "DOWN");
    host.control("undrain");
    balancer.wait("status", "UP");
    let mut client = connect(balancer.proxy.addresses[0]);
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(read_to_end(client).ends_with("Hello, World!\n"));
    host.server.signal(Signal::SIGTERM);
    balancer.wait("status", "DOWN");
    assert_eq!(balancer.column("check_code"), "503");
    host.server.signal(Signal::SIGTERM);
    assert_eq!(host.server.wait().code(), Some(0));
}
