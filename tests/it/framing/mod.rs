//! Framing of requests: tables of bytes that are sent to the daemon and to hyper as the oracle. Where the two differ,
//! the table has both results and the rule that justifies ours. A difference that is not in the table fails the test,
//! and so does a listed one that no longer exists.
//!
//! The list of differences: `cargo test --test it framing -- --nocapture`.

mod chunked;
mod connection;
mod content;
mod fields;
mod head;
mod oracle;
mod rules;
mod service;
mod target;

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use tempfile::TempDir;

use crate::cgi::{say, write_program};
use crate::harness::{Server, make_folder, serve};

/// Bytes on a connection, and the responses to them.
pub struct Case {
    name: String,
    sent: Vec<u8>,
    /// The client closes its sending side after these bytes. Otherwise a last request follows, whose response shows
    /// that the connection was still open.
    ends: bool,
    /// In the notation of [`describe`].
    ours: &'static str,
    /// The responses of hyper if they differ from ours, and the rule that justifies ours.
    difference: Option<(&'static str, &'static str)>,
}

/// A case with the same responses from both.
pub fn case(name: &'static str, sent: impl AsRef<[u8]>, ours: &'static str) -> Case {
    Case { name: name.into(), sent: sent.as_ref().to_vec(), ends: false, ours, difference: None }
}

impl Case {
    /// The client closes its sending side after the bytes.
    fn ended(self) -> Self {
        Self { ends: true, ..self }
    }

    /// The responses of hyper differ because of `rule`.
    fn but_hyper(self, answers: &'static str, rule: &'static str) -> Self {
        Self { difference: Some((answers, rule)), ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let last: &[u8] = if self.ends { b"" } else { LAST_REQUEST };
        [&self.sent, last].concat()
    }
}

/// A request for `target` with `fields`, each ending with CR LF.
fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// A request with content, which the response returns.
fn post(fields: &str, content: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n{content}")
}

const LAST_REQUEST: &[u8] = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
/// The content of the response to it.
const LAST_CONTENT: &[u8] = b"last";

/// Responds on every path; below `/where/` with the resulting URL; at `/echo` with the content; at `/blind` by a program
/// that reads no content.
const CONFIG: &str = "
    [[service.web.route]]
    body = 'hello'
    [[service.web.route]]
    path = '/last'
    body = 'last'
    [[service.web.route]]
    path = '/where/'
    handler = 'redirect'
    to = 'http://{host}/'
    [[service.web.route]]
    path = '/echo'
    handler = 'cgi'
    program = 'ECHO'
    [[service.web.route]]
    path = '/blind'
    handler = 'cgi'
    program = 'BLIND'
";

/// Responds with the content when it has all of it. It is one process, so that its end is the end of all.
const ECHO: &str = r#"#!/bin/sh
end='
'
while IFS= read -r line; do content=$content$line$end; done
printf 'Content-Type: text/plain\n\n%s' "$content$line"
"#;

fn start() -> (Server, TempDir) {
    let folder = make_folder();
    let (echo, blind) = (folder.path().join("echo"), folder.path().join("blind"));
    write_program(&echo, ECHO);
    write_program(&blind, &format!("#!/bin/sh\n{}\n", say("echo hello")));
    let config = CONFIG.replace("ECHO", echo.to_str().unwrap()).replace("BLIND", blind.to_str().unwrap());
    (serve(&config), folder)
}

#[test]
fn requests_are_framed_as_the_table_says() {
    let (server, _folder) = start();
    for case in &cases() {
        let mut stream = server.connect();
        stream.write_all(&case.bytes()).unwrap();
        let (received, end) = receive(stream);
        assert!(end.is_ok(), "{}: {end:?}", case.name);
        assert_eq!(describe(&received), case.ours, "{}", case.name);
        check_responses(&received, case);
    }
}

/// The result must not depend on where the stream is split into packets.
#[test]
fn requests_are_framed_alike_byte_by_byte() {
    let (server, _folder) = start();
    // With `Expect: 100-continue` the split matters.
    let is_cut =
        |case: &&Case| case.sent.len() < 1000 && !case.sent.windows(8).any(|part| part == b"Expect: ");
    for case in cases().iter().filter(is_cut) {
        let stream = server.connect();
        stream.set_nodelay(true).unwrap();
        // A client that sends after its last request may find the connection closed.
        let _ = case.bytes().iter().try_for_each(|byte| (&stream).write_all(&[*byte]));
        let (received, _) = receive(stream);
        assert_eq!(describe(&received), case.ours, "{}", case.name);
    }
}

#[test]
fn hyper_agrees_except_for_listed_differences() {
    let mut count = 0;
    for case in &cases() {
        let hypers = describe(&oracle::serve(&case.bytes(), service::answer));
        let (expected, _) = case.difference.unwrap_or((case.ours, ""));
        assert_eq!(hypers, expected, "{}", case.name);
        if let Some((_, rule)) = case.difference {
            assert_ne!(hypers, case.ours, "the listed difference no longer exists: {}", case.name);
            count += 1;
            println!("{}: here {}, hyper {hypers}. {rule}", case.name, case.ours);
        }
    }
    println!("{count} differences in {} cases", cases().len());
}

fn cases() -> Vec<Case> {
    let tables = [
        ("head", head::cases()),
        ("fields", fields::cases()),
        ("target", target::cases()),
        ("content", content::cases()),
        ("chunked", chunked::cases()),
        ("connection", connection::cases()),
    ];
    let name = |table, case: Case| Case { name: format!("{table}: {}", case.name), ..case };
    tables
        .into_iter()
        .flat_map(|(table, cases)| cases.into_iter().map(move |case| name(table, case)))
        .collect()
}

/// All that arrives, and how it ends. The client closes its sending side, so that the server does not wait for more.
fn receive(mut stream: TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut received = Vec::new();
    let _ = stream.shutdown(Shutdown::Write); // if it is closed, the read returns the error
    let end = stream.read_to_end(&mut received).map(drop);
    (received, end)
}

/// Asserts rules for all responses of the daemon.
fn check_responses(received: &[u8], case: &Case) {
    let responses = parse_responses(received);
    for (index, response) in responses.iter().enumerate() {
        // RFC 9112, section 9.6: the last response before a close announces it, and no other does.
        let is_last = index + 1 == responses.len();
        assert!(case.ends || response.closes == is_last, "{}: Connection of response {index}", case.name);
    }
    // RFC 9110, section 9.3.2.
    if case.sent.starts_with(b"HEAD ") {
        assert!(responses[0].content.is_empty(), "{}: content", case.name);
    }
}

/// One word for each response: its status, and after `=` the URL or the content that the server received, except for
/// the default response and errors. At the end `+` if the last request was answered, and `-` if the connection was
/// closed before.
fn describe(received: &[u8]) -> String {
    let mut responses = parse_responses(received);
    let is_open = responses.pop_if(|last| last.content == LAST_CONTENT).is_some();
    let mut text = String::new();
    for Response { status, content, .. } in responses {
        match content.trim_ascii() {
            b"hello" => write!(text, "{status} "),
            _ if !(200..400).contains(&status) => write!(text, "{status} "),
            content if content.len() > 100 => write!(text, "{status}={} bytes ", content.len()),
            content => write!(text, "{status}={} ", String::from_utf8_lossy(content)),
        }
        .unwrap();
    }
    text + if is_open { "+" } else { "-" }
}

#[derive(Debug)]
struct Response {
    status: u16,
    content: Vec<u8>,
    /// It has `Connection: close`.
    closes: bool,
}

/// Parses complete responses (RFC 9112, section 6.3).
fn parse_responses(mut rest: &[u8]) -> Vec<Response> {
    let mut responses = Vec::new();
    while !rest.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut head = httparse::Response::new(&mut fields);
        let length = head.parse(rest).unwrap().unwrap();
        let status = head.code.unwrap();
        let field = |name: &str| {
            let field = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(field.value).ok()
        };
        rest = &rest[length..];
        let content = match (field("Content-Length"), field("Transfer-Encoding")) {
            // To HEAD: another response follows, or the end. No content here begins like that.
            _ if status < 200 || rest.is_empty() || rest.starts_with(b"HTTP/1.") => Vec::new(),
            (Some(length), None) => rest.split_off(..length.parse().unwrap()).unwrap().to_vec(),
            (None, Some("chunked")) => take_chunks(&mut rest),
            (None, None) => std::mem::take(&mut rest).to_vec(),
            both => panic!("{both:?}"),
        };
        responses.push(Response { status, content, closes: field("Connection") == Some("close") });
    }
    responses
}

fn take_chunks(rest: &mut &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let line = std::str::from_utf8(rest.split_off(..end).unwrap()).unwrap();
        let size = usize::from_str_radix(line, 16).unwrap();
        let chunk = rest.split_off(..size + 4).unwrap();
        content.extend_from_slice(chunk[2..].strip_suffix(b"\r\n").unwrap());
        if size == 0 {
            return content;
        }
    }
}
