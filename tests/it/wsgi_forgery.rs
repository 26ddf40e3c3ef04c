//! An application that turns what its process has against the supervisor and other services: tests/wsgi/forgery.py.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use crate::harness::{Server, Setup, ask, connect};
use crate::proxies::ask_again;
use crate::wsgi_template::{content, route_in};

const APPLICATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wsgi");

/// A daemon with the services `web` and `app`.
fn serve_both() -> (Server, [SocketAddr; 2]) {
    let sockets = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let route = route_in(Path::new(APPLICATIONS), "forgery:app", "").replace("service.web", "service.app");
    let [web, app] = sockets;
    let setup = Setup::new(&format!("[limits]\nkeepalive_timeout = '1h'\n[service.web]\n{route}"))
        .socket(web)
        .socket(app)
        .names("web:app");
    (setup.start(), addresses)
}

fn ask_application(address: SocketAddr, target: &str) -> String {
    content(&ask(connect(address), &request(target))).to_owned()
}

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

/// Reports that only a fork server may send, as postcard encodes them (`lsbaws::handover::Report`): each is well-formed.
const OF_FORK_SERVERS: [(&str, &str); 8] = [
    ("Ready", "0000"),
    ("Failed", "0101610000"),
    ("NoSpare", "0516"),
    ("NotForked", "070016"),
    ("Outdated with slot 0", "080100"),
    ("Outdated", "0800"),
    ("Changed", "09"),
    ("Warning", "0a0161"),
];

#[test]
fn forged_report_ends_no_process() {
    let (server, [web, address]) = serve_both();
    let mut open = connect(web);
    ask_again(&mut open, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let others = server.children();
    // That a child is ready as a spare, has started for the connection of another service, or is a spare: it may end itself.
    for report in ["03", "0600", "0601", "02"] {
        ask(connect(address), &request(&format!("/report/{report}")));
        assert_eq!(ask_application(address, "/fine"), "fine", "{report}");
    }
    assert!(server.rest().iter().all(|line| !line.contains("another process")), "these are about the sender");
    for (name, report) in OF_FORK_SERVERS {
        assert_eq!(ask_application(address, &format!("/report/{report}")), "sent", "{name}");
        server.wait_line("has sent a report about another process; killing its fork server");
        assert_eq!(ask_application(address, "/fine"), "fine", "{name}");
    }
    ask_again(&mut open, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let children = server.children();
    assert!(others.iter().all(|pid| children.contains(pid)), "{others:?} {children:?}");
}

#[test]
fn application_reaches_no_record_of_another_service() {
    let (server, [web, address]) = serve_both();
    let mut open = connect(web);
    ask_again(&mut open, "GET /?token=secret HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(ask_application(address, "/find//find"), "True");
    assert_eq!(ask_application(address, "/find/token/=secret"), "False");
    assert_eq!(ask_application(address, "/smash"), "smashed");
    drop(open);
    let record = server.record_of("/?token=secret");
    assert_eq!((record.get("outcome"), record.get("requests")), ("served", "1"), "{}", record.line);
    assert_eq!(ask_application(address, "/fine"), "fine");
}

#[test]
fn application_does_not_change_the_size_of_the_scoreboard() {
    let (_server, [_, address]) = serve_both();
    for size in [0, 1_u64 << 40] {
        assert_eq!(ask_application(address, &format!("/size/{size}")), "Operation not permitted", "{size}");
    }
}
