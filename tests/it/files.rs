//! The handler `files` from outside: what is served of a folder, what is not, and which parts of it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::harness::{Server, Setup, ask, find_program, serve};

/// A document root, and a daemon that serves it below `/`.
struct Site {
    root: TempDir,
    server: Server,
}

impl Site {
    /// `keys` are of the route, or of tables after it.
    fn new(keys: &str) -> Self {
        let root = make_root();
        let server = serve(&configure(root.path(), keys));
        Self { root, server }
    }

    fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.root.path().join(name.as_ref())
    }

    /// Writes a file, long enough ago that its entity tag is strong.
    fn write(&self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        set_time(&path, 784_111_777);
    }

    fn get(&self, target: &str) -> Response {
        self.ask("GET", target, "")
    }

    /// `fields` each end with CR LF.
    fn ask(&self, method: &str, target: &str, fields: &str) -> Response {
        let mut stream = self.server.connect();
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Response::parse(&bytes)
    }
}

fn make_root() -> TempDir {
    tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap()
}

fn configure(root: &Path, keys: &str) -> String {
    format!("[[service.web.route]]\nhandler = 'files'\nroot = '{}'\n{keys}\n", root.display())
}

fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    content: Vec<u8>,
}

impl Response {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, content: bytes[end + 4..].to_vec() }
    }

    /// A field's value; empty when it is not there.
    fn field(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(own, _)| *own == name).map_or("", |(_, value)| value)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.content).unwrap()
    }
}

#[test]
fn a_file_is_sent_with_what_describes_it() {
    let site = Site::new("cache_control = 'max-age=60'\ntypes = { foo = 'application/x-foo' }");
    site.write("a.txt", "four");
    site.write("b.FOO", "");
    let get = site.get("/a.txt?query");
    assert_eq!((get.status, get.text()), (200, "four"));
    for (name, value) in [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", "4"),
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Cache-Control", "max-age=60"),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
        ("Vary", ""),
    ] {
        assert_eq!(get.field(name), value, "{name}");
    }
    assert!(get.field("ETag").starts_with('"'), "{get:?}");
    let record = site.server.record();
    assert_eq!(
        (record.get("handler"), record.get("status"), record.get("outcome")),
        ("files", "200", "served")
    );
    let head = site.ask("HEAD", "/a.txt", "");
    assert_eq!((&head.head, head.text()), (&get.head, ""));
    let empty = site.get("/b.FOO");
    assert_eq!((empty.status, empty.text(), empty.field("Content-Length")), (200, "", "0"));
    assert_eq!(empty.field("Content-Type"), "application/x-foo");
    for (method, status) in [("POST", 405), ("DELETE", 405), ("OPTIONS", 405), ("BREW", 501)] {
        let refused = site.ask(method, "/a.txt", "");
        assert_eq!(refused.status, status);
        assert_eq!(refused.field("Allow"), if status == 405 { "GET, HEAD" } else { "" });
    }
}

#[test]
fn a_connection_carries_files_and_errors_alike() {
    let site = Site::new("");
    site.write("a", "first\n");
    site.write("b", "second\n");
    site.write("empty", "");
    let one = |method, target| format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let requests = one("GET", "/a")
        + &one("GET", "/none")
        + &one("HEAD", "/a")
        + &one("GET", "/empty")
        + "GET /b HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0,2-3\r\n\r\n"
        + "GET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answers = ask(site.server.connect(), &requests);
    let statuses: Vec<_> =
        answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "404", "200", "200", "206", "200"], "{answers}");
    assert!(answers.ends_with("\r\n\r\nsecond\n"), "{answers}");
    assert_eq!(site.server.record().number("requests"), 6);
}

#[test]
fn routes_lead_to_the_folder_and_not_out_of_it() {
    let root = make_root();
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("www/a")).unwrap();
    fs::create_dir(at("www/.git")).unwrap();
    fs::create_dir_all(at("www/.well-known")).unwrap();
    for name in
        ["secret", "www/a/b.css", "www/.git/config", "www/.htpasswd", "www/.well-known/x", "www/unreadable"]
    {
        fs::write(at(name), name).unwrap();
    }
    symlink("../secret", at("www/out")).unwrap();
    symlink("/etc/passwd", at("www/passwd")).unwrap();
    symlink("a/b.css", at("www/in")).unwrap();
    symlink("loop", at("www/loop")).unwrap();
    symlink("/proc/self/fd/0", at("www/magic")).unwrap();
    mkfifo(&at("www/fifo"), Mode::S_IRUSR | Mode::S_IROTH).unwrap();
    fs::set_permissions(at("www/unreadable"), PermissionsExt::from_mode(0o000)).unwrap();
    fs::create_dir(at("www/private")).unwrap();
    symlink("../unreadable", at("www/private/index.html")).unwrap();
    let keys = format!(
        "path = '/static/'\nlisting = true\n[[service.web.route]]\npath = '/strict'\nhandler = 'files'\nsymlinks = 'refuse'\nroot = '{0}'\n\
         [[service.web.route]]\npath = '/one.css'\nhandler = 'files'\nroot = '{0}'\nindex = ['in']",
        at("www").display()
    );
    // Permissions hold for everybody but root.
    let server = Setup::new(&configure(&at("www"), &keys)).user(65534).serve();
    let status = |target: &str| server.get(target)[9..12].to_owned();
    for (target, expected) in [
        ("/static/a/b.css", "200"),
        ("/static//a//b.css", "200"),
        ("/static/%61/b%2ecss", "200"),
        ("/static/in", "200"),
        ("/strict/in", "404"),
        ("/strict/a/b.css", "200"),
        ("/static/.well-known/x", "200"),
        ("/static/.git/config", "404"),
        ("/static/.git/", "404"),
        ("/static/.htpasswd", "404"),
        ("/static/out", "404"),
        ("/static/passwd", "404"),
        ("/static/loop", "404"),
        ("/static/magic", "404"),
        ("/static/fifo", "404"),
        ("/static/unreadable", "403"),
        ("/static/a/b.css/", "404"),
        ("/static/a/b.css/c", "404"),
        ("/static/a/", "200"),
        ("/static/private/", "403"), // rather than a listing
        ("/strict/", "404"),
        ("/static", "404"),
        ("/static/../secret", "400"),
        ("/static/%2e%2e/secret", "400"),
        ("/static/a%2fb.css", "400"),
        ("/static/a%00", "400"),
        ("/static/%ff", "404"),
    ] {
        assert_eq!(status(target), expected, "{target}");
    }
    let long = "x".repeat(5000);
    assert_eq!(status(&format!("/static/{long}")), "404");
    assert_eq!(status(&format!("/static/{}", "x/".repeat(2500))), "404");
}

#[test]
fn directories_have_a_slash_and_perhaps_an_index() {
    let site = Site::new("index = ['first.html', 'index.html']");
    site.write("index.html", "root");
    site.write("a b/index.html", "second");
    site.write("a b/first.html", "first");
    site.write("host.test/index.html", "");
    site.write("folder/index.html/x", "");
    site.write("\\host/index.html", "");
    assert_eq!(site.get("/").text(), "root");
    assert_eq!(site.get("/?a").field("Content-Type"), "text/html; charset=utf-8");
    assert_eq!(site.get("/a%20b/").text(), "first");
    assert_eq!(site.get("/folder/").status, 404);
    for (target, location) in [
        ("/a%20b", "/a%20b/"),
        ("/a%20b?c=%0d%0a", "/a%20b/?c=%0d%0a"),
        ("//host.test", "/host.test/"),
        ("/%5chost", "/%5Chost/"),
        ("/\\host", "/%5Chost/"),
        ("http://other/a%20b", "/a%20b/"),
    ] {
        let answer = site.get(target);
        assert_eq!((answer.status, answer.field("Location")), (301, location), "{target}");
    }
}

#[test]
fn a_root_without_a_slash_gets_one() {
    let root = make_root();
    fs::write(root.path().join("index.html"), "index").unwrap();
    let server = serve(&configure(root.path(), "path = '/docs'"));
    let answer = server.get("/docs?q");
    assert!(answer.starts_with("HTTP/1.1 301 ") && answer.contains("\r\nLocation: /docs/?q\r\n"), "{answer}");
    assert!(server.get("/docs/").ends_with("\r\n\r\nindex"));
    assert!(server.get("/docs/index.html").ends_with("\r\n\r\nindex"));
}

#[test]
fn conditions_save_the_transfer_or_refuse_it() {
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
        // Conditions come before ranges (RFC 9110, section 13.2.2).
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
    // Conditions on what there is not do not count.
    assert_eq!(site.ask("GET", "/none", "If-None-Match: *\r\n").status, 404);
    // The same name with other bytes of the same length and time is another state.
    site.write("b.txt", "another");
    fs::rename(site.path("b.txt"), site.path("a.txt")).unwrap();
    let answer = site.ask("GET", "/a.txt", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((answer.status, answer.text()), (200, "another"));
    // No file is from the future, and until its time has come it may change unnoticed.
    site.write("new", "x");
    set_time(&site.path("new"), 9_999_999_999);
    let answer = site.get("/new");
    assert!(answer.field("ETag").starts_with("W/"), "{answer:?}");
    let parse = |name| httpdate::parse_http_date(answer.field(name)).unwrap();
    assert!(parse("Last-Modified") <= parse("Date"), "{answer:?}");
}

#[test]
fn ranges_are_parts() {
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
    assert_eq!(site.ask("GET", "/empty", "Range: bytes=0-\r\n").status, 416);
    assert_eq!(site.ask("GET", "/empty", "Range: bytes=-1\r\n").status, 200);
}

#[test]
fn several_ranges_are_several_parts() {
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
fn twins_are_sent_to_who_takes_them() {
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
    // Each has validators, and ranges, of its own.
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
    // Asked for by its own name it is a file like any other.
    let own = site.get("/a.js.gz");
    assert_eq!((own.field("Content-Type"), own.field("Content-Encoding")), ("application/gzip", ""));
}

#[test]
fn without_precompressed_twins_are_files_like_any_other() {
    let site = Site::new("");
    site.write("a.js", "plain");
    site.write("a.js.gz", "gzip");
    let answer = site.ask("GET", "/a.js", "Accept-Encoding: gzip\r\n");
    assert_eq!((answer.text(), answer.field("Vary")), ("plain", ""));
}

#[test]
fn real_twins_are_what_a_client_expects() {
    let (Some(gzip), Some(curl)) = (find_program("gzip"), find_program("curl")) else { return };
    let site = Site::new("precompressed = true");
    let content = "all work and no play\n".repeat(1000);
    site.write("a.txt", &content);
    let status = std::process::Command::new(gzip).arg("-k").arg(site.path("a.txt")).status().unwrap();
    assert!(status.success());
    let url = format!("http://{}/a.txt", site.server.address());
    let output = std::process::Command::new(curl)
        .args(["--silent", "--fail", "--compressed", "--write-out", "%{size_download}", &url])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let size = fs::metadata(site.path("a.txt.gz")).unwrap().len();
    assert_eq!(text, format!("{content}{size}"));
}

#[test]
fn errors_have_pages() {
    let site = Site::new("error_pages = { 404 = '.errors/404.html', 403 = 'missing' }\nsymlinks = 'inside'");
    site.write(".errors/404.html", "<p>Not here</p>");
    let answer = site.get("/none");
    assert_eq!((answer.status, answer.text()), (404, "<p>Not here</p>"));
    assert_eq!(answer.field("Content-Type"), "text/html; charset=utf-8");
    assert_eq!(answer.field("ETag"), "");
    let head = site.ask("HEAD", "/none", "Range: bytes=0-0\r\n");
    assert_eq!((head.status, head.text(), head.field("Content-Length")), (404, "", "15"));
    assert_eq!(site.get("/.errors/404.html").text(), "<p>Not here</p>");
    fs::remove_dir_all(site.path(".errors")).unwrap();
    assert_eq!(site.get("/none").text(), "404 Not Found: there is no such file\n");
}

#[test]
fn a_file_of_5_gib_is_served_across_what_32_bits_hold() {
    const SIZE: u64 = 5 << 30;
    let site = Site::new("");
    let file = File::create(site.path("sparse")).unwrap();
    file.set_len(SIZE).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"four GiB", (4 << 30) - 4).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", SIZE - 3).unwrap();
    let head = site.ask("HEAD", "/sparse", "");
    assert_eq!(head.field("Content-Length"), SIZE.to_string());
    // Any whole transfer of it would take most of the time of all these tests.
    let answer = site.ask("GET", "/sparse", "Range: bytes=-3\r\n");
    assert_eq!((answer.status, answer.text()), (206, "end"));
    assert_eq!(answer.field("Content-Range"), "bytes 5368709117-5368709119/5368709120");
    let answer = site.ask("GET", "/sparse", "Range: bytes=4261412864-4328521727\r\n");
    assert_eq!(answer.content.len(), 64 << 20);
    assert_eq!(&answer.content[(32 << 20) - 4..][..8], b"four GiB");
    for _ in 0..3 {
        site.server.record();
    }
    // A client may leave in the middle.
    let mut stream = site.server.connect();
    stream.write_all(b"GET /sparse HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    drop(stream);
    assert_eq!(site.server.record().get("outcome"), "client");
}

#[test]
fn a_file_that_shrinks_ends_the_connection() {
    let site = Site::new("");
    let file = File::create(site.path("log")).unwrap();
    // More than socket buffers hold.
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
        let record = site.server.record();
        assert_eq!((record.get("outcome"), record.get("phase")), ("system", "writing"), "{}", record.line);
    }
}

#[test]
fn names_of_every_byte_are_listed_and_served() {
    let site = Site::new("listing = true\npath = '/top'");
    let every: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
    let mut names: Vec<Vec<u8>> = every.chunks(50).map(<[u8]>::to_vec).collect();
    names.extend(
        ["javascript:alert(1)", "a b", "&lt;", "?", "#", "%41", "new\nline", "x.html?sort=size"]
            .map(Into::into),
    );
    for name in &names {
        fs::create_dir_all(site.path("sub\"dir")).unwrap();
        site.write(OsStr::from_bytes(&[b"sub\"dir/", &name[..]].concat()), name);
    }
    let page = site.get("/top/sub%22dir/");
    assert_eq!(page.status, 200);
    let links: Vec<_> =
        page.text().split("href=\"./").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    assert_eq!(links.len(), names.len());
    for link in links {
        let link = link.replace("&#39;", "'").replace("&amp;", "&");
        let file = site.get(&format!("/top/sub%22dir/{link}"));
        assert_eq!(file.status, 200, "{link}");
        let at = names.iter().position(|name| *name == file.content).unwrap_or_else(|| panic!("{link}"));
        names.remove(at);
    }
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn a_listing_is_a_page_that_can_do_nothing() {
    let site = Site::new("listing = true");
    site.write("small", "x");
    site.write("large", vec![b'x'; 1536]);
    site.write(".hidden", "");
    site.write("folder/index.html", "index");
    site.write("other/x", "");
    let page = site.get("/");
    assert_eq!(page.field("Content-Type"), "text/html; charset=utf-8");
    assert!(page.field("Content-Security-Policy").starts_with("default-src 'none'"), "{page:?}");
    assert!(!page.text().contains("hidden") && !page.text().contains("../"), "{}", page.text());
    let order = |target: &str| {
        let page = site.get(target);
        let mut places: Vec<_> = ["folder/", "large", "other/", "small"]
            .into_iter()
            .map(|name| (page.text().find(&format!("\"./{name}\"")).unwrap(), name))
            .collect();
        places.sort_unstable();
        places.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    set_time(&site.path("small"), 784_111_777 + 60);
    assert_eq!(order("/"), ["folder/", "other/", "large", "small"]);
    assert_eq!(order("/?sort=size"), ["folder/", "other/", "large", "small"]);
    assert_eq!(order("/?sort=modified")[2..], ["small", "large"]);
    assert_eq!(site.get("/folder/").text(), "index");
    assert!(site.get("/other/").text().contains("href=\"../\""));
    assert_eq!(site.get("/small/").status, 404);
    let head = site.ask("HEAD", "/", "");
    assert_eq!((head.text(), head.field("Content-Length")), ("", page.field("Content-Length")));
}

#[test]
fn the_root_is_the_directory_that_was_opened() {
    let folder = make_root();
    let at = |name: &str| folder.path().join(name);
    for name in ["one", "two"] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("a"), name).unwrap();
    }
    symlink("one", at("current")).unwrap();
    let server = serve(&configure(&at("current"), ""));
    assert!(server.get("/a").ends_with("\r\n\r\none"));
    fs::remove_file(at("current")).unwrap();
    symlink("two", at("current")).unwrap();
    assert!(server.get("/a").ends_with("\r\n\r\none"));
}

#[test]
fn without_descriptors_the_answer_says_so() {
    let root = make_root();
    fs::write(root.path().join("a"), "").unwrap();
    let Some(prlimit) = find_program("prlimit") else { return };
    let server = serve(&configure(root.path(), ""));
    let mut stream = server.connect();
    stream.write_all(b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let [child] = server.children()[..] else { panic!() };
    // It has the standard descriptors, the root and its connection.
    let status =
        std::process::Command::new(prlimit).args(["--nofile=3:3", "--pid", &child.to_string()]).status();
    assert!(status.unwrap().success());
    let answer = ask(stream, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(server.record().get("outcome"), "system");
}
