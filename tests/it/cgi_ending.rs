//! When the response of a program ends: with its output, whatever the program does afterwards.

use std::fs;

use crate::cgi::{dechunk, programs, say, status};
use crate::harness::{ask, wait_until};

/// Runs on until the file `go` exists.
const RUN_ON: &str = "until test -e go; do sleep 0.01; done; rm go; touch done";

#[test]
fn closed_output_ends_the_response_at_once() {
    let close_output = |script: &str| format!("{script}; exec >&-; {RUN_ON}");
    let length = "printf 'Content-Type: a/b\\nContent-Length: 2\\n\\nhi'";
    let it = programs(
        "",
        &[
            ("text", &close_output(&say("echo text"))),
            ("length", &close_output(length)),
            ("nph-raw", &close_output("printf 'HTTP/1.1 200 OK\\r\\n\\r\\nraw'")),
            ("silent", &close_output(":")),
            // Their responses are complete without the end of their output.
            ("open", &format!("{length}; {RUN_ON}")),
            ("empty", &format!("printf 'Status: 204\\n\\n'; {RUN_ON}")),
        ],
    );
    let (close, keep) = (" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", " HTTP/1.1\r\nHost: a\r\n\r\n");
    for (name, request, expected) in [
        ("text", close, "5\r\ntext\n\r\n0\r\n\r\n"),
        ("text", " HTTP/1.0\r\n\r\n", "\r\n\r\ntext\n"),
        // The next request would have to wait for the program, so the connection ends.
        ("text", keep, "0\r\n\r\n"),
        ("length", close, "\r\n\r\nhi"),
        ("length", keep, "\r\n\r\nhi"),
        ("open", close, "\r\n\r\nhi"),
        ("empty", close, "\r\n\r\n"),
        ("nph-raw", close, "raw"),
    ] {
        // All of it, up to the end of the connection, while the program runs.
        let answer = ask(it.server.connect(), &format!("GET /cgi/{name}{request}"));
        assert!(answer.ends_with(expected), "{name}: {answer}");
        fs::write(it.folder.path().join("go"), "").unwrap();
        let record = it.server.record();
        let ends = (record.get("outcome"), record.get("program_end"));
        assert_eq!(ends, ("served", "exit code 0"), "{name}: {}", record.line);
        let done = it.folder.path().join("done");
        assert!(done.exists(), "{name}");
        fs::remove_file(done).unwrap();
    }
    // Nothing can come any more: lsbaws answers, and terminates the program.
    assert_eq!(status(&it.server.get("/cgi/silent")), "502");
    assert_eq!(it.server.record_of("/cgi/silent").get("program_end"), "killed by SIGTERM");
}

#[test]
fn job_in_the_background_does_not_delay_the_end() {
    // It has the output of the program.
    let job = "(until test -e go; do sleep 0.01; done; touch done) &";
    let it = programs("[service.web]\nleftover = 'keep'", &[("job", &say(&format!("echo text; {job}")))]);
    assert_eq!(dechunk(&it.server.get("/cgi/job")), "text\n");
    assert_eq!(it.server.record().get("program_end"), "exit code 0");
    fs::write(it.folder.path().join("go"), "").unwrap();
    wait_until("the job finishes", || it.folder.path().join("done").exists());
}
