//! Why lsbaws itself answers with an error: in the record, and in the access line.

use crate::harness::{ask, serve};

/// What is sent, its status, and the reason.
const REQUESTS: [(&str, &str, &str, &str); 8] = [
    ("GET / HTTP/1.1\r\n\r\n", "400", "invalid_request", "missing Host field"),
    ("GET /%00 HTTP/1.1\r\nHost: t\r\n\r\n", "400", "invalid_request", "the path has an encoded NUL"),
    (
        "GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: bogus!\r\n\r\n",
        "400",
        "invalid_request",
        "invalid X-Forwarded-For",
    ),
    (
        "GET / HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n",
        "400",
        "invalid_request",
        "invalid Content-Length",
    ),
    ("GET / HTTP/2.0\r\nHost: t\r\n\r\n", "505", "invalid_request", "unsupported HTTP version"),
    ("GET /none HTTP/1.0\r\nHost: t\r\n\r\n", "404", "", "no route matches this path"),
    ("BREW /a HTTP/1.0\r\nHost: t\r\n\r\n", "501", "", "unknown method"),
    ("GET /closed HTTP/1.0\r\nHost: t\r\n\r\n", "403", "denied", "this address is not allowed here"),
];
const CONFIG: &str = "\
log.access = { target = 'stderr', format = 'line {status} {reason}' }
service.web.trusted_proxies = ['127.0.0.1']
[[service.web.route]]
path = '/a'
[[service.web.route]]
path = '/closed'
deny = ['0.0.0.0/0']
";

#[test]
fn error_has_its_reason_in_record_and_line() {
    let server = serve(CONFIG);
    for (request, status, reason, sentence) in REQUESTS {
        let answer = ask(server.connect(), request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        server.wait_line(&format!("line {status} {sentence}"));
        let record = server.record();
        let found = ["status", "reason", "error"].map(|name| record.get(name));
        assert_eq!(found, [status, reason, sentence], "{request}: {}", record.line);
        assert!(record.line.contains(&format!(" ({sentence}), after ")), "{}", record.line);
    }
    // What a handler means by its status is its own affair.
    ask(server.connect(), "GET /a HTTP/1.0\r\nHost: t\r\n\r\n");
    server.wait_line("line 200 -");
    assert_eq!(server.record().get("error"), "");
}

#[test]
fn later_request_does_not_have_the_reason_of_an_earlier_one() {
    let server = serve(CONFIG);
    let requests = "GET /none HTTP/1.1\r\nHost: t\r\n\r\nGET /a HTTP/1.0\r\nHost: t\r\n\r\n";
    ask(server.connect(), requests);
    let record = server.record();
    assert_eq!((record.get("status"), record.get("error"), record.get("reason")), ("200", "", ""));
}
