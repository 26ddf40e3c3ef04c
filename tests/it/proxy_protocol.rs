//! The PROXY protocol, in front of HTTP and of programs.

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use command_fds::{CommandFdExt, FdMapping};

use crate::cgi::status;
use crate::harness::{Record, Server, ask, connect_from, lsbaws, make_folder, read_to_end, run, serve};
use crate::proxies::{PROXY, TRUSTED, ask_again, environment_route, values};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
const REQUEST: &str = "GET /env.sh HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const ON: &str = "proxy_protocol = true\n";

/// A header of version 2 for the same connection, by TLS.
fn v2(command: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, 0x11, 0, 20, 192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb]);
    header.extend([0x20, 0, 5, 1, 0, 0, 0, 0]);
    header
}

/// Sends bytes, and reads what comes back until the end. A reset is the end as well.
fn send(server: &Server, from: Ipv4Addr, parts: &[&[u8]]) -> String {
    let mut stream = connect_from(from, server.address());
    stream.write_all(&parts.concat()).unwrap();
    let mut answer = String::new();
    let _ = std::io::Read::read_to_string(&mut stream, &mut answer);
    answer
}

#[test]
fn header_names_the_client_of_http_requests() {
    let folder = make_folder();
    let server = serve(&format!("[service.web]\n{TRUSTED}{ON}{}", environment_route(&folder)));
    let names = ["REMOTE_ADDR", "REMOTE_PORT", "HTTPS", "SERVER_ADDR", "SERVER_PORT"];
    for (header, expected) in
        [(V1.to_vec(), "192.0.2.7 4711 - 198.51.100.1 443"), (v2(1), "192.0.2.7 4711 on 198.51.100.1 443")]
    {
        let answer = send(&server, PROXY, &[&header, REQUEST.as_bytes()]);
        assert_eq!(values(&answer, &names), expected, "{answer}");
        let record = server.record();
        assert_eq!((record.get("client"), record.get("outcome")), ("192.0.2.7", "served"));
        assert!(record.line.contains("192.0.2.7:4711 via 127.0.0.9:"), "{}", record.line);
    }
    for header in [v2(0), b"PROXY UNKNOWN\r\n".to_vec()] {
        let answer = send(&server, PROXY, &[&header, REQUEST.as_bytes()]);
        assert_eq!(values(&answer, &names[..1]), "127.0.0.9", "the connection is the proxy's own: {answer}");
        assert_eq!(server.record().get("client"), "");
    }
    // The client that the header names is no proxy: what it says of others is not believed.
    let spoofed = REQUEST.replace("\r\n\r\n", "\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
    let answer = send(&server, PROXY, &[V1, spoofed.as_bytes()]);
    assert_eq!(values(&answer, &names[..1]), "192.0.2.7");
    // Unless it is one.
    let header = b"PROXY TCP4 10.0.0.1 198.51.100.1 4711 443\r\n";
    let answer = send(&server, PROXY, &[header, spoofed.as_bytes()]);
    assert_eq!(values(&answer, &names[..1]), "6.6.6.6");
}

#[test]
fn client_that_a_header_hides_names_no_other() {
    let folder = make_folder();
    let server = serve(&format!("[service.web]\n{TRUSTED}{ON}{}", environment_route(&folder)));
    let request = REQUEST.replace("Connection", "X-Forwarded-For: 192.0.2.8\r\nConnection");
    let mut unix = v2(1);
    unix[13] = 0x31;
    unix[15] = 216;
    unix.truncate(16);
    unix.extend([0; 216]);
    let unspecified = [&v2(1)[..13], &[0, 0, 0]].concat();
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), unix, unspecified] {
        let answer = send(&server, PROXY, &[&header, request.as_bytes()]);
        assert_eq!(values(&answer, &["REMOTE_ADDR"]), "127.0.0.9", "{answer}");
    }
    // The proxy's own connection.
    let answer = send(&server, PROXY, &[&v2(0), request.as_bytes()]);
    assert_eq!(values(&answer, &["REMOTE_ADDR"]), "192.0.2.8", "{answer}");
}

#[test]
fn client_of_a_header_is_refused_before_its_request() {
    let server = serve(&format!("[service.web]\n{TRUSTED}{ON}deny = ['192.0.2.0/24']\n"));
    let answer = send(&server, PROXY, &[V1]);
    assert_eq!(status(&answer), "403", "{answer}");
    let record = server.record();
    assert_eq!((record.get("outcome"), record.get("client")), ("refused", "192.0.2.7"));
}

#[test]
fn connection_without_a_valid_header_is_closed() {
    let server = serve(&format!("[limits]\nhead_timeout = '1s'\n[service.web]\n{TRUSTED}{ON}"));
    let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    for (header, why) in [
        (&b""[..], "no PROXY protocol header"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 99999\r\n", "invalid PROXY protocol header"),
        (b"PROXY TCP4 192.0.2.7\r\nPROXY UNKNOWN\r\n", "invalid PROXY protocol header"),
        (&long, "PROXY protocol header too long"),
    ] {
        assert_eq!(send(&server, PROXY, &[header, REQUEST.as_bytes()]), "");
        let record = server.record();
        assert_eq!(
            ["outcome", "reason", "requests", "bytes_out"].map(|name| record.get(name)),
            ["client-error", "proxy_protocol", "0", "0"]
        );
        assert!(record.line.contains(&format!("client error while reading ({why})")), "{}", record.line);
    }
    // A header of which only a part comes.
    let mut stream = connect_from(PROXY, server.address());
    stream.write_all(&V1[..20]).unwrap();
    assert_eq!(read_to_end(stream), "");
    assert!(server.record().line.contains("(PROXY protocol header not complete in time)"));
    // A header from elsewhere.
    let answer = send(&server, Ipv4Addr::LOCALHOST, &[V1, REQUEST.as_bytes()]);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let record = server.record();
    assert_eq!(
        [record.get("outcome"), record.get("reason"), record.get("client")],
        ["refused", "proxy_protocol", ""]
    );
}

#[test]
fn program_gets_what_follows_the_header() {
    for model in ["fork", "double-fork", "iterative"] {
        let server = serve(&format!(
            "[process]\nmodel = '{model}'\n[service.web]\nprotocol = 'exec'\n{TRUSTED}{ON}\
             deny = ['192.0.2.66']\nrefusal = \"not you\\n\"\n\
             command = ['/bin/sh', '-c', 'echo $TCPREMOTEIP $TCPREMOTEPORT $REMOTE_ADDR $TCPLOCALIP $TCPLOCALPORT; cat']\n"
        ));
        for header in [V1.to_vec(), v2(1)] {
            let mut stream = connect_from(PROXY, server.address());
            stream.write_all(&[&header, &b"input\n"[..]].concat()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let answer = read_to_end(stream);
            assert_eq!(answer, "192.0.2.7 4711 192.0.2.7 198.51.100.1 443\ninput\n", "{model}");
            let record = server.record();
            assert_eq!((record.get("client"), record.get("outcome")), ("192.0.2.7", "served"), "{model}");
        }
        let denied = b"PROXY TCP4 192.0.2.66 198.51.100.1 4711 443\r\n";
        assert_eq!(send(&server, PROXY, &[denied]), "not you\n", "{model}");
        let record = server.record();
        assert_eq!(
            ["client", "outcome", "reason", "source"].map(|name| record.get(name)),
            ["192.0.2.66", "refused", "denied", "192.0.2.66"],
            "{model}"
        );
        assert_eq!(send(&server, PROXY, &[b"input\n"]), "", "{model}");
        assert_eq!(server.record().get("reason"), "proxy_protocol", "{model}");
    }
}

/// A connected socket, the end of its client, and the address of the client.
fn accepted() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect_from(PROXY, listener.local_addr().unwrap());
    (listener.accept().unwrap().0.into(), client)
}

#[test]
fn single_connection_has_a_header_as_well() {
    for (keys, request, expected) in [
        ("", REQUEST, "HTTP/1.1 200 OK\r\n"),
        ("deny = ['192.0.2.7']\n", REQUEST, "HTTP/1.1 403 Forbidden\r\n"),
        ("protocol = 'exec'\ncommand = ['/bin/sh', '-c', 'echo $TCPREMOTEIP; cat']\n", "x", "192.0.2.7\nx"),
    ] {
        let folder = make_folder();
        let file = folder.path().join("lsbaws.toml");
        std::fs::write(&file, format!("[service.web]\n{TRUSTED}{ON}{keys}")).unwrap();
        let (socket, mut client) = accepted();
        client.write_all(&[V1, request.as_bytes()].concat()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut inetd = lsbaws();
        inetd.arg("-c").arg(&file).args(["--set", "log.target=stderr"]).stdin(socket).stderr(Stdio::piped());
        // So that the connection has not the number that it has in other children.
        let null = std::fs::File::open("/dev/null").unwrap();
        inetd.fd_mappings(vec![FdMapping { parent_fd: null.into(), child_fd: 3 }]).unwrap();
        let output = inetd.output().unwrap();
        drop(inetd); // it has the socket
        let answer = read_to_end(client);
        assert!(answer.starts_with(expected), "{answer}");
        let log = String::from_utf8(output.stderr).unwrap();
        let record = log.lines().find(|line| line.contains(" outcome=")).unwrap_or_else(|| panic!("{log}"));
        assert_eq!(Record::parse(record).get("client"), "192.0.2.7", "{record}");
    }
}

#[test]
fn header_is_read_once_on_a_kept_alive_connection() {
    let server = serve(&format!("[process]\nspares = 1\n[service.web]\n{TRUSTED}{ON}"));
    let mut stream = connect_from(PROXY, server.address());
    let keep = REQUEST.replace("Connection: close\r\n", "");
    let first = format!("{}{keep}", String::from_utf8_lossy(V1));
    assert_eq!(status(&ask_again(&mut stream, &first)), "200");
    assert_eq!(status(&ask_again(&mut stream, &keep)), "200");
    let answer = ask(stream, &String::from_utf8_lossy(V1));
    assert_eq!(status(&answer), "400", "a second header is no request: {answer}");
    assert_eq!(server.record().get("client"), "192.0.2.7");
}

#[test]
fn proxies_must_be_named() {
    for (keys, expected) in [
        ("proxy_protocol=true", "proxy_protocol: the proxies must be named: set trusted_proxies"),
        (
            "trusted_proxies=['unix'] protocol='exec' command='/bin/cat'",
            "trusted_proxies: a service with the protocol exec learns its clients by the PROXY protocol",
        ),
    ] {
        let sets = keys.split(' ').flat_map(|key| ["--set".to_owned(), format!("service.web.{key}")]);
        let sets: Vec<_> = ["check".to_owned()].into_iter().chain(sets).collect();
        let (code, _, message) = run(&sets.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(code != 0 && message.contains(expected), "{message}");
    }
}
