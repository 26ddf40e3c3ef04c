//! The handler `files`: paths, directories, listings, error pages.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::harness::{Setup, ask, command, find_program, make_folder, serve};
use crate::site::{Site, configure, set_time};

#[test]
fn file_is_sent_with_its_header_fields() {
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
    let without_date = |head: &str| {
        let lines = head.lines().filter(|line| !line.starts_with("Date: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_date(&head.head), without_date(&get.head), "the second may differ");
    assert_eq!(head.text(), "");
    let empty = site.get("/b.FOO");
    assert_eq!((empty.status, empty.text(), empty.field("Content-Length")), (200, "", "0"));
    assert_eq!(empty.field("Content-Type"), "application/x-foo");
    for (method, status) in [("POST", 405), ("DELETE", 405), ("BREW", 501)] {
        let refused = site.ask(method, "/a.txt", "");
        assert_eq!(refused.status, status);
        assert_eq!(refused.field("Allow"), if status == 405 { "GET, HEAD, OPTIONS" } else { "" });
    }
}

#[test]
fn one_connection_carries_files_and_errors() {
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
fn paths_stay_below_the_root() {
    let root = make_folder();
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
    let setup = Setup::new(&configure(&at("www"), &keys));
    // Permissions of files do not apply to root.
    let server = if nix::unistd::geteuid().is_root() { setup.user(65_534) } else { setup }.serve();
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
        ("/static/private/", "403"), // not a listing
        ("/strict/", "404"),
        ("/static", "404"),
        ("/static/../secret", "404"),
        ("/static/%2e%2e/secret", "404"),
        ("/static/..%2fsecret", "400"),
        ("/static/a%2fb.css", "404"),
        ("/static/..\\secret", "404"),
        ("/static/..%5csecret", "404"),
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
fn directories_redirect_to_a_slash_and_have_an_index() {
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
fn index_of_another_route_is_answered_by_that_route() {
    let root = make_folder();
    fs::create_dir(root.path().join("app")).unwrap();
    fs::write(root.path().join("app/index.cgi"), "secret source").unwrap();
    let server = serve(&format!(
        "[[service.web.route]]\nhandler = 'files'\nroot = '{}'\nindex = ['index.cgi']\n\
         [[service.web.route]]\npath = '/app/index.cgi'\nbody = 'the program'\n",
        root.path().display()
    ));
    assert!(server.get("/app/").ends_with("the program"));
}

#[test]
fn route_path_without_a_slash_redirects() {
    let root = make_folder();
    fs::write(root.path().join("index.html"), "index").unwrap();
    let server = serve(&configure(root.path(), "path = '/docs'"));
    let answer = server.get("/docs?q");
    assert!(answer.starts_with("HTTP/1.1 301 ") && answer.contains("\r\nLocation: /docs/?q\r\n"), "{answer}");
    assert!(server.get("/docs/").ends_with("\r\n\r\nindex"));
    assert!(server.get("/docs/index.html").ends_with("\r\n\r\nindex"));
}

#[test]
fn error_pages_are_sent() {
    let root = make_folder();
    fs::create_dir(root.path().join(".errors")).unwrap();
    fs::write(root.path().join(".errors/404.html"), "<p>Not here</p>").unwrap();
    let server = serve(&configure(root.path(), "error_pages = { 404 = '.errors/404.html' }"));
    let site = Site { root, server };
    let answer = site.get("/none");
    assert_eq!((answer.status, answer.text()), (404, "<p>Not here</p>"));
    assert_eq!(answer.field("Content-Type"), "text/html; charset=utf-8");
    assert_eq!(answer.field("ETag"), "");
    let head = site.ask("HEAD", "/none", "Range: bytes=0-0\r\n");
    assert_eq!((head.status, head.text(), head.field("Content-Length")), (404, "", "15"));
    assert_eq!(site.get("/.errors/404.html").text(), "<p>Not here</p>");
    fs::remove_dir_all(site.path(".errors")).unwrap();
    assert_eq!(site.get("/none").text(), "404 Not Found: no such file\n");
}

#[test]
fn names_with_any_byte_are_listed_and_served() {
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
fn listing_is_a_page_without_scripts() {
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
    assert_eq!(page.field("Vary"), "Accept");
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
    assert_eq!(order("/?sort=size&order=asc"), ["folder/", "other/", "small", "large"]);
    assert_eq!(order("/?sort=modified")[2..], ["small", "large"]);
    assert_eq!(site.get("/folder/").text(), "index");
    assert!(site.get("/other/").text().contains("href=\"../\""));
    assert_eq!(site.get("/small/").status, 404);
    let head = site.ask("HEAD", "/", "");
    assert_eq!((head.text(), head.field("Content-Length")), ("", page.field("Content-Length")));
}

#[test]
fn programs_get_a_listing_as_json() {
    let site = Site::new("listing = true");
    site.write("file10", "ten");
    site.write("file2", "");
    site.write(OsStr::from_bytes(b"folder/\xff"), "");
    let list = |target: &str, accept: &str| site.ask("GET", target, &format!("Accept: {accept}\r\n"));
    let answer = list("/", "application/json");
    assert_eq!((answer.field("Content-Type"), answer.field("Vary")), ("application/json", "Accept"));
    let mut value: serde_json::Value = serde_json::from_slice(&answer.content).unwrap();
    assert!(value[0]["mtime"].take().as_str().unwrap().ends_with(" GMT"));
    assert_eq!(
        value,
        serde_json::json!([
            { "name": "folder", "type": "directory", "mtime": null, "url": "./folder/" },
            { "name": "file2", "type": "file", "mtime": "Sun, 06 Nov 1994 08:49:37 GMT", "size": 0, "url": "./file2" },
            { "name": "file10", "type": "file", "mtime": "Sun, 06 Nov 1994 08:49:37 GMT", "size": 3, "url": "./file10" },
        ])
    );
    let value: serde_json::Value =
        serde_json::from_slice(&list("/folder/", "application/json").content).unwrap();
    assert_eq!(value[0]["url"], "./%FF");
    assert_eq!(
        list("/?sort=size", "application/json").text().lines().nth(2).unwrap().find("file10"),
        Some(9)
    );
    for accept in ["*/*", "text/html, application/json", "application/json;q=0.5, text/html"] {
        assert_eq!(list("/", accept).field("Content-Type"), "text/html; charset=utf-8", "{accept}");
    }
}

#[test]
fn root_is_the_directory_opened_at_start() {
    let folder = make_folder();
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
fn file_without_a_free_descriptor_is_503() {
    let root = make_folder();
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
    // Open are the standard descriptors, the root and the connection.
    let status = command(prlimit).args(["--nofile=3:3", "--pid", &child.to_string()]).status();
    assert!(status.unwrap().success());
    let answer = ask(stream, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(server.record().get("outcome"), "system-error");
}
