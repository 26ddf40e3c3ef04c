//! Request lines, line ends, limits.

use super::{Case, case, get, rules};

pub fn cases() -> Vec<Case> {
    let mut cases = line_ends();
    cases.extend(request_lines());
    cases.extend(versions());
    cases.extend(limits());
    cases
}

fn line_ends() -> Vec<Case> {
    vec![
        case("a plain request", get("/", ""), "200 +"),
        case("bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", "400 -")
            .but_hyper("200 +", rules::LF),
        case("bare LF after a field", "GET / HTTP/1.1\r\nHost: a\nA: b\r\n\r\n", "400 -")
            .but_hyper("200 +", rules::LF),
        case("bare LF for the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n", "400 -")
            .but_hyper("200 +", rules::LF),
        case("bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", "400 -").but_hyper("200 +", rules::LF),
        case("bare LF ahead", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 -").but_hyper("200 +", rules::LF),
        case("bare CR in the request line", "GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n", "400 -"),
        case("bare CR after the version", "GET / HTTP/1.1\rHost: a\r\n\r\n", "400 -"),
        case("bare CR in a value", get("/", "A: b\rC: d\r\n"), "400 -"),
        case("bare CR in a name", get("/", "A\rB: c\r\n"), "400 -"),
        case("CR before CR LF", get("/", "A: b\r\r\n"), "400 -"),
        case("CR alone for the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\rA: b\r\n\r\n", "400 -"),
        case("CR ahead", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 -"),
        case("an empty line ahead", format!("\r\n{}", get("/", "")), "200 +"),
        case("three empty lines ahead", format!("\r\n\r\n\r\n{}", get("/", "")), "200 +"),
        case("too many empty lines ahead", format!("{}{}", "\r\n".repeat(9000), get("/", "")), "414 -")
            .but_hyper("200 +", rules::EMPTY_LINES),
        case("the end within the request line", "GET / HT", "400 -")
            .ended()
            .but_hyper("-", rules::INCOMPLETE),
        case("the end within the head", "GET / HTTP/1.1\r\nHost: a\r\n", "400 -")
            .ended()
            .but_hyper("-", rules::INCOMPLETE),
        case("the end after empty lines", "\r\n\r\n", "-").ended(),
        case("nothing at all", "", "-").ended(),
        case("the end after a request", get("/", ""), "200 -").ended(),
    ]
}

fn request_lines() -> Vec<Case> {
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    vec![
        case("a space ahead", line(" GET / HTTP/1.1"), "400 -"),
        case("a tab ahead", line("\tGET / HTTP/1.1"), "400 -"),
        case("two spaces before the target", line("GET  / HTTP/1.1"), "400 -"),
        case("two spaces before the version", line("GET /  HTTP/1.1"), "400 -"),
        case("tabs between", line("GET\t/\tHTTP/1.1"), "400 -"),
        case("a space at the end", line("GET / HTTP/1.1 "), "400 -"),
        case("a word at the end", line("GET / HTTP/1.1 x"), "400 -"),
        case("a form feed between", line("GET\x0c/ HTTP/1.1"), "400 -"),
        case("no target", line("GET HTTP/1.1"), "400 -"),
        case("a method alone", line("GET"), "400 -"),
        case("no method", line(" / HTTP/1.1"), "400 -"),
        case("NUL in the method", line("G\0T / HTTP/1.1"), "400 -"),
        case("a delimiter in the method", line("GE(T / HTTP/1.1"), "400 -"),
        case("a method beyond ASCII", line("G\u{e9}T / HTTP/1.1"), "400 -"),
        case("lower case is another method", line("get / HTTP/1.1"), "501 +"),
        case("an unknown method", line("BREW / HTTP/1.1"), "501 +"),
        case("a method that is not allowed", line("DELETE / HTTP/1.1"), "405 +"),
        case("TRACE", line("TRACE / HTTP/1.1"), "405 +"),
        case("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "501 -")
            .but_hyper("501 +", rules::CONNECT),
        case("CONNECT with a path", line("CONNECT / HTTP/1.1"), "501 -").but_hyper("501 +", rules::CONNECT),
        case("not a request", "nonsense\r\n\r\n", "400 -"),
        case("TLS", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "-").but_hyper("400 -", rules::TLS),
    ]
}

fn versions() -> Vec<Case> {
    let version = |version: &str| format!("GET / {version}\r\nHost: a\r\n\r\n");
    vec![
        case("HTTP/1.0", version("HTTP/1.0"), "200 -"),
        case("HTTP/1.2", version("HTTP/1.2"), "200 +").but_hyper("400 -", rules::MINOR_VERSION),
        case("HTTP/1.9", version("HTTP/1.9"), "200 +").but_hyper("400 -", rules::MINOR_VERSION),
        case("HTTP/1.2 without Host", "GET / HTTP/1.2\r\n\r\n", "400 -"),
        case("HTTP/1.2 and another word", version("x HTTP/1.2"), "400 -"),
        case("a space after HTTP/1.2", version("HTTP/1.2 "), "400 -"),
        case("CR before HTTP/1.2", "\rGET / HTTP/1.2\r\nHost: a\r\n\r\n", "400 -"),
        case(
            "chunked in HTTP/1.2",
            "POST /echo HTTP/1.2\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "200 +",
        )
        .but_hyper("400 -", rules::MINOR_VERSION),
        case("HTTP/2.0", version("HTTP/2.0"), "505 -").but_hyper("400 -", rules::VERSION),
        case("HTTP/0.9 by name", version("HTTP/0.9"), "505 -").but_hyper("400 -", rules::VERSION),
        case("HTTP/0.9", "GET /\r\n", "400 -"),
        case("HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 -")
            .but_hyper("-", rules::VERSION),
        case("a letter after the version", version("HTTP/1.1x"), "400 -"),
        case("two digits", version("HTTP/1.10"), "400 -"),
        case("a leading zero", version("HTTP/01.1"), "400 -"),
        case("one digit of a version", version("HTTP/1"), "400 -"),
        case("lower case", version("http/1.1"), "400 -"),
        case("another protocol", version("HTTPS/1.1"), "400 -"),
    ]
}

fn limits() -> Vec<Case> {
    let long = "x".repeat(20_000);
    let fields = |count| "A: b\r\n".repeat(count);
    vec![
        case("a long method", format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n"), "501 -")
            .but_hyper("501 +", rules::TOO_LONG),
        case("no method, but as long", format!("x({long}/ HTTP/1.1\r\nHost: a\r\n\r\n"), "414 -")
            .but_hyper("400 -", rules::TOO_LONG),
        case("a long target", get(&format!("/{long}"), ""), "414 -").but_hyper("200 +", rules::TOO_LONG),
        case("a long query", get(&format!("/?{long}"), ""), "414 -").but_hyper("200 +", rules::TOO_LONG),
        case("a long value", get("/", &format!("A: {long}\r\n")), "431 -")
            .but_hyper("200 +", rules::TOO_LONG),
        case("a long name", get("/", &format!("{long}: a\r\n")), "431 -").but_hyper("200 +", rules::TOO_LONG),
        case("a target within the limit", get(&format!("/{}", &long[..8000]), ""), "200 +"),
        case("a value within the limit", get("/", &format!("A: {}\r\n", &long[..16_000])), "200 +"),
        case("100 fields", get("/", &fields(99)), "200 +"),
        case("101 fields", get("/", &fields(100)), "431 -"),
        case("many fields", get("/", &fields(10_000)), "431 -"),
    ]
}
