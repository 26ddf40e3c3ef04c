//! `allow` and `deny` of a route.

use std::net::Ipv4Addr;
use std::process::Output;

use crate::cgi::write_program;
use crate::harness::{Server, ask, command, connect_from, find_program, make_folder, serve};

const ROUTES: &str = "\
[[service.web.route]]\npath = '/'\nbody = 'open'\n\
[[service.web.route]]\npath = '/intern/'\nbody = 'intern'\nallow = ['127.0.0.0/29']\ndeny = ['127.0.0.3']\n";

fn ask_from(server: &Server, last: u8, request: &str) -> String {
    let stream = connect_from(Ipv4Addr::new(127, 0, 0, last), server.address());
    ask(stream, &format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
}

#[test]
fn route_answers_the_clients_of_its_lists() {
    let server = serve(ROUTES);
    for (last, target, status, outcome) in [
        (2, "/intern/", "200", "served"),
        (3, "/intern/", "403", "refused"),
        (9, "/intern/", "403", "refused"),
        (9, "/intern/a/../b", "403", "refused"),
        (9, "/", "200", "served"),
    ] {
        let answer = ask_from(&server, last, &format!("GET {target}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{last} {target}: {answer}");
        let record = server.record();
        assert_eq!((record.get("outcome"), record.get("status")), (outcome, status), "{last} {target}");
        let reason = if outcome == "refused" { "denied" } else { "" };
        assert_eq!(record.get("reason"), reason);
    }
}

#[test]
fn denied_request_reaches_nothing_of_its_route() {
    let server = serve(ROUTES);
    // Before the method is looked at, and before content is asked for.
    let answer = ask_from(&server, 9, "BREW /intern/");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let stream = connect_from(Ipv4Addr::new(127, 0, 0, 9), server.address());
    let request = "PUT /intern/ HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let answer = ask(stream, request);
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("\r\nConnection: close"), "{answer}");
}

#[test]
fn internal_redirect_does_not_pass_the_lists() {
    let folder = make_folder();
    let program = folder.path().join("program");
    write_program(&program, "#!/bin/sh\nprintf 'Location: /intern/\\n\\n'\n");
    let route =
        format!("[[service.web.route]]\npath = '/to'\nhandler = 'cgi'\nprogram = '{}'\n", program.display());
    let server = serve(&format!("{ROUTES}{route}"));
    assert!(ask_from(&server, 1, "GET /to").ends_with("\r\n\r\nintern"));
    assert!(ask_from(&server, 9, "GET /to").starts_with("HTTP/1.1 403 "));
}

#[test]
fn curl_reads_why_it_is_denied() {
    let Some(curl) = find_program("curl") else { return };
    let server = serve(ROUTES);
    let get = |from: &str| -> Output {
        let url = format!("http://{}/intern/", server.address());
        command(&curl).args(["-sS", "--interface", from, &url]).output().unwrap()
    };
    assert_eq!(get("127.0.0.4").stdout, b"intern");
    assert_eq!(get("127.0.0.9").stdout, b"403 Forbidden: this address is not allowed here\n");
}
