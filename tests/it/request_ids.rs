//! The ids that balancers give to requests and connections: in records, access lines and programs.

use std::io::Write;
use std::net::Ipv4Addr;

use crate::harness::{Server, ask, connect_from, make_folder, read_to_end, run, serve};
use crate::proxies::{PROXY, TRUSTED, ask_again, environment_route, values};

const ID: &str = "7F000001:8296_7F00001E:1F90_4F7B0A69_0003:790A";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const ON: &str = "proxy_protocol = true\n";

fn request(fields: &str) -> String {
    format!("GET /env.sh HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n")
}

fn ids() -> String {
    format!("X-Unique-ID: {ID}\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n")
}

fn ask_from(from: Ipv4Addr, server: &Server, request: &str) -> String {
    ask(connect_from(from, server.address()), request)
}

/// The ids in the next record.
fn recorded(server: &Server) -> (String, String) {
    let record = server.record();
    (record.get("request_id").to_owned(), record.get("trace_id").to_owned())
}

/// A header of version 2 for a client, with this id of the connection.
fn v2(id: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x21, 0x11, 0, 15 + u8::try_from(id.len()).unwrap()]);
    header.extend([
        192,
        0,
        2,
        7,
        198,
        51,
        100,
        1,
        0x12,
        0x67,
        1,
        0xbb,
        5,
        0,
        u8::try_from(id.len()).unwrap(),
    ]);
    header.extend(id);
    header
}

#[test]
fn ids_of_a_proxy_are_in_record_line_and_program() {
    let folder = make_folder();
    for (format, expected) in [
        ("json", format!("\"request_id\":\"{ID}\",\"trace_id\":\"{TRACE}\"")),
        ("<{request_id} {trace_id}>", format!("<{ID} {TRACE}>")),
    ] {
        let server = serve(&format!(
            "[log.access]\nformat = '{format}'\ntarget = 'stderr'\n[service.web]\n{TRUSTED}{}",
            environment_route(&folder)
        ));
        let answer = ask_from(PROXY, &server, &request(&ids()));
        assert_eq!(values(&answer, &["UNIQUE_ID", "HTTP_X_UNIQUE_ID"]), format!("{ID} {ID}"));
        server.wait_line(&expected);
        assert_eq!(recorded(&server), (ID.to_owned(), TRACE.to_owned()));
    }
}

#[test]
fn ids_of_other_peers_are_ignored() {
    let folder = make_folder();
    let server = serve(&format!("[service.web]\n{TRUSTED}{}", environment_route(&folder)));
    let answer = ask_from(Ipv4Addr::LOCALHOST, &server, &request(&ids()));
    assert_eq!(values(&answer, &["HTTP_X_UNIQUE_ID"]), ID);
    let record = server.record();
    assert_eq!(values(&answer, &["UNIQUE_ID"]), record.get("connection"));
    assert_eq!((record.get("request_id"), record.get("trace_id")), ("", ""), "{}", record.line);
}

#[test]
fn last_field_counts_and_an_invalid_one_is_ignored() {
    let server = serve(&format!("[service.web]\n{TRUSTED}request_id_header = 'X-Request-ID'\n"));
    for (fields, expected) in [
        ("X-Request-ID: client\r\nx-request-id: proxy\r\n", "proxy"),
        ("X-Request-ID: a b\r\n", ""),
        ("X-Unique-ID: a\r\ntraceparent: 00-0\r\n", ""),
    ] {
        assert!(ask_from(PROXY, &server, &request(fields)).starts_with("HTTP/1.1 200 "));
        assert_eq!(recorded(&server), (expected.to_owned(), String::new()), "{fields}");
    }
    let server = serve(&format!("[service.web]\n{TRUSTED}request_id_header = ''\n"));
    ask_from(PROXY, &server, &request(&ids()));
    assert_eq!(recorded(&server), (String::new(), TRACE.to_owned()));
}

#[test]
fn each_request_of_a_connection_has_its_own_id() {
    let server = serve(&format!(
        "[log.access]\nformat = '<{{request_id}} {{status}}>'\ntarget = 'stderr'\n[service.web]\n{TRUSTED}"
    ));
    let mut stream = connect_from(PROXY, server.address());
    for fields in ["X-Unique-ID: one\r\n", ""] {
        ask_again(&mut stream, &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    }
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Unique-ID: bad\r\nHost: b\r\n\r\n").unwrap();
    assert!(read_to_end(stream).starts_with("HTTP/1.1 400 "));
    server.wait_line("<one 200>");
    server.wait_line("<- 200>");
    server.wait_line("<- 400>");
    assert_eq!(recorded(&server).0, "");
}

#[test]
fn header_of_the_proxy_protocol_names_the_connection() {
    let folder = make_folder();
    let config = |keys: &str| format!("[service.web]\n{TRUSTED}{ON}{keys}{}", environment_route(&folder));
    let server = serve(&config(""));
    let send = |server: &Server, header: &[u8], fields: &str| {
        let mut stream = connect_from(PROXY, server.address());
        stream.write_all(&[header, request(fields).as_bytes()].concat()).unwrap();
        values(&read_to_end(stream), &["UNIQUE_ID"])
    };
    // The fields may be those of the client.
    assert_eq!(send(&server, &v2(b"of-the-header"), &ids()), "of-the-header");
    assert_eq!(recorded(&server), ("of-the-header".to_owned(), String::new()));
    let id = send(&server, &v2(b"in\nvalid"), &ids());
    let record = server.record();
    assert_eq!((record.get("request_id"), record.get("connection")), ("", &*id), "{}", record.line);
    // Here they are those of the proxy.
    let server = serve(&config("request_id_header = 'X-Unique-ID'\n"));
    assert_eq!(send(&server, &v2(b"of-the-header"), &ids()), ID);
    assert_eq!(recorded(&server), (ID.to_owned(), TRACE.to_owned()));
    assert_eq!(send(&server, &v2(b"of-the-header"), ""), "of-the-header");
}

#[test]
fn program_has_the_id_of_its_connection() {
    for process in ["", "[process]\nmodel = 'iterative'\n"] {
        let server = serve(&format!(
            "{process}[service.web]\nprotocol = 'exec'\n{TRUSTED}{ON}command = ['/bin/sh', '-c', 'echo $UNIQUE_ID']\n"
        ));
        let mut stream = connect_from(PROXY, server.address());
        stream.write_all(&v2(b"a1")).unwrap();
        assert_eq!(read_to_end(stream), "a1\n", "{process}");
        assert_eq!(recorded(&server).0, "a1", "{process}");
    }
}

#[test]
fn field_of_the_id_is_checked() {
    let (code, _, message) = run(&["check", "--set", "service.web.request_id_header='a b'"]);
    let expected =
        "service.web.request_id_header: expected the name of a header field, or \"\" for none, found \"a b\"";
    assert!(code == 78 && message.contains(expected), "{message}");
}
