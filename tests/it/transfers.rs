//! The handler `files`: conditional requests, ranges, precompressed variants, large files.

use std::fs::{self, File};
use std::io::{Read, Write};

use crate::harness::{command, find_program};
use crate::site::{Site, set_time};

#[test]
fn conditional_requests_are_answered() {
    let site = Site::new("cache_control = 'no-cache'\nprecompressed = true");
    site.write("a.txt", "content");
    let whole = site.get("/a.txt");
    let (tag, date) = (whole.field("ETag").to_owned(), whole.field("Last-Modified").to_owned());
    for (fields, status) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: \"x\", W/{tag}\r\n"), 304),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200),
        (format!("If-Modified-Since: {date}\r\n"), 304),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n".to_owned(), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n"), 200),
        (format!("If-Match: {tag}\r\n"), 200),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n".to_owned(), 412),
        // Conditions precede ranges (RFC 9110, section 13.2.2).
        (format!("If-None-Match: {tag}\r\nRange: bytes=99-\r\n"), 304),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = site.ask(method, "/a.txt", &fields);
            assert_eq!(answer.status, status, "{method} {fields}");
            if status == 304 {
                assert!(answer.content.is_empty() && !answer.head.contains("Content-Length"), "{answer:?}");
                for name in ["ETag", "Last-Modified", "Cache-Control", "Vary"] {
                    assert_eq!(answer.field(name), whole.field(name), "{name}");
                }
            }
        }
    }
    // Conditions on a missing file are ignored.
    assert_eq!(site.ask("GET", "/none", "If-None-Match: *\r\n").status, 404);
    // Another file of the same name, length and time has another entity tag.
    site.write("b.txt", "another");
    fs::rename(site.path("b.txt"), site.path("a.txt")).unwrap();
    let answer = site.ask("GET", "/a.txt", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((answer.status, answer.text()), (200, "another"));
    // A file with a time in the future has a weak tag, and the date of the response as Last-Modified.
    site.write("new", "x");
    set_time(&site.path("new"), 9_999_999_999);
    let answer = site.get("/new");
    assert!(answer.field("ETag").starts_with("W/"), "{answer:?}");
    let parse = |name| httpdate::parse_http_date(answer.field(name)).unwrap();
    assert!(parse("Last-Modified") <= parse("Date"), "{answer:?}");
}

#[test]
fn single_ranges_are_answered() {
    let site = Site::new("");
    site.write("a.txt", "0123456789");
    site.write("empty", "");
    let ask = |fields: &str| site.ask("GET", "/a.txt", fields);
    for (range, part, text) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=8-", "bytes 8-9/10", "89"),
        ("bytes=0-1,2-3", "bytes 0-3/10", "0123"),
        ("bytes=5-5,99-", "bytes 5-5/10", "5"),
    ] {
        let answer = ask(&format!("Range: {range}\r\n"));
        assert_eq!(
            (answer.status, answer.field("Content-Range"), answer.text()),
            (206, part, text),
            "{range}"
        );
        assert_eq!(answer.field("Content-Type"), "text/plain; charset=utf-8");
        assert_eq!(answer.field("ETag"), ask("").field("ETag"));
    }
    let answer = ask("Range: bytes=10-\r\n");
    assert_eq!((answer.status, answer.field("Content-Range")), (416, "bytes */10"));
    for fields in [
        "Range: bytes=9-8\r\n",
        "Range: lines=0-1\r\n",
        "Range: bytes=0-,0-,0-\r\n",
        "Range: bytes=0-0\r\nRange: bytes=1-1\r\n",
        "If-Range: \"x\"\r\nRange: bytes=0-0\r\n",
    ] {
        let answer = ask(fields);
        assert_eq!((answer.status, answer.text()), (200, "0123456789"), "{fields}");
    }
    let tag = ask("").field("ETag").to_owned();
    assert_eq!(ask(&format!("If-Range: {tag}\r\nRange: bytes=0-0\r\n")).status, 206);
    let head = site.ask("HEAD", "/a.txt", "Range: bytes=0-0\r\n");
    assert_eq!((head.status, head.field("Content-Length")), (200, "10"));
    for range in ["bytes=0-", "bytes=0-0", "bytes=5-", "bytes=-1"] {
        let answer = site.ask("GET", "/empty", &format!("Range: {range}\r\n"));
        let fields = (answer.field("Content-Length"), answer.field("Content-Range"));
        assert_eq!((answer.status, fields), (200, ("0", "")), "{range}");
    }
}

#[test]
fn several_ranges_are_multipart() {
    let site = Site::new("");
    site.write("a.txt", "0123456789");
    let answer = site.ask("GET", "/a.txt", "Range: bytes=-1, 0-1,4-4\r\n");
    assert_eq!(answer.status, 206);
    assert_eq!(answer.field("Content-Range"), "");
    let boundary = answer.field("Content-Type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range: &str, text: &str| {
        let head = "Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes";
        format!("--{boundary}\r\n{head} {range}/10\r\n\r\n{text}\r\n")
    };
    let expected = part("9-9", "9") + &part("0-1", "01") + &part("4-4", "4") + &format!("--{boundary}--\r\n");
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.field("Content-Length"), expected.len().to_string());
}

#[test]
fn precompressed_variants_are_negotiated() {
    let site = Site::new("precompressed = true");
    for (name, content) in [
        ("a.js", "plain"),
        ("a.js.br", "brotli"),
        ("a.js.gz", "gzip"),
        ("b.js", "plain"),
        ("b.js.gz", "stale"),
    ] {
        site.write(name, content);
    }
    set_time(&site.path("b.js"), 784_111_778);
    fs::create_dir(site.path("c.js.br")).unwrap();
    site.write("c.js", "plain");
    let ask = |target: &str, accept: &str| site.ask("GET", target, &format!("Accept-Encoding: {accept}\r\n"));
    for (target, accept, coding, content) in [
        ("/a.js", "gzip, br", "br", "brotli"),
        ("/a.js", "gzip, br;q=0.5", "gzip", "gzip"),
        ("/a.js", "zstd, gzip;q=0.1", "gzip", "gzip"),
        ("/a.js", "identity, *;q=0", "", "plain"),
        ("/a.js", "deflate", "", "plain"),
        ("/b.js", "gzip", "", "plain"),
        ("/c.js", "br", "", "plain"),
    ] {
        let answer = ask(target, accept);
        assert_eq!((answer.field("Content-Encoding"), answer.text()), (coding, content), "{target} {accept}");
        assert_eq!(answer.field("Vary"), "Accept-Encoding");
        assert_eq!(answer.field("Content-Type"), "text/javascript; charset=utf-8");
    }
    assert_eq!(site.get("/a.js").text(), "plain");
    // Each variant has its own validators and ranges.
    let (plain, brotli) = (ask("/a.js", ""), ask("/a.js", "br"));
    assert_ne!(plain.field("ETag"), brotli.field("ETag"));
    let part = site.ask("GET", "/a.js", "Accept-Encoding: br\r\nRange: bytes=0-1\r\n");
    assert_eq!((part.status, part.text(), part.field("Content-Range")), (206, "br", "bytes 0-1/6"));
    assert_eq!(part.field("Content-Encoding"), "br");
    let tag = plain.field("ETag");
    assert_eq!(
        site.ask("GET", "/a.js", &format!("Accept-Encoding: br\r\nIf-None-Match: {tag}\r\n")).status,
        200
    );
    // By its own name, a variant is an ordinary file.
    let own = site.get("/a.js.gz");
    assert_eq!((own.field("Content-Type"), own.field("Content-Encoding")), ("application/gzip", ""));
}

#[test]
fn variants_are_plain_files_without_precompressed() {
    let site = Site::new("");
    site.write("a.js", "plain");
    site.write("a.js.gz", "gzip");
    let answer = site.ask("GET", "/a.js", "Accept-Encoding: gzip\r\n");
    assert_eq!((answer.text(), answer.field("Vary")), ("plain", ""));
}

#[test]
fn curl_decodes_a_precompressed_variant() {
    let (Some(gzip), Some(curl)) = (find_program("gzip"), find_program("curl")) else { return };
    let site = Site::new("precompressed = true");
    let content = "all work and no play\n".repeat(1000);
    site.write("a.txt", &content);
    let status = command(gzip).arg("-k").arg(site.path("a.txt")).status().unwrap();
    assert!(status.success());
    let url = format!("http://{}/a.txt", site.server.address());
    let output = command(curl)
        .args(["--disable", "--silent", "--fail", "--compressed", "--write-out", "%{size_download}", &url])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let size = fs::metadata(site.path("a.txt.gz")).unwrap().len();
    assert_eq!(text, format!("{content}{size}"));
}

#[test]
fn file_of_5_gib_is_served() {
    const SIZE: u64 = 5 << 30;
    let site = Site::new("");
    let file = File::create(site.path("sparse")).unwrap();
    file.set_len(SIZE).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"four GiB", (4 << 30) - 4).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", SIZE - 3).unwrap();
    let head = site.ask("HEAD", "/sparse", "");
    assert_eq!(head.field("Content-Length"), SIZE.to_string());
    // A transfer of the whole file would take too long.
    let answer = site.ask("GET", "/sparse", "Range: bytes=-3\r\n");
    assert_eq!((answer.status, answer.text()), (206, "end"));
    assert_eq!(answer.field("Content-Range"), "bytes 5368709117-5368709119/5368709120");
    let answer = site.ask("GET", "/sparse", "Range: bytes=4261412864-4328521727\r\n");
    assert_eq!(answer.content.len(), 64 << 20);
    assert_eq!(&answer.content[(32 << 20) - 4..][..8], b"four GiB");
    for _ in 0..3 {
        site.server.record();
    }
    // A client may disconnect during the transfer.
    let mut stream = site.server.connect();
    stream.write_all(b"GET /sparse HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    drop(stream);
    let record = site.server.record();
    record.assert_client_gone();
}

#[test]
fn truncated_file_ends_the_connection() {
    let site = Site::new("");
    let file = File::create(site.path("log")).unwrap();
    // More than the socket buffers hold.
    file.set_len(256 << 20).unwrap();
    for request in [
        "GET /log HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /log HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9,99-\r\n\r\n",
    ] {
        file.set_len(256 << 20).unwrap();
        let mut stream = site.server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        file.set_len(1).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.len() < 256 << 20, "{}", rest.len());
        site.server.wait_line("unable to read the file: ");
        let record = site.server.record();
        assert_eq!(
            (record.get("outcome"), record.get("phase")),
            ("system-error", "writing"),
            "{}",
            record.line
        );
    }
}
