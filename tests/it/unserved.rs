//! Sockets that no service is for, and services that no listener leads to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use nix::sys::signal::Signal;

use crate::harness::{Server, Setup, ask, connect, read_to_end, run, serve, wait_until};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

fn tcp() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn body(name: &str) -> String {
    format!("[[service.{name}.route]]\nbody = 'this is {name}'\n")
}

/// A client whose request waits in the backlog.
fn wait_at(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(REQUEST.as_bytes()).unwrap();
    stream
}

/// A daemon with two sockets of these names.
fn start_two(config: &str, names: &'static str) -> (Server, SocketAddr, SocketAddr) {
    let ((first, at_first), (second, at_second)) = (tcp(), tcp());
    (Setup::new(config).socket(first).socket(second).names(names).start(), at_first, at_second)
}

#[test]
fn socket_without_a_service_does_not_stop_the_others() {
    let (server, web, other) = start_two(&body("web"), "web:other");
    let line = server.wait_line("is not served");
    assert!(line.contains("ERROR "), "{line}");
    for part in [
        &format!("socket \"other\" ({other}) is not served: no [service.other]"),
        "(configured: web)",
        "FileDescriptorName=",
        "listener=\"other\"",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(server.wait_line("serving on").contains(&format!("serving on {web} (web)")));
    let waiting = wait_at(other);
    assert!(ask(connect(web), REQUEST).ends_with("this is web"));
    // A reload brings the service, and what has waited is served.
    server.reload(&(body("web") + &body("other")));
    assert!(read_to_end(waiting).ends_with("this is other"));
    assert!(server.wait_line("configuration reloaded").contains("(other)"));
}

#[test]
fn unit_of_a_socket_without_a_name_is_in_the_entry() {
    let (server, web, _) = start_two(&body("web"), "web:rsync-own.socket");
    let line = server.wait_line("is not served");
    assert!(line.contains("no [service.rsync-own]"), "{line}");
    assert!(line.contains("its unit rsync-own.socket has no FileDescriptorName="), "{line}");
    assert!(ask(connect(web), REQUEST).ends_with("this is web"));
}

#[test]
fn reload_that_removes_a_service_leaves_its_socket() {
    let both = body("web") + &body("other");
    let (server, web, other) = start_two(&both, "web:other");
    server.reload(&body("web"));
    server.wait_line("no [service.other]");
    let waiting = wait_at(other);
    assert!(ask(connect(web), REQUEST).ends_with("this is web"));
    // None is left: the reload fails.
    server.reload(&body("third"));
    server.wait_line("reload failed, keeping the running configuration: no [service.web]");
    assert!(ask(connect(web), REQUEST).ends_with("this is web"));
    server.reload(&both);
    assert!(read_to_end(waiting).ends_with("this is other"));
}

#[test]
fn socket_of_another_kind_does_not_stop_the_others() {
    let (listener, address) = tcp();
    let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = Setup::new("").socket(datagram).socket(listener).names("dns:web").start();
    let line = server.wait_line("is not served");
    assert!(line.contains("socket \"dns\" (descriptor 3) is not served: expected a stream socket"), "{line}");
    assert!(ask(connect(address), REQUEST).ends_with("Hello, World!\n"));
}

#[test]
fn another_service_never_takes_the_web_port() {
    let rsync = "[service.rsync]\nprotocol = 'exec'\ncommand = ['/bin/echo', 'this is rsync']\n";
    let (server, web, other) = start_two(rsync, "web:rsync");
    server.wait_line("no [service.web]");
    let mut waiting = wait_at(web);
    assert_eq!(read_to_end(connect(other)), "this is rsync\n");
    server.reload(&(rsync.to_owned() + &body("web")));
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("this is web"), "{answer}");
    // Without sockets, the default listener is that of the service web.
    let mut alone = Setup::new(rsync).spawn();
    assert_eq!(alone.wait().code(), Some(78));
    alone.wait_line("no [service.web] for listener \"web\" (configured: rsync)");
}

#[test]
fn sockets_without_names_lead_to_the_service_web() {
    let ((first, at_first), (second, at_second)) = (tcp(), tcp());
    let config = body("a") + &body("web");
    let server = Setup::new(&config).socket(first).socket(second).start();
    for address in [at_first, at_second] {
        assert!(ask(connect(address), REQUEST).ends_with("this is web"));
    }
    drop(server);
    // A service of the name that they have instead of one takes them.
    let (listener, address) = tcp();
    let _server = Setup::new(&(config + &body("unknown"))).socket(listener).start();
    assert!(ask(connect(address), REQUEST).ends_with("this is unknown"));
}

#[test]
fn service_without_a_listener_is_one_warning() {
    let config = body("web") + &body("other");
    let server = serve(&config);
    let count =
        |lines: &[String]| lines.iter().filter(|line| line.contains("no listener leads to it")).count();
    let warning = "service other: no listener leads to it; add [listen.other], or a socket unit with FileDescriptorName=other";
    assert!(server.wait_line(warning).contains("WARN "));
    server.wait_line("serving on");
    server.reload(&config);
    server.wait_line(warning);
    server.wait_line("configuration reloaded");
    server.reload(&body("web"));
    server.wait_line("configuration reloaded");
    server.reload(&body("web"));
    server.wait_line("configuration reloaded");
    let mut server = server;
    server.stop();
    assert_eq!(count(&server.lines_to_end()), 0);
}

#[test]
fn check_warns_of_a_service_without_a_listener() {
    let (code, text, _) = run(&["check", "--set", "service={web={},other={}}"]);
    assert_eq!(code, 0);
    let lines: Vec<_> = text.lines().filter(|line| line.contains("no listener")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].starts_with("warning: service other: no listener leads to it"), "{text}");
    let (code, text, _) =
        run(&["check", "--set", "service={other={}}", "--set", "listen.other.address='127.0.0.1:1'"]);
    assert_eq!((code, text.contains("no listener")), (0, false), "{text}");
    // The default listener, which is that of lsbaws.socket, leads nowhere.
    let (code, text, _) = run(&["check", "--set", "service={other={}}"]);
    assert_eq!(code, 0);
    assert!(text.contains("warning: no [service.web] for listener \"web\" (configured: other)"), "{text}");
}

#[test]
fn daemon_stays_while_a_connection_waits_without_a_service() {
    // systemd would start it again at once, and again after each idle_timeout.
    let config = |services: &str| format!("[process]\nidle_timeout = '1s'\n{services}");
    let ((first, _), (second, other)) = (tcp(), tcp());
    let waiting = wait_at(other);
    let setup = Setup::new(&config(&body("web"))).socket(first).socket(second).names("web:other");
    let mut server = setup.start();
    wait_until("the daemon serves for longer", || {
        server.signal(Signal::SIGUSR1);
        let line = server.wait_line("status: ");
        !["for 0s", "for 1s", "for 2s"].iter().any(|age| line.contains(age))
    });
    server.reload(&config(&(body("web") + &body("other"))));
    assert!(read_to_end(waiting).ends_with("this is other"));
    assert_eq!(server.wait().code(), Some(0));
    server.wait_line("idle for 1s, exiting");
}
