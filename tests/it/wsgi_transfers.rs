//! Much content in both directions, and slow clients, of applications: tests/wsgi/faults.py.

use std::io::{Read, Write};
use std::thread;

use crate::cgi::{dechunk, post};
use crate::harness::{Server, Setup, connect_unix, make_folder, serve};
use crate::wsgi::{APPLICATIONS, content};

const SIZE: usize = 100 << 20;
/// A sixth of that, since the framing of many chunks takes a debug build long.
const CHUNKED_SIZE: usize = 16 << 20;
const CHUNKED_DIGEST: &str = "341aacac661ccb210720bedaa9ead5d668fe5ea41a73532fc147c71e34040df1";
/// SHA-256 of [`SIZE`] bytes that repeat those from 0 to 255.
const DIGEST: &str = "4cbf988462cc3ba2e10e3aae9f5268546aa79016359fb45be7dd199c073125c0";

pub fn route() -> String {
    format!(
        "[[service.web.route]]\nhandler = 'wsgi'\napplication = 'faults:app'\npython = '/usr/bin/python3'\n\
         directory = '{APPLICATIONS}'\nmax_body_size = '200 MiB'\n"
    )
}

/// What the application sends for content that is made here.
fn make_content() -> Vec<u8> {
    (0..=255).collect::<Vec<u8>>().repeat(SIZE / 256)
}

/// Reads a response to its end: the head, and the content as it was sent.
fn read(mut stream: impl Read) -> (String, Vec<u8>) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let content = answer.split_off(end);
    (String::from_utf8(answer).unwrap(), content)
}

fn request(server: &Server, target: &str, version: &str) -> (String, Vec<u8>) {
    let mut stream = server.connect();
    write!(stream, "GET {target} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    read(stream)
}

#[test]
fn large_content_is_received_whole() {
    let server = serve(&route());
    let answer = post(&server, "/upload", "", &make_content());
    assert_eq!(content(&answer), format!("{SIZE} {DIGEST}"));
    // Chunked, in pieces that end anywhere.
    let mut stream = server.connect();
    let mut reader = stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let head =
            "POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for part in make_content()[..CHUNKED_SIZE].chunks(70_001) {
            write!(stream, "{:x}\r\n", part.len()).unwrap();
            stream.write_all(&[part, b"\r\n"].concat()).unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let mut answer = String::new();
    reader.read_to_string(&mut answer).unwrap();
    sender.join().unwrap();
    assert_eq!(content(&answer), format!("{CHUNKED_SIZE} {CHUNKED_DIGEST}"));
    // Nothing has kept the content as a whole.
    for _ in 0..2 {
        let record = server.record();
        assert!(record.number("maxrss_kib") < 64 << 10, "{}", record.line);
    }
}

#[test]
fn large_content_is_sent_whole() {
    let server = serve(&route());
    for target in ["download", "file"] {
        // By HTTP/1.0 the content is delimited by nothing that would be found in it.
        let (head, content) = request(&server, &format!("/{target}/{SIZE}"), "1.0");
        assert!(content == make_content(), "{target}: {} {head}", content.len());
        assert_eq!(head.contains(&format!("Content-Length: {SIZE}")), target == "file", "{head}");
        let record = server.record();
        assert!(record.number("maxrss_kib") < 64 << 10, "{}", record.line);
    }
}

#[test]
fn content_is_answered_while_it_is_received() {
    let server = serve(&route());
    let mut stream = server.connect();
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3000\r\n\r\n")
        .unwrap();
    for _ in 0..3 {
        stream.write_all(&[b'x'; 1000]).unwrap();
        // The next part is sent after this one has come back.
        let mut found = Vec::new();
        while !found.ends_with(b"xx\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            found.push(byte[0]);
        }
    }
    assert_eq!(read(&mut stream.take(1 << 20)).1, b"");
}

#[test]
fn events_arrive_one_by_one() {
    let server = serve(&route());
    let folder = make_folder();
    let path = folder.path().join("event");
    let mut stream = server.connect();
    let path = path.display();
    write!(stream, "GET /events{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    for number in 0..3 {
        std::fs::write(format!("{path}{number}"), "").unwrap();
        let mut found = String::new();
        while !found.contains(&format!("data: {number}\n\n")) {
            let mut part = [0; 1024];
            let count = stream.read(&mut part).unwrap();
            assert!(count > 0, "{found}");
            found.push_str(std::str::from_utf8(&part[..count]).unwrap());
        }
        assert!(!found.contains(&format!("data: {}", number + 1)), "{found}");
    }
}

#[test]
fn client_that_reads_too_slowly_is_a_timeout_error() {
    let folder = make_folder();
    let path = folder.path().join("web.sock"); // the buffer of a Unix socket is small and does not grow
    let config = format!("[limits]\nwrite_timeout = '200ms'\n[listen.web]\naddress = '{}'\n", path.display());
    let server = Setup::new(&(config + &route())).start();
    let mut stream = connect_unix(&path);
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    server.wait_line("endless closed");
    let record = server.record();
    assert_eq!((record.get("outcome"), record.get("status")), ("client-error", "200"), "{}", record.line);
    // The application is not to blame.
    assert!(!record.line.contains("failed"), "{}", record.line);
}

#[test]
fn chunks_of_a_generator_are_those_of_its_parts() {
    let server = serve(&route());
    let answer = post(&server, "/echo", "", &[b'y'; 2500]);
    assert_eq!(dechunk(&answer), "y".repeat(2500));
    assert!(answer.contains("\r\n3e8\r\n") && answer.contains("\r\n1f4\r\n"), "{answer}");
}
