//! What an application leaves in the log: also by code that is not Python's, and what it cannot write there.

use crate::cgi::status;
use crate::harness::{Record, Server, serve};

fn serve_native() -> Server {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wsgi");
    serve(&format!(
        "[[service.web.route]]\nhandler = 'wsgi'\napplication = 'native:app'\npython = '/usr/bin/python3'\n\
         directory = '{directory}'\n"
    ))
}

fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}")).1
}

#[test]
fn descriptors_of_an_application_are_not_the_log_of_the_daemon() {
    let server = serve_native();
    let answer = server.get("/forge");
    assert_eq!(content(&answer).matches("socket:").count(), 2, "{answer}");
    let forged = server.wait_line("forged");
    // It is a line of the connection, and none of its words is a field.
    assert!(forged.contains("INFO 127.0.0.1:") && forged.contains("target=\"/forge\""), "{forged}");
    assert!(!forged.contains("outcome=\"served\"") && forged.contains(" connection="), "{forged}");
    assert!(server.wait_line("an open line").contains(" connection="));
    assert_eq!(server.record().get("outcome"), "served");
}

#[test]
fn binary_streams_take_whatever_has_bytes() {
    let server = serve_native();
    let answer = server.get("/raw");
    assert!(answer.ends_with("<stdout><stderr>"), "{answer}");
    for line in ["an array", "a view", "a line", "the last line"] {
        assert!(server.wait_line(line).contains(" connection="));
    }
}

#[test]
fn traceback_of_a_crash_has_the_connection() {
    let server = serve_native();
    server.get("/crash");
    let line = server.wait_line("Fatal Python error: Segmentation fault");
    let frame = server.wait_line("in crash");
    let record = server.record_of("/crash");
    assert_eq!(record.get("signal"), "SIGSEGV");
    for line in [line, frame] {
        assert_eq!(Record::parse(&line).get("connection"), record.get("connection"), "{line}");
    }
}

#[test]
fn record_has_the_exception_and_the_time_to_the_first_byte() {
    let server = serve_native();
    assert_eq!(status(&server.get("/fail")), "500");
    let line = server.wait_line("handler error while ");
    assert!(line.contains(" (ValueError: one)"), "{line}");
    let record = Record::parse(&line);
    assert_eq!((record.get("exception"), record.get("first_byte_usec")), ("ValueError: one", ""));
    server.get("/threads");
    let record = server.record_of("/threads");
    let time: u64 = record.get("first_byte_usec").parse().unwrap();
    assert!(time > 0 && time <= record.get("duration_usec").parse().unwrap());
    assert_eq!(record.get("exception"), "");
}

#[test]
fn c_library_of_a_child_knows_its_thread() {
    let server = serve_native();
    for _ in 0..2 {
        let answer = server.get("/thread_id");
        let (thread, process) = content(&answer).split_once(' ').unwrap();
        assert_eq!(thread, process);
    }
    assert_eq!(content(&server.get("/threads")), "1");
}
