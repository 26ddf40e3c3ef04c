//! The time of a CGI program: how long it may be silent, and what becomes of it when its client has gone.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::cgi::{assert_program_exited, dechunk, programs, say, status};
use crate::gate::Gate;
use crate::harness::{Server, read_to_end, reset, serve};

/// The rest of a script: `step` again and again, for longer than the timeout of the tests here, which is far longer than
/// one step.
fn last(step: &str) -> String {
    format!("end=$(($(date +%s) + 5)); while [ $(date +%s) -lt $end ]; do {step}; done")
}

const TIMEOUT: &str = "timeout = '3s'";

#[test]
fn event_stream_lives_longer_than_the_timeout() {
    let events = format!(
        "printf 'Content-Type: text/event-stream\\n\\n'; {}; echo data: end",
        last("echo data: tick; sleep 0.1")
    );
    let it = programs(TIMEOUT, &[("events", &events)]);
    let mut stream = it.server.connect();
    stream.write_all(b"GET /cgi/events HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "data: tick"), "events come while the program runs");
    assert!(lines.any(|line| line == "data: end"));
    assert_eq!(it.server.record().get("outcome"), "served");
}

#[test]
fn program_that_reads_is_not_silent() {
    // Each step takes a part of the content, and writes nothing.
    let part = "dd bs=10000 count=1 2>/dev/null | wc -c >/dev/null; sleep 0.1";
    let script = format!("{}; {}", last(part), say("cat >/dev/null; echo read"));
    let it = programs(TIMEOUT, &[("reader", &script)]);
    let content = vec![b'x'; 2 << 20];
    // By a pipe, then from a file.
    let whole = format!("Content-Length: {}\r\n\r\n", content.len());
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", content.len());
    for (fields, end) in [(whole, ""), (chunked, "\r\n0\r\n\r\n")] {
        let mut stream = it.server.connect();
        let head = format!("POST /cgi/reader HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}");
        stream.write_all(&[head.as_bytes(), &content, end.as_bytes()].concat()).unwrap();
        assert_eq!(dechunk(&read_to_end(stream)), "read\n");
        assert_eq!(it.server.record().get("outcome"), "served");
    }
}

#[test]
fn silence_after_output_is_limited() {
    let it = programs("timeout = '2s'", &[("stops", &say("echo begun; sleep 1000"))]);
    let answer = it.server.get("/cgi/stops");
    assert!(status(&answer) == "200" && !answer.ends_with("0\r\n\r\n"), "{answer}");
    it.server.wait_line("/stops failed: did not exit, and was silent for 2s (timeout)");
    assert_eq!(it.server.record().get("outcome"), "handler-error");
}

#[test]
fn output_that_no_client_gets_does_not_prolong_the_time() {
    let on = "while :; do echo more; sleep 0.05; done";
    let scripts = [
        ("any", say(&format!("echo text; {on}"))),
        ("length", format!("printf 'Content-Type: a/b\\nContent-Length: 2\\n\\nhi'; {on}")),
        ("nothing", format!("printf 'Status: 204\\n\\n'; {on}")),
        ("elsewhere", format!("printf 'Location: /cgi/end\\n\\n'; {on}")),
        ("end", say("echo end")),
    ];
    let scripts: Vec<_> = scripts.iter().map(|(name, script)| (*name, script.as_str())).collect();
    let it = programs("timeout = '1s'", &scripts);
    for (method, name) in [("HEAD", "any"), ("GET", "length"), ("GET", "nothing"), ("GET", "elsewhere")] {
        let mut stream = it.server.connect();
        write!(stream, "{method} /cgi/{name} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0, "{name}");
        drop(stream);
        it.server.record();
    }
}

/// A server with one place, and a program that is silent for as long as the test lets it.
fn serve_silent(gate: &Gate, keys: &str) -> Server {
    let limits = "[limits]\nmax_connections = 1\n[[service.web.route]]\npath = '/free'\nbody = 'free'\n";
    serve(&format!("{limits}{}timeout = '1h'\n{keys}\n", gate.route("/silent")))
}

fn request_silent(server: &Server, gate: &mut Gate) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(b"GET /silent HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    gate.wait_reached();
    stream
}

/// Asserts that the program has ended because its client has gone, and that its place is free.
fn assert_gone(server: &Server) {
    let record = server.record();
    record.assert_client_gone();
    assert_eq!(record.get("program_end"), "killed by SIGTERM", "{}", record.line);
    assert!(record.line.contains("client error while handling (the client has gone)"), "{}", record.line);
    assert!(server.get("/free").ends_with("free"));
}

#[test]
fn reset_ends_a_silent_program() {
    let mut gate = Gate::new();
    let server = serve_silent(&gate, "");
    let stream = request_silent(&server, &mut gate);
    reset(stream);
    assert_gone(&server);
}

#[test]
fn half_close_is_allowed_by_default() {
    let mut gate = Gate::new();
    let server = serve_silent(&gate, "");
    let stream = request_silent(&server, &mut gate);
    stream.shutdown(Shutdown::Write).unwrap();
    gate.open();
    assert!(read_to_end(stream).ends_with("\r\n\r\npassed"));
    let record = server.record();
    assert_eq!((record.get("outcome"), record.get("client_gone")), ("served", ""), "{}", record.line);
}

#[test]
fn close_ends_a_silent_program_where_that_is_set() {
    for closes_both in [true, false] {
        let mut gate = Gate::new();
        let server = serve_silent(&gate, "allow_half_close = false");
        let stream = request_silent(&server, &mut gate);
        if closes_both {
            drop(stream);
            assert_gone(&server);
        } else {
            stream.shutdown(Shutdown::Write).unwrap();
            assert_gone(&server);
            assert_eq!(read_to_end(stream), "");
        }
    }
}

#[test]
fn client_that_has_the_whole_response_may_close() {
    for (response, end) in [
        ("printf 'Content-Type: text/plain\\nContent-Length: 6\\n\\npassed'", "\r\n\r\npassed"),
        ("printf 'Status: 204\\n\\n'", "\r\n\r\n"),
    ] {
        let mut gate = Gate::between(response, "");
        let server = serve_silent(&gate, "allow_half_close = false");
        let mut stream = request_silent(&server, &mut gate);
        let mut answer = Vec::new();
        while !answer.ends_with(end.as_bytes()) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        drop(stream);
        gate.open();
        assert_program_exited(&server.record(), 0);
    }
}

#[test]
fn content_is_complete_although_the_client_half_closes() {
    let it = programs("", &[("echo", &say("cat"))]);
    for fields in
        ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
    {
        let mut stream = it.server.connect();
        let head = "POST /cgi/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        stream.write_all(format!("{head}{fields}").as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(dechunk(&read_to_end(stream)), "hello", "{fields}");
    }
}
