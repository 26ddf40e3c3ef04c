//! PEP 3333, the request: `environ`, the input and the errors stream, with tests/wsgi/protocol.py.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::path::PathBuf;

use crate::auth::{ALICE, ALICE_LINE, make_users};
use crate::cgi::{dechunk, status};
use crate::harness::{Server, ask, command, connect_from, read_to_end, serve};
use crate::wsgi::{APPLICATIONS, content};

/// A route to an application of tests/wsgi/protocol.py in the interpreter of Debian.
pub fn route(path: &str, name: &str) -> String {
    route_by("/usr/bin/python3", path, name)
}

pub fn route_by(python: &str, path: &str, name: &str) -> String {
    format!(
        "[[service.web.route]]\npath = '{path}'\nhandler = 'wsgi'\napplication = 'protocol:{name}'\n\
         python = '{python}'\ndirectory = '{APPLICATIONS}'\n"
    )
}

/// The interpreters of this system that can run applications: that of Debian, and one of another version, if there is one.
pub fn pythons() -> Vec<String> {
    let script = "import sys; print(sys.executable, sys.version_info[1])";
    let find = |name: &str| {
        let output = command(name).args(["-c", script]).env("PATH", std::env::var("PATH").unwrap()).output();
        let text = String::from_utf8(output.ok().filter(|output| output.status.success())?.stdout).unwrap();
        let (path, minor) = text.trim().rsplit_once(' ')?;
        (minor.parse::<u32>().unwrap() >= 9).then(|| (path.to_owned(), minor.to_owned()))
    };
    let Some(own) = find("/usr/bin/python3") else { return Vec::new() };
    let names = [13, 12, 14, 11, 10, 9].map(|minor| format!("python3.{minor}"));
    let mut others = names.iter().map(String::as_str).chain(["python3"]).filter_map(find);
    let other = others.find(|(path, minor)| *minor != own.1 && PathBuf::from(path).exists());
    [Some(own), other].into_iter().flatten().map(|(path, _)| path).collect()
}

/// One server for each interpreter, with the application at `/`, and the same through `wsgiref.validate` at `/v`.
pub fn for_each_python(keys: &str, mut test: impl FnMut(&Server)) {
    for python in pythons() {
        let routes = [route_by(&python, "/", "app"), route_by(&python, "/v", "validated")];
        let server = serve(&format!("{keys}{}", routes.concat()));
        test(&server);
        let lines = server.rest();
        let complaint = lines.iter().find(|line| line.contains("AssertionError") || line.contains("Warning"));
        assert!(complaint.is_none(), "{complaint:?}");
    }
}

/// The content of a response, however it is framed.
pub fn text(answer: &str) -> String {
    if answer.contains("\r\nTransfer-Encoding: chunked\r\n") {
        dechunk(answer)
    } else {
        content(answer).to_owned()
    }
}

/// A request with content, `Content-Length` or chunked.
fn send(server: &Server, target: &str, body: &str, is_chunked: bool) -> String {
    let framed = match is_chunked {
        false => format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        true => {
            let (first, second) = body.split_at(body.len() / 2);
            let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
            format!("Transfer-Encoding: chunked\r\n\r\n{}{}0\r\n\r\n", chunk(first), chunk(second))
        }
    };
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    ask(server.connect(), &(head + &framed))
}

#[test]
fn environ_has_the_types_of_pep_3333() {
    for_each_python("", |server| {
        for target in ["/types", "/v/types"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: b%C3%A4r\r\nX-Latin: b\u{e4}r\r\n\r\n");
            let twice = request.clone() + &request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
            let answer = ask(server.connect(), &twice);
            assert!(answer.matches("valid").count() == 2, "{answer}");
        }
    });
}

/// The variables that the application sees.
fn show(server: &Server, request: &str) -> Vec<String> {
    let answer = ask(server.connect(), request);
    assert_eq!(status(&answer), "200", "{answer}");
    text(&answer).lines().map(str::to_owned).collect()
}

fn assert_shown(lines: &[String], expected: &[&str], absent: &[&str]) {
    for line in expected {
        assert!(lines.iter().any(|shown| shown == line), "{line}: {lines:#?}");
    }
    for name in absent {
        assert!(!lines.iter().any(|shown| shown.starts_with(&format!("{name}="))), "{name}: {lines:#?}");
    }
}

#[test]
fn script_name_and_path_info_follow_the_route() {
    let server =
        serve(&[route("/", "app"), route("/v", "described"), route("/deep/app/", "described")].concat());
    for (target, script, path) in [
        ("/show", "", "/show"),
        ("/show/a%2Fb%3F?x", "", "/show/a/b?"),
        ("/v", "/v", ""),
        ("/v/", "/v", "/"),
        ("/v/a%20b", "/v", "/a b"),
        ("/deep/app/x/", "/deep/app", "/x/"),
        ("/show/b%C3%A4r", "", "/show/b\u{c3}\u{a4}r"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let names = [format!("SCRIPT_NAME='{script}'"), format!("PATH_INFO='{path}'")];
        assert_shown(&show(&server, &request), &[&names[0], &names[1]], &[]);
    }
}

#[test]
fn variables_without_a_value_are_absent_or_empty() {
    let server = serve(&route("/", "app"));
    let lines = show(&server, "GET /show HTTP/1.0\r\n\r\n");
    let empty = ["QUERY_STRING=''", "SCRIPT_NAME=''", "SERVER_PROTOCOL='HTTP/1.0'"];
    let absent = ["CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_HOST", "HTTPS", "REMOTE_USER", "AUTH_TYPE"];
    assert_shown(&lines, &empty, &absent);
    let request = "POST /show?a=b+%20 HTTP/1.1\r\nHost: a\r\nContent-Type: x/y\r\nContent-Length: 0\r\n\
                   Cookie: a=1\r\nCookie: b=2\r\nX-Empty:\r\nConnection: close\r\n\r\n";
    let expected = [
        "REQUEST_METHOD='POST'",
        "QUERY_STRING='a=b+%20'",
        "CONTENT_TYPE='x/y'",
        "CONTENT_LENGTH='0'",
        "HTTP_COOKIE='a=1; b=2'",
        "HTTP_X_EMPTY=''",
        "REMOTE_ADDR='127.0.0.1'",
    ];
    let absent = ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_CONNECTION"];
    assert_shown(&show(&server, request), &expected, &absent);
    let chunked =
        "POST /show HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n";
    assert_shown(&show(&server, chunked), &[], &["CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"]);
}

#[test]
fn trusted_proxy_determines_the_scheme_and_the_client() {
    let server = serve(&format!("[service.web]\ntrusted_proxies = ['127.0.0.9']\n{}", route("/", "app")));
    let fields = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example\r\n";
    let request = format!("GET /show HTTP/1.1\r\nHost: inner\r\n{fields}Connection: close\r\n\r\n");
    let ask_from = |last| {
        let stream = connect_from(Ipv4Addr::new(127, 0, 0, last), server.address());
        text(&ask(stream, &request)).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let trusted = [
        "wsgi.url_scheme='https'",
        "HTTPS='on'",
        "REMOTE_ADDR='192.0.2.7'",
        "SERVER_NAME='a.example'",
        "SERVER_PORT='443'",
    ];
    assert_shown(&ask_from(9), &trusted, &["REMOTE_PORT"]);
    let other = ["wsgi.url_scheme='http'", "REMOTE_ADDR='127.0.0.8'", "SERVER_NAME='inner'"];
    assert_shown(&ask_from(8), &other, &["HTTPS"]);
}

#[test]
fn authenticated_user_is_passed_without_its_password() {
    let (_folder, users) = make_users(ALICE_LINE);
    let server = serve(&format!("{}auth_users = '{}'\n", route("/", "app"), users.display()));
    let fields = format!("Authorization: Basic {ALICE}\r\nConnection: close\r\n");
    let lines = show(&server, &format!("GET /show HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert_shown(&lines, &["REMOTE_USER='alice'", "AUTH_TYPE='Basic'"], &["HTTP_AUTHORIZATION"]);
}

#[test]
fn input_reads_as_a_file_does() {
    for_each_python("", |server| {
        for (expression, expected) in [
            ("i.read(0),i.read(4),i.read(100),i.read(1)", r"[b'', b'ab\nc', b'd\nef', b'']"),
            ("i.read(-1),i.readline()", r"[b'ab\ncd\nef', b'']"),
            ("i.readline(),i.readline(1),i.readline(9)", r"[b'ab\n', b'c', b'd\n']"),
            ("i.readline(),i.readline(),i.readline(),i.readline()", r"[b'ab\n', b'cd\n', b'ef', b'']"),
            ("i.readlines(),i.readlines()", r"[[b'ab\n', b'cd\n', b'ef'], []]"),
            ("i.readlines(1),i.readlines()", r"[[b'ab\n'], [b'cd\n', b'ef']]"),
            ("next(iter(i)),i.read(1),list(i),list(i)", r"[b'ab\n', b'c', [b'd\n', b'ef'], []]"),
        ] {
            // The validator accepts one way to call `read`, and no length of 0 or below.
            let is_strict = !expression.contains("(0)") && !expression.contains("(-1)");
            for target in ["/input", "/v/input"].iter().take(1 + usize::from(is_strict)) {
                for is_chunked in [false, true] {
                    let answer = send(server, &format!("{target}?{expression}"), "ab\ncd\nef", is_chunked);
                    assert_eq!(text(&answer), expected, "{target} {expression}");
                }
            }
        }
        let answer = send(server, "/input?i.read(),i.read(None),i.close()", "", false);
        assert_eq!(text(&answer), "[b'', b'', None]");
    });
}

#[test]
fn long_lines_of_the_input_are_read() {
    let server = serve(&route("/", "app"));
    let long = "x".repeat(5 << 20) + "\nend";
    let answer = send(&server, "/input?len(i.readline(70000)),len(i.readline()),i.read()", &long, false);
    assert_eq!(text(&answer), format!("[70000, {}, b'end']", (5 << 20) + 1 - 70000));
}

#[test]
fn content_that_ends_early_is_an_exception() {
    let server = serve(&route("/", "app"));
    let mut stream = server.connect();
    stream.write_all(b"POST /input?i.read() HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nshort").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read_to_end(stream);
    assert_eq!(status(&answer), "400", "{answer}");
    server.wait_line("OSError: the request ended before its content");
    assert_eq!(server.record_of("/input?i.read()").get("outcome"), "client-error");
}

#[test]
fn first_read_asks_the_client_to_continue() {
    let server = serve(&route("/", "app"));
    let head = |target: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
    };
    let mut stream = server.connect();
    stream.write_all(head("/input?i.read()").as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert!(ask(stream, "abc").ends_with("[b'abc']"));
    // An application that reads nothing has its response sent, and no content.
    let answer = ask(server.connect(), &head("/ignore"));
    assert!(status(&answer) == "200" && answer.ends_with("ignored"), "{answer}");
}

#[test]
fn unread_content_is_no_request() {
    for_each_python("", |server| {
        for prefix in ["", "/v"] {
            let requests = format!(
                "POST {prefix}/ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nGET /other HTTP/1.1\r\nHost: a\r\n\
                 POST {prefix}/input?i.read(2) HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                 4\r\nabcd\r\n0\r\n\r\n\
                 GET {prefix}/ignore HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            );
            let answer = ask(server.connect(), &requests);
            assert!(answer.matches("HTTP/1.1 200 OK").count() >= 2, "{answer}");
            assert!(answer.contains("[b'ab']") && !answer.contains("404"), "{answer}");
        }
    });
}

#[test]
fn lines_of_the_errors_stream_are_logged_with_the_connection() {
    for_each_python("", |server| {
        for target in ["/errors", "/v/errors"] {
            assert_eq!(text(&server.get(target)), "written");
            for part in ["one line", "another b\u{e4}r \u{20ac}"] {
                let line = server.wait_line(part);
                assert!(line.contains(&format!("target=\"{target}\"")), "{line}");
            }
        }
    });
}

#[test]
fn threads_of_a_request_may_write_at_once() {
    for_each_python("", |server| {
        assert_eq!(text(&server.get("/threads")), "written");
        server.wait_line("a line of a thread");
    });
}

#[test]
fn objects_of_a_request_are_of_no_use_after_it() {
    let server = serve(&route("/", "app"));
    let requests = "GET /late-use HTTP/1.1\r\nHost: a\r\n\r\n\
                    GET /late-use HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = ask(server.connect(), requests);
    let expected =
        "read: the request has been answered already\nwrite: the request has been answered already";
    assert!(answer.ends_with(expected), "{answer}");
}

#[test]
fn table_of_the_document_names_tests_that_exist() {
    let root = env!("CARGO_MANIFEST_DIR");
    let document = std::fs::read_to_string(format!("{root}/docs/wsgi.md")).unwrap();
    let names: Vec<_> = document.split('`').filter_map(|part| part.split_once("::")).collect();
    assert!(names.len() > 30);
    for (module, test) in names {
        let source = std::fs::read_to_string(format!("{root}/tests/it/{module}.rs")).unwrap();
        assert!(source.contains(&format!("#[test]\nfn {test}()")), "{module}::{test}");
    }
}
