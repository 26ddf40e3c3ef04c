//! Fields between clients and programs: which become variables of a program, and which of its fields become those of the
//! response.

use std::fs;
use std::io::{Read, Write};

use crate::cgi::{dechunk, programs, say, status, write_program};
use crate::harness::{ask, find_program, make_folder, read_to_end, serve};

/// Names that some programs take for those of other variables. A client must not set these past a proxy in front.
const MISLEADING: &str = "X_Forwarded_For: evil\r\nX.Forwarded.For: evil\r\nx_forwarded-for: evil\r\nContent_Length: 99\r\n\
                          Content_Type: evil\r\nTransfer_Encoding: chunked\r\nTransfer.Encoding: chunked\r\n_: evil\r\n\
                          Proxy: evil\r\npROXY: evil\r\nHttp_Proxy: evil\r\nX!Y: evil\r\nX~Y: evil\r\nX'Y: evil\r\n";

/// A request with content, and with all of the misleading names.
fn mislead(target: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\n{MISLEADING}X-Forwarded-For: proxy\r\nContent-Type: a/b\r\n\
         Content-Length: 3\r\n\r\nabcGET {target} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"
    )
}

#[test]
fn misleading_names_become_no_variables() {
    let list =
        say("tr '\\0' '\\n' </proc/$$/environ | grep -E '^(HTTP|CONTENT|TRANSFER|.*evil)' | sort; cat");
    let it = programs("", &[("list", &list)]);
    // The request is answered, and the next one on the connection as well.
    let answers = ask(it.server.connect(), &mislead("/cgi/list"));
    let at = answers.rfind("HTTP/1.1 200 ").unwrap();
    let expected = "CONTENT_LENGTH=3\nCONTENT_TYPE=a/b\nHTTP_HOST=a\nHTTP_X_FORWARDED_FOR=proxy\nabc";
    assert_eq!(dechunk(&answers[..at]), expected);
    assert_eq!(dechunk(&answers[at..]), "HTTP_HOST=b\n");
}

#[test]
fn php_sees_no_misleading_names() {
    let Some(php) = find_program("php-cgi") else { return };
    let folder = make_folder();
    let text = "<?php foreach ($_SERVER as $name => $value) if (preg_match('/^HTTP_X|^HTTP_P|evil/', \"$name=$value\")) \
                echo \"$name=$value\\n\"; echo getenv('HTTP_PROXY'), file_get_contents('php://input');";
    fs::write(folder.path().join("list.php"), text).unwrap();
    let server = serve(&format!(
        "[[service.web.route]]\nhandler = 'cgi'\nroot = '{}'\ninterpreter = '{}'\n",
        folder.path().display(),
        php.display()
    ));
    let answers = ask(server.connect(), &mislead("/list.php"));
    let at = answers.rfind("HTTP/1.1 200 ").unwrap();
    assert_eq!(dechunk(&answers[..at]), "HTTP_X_FORWARDED_FOR=proxy\nabc");
}

#[test]
fn configured_variables_replace_those_of_the_request() {
    let list = say("tr '\\0' '\\n' </proc/$$/environ | grep -E '^(HTTP_X_USER|SERVER_NAME|PATH)=' | sort");
    let keys =
        "environment = { HTTP_X_USER = 'nobody', SERVER_NAME = 'example.org', PATH = '/usr/bin:/bin:/opt' }";
    let it = programs(keys, &[("list", &list)]);
    let request = "GET /cgi/list HTTP/1.1\r\nHost: a\r\nX-User: root\r\nConnection: close\r\n\r\n";
    let expected = "HTTP_X_USER=nobody\nPATH=/usr/bin:/bin:/opt\nSERVER_NAME=example.org\n";
    assert_eq!(dechunk(&ask(it.server.connect(), request)), expected);
}

/// The values of a field of the response.
fn values<'a>(answer: &'a str, name: &str) -> Vec<&'a str> {
    let head = answer.split_once("\r\n\r\n").unwrap().0;
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

#[test]
fn of_fields_that_may_stand_once_the_last_counts() {
    let script = "printf 'Status: 500\\nContent-Type: a/b\\nETag: \"1\"\\nContent-Length: 9\\nLast-Modified: x\\nVary: a\\n\
                  Set-Cookie: a=1\\nStatus: 404\\nLast-Modified: y\\nCONTENT-TYPE: c/d\\netag: \"2\"\\nContent-Length: 2\\n\
                  Vary: b\\nSet-Cookie: a=2\\n\\nhi'";
    let it = programs("", &[("twice", script)]);
    let answer = it.server.get("/cgi/twice");
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("\r\n\r\nhi"), "{answer}");
    for (name, expected) in [
        ("Content-Type", &["c/d"][..]),
        ("Content-Length", &["2"]),
        ("ETag", &["\"2\""]),
        ("Last-Modified", &["y"]),
        ("Status", &[]),
        // These are lists.
        ("Vary", &["a", "b"]),
        ("Set-Cookie", &["a=1", "a=2"]),
    ] {
        assert_eq!(values(&answer, name), expected, "{answer}");
    }
    assert_eq!(it.server.record().get("outcome"), "served");
}

#[test]
fn first_line_of_a_response_sets_the_status() {
    let it = programs(
        "",
        &[
            ("found", "printf 'HTTP/1.1 404 Not Here\\r\\nContent-Type: a/b\\r\\n\\r\\ntext'"),
            ("old", "printf 'HTTP/1.0 200 OK\\n\\ntext'"),
            ("moved", "printf 'HTTP/1.1 302 Found\\nLocation: /cgi/old\\n\\n'"),
            ("later", "printf 'X: y\\nHTTP/1.1 200 OK\\n\\ntext'"),
            ("interim", "printf 'HTTP/1.1 100 Continue\\n\\n'"),
        ],
    );
    for (name, expected, content) in [("found", "404", "text"), ("old", "200", "text"), ("moved", "302", "")]
    {
        let answer = it.server.get(&format!("/cgi/{name}"));
        assert_eq!((status(&answer), dechunk(&answer).as_str()), (expected, content), "{answer}");
        assert_eq!(answer.matches("HTTP/1").count(), 1, "{answer}");
    }
    for name in ["later", "interim"] {
        assert_eq!(status(&it.server.get(&format!("/cgi/{name}"))), "502", "{name}");
    }
}

#[test]
fn transfer_coding_of_a_program_is_decoded() {
    let coded = |content: &str| format!("printf 'Status: 200\\nTransfer-Encoding: chunked\\n\\n{content}'");
    let it = programs(
        "",
        &[
            ("whole", &coded("5\\r\\nhello\\r\\n7;a=b\\r\\n, world\\r\\n0\\r\\nX: y\\r\\n\\r\\n")),
            ("pieces", &format!("{}; printf 'lo\\r\\n0\\r\\n\\r\\n'", coded("5\\r\\nhel"))),
            ("plain", &coded("hello, world")),
            ("cut", &coded("5\\r\\nhello\\r\\n")),
            ("broken", &format!("{}; read line; printf 'world'", coded("5\\r\\nhello\\r\\n"))),
            ("long", &coded("5\\r\\nhello\\r\\n0\\r\\n\\r\\nmore")),
            ("empty", "printf 'Status: 204\\nTransfer-Encoding: chunked\\n\\n'"),
            ("zipped", "printf 'Status: 200\\nTransfer-Encoding: gzip\\n\\n0'"),
            (
                "both",
                "printf 'Status: 200\\nTransfer-Encoding: chunked\\nContent-Length: 5\\n\\n0\\r\\n\\r\\n'",
            ),
        ],
    );
    for (name, expected) in [("whole", "hello, world"), ("pieces", "hello"), ("long", "hello")] {
        let answer = it.server.get(&format!("/cgi/{name}"));
        assert_eq!(dechunk(&answer), expected, "{name}");
        assert_eq!(it.server.record_of(&format!("/cgi/{name}")).get("outcome"), "served", "{name}");
    }
    let old = ask(it.server.connect(), "GET /cgi/whole HTTP/1.0\r\n\r\n");
    assert!(old.ends_with("\r\n\r\nhello, world"), "{old}");
    let head = ask(it.server.connect(), "HEAD /cgi/cut HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(status(&head) == "200" && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(it.server.record_of("/cgi/cut").get("outcome"), "served");
    assert_eq!(status(&it.server.get("/cgi/empty")), "204");
    for name in ["plain", "zipped", "both"] {
        let answer = it.server.get(&format!("/cgi/{name}"));
        assert_eq!(status(&answer), "502", "{name}: {answer}");
        it.server.wait_line(&format!("/{name} failed: "));
    }
    // The client detects that the content is not complete.
    let request = |name| {
        format!("POST /cgi/{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\n")
    };
    for (name, reason) in [("cut", "output shorter than its chunks"), ("broken", "malformed chunk size")] {
        let mut stream = it.server.connect();
        stream.write_all(request(name).as_bytes()).unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"hello\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        stream.write_all(b"\n").unwrap();
        assert_eq!(read_to_end(stream), "", "{name}");
        it.server.wait_line(&format!("/{name} failed: {reason}"));
        assert_eq!(it.server.record().get("outcome"), "handler-error", "{name}");
    }
}

#[test]
fn fields_and_coding_of_php_reach_the_client() {
    let Some(php) = find_program("php-cgi") else { return };
    let folder = make_folder();
    let text = "<?php header('HTTP/1.1 404 Not Here'); header('ETag: \"1\"'); header('ETag: \"2\"', false); \
                header('Link: <a>'); header('Link: <b>', false); setcookie('a', 'b'); setcookie('c', 'd'); \
                header('Transfer-Encoding: chunked'); echo \"5\\r\\nhello\\r\\n0\\r\\n\\r\\n\";";
    fs::write(folder.path().join("a.php"), text).unwrap();
    let server = serve(&format!(
        "[[service.web.route]]\nhandler = 'cgi'\nroot = '{}'\ninterpreter = '{}'\n",
        folder.path().display(),
        php.display()
    ));
    let answer = server.get("/a.php");
    assert_eq!((status(&answer), dechunk(&answer).as_str()), ("404", "hello"), "{answer}");
    assert_eq!(values(&answer, "ETag"), ["\"2\""], "{answer}");
    assert_eq!(values(&answer, "Link"), ["<a>", "<b>"], "{answer}");
    assert_eq!(values(&answer, "Set-Cookie"), ["a=b", "c=d"], "{answer}");
}

#[test]
fn fields_beside_a_local_location_reach_the_client() {
    let folder = make_folder();
    let at = |name: &str| folder.path().join(name);
    let local = "printf 'Set-Cookie: a=1\\nContent-Type: text/plain\\nETag: x\\nVary: Cookie\\nAge: 1\\nX-Route: program\\n\
                 Set-Cookie: b=2\\nLocation: %s\\n\\n'";
    for (name, target) in
        [("local", "/cgi/last"), ("file", "/file.txt"), ("none", "/none"), ("twice", "/cgi/local")]
    {
        let script = format!("#!/bin/sh\n{}\n", local.replace("%s", target));
        write_program(&at(&format!("cgi/{name}")), &script);
    }
    let last = "printf 'Content-Type: text/html\\nSet-Cookie: c=3\\nVary: Accept\\nAge: 2\\n\\nlast'";
    write_program(&at("cgi/last"), &format!("#!/bin/sh\n{last}\n"));
    fs::write(at("file.txt"), "file").unwrap();
    let root = folder.path().display();
    let server = serve(&format!(
        "[[service.web.route]]\nhandler = 'files'\nroot = '{root}'\nheaders = {{ X-Route = 'files' }}\n\
         [[service.web.route]]\npath = '/cgi/'\nhandler = 'cgi'\nroot = '{root}/cgi'\n"
    ));
    let kept: &[_] = &["a=1", "b=2"];
    for (name, expected, cookies, route) in [
        ("local", "200", &["c=3", "a=1", "b=2"][..], "program"),
        ("twice", "200", &["c=3", "a=1", "b=2", "a=1", "b=2"], "program"),
        ("file", "200", kept, "files"),
        ("none", "404", kept, "files"),
    ] {
        let answer = server.get(&format!("/cgi/{name}"));
        assert_eq!(status(&answer), expected, "{answer}");
        assert_eq!(values(&answer, "Set-Cookie"), cookies, "{answer}");
        assert!(values(&answer, "Vary").contains(&"Cookie"), "{answer}");
        assert_eq!(values(&answer, "Age"), ["1"], "{answer}");
        assert!(values(&answer, "X-Route").contains(&route), "{answer}");
        // Those that describe the content are those of the content.
        assert!(values(&answer, "Content-Type").len() == 1 && !answer.contains("ETag: x"), "{answer}");
        assert_eq!(values(&answer, "Location"), [""; 0], "{answer}");
    }
    // They are those of one response only.
    let request = "GET /cgi/file HTTP/1.1\r\nHost: a\r\n\r\nGET /file.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answers = ask(server.connect(), request);
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 2, "{answers}");
    assert_eq!(answers.matches("Set-Cookie").count(), 2, "{answers}");
}
