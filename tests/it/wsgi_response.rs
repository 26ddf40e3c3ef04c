//! PEP 3333, the response: `start_response`, `write`, iterables, `close` and `wsgi.file_wrapper`, with tests/wsgi/protocol.py.

use std::io::{Read, Write};

use crate::cgi::status;
use crate::harness::{Server, ask, make_folder, read_to_end, reset, serve};
use crate::wsgi::{APPLICATIONS, content};
use crate::wsgi_protocol::{for_each_python, route, text};

fn head(server: &Server, target: &str) -> String {
    ask(server.connect(), &format!("HEAD {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
}

#[test]
fn invalid_arguments_of_start_response_are_refused() {
    let server = serve(&route("/", "app"));
    for (case, sentence) in [
        ("tuple", "TypeError: expected the headers as a list, found tuple"),
        ("bytes-status", "TypeError: expected the status as str, found bytes"),
        ("bytes-name", "TypeError: expected the name of a header as str, found bytes"),
        ("bytes-value", "TypeError: expected the value of a header as str, found bytes"),
        ("triple", "TypeError: expected a header of two strings, found 3"),
        ("wide", "UnicodeEncodeError: 'latin-1' codec can't encode"),
        ("wide-status", "UnicodeEncodeError: 'latin-1' codec can't encode"),
        ("newline", "ValueError: the header X has a control character"),
        ("return", "ValueError: the header X has a control character"),
        ("null", "ValueError: the header X has a control character"),
        ("name", "ValueError: expected the name of a header"),
        ("length", "ValueError: invalid Content-Length: 'many'"),
        ("100%20Continue", "ValueError: expected a status such as"),
        ("20%20Short", "ValueError: expected a status such as"),
        ("hop-Connection", "ValueError: the header Connection is of the connection"),
        ("hop-keep-alive", "ValueError: the header keep-alive is of the connection"),
        ("hop-Proxy-Authenticate", "ValueError: the header Proxy-Authenticate is of the connection"),
        ("hop-TE", "ValueError: the header TE is of the connection"),
        ("hop-Trailer", "ValueError: the header Trailer is of the connection"),
        ("hop-Transfer-Encoding", "ValueError: the header Transfer-Encoding is of the connection"),
        ("hop-Upgrade", "ValueError: the header Upgrade is of the connection"),
    ] {
        let answer = server.get(&format!("/start/{case}"));
        assert!(status(&answer) == "500" && !answer.contains("accepted"), "{case}: {answer}");
        server.wait_line(&format!("protocol:app failed: {sentence}"));
    }
}

#[test]
fn header_values_are_latin_1_and_repeated_ones_are_kept() {
    let server = serve(&route("/", "app"));
    let mut stream = server.connect();
    stream.write_all(b"GET /latin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let has = |line: &[u8]| answer.windows(line.len()).any(|window| window == line);
    assert!(has(b"\r\nX-Latin: b\xe4r\ttab\r\n") && has(b"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"));
}

#[test]
fn exc_info_replaces_a_head_that_is_not_sent() {
    for_each_python("", |server| {
        for target in ["/exc-info", "/v/exc-info"] {
            let answer = server.get(target);
            assert!(status(&answer) == "503" && text(&answer) == "replaced", "{answer}");
            assert!(answer.contains("\r\nX-Second: 1\r\n") && !answer.contains("X-First"), "{answer}");
        }
    });
}

#[test]
fn content_is_what_write_and_the_iterable_give() {
    for_each_python("", |server| {
        for (case, expected, length) in [
            ("[]", "", "0"),
            ("()", "", "0"),
            ("iter([])", "", "0"),
            ("[b'',b'']", "", "0"),
            ("iter([b''])", "", "0"),
            ("[b'ab',b'',b'cd']", "abcd", "4"),
            ("(b'ab',b'cd')", "abcd", "4"),
            ("iter([b'',b'ab',b'',b'cd'])", "abcd", ""),
            ("{b'set'}", "set", ""),
            ("write", "abcd", ""),
            ("write-list", "ab", ""),
        ] {
            for prefix in ["", "/v"] {
                let answer = server.get(&format!("{prefix}/parts/{case}"));
                assert!(status(&answer) == "200" && text(&answer) == expected, "{case}: {answer}");
                // The validator returns an iterator, whose length is known only if it has nothing.
                let is_known = !length.is_empty() && (prefix.is_empty() || length == "0");
                let field = format!("\r\nContent-Length: {length}\r\n");
                assert!(!is_known || answer.contains(&field), "{case}: {answer}");
            }
        }
        // What the validator refuses, PEP 3333 permits: empty strings before start_response.
        assert_eq!(text(&server.get("/parts/late")), "late");
    });
}

#[test]
fn str_as_content_is_an_error() {
    let server = serve(&route("/", "app"));
    for (case, sentence) in [
        ("write-text", "TypeError: expected content as bytes, found str"),
        ("'text'", "TypeError: expected content as bytes, found str"),
        ("[b'a','b']", "TypeError: expected content as bytes, found str"),
        ("iter([1])", "TypeError: expected content as bytes, found int"),
        ("None", "is not iterable"),
        ("5", "is not iterable"),
    ] {
        let answer = server.get(&format!("/parts/{case}"));
        assert_eq!(status(&answer), "500", "{case}: {answer}");
        server.wait_line(sentence);
    }
}

#[test]
fn statuses_without_content_have_none() {
    for_each_python("", |server| {
        for target in ["/excluded/204", "/excluded/304", "/excluded/204?iterator", "/excluded/304?iterator"] {
            let answer = server.get(target);
            assert!(answer.ends_with("\r\n\r\n") && content(&answer).is_empty(), "{answer}");
            assert!(!answer.contains("Content-Length") && !answer.contains("Transfer-Encoding"), "{answer}");
        }
        assert!(server.get("/v/close/304").contains("\r\nETag: \"a\"\r\n"));
    });
}

#[test]
fn head_has_the_length_and_no_content() {
    for_each_python("", |server| {
        for (target, field) in [
            ("/parts/[b'abc']", "Content-Length: 3"),
            ("/length/3-abc", "Content-Length: 3"),
            ("/length/3-abc?iterator", "Content-Length: 3"),
            ("/file/offset", "Content-Length: "),
            ("/parts/write", "Transfer-Encoding: chunked"),
        ] {
            let answer = head(server, target);
            assert!(status(&answer) == "200" && content(&answer).is_empty(), "{target}: {answer}");
            assert!(answer.contains(&format!("\r\n{field}")), "{target}: {answer}");
        }
        // An application may leave out the content, which says nothing about that of GET.
        assert!(!head(server, "/parts/[]").contains("Content-Length"));
    });
}

#[test]
fn content_length_of_the_application_is_kept() {
    let server = serve(&route("/", "app"));
    for target in ["/length/3-abc", "/length/3-abc?iterator"] {
        let answer = server.get(target);
        assert!(answer.contains("\r\nContent-Length: 3\r\n") && content(&answer) == "abc", "{answer}");
    }
    // A connection stays open after content that is cut, and not after content that is short.
    let both = |target: &str| {
        let first = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        ask(server.connect(), &(first + "GET /ignore HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    };
    for target in ["/length/2-abcd", "/length/3-abcd?iterator"] {
        let answer = both(target);
        assert!(!answer.contains("abcd") && answer.ends_with("ignored"), "{answer}");
        server.wait_line("protocol:app failed: sent more than its Content-Length");
    }
    for target in ["/length/5-abc", "/length/5-abc?iterator"] {
        assert!(both(target).ends_with("\r\n\r\nabc"));
        server.wait_line("protocol:app failed: sent less than its Content-Length");
    }
}

#[test]
fn iterable_is_closed_once_in_every_end() {
    for_each_python("", |server| {
        for case in ["200", "204", "304", "raise", "text", "never-started"] {
            server.get(&format!("/close/{case}"));
            assert!(server.wait_line("closed ").contains("closed 1"), "{case}");
        }
        head(server, "/close/200");
        server.wait_line("closed 1");
        ask(server.connect(), "GET /close/200 HTTP/1.0\r\n\r\n");
        server.wait_line("closed 1");
        server.get("/v/close/200");
        server.wait_line("closed 1");
    });
}

#[test]
fn iterable_is_closed_when_the_client_has_gone() {
    let server = serve(&route("/", "app"));
    let mut stream = server.connect();
    stream.write_all(b"GET /close/endless HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 100]).unwrap();
    reset(stream);
    server.wait_line("closed 1");
    let record = server.record_of("/close/endless");
    record.assert_client_gone();
}

#[test]
fn client_does_not_wait_for_close() {
    let server = serve(&route("/", "app"));
    let folder = make_folder();
    let path = folder.path().join("go");
    let mut stream = server.connect();
    let request = format!("GET /close/waits?{} HTTP/1.1\r\nHost: a\r\n\r\n", path.display());
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n0\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    std::fs::write(&path, "").unwrap();
    server.wait_line("waited in close");
    // The connection is still open.
    assert!(ask(stream, "GET /ignore HTTP/1.0\r\n\r\n").ends_with("ignored"));
}

#[test]
fn error_in_close_harms_no_response() {
    let server = serve(&route("/", "app"));
    let answer = server.get("/close/close");
    assert!(answer.ends_with("5\r\nwhole\r\n0\r\n\r\n"), "{answer}");
    server.wait_line("protocol:app failed: ZeroDivisionError");
    assert_eq!(server.record().get("outcome"), "handler-error");
}

#[test]
fn file_wrapper_gives_what_the_file_reads() {
    let own = std::fs::read_to_string(format!("{APPLICATIONS}/protocol.py")).unwrap();
    for_each_python("", |server| {
        // The kernel sends a regular file, so that its length is known.
        for (case, expected, is_sent_by_the_kernel) in [
            ("raw", &own[..], true),
            ("offset", &own[2..], true),
            ("temporary", "porary", true),
            ("memory", "in memory", false),
            ("gzip", "unpacked", false),
        ] {
            let answer = server.get(&format!("/file/{case}"));
            assert!(text(&answer) == expected, "{case}: {answer}");
            assert_eq!(answer.contains("\r\nContent-Length: "), is_sent_by_the_kernel, "{case}: {answer}");
            assert!(text(&server.get(&format!("/v/file/{case}"))) == expected, "{case}");
        }
        server.get("/file/closed");
        server.wait_line("file closed");
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = serve(&route("/", "app"));
    let mut stream = server.connect();
    let requests: String = (0..20)
        .map(|number| {
            let end = if number == 19 { "Connection: close\r\n" } else { "" };
            format!("POST /input?i.read() HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n{end}\r\n{number:02}")
        })
        .collect();
    stream.write_all(requests.as_bytes()).unwrap();
    let answer = read_to_end(stream);
    let found: Vec<_> = answer.split("[b'").skip(1).map(|part| &part[..2]).collect();
    assert_eq!(found, (0..20).map(|number| format!("{number:02}")).collect::<Vec<_>>());
}
