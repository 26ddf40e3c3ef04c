//! Content that is compressed on its way.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

use crate::cgi::write_program;
use crate::harness::{ask, command, find_program, make_folder, serve};
use crate::site::{Response, Site};

const KEYS: &str = "compress = ['zstd', 'gzip']\nlisting = true";

/// Lines that differ, so that a piece that is missing is noticed.
fn text(lines: u32) -> String {
    (0..lines).map(|line| format!("{line} of the text\n")).collect()
}

/// What a program makes of bytes on its standard input.
fn filter(program: &str, arguments: &[&str], bytes: &[u8]) -> Option<Vec<u8>> {
    let mut process = command(find_program(program)?);
    process.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = process.spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes));
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        Some(output.stdout)
    })
}

/// The content of a chunked response.
fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a chunk");
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        content.extend(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
        if size == 0 {
            assert!(bytes.is_empty(), "{bytes:?}");
            return content;
        }
    }
}

/// The content without its content coding.
fn decode(response: &Response) -> Option<Vec<u8>> {
    let coded = match response.field("Transfer-Encoding") {
        "chunked" => dechunk(&response.content),
        _ => response.content.clone(),
    };
    match response.field("Content-Encoding") {
        "gzip" => {
            filter("gzip", &["-t"], &coded)?;
            filter("gzip", &["-dc"], &coded)
        }
        "zstd" => filter("zstd", &["-dcq"], &coded),
        _ => Some(coded),
    }
}

#[test]
fn text_is_sent_in_the_coding_that_the_client_prefers() {
    let site = Site::new(KEYS);
    let text = text(20_000);
    site.write("a.txt", &text);
    for (accepted, coding) in [
        ("", ""),
        ("Accept-Encoding: gzip\r\n", "gzip"),
        ("Accept-Encoding: gzip, deflate, br, zstd\r\n", "zstd"),
        ("Accept-Encoding: gzip;q=1, zstd;q=0.5\r\n", "gzip"),
        ("Accept-Encoding: gzip;q=0, *\r\n", "zstd"),
        ("Accept-Encoding: br, deflate\r\n", ""),
        ("Accept-Encoding: gzip;q=0\r\n", ""),
        ("Accept-Encoding: identity, gzip;q=0.5\r\n", ""),
    ] {
        let response = site.ask("GET", "/a.txt", accepted);
        assert_eq!((response.status, response.field("Content-Encoding")), (200, coding), "{accepted}");
        assert_eq!(response.field("Vary"), "Accept-Encoding", "{accepted}");
        assert_eq!(response.field("Content-Type"), "text/plain; charset=utf-8");
        let Some(content) = decode(&response) else { return };
        assert_eq!(content, text.as_bytes(), "{accepted}");
        let head = site.ask("HEAD", "/a.txt", accepted);
        let lines = |response: &Response| {
            let lines = response.head.lines().filter(|line| !line.starts_with("Date: "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(&head), lines(&response), "{accepted}");
        assert!(head.content.is_empty());
        let is_short = response.content.len() * 3 < text.len();
        assert_eq!(is_short, !coding.is_empty(), "{} of {}", response.content.len(), text.len());
    }
}

#[test]
fn what_does_not_gain_is_sent_as_it_is() {
    let site = Site::new(&format!("{KEYS}\nprecompressed = true"));
    site.write("short.txt", "x".repeat(1023));
    site.write("a.png", text(1000));
    site.write("a.html", text(1000));
    site.write("a.html.gz", "made before");
    let ask = |target: &str| site.ask("GET", target, "Accept-Encoding: gzip\r\n");
    for target in ["/short.txt", "/a.png"] {
        let response = ask(target);
        assert_eq!((response.status, response.field("Content-Encoding")), (200, ""), "{target}");
        assert_ne!(response.field("Content-Length"), "");
    }
    let response = ask("/a.html");
    assert_eq!((response.field("Content-Encoding"), response.text()), ("gzip", "made before"));
    // The variant is in another coding than this client accepts.
    let response = site.ask("GET", "/a.html", "Accept-Encoding: zstd\r\n");
    assert_eq!(
        (response.field("Content-Encoding"), response.field("Transfer-Encoding")),
        ("zstd", "chunked")
    );
}

#[test]
fn each_coding_has_its_entity_tag() {
    let site = Site::new(KEYS);
    site.write("a.css", text(1000));
    let ask = |fields: &str| site.ask("GET", "/a.css", fields);
    let [plain, gzip, zstd] = ["", "Accept-Encoding: gzip\r\n", "Accept-Encoding: zstd\r\n"].map(ask);
    let tag = plain.field("ETag").trim_end_matches('"').to_owned();
    assert!(tag.starts_with('"'), "{tag}");
    assert_eq!(gzip.field("ETag"), format!("{tag}-gzip\""));
    assert_eq!(zstd.field("ETag"), format!("{tag}-zstd\""));
    assert_eq!(plain.field("Accept-Ranges"), "bytes");
    assert_eq!(gzip.field("Accept-Ranges"), "");
    for (etag, expected) in [(gzip.field("ETag"), 304), (plain.field("ETag"), 200), (zstd.field("ETag"), 200)]
    {
        let response = ask(&format!("Accept-Encoding: gzip\r\nIf-None-Match: {etag}\r\n"));
        assert_eq!(response.status, expected, "{etag}");
        assert_eq!(response.field("ETag"), gzip.field("ETag"));
        assert_eq!(response.field("Vary"), "Accept-Encoding");
    }
    // Ranges are of the file itself.
    let range = "Accept-Encoding: gzip\r\nRange: bytes=0-9\r\n";
    let response = ask(range);
    assert_eq!((response.status, response.text()), (206, "0 of the t"));
    assert_eq!((response.field("ETag"), response.field("Content-Encoding")), (plain.field("ETag"), ""));
    let response = ask(&format!("{range}If-Range: {}\r\n", gzip.field("ETag")));
    assert_eq!((response.status, response.field("Content-Encoding")), (200, ""));
}

#[test]
fn old_clients_read_to_the_end_of_the_connection() {
    let site = Site::new(KEYS);
    site.write("a.js", text(9000));
    let mut stream = site.server.connect();
    stream
        .write_all(b"GET /a.js HTTP/1.0\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n\r\n")
        .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let response = Response::parse(&bytes);
    assert_eq!((response.field("Transfer-Encoding"), response.field("Connection")), ("", "close"));
    if let Some(content) = decode(&response) {
        assert_eq!(content, text(9000).as_bytes());
    }
}

#[test]
fn file_that_shrinks_has_no_end() {
    let site = Site::new(KEYS);
    // More than the sockets hold, in spite of the compression.
    let mut noise = vec![0; 64 << 20];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise[..16 << 20]).unwrap();
    site.write("a.txt", &noise);
    let mut stream = site.server.connect();
    stream.write_all(b"GET /a.txt HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\n\r\n").unwrap();
    let mut bytes = vec![0; 1];
    stream.read_exact(&mut bytes).unwrap();
    fs::File::options().write(true).open(site.path("a.txt")).unwrap().set_len(1000).unwrap();
    stream.read_to_end(&mut bytes).unwrap();
    assert!(!bytes.ends_with(b"0\r\n\r\n"));
    assert_eq!(site.server.record_of("/a.txt").get("outcome"), "system-error");
}

#[test]
fn listings_are_compressed() {
    let site = Site::new(KEYS);
    (0..50).for_each(|number| site.write(format!("docs/{number}.txt"), "x"));
    let response = site.ask("GET", "/docs/", "Accept-Encoding: zstd\r\n");
    assert_eq!(response.field("Content-Encoding"), "zstd");
    assert!(response.head.contains("\r\nVary: Accept-Encoding"), "{}", response.head);
    if let Some(page) = decode(&response) {
        assert!(String::from_utf8(page).unwrap().contains("49.txt"));
    }
}

#[test]
fn curl_decodes_what_it_asks_for() {
    let (Some(curl), Some(_)) = (find_program("curl"), find_program("gzip")) else { return };
    let site = Site::new("compress = 'gzip'\ncache_control = 'max-age=60'");
    site.write("a.svg", text(5000));
    let url = format!("http://{}/a.svg", site.server.address());
    let output = command(&curl).args(["-sS", "--compressed", "-D", "/dev/stderr", &url]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), text(5000));
    let head = String::from_utf8(output.stderr).unwrap();
    assert!(head.contains("\r\nContent-Encoding: gzip\r\n"), "{head}");
}

#[test]
fn no_transform_is_respected() {
    let site = Site::new("compress = 'gzip'\ncache_control = 'max-age=60, no-transform'");
    site.write("a.txt", text(1000));
    let response = site.ask("GET", "/a.txt", "Accept-Encoding: gzip\r\n");
    assert_eq!((response.field("Content-Encoding"), response.field("Vary")), ("", ""));
}

/// A program that writes `head`, and then lines of text.
fn respond(head: &str, lines: u32, accepted: &str) -> Response {
    let folder = make_folder();
    let program = folder.path().join("program");
    let text = folder.path().join("text");
    fs::write(&text, self::text(lines)).unwrap();
    write_program(&program, &format!("#!/bin/sh\nprintf '{head}\\n\\n'\ncat {}\n", text.display()));
    let server = serve(&format!(
        "[[service.web.route]]\nhandler = 'cgi'\nprogram = '{}'\ncompress = ['zstd', 'gzip']\n",
        program.display()
    ));
    let mut stream = server.connect();
    let request = format!("GET / HTTP/1.1\r\nHost: t\r\n{accepted}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    Response::parse(&bytes)
}

#[test]
fn output_of_programs_is_compressed() {
    let all = "Accept-Encoding: gzip, zstd\r\n";
    let length = text(9000).len();
    for (head, accepted, coding, vary) in [
        ("Content-Type: text/html", all, "zstd", "Accept-Encoding"),
        ("Content-Type: text/html", "Accept-Encoding: gzip\r\n", "gzip", "Accept-Encoding"),
        ("Content-Type: text/html", "", "", "Accept-Encoding"),
        (
            &format!("Content-Type: application/json\\nContent-Length: {length}"),
            all,
            "zstd",
            "Accept-Encoding",
        ),
        ("Content-Type: image/png", all, "", ""),
        ("Content-Type: text/html\\nContent-Encoding: identity", all, "", ""),
        ("Content-Type: text/html\\nCache-Control: private, no-transform", all, "", ""),
        ("Content-Type: text/html\\nStatus: 404", all, "zstd", "Accept-Encoding"),
        ("Content-Type: text/html\\nStatus: 206\\nContent-Range: bytes 0-9/10", all, "", ""),
        ("Content-Type: text/html", "Accept-Encoding: gzip\r\nRange: bytes=0-9\r\n", "", "Accept-Encoding"),
    ] {
        let response = respond(head, 9000, accepted);
        let found = (response.field("Content-Encoding"), response.field("Vary"));
        assert!(
            found == (coding, vary) || coding.is_empty() && found.1 == vary,
            "{head} {accepted}: {response:?}"
        );
        let Some(content) = decode(&response) else { return };
        assert_eq!(String::from_utf8(content).unwrap(), text(9000), "{head} {accepted}");
    }
    let response = respond("Content-Type: text/html\\nETag: \"a\"\\nVary: Cookie", 9000, all);
    assert_eq!(response.field("ETag"), "W/\"a\"");
    assert!(
        response.head.contains("\r\nVary: Cookie\r\n")
            && response.head.contains("\r\nVary: Accept-Encoding\r\n")
    );
}

#[test]
fn output_shorter_than_announced_has_no_end() {
    let gzip = "Accept-Encoding: gzip\r\n";
    let response = respond("Content-Type: text/html\\nContent-Length: 99999", 100, gzip);
    assert_eq!(response.field("Content-Encoding"), "gzip");
    assert!(!response.content.ends_with(b"0\r\n\r\n"), "{response:?}");
    // What is longer is cut.
    let response = respond("Content-Type: text/html\\nContent-Length: 1030", 100, gzip);
    if let Some(content) = decode(&response) {
        assert_eq!(content, &text(100).as_bytes()[..1030]);
    }
}

#[test]
fn events_are_not_held_back() {
    let Some(curl) = find_program("curl") else { return };
    for coding in ["gzip", "zstd"] {
        let mut gate = crate::gate::Gate::between(
            "printf 'Content-Type: text/event-stream\\n\\ndata: first\\n\\n'",
            "printf 'data: second\\n\\n'",
        );
        let server = serve(&(gate.route("/") + &format!("compress = '{coding}'\n")));
        let mut curl = command(&curl);
        curl.args(["-sSN", "--compressed", "-H", &format!("Accept-Encoding: {coding}")]);
        let mut curl =
            curl.arg(format!("http://{}/", server.address())).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = curl.stdout.take().unwrap();
        let mut first = [0; 13];
        output.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"data: first\n\n", "{coding}: before the program writes more");
        gate.wait_reached();
        gate.open();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "data: second\n\n");
        assert!(curl.wait().unwrap().success());
    }
}

#[test]
fn nothing_is_compressed_by_default() {
    let site = Site::new("");
    site.write("a.txt", text(1000));
    let response = site.ask("GET", "/a.txt", "Accept-Encoding: gzip\r\n");
    assert_eq!((response.field("Content-Encoding"), response.field("Vary")), ("", ""));
    assert!(
        ask(site.server.connect(), "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            .starts_with("HTTP/1.1 404")
    );
}
