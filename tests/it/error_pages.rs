//! The content of error responses: text, a page for browsers, and the key `error_pages`.

use std::fs;
use std::os::unix::fs::symlink;

use crate::cgi::write_program;
use crate::harness::{ask, find_program, make_folder, make_folder_outside_tmp, serve};
use crate::site::{Response, Site, configure};

const FIREFOX: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";

#[test]
fn browsers_get_a_page_and_programs_get_text() {
    let site = Site::new("");
    for fields in ["", "Accept: */*\r\n", "Accept: application/json\r\n", "Accept: text/html;q=0\r\n"] {
        let answer = site.ask("GET", "/none", fields);
        assert_eq!(answer.text(), "404 Not Found: no such file\n", "{fields}");
        assert_eq!(answer.field("Content-Type"), "text/plain; charset=utf-8");
        assert_eq!((answer.field("Vary"), answer.field("Content-Security-Policy")), ("Accept", ""));
    }
    let page = site.ask("GET", "/none", FIREFOX);
    assert_eq!((page.status, page.field("Content-Type")), (404, "text/html; charset=utf-8"));
    assert_eq!((page.field("Vary"), page.field("X-Content-Type-Options")), ("Accept", "nosniff"));
    assert_eq!(page.field("Content-Length"), page.content.len().to_string());
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
    assert_eq!(page.field("Content-Security-Policy"), policy);
    for part in [
        "<!DOCTYPE html>\n<html lang=\"en\">",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
        "<title>404 Not Found</title>",
        "<h1>Not Found</h1>",
        "<p class=\"reason\">no such file</p>",
    ] {
        assert!(page.text().contains(part), "{part}\n{}", page.text());
    }
    let head = site.ask("HEAD", "/none", FIREFOX);
    assert_eq!((head.text(), head.field("Content-Length")), ("", page.field("Content-Length")));
}

#[test]
fn every_error_after_a_valid_head_has_a_page() {
    let site = Site::new(
        "path = '/files'\n[[service.web.route]]\npath = '/cgi'\nhandler = 'cgi'\nprogram = '/bin/false'\n\
         [[service.web.route]]\npath = '/to'\nhandler = 'redirect'\nto = '/'\n",
    );
    site.write("a", "text");
    for (method, target, fields, status) in [
        ("GET", "/none", "", 404), // no route
        ("POST", "/files/a", "", 405),
        ("BREW", "/files/a", "", 501),
        ("GET", "/files/a", "If-Match: \"x\"\r\n", 412),
        ("GET", "/files/a", "Range: bytes=9-\r\n", 416),
        ("TRACE", "/cgi", "", 405),
        ("GET", "/cgi", "", 502),
        ("POST", "/cgi", "Transfer-Encoding: chunked\r\n", 400),
    ] {
        let fields = format!("{fields}{FIREFOX}");
        let fields = match target {
            "/cgi" if method == "POST" => format!("{fields}\r\nzz\r\n"),
            _ => fields,
        };
        let page = site.ask(method, target, &fields);
        assert_eq!(page.status, status, "{method} {target}");
        assert!(page.text().contains(&format!("<p class=\"status\">{status}</p>")), "{page:?}");
    }
    // A redirect is for programs: no browser shows it. A malformed head has no Accept.
    assert_eq!(site.ask("GET", "/files", FIREFOX).text(), "301 Moved Permanently: /files/\n");
    let answer = ask(site.server.connect(), &format!("GET / HTTP/1.1\r\n: x\r\n{FIREFOX}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\r\n\r\n400 Bad Request: "), "{answer}");
}

#[test]
fn connection_is_kept_after_a_page() {
    let site = Site::new("");
    site.write("a", "text");
    let pages = format!("GET /none HTTP/1.1\r\nHost: a\r\n{FIREFOX}\r\n");
    let answers = ask(
        site.server.connect(),
        &format!("{pages}{pages}GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    );
    assert_eq!(answers.matches("HTTP/1.1 404 ").count(), 2, "{answers}");
    assert!(answers.ends_with("\r\n\r\ntext"), "{answers}");
}

/// A site with error pages of its service in `errors`, and keys of its route.
fn with_pages(pages: &str, keys: &str) -> Site {
    let root = make_folder();
    let errors = root.path().join("errors");
    fs::create_dir(&errors).unwrap();
    for name in ["404.html", "class.html", "own.html"] {
        fs::write(errors.join(name), format!("page {name}")).unwrap();
    }
    fs::write(errors.join("502.txt"), "sorry").unwrap();
    let pages = pages.replace("DIR", errors.to_str().unwrap());
    let config = format!("[service.web]\nerror_pages = {pages}\n{}", configure(root.path(), keys));
    let server = serve(&config);
    Site { root, server }
}

fn describe(answer: &Response) -> (u16, &str, &str) {
    (answer.status, answer.text(), answer.field("Content-Type"))
}

#[test]
fn error_pages_of_a_service_are_for_all_its_errors() {
    let site = with_pages(
        "{ 404 = 'DIR/404.html', 4xx = 'DIR/class.html', 502 = 'DIR/502.txt' }",
        "path = '/files'\ncache_control = 'max-age=60'\nerror_pages = { 403 = 'errors/own.html' }\n\
         [[service.web.route]]\npath = '/cgi'\nhandler = 'cgi'\nprogram = '/bin/false'\n",
    );
    let html = "text/html; charset=utf-8";
    for fields in ["", FIREFOX] {
        for (method, target, expected) in [
            ("GET", "/none", (404, "page 404.html", html)), // no route
            ("GET", "/files/none", (404, "page 404.html", html)),
            ("POST", "/files/none", (405, "page class.html", html)),
            ("GET", "/cgi", (502, "sorry", "text/plain; charset=utf-8")),
            ("BREW", "/cgi", (502, "sorry", "text/plain; charset=utf-8")),
        ] {
            let answer = site.ask(method, target, fields);
            assert_eq!(describe(&answer), expected, "{method} {target}");
            for name in ["ETag", "Last-Modified", "Cache-Control", "Content-Security-Policy", "Vary"] {
                assert_eq!(answer.field(name), "", "{name}");
            }
            assert_eq!(answer.field("X-Content-Type-Options"), "nosniff");
        }
        // Without a page: 501.
        assert!(site.ask("BREW", "/files/a", fields).text().contains("unknown method"));
    }
    assert_eq!(site.ask("POST", "/files/none", "").field("Allow"), "GET, HEAD, OPTIONS");
    let head = site.ask("HEAD", "/none", "");
    assert_eq!((head.text(), head.field("Content-Length")), ("", "13"));
    let answer = ask(site.server.connect(), "GET / HTTP/1.1\r\n: x\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\npage class.html"), "a malformed request: {answer}");
}

#[test]
fn error_pages_of_a_route_have_precedence() {
    let site = with_pages(
        "{ 404 = 'DIR/404.html', 405 = 'DIR/404.html' }",
        "path = '/files'\nerror_pages = { 4xx = 'errors/own.html' }",
    );
    assert_eq!(site.get("/files/none").text(), "page own.html");
    assert_eq!(site.ask("POST", "/files/none", "").text(), "page own.html");
    assert_eq!(site.get("/none").text(), "page 404.html");
}

#[test]
fn answers_of_programs_are_not_replaced() {
    if find_program("bash").is_none() {
        return;
    }
    let folder = make_folder();
    let head = "echo 'Status: 404 Not Found'; echo 'Content-Type: text/plain'; echo";
    write_program(&folder.path().join("a.cgi"), &format!("#!/bin/bash\n{head}; echo own\n"));
    let route = format!("path = '/cgi'\nhandler = 'cgi'\nroot = '{}'", folder.path().display());
    let site = with_pages("{ 4xx = 'DIR/404.html' }", &format!("[[service.web.route]]\n{route}\n"));
    let answer = site.get("/cgi/a.cgi");
    assert_eq!((answer.status, answer.field("Content-Type")), (404, "text/plain"));
    assert!(answer.text().contains("own\n"), "{answer:?}");
    assert_eq!(site.get("/cgi/none").text(), "page 404.html");
}

#[test]
fn children_read_error_pages_outside_their_roots() {
    let (site, errors) = (make_folder_outside_tmp(), make_folder_outside_tmp());
    let page = errors.path().join("404.html");
    fs::write(&page, "elsewhere").unwrap();
    let pages = format!("[service.web]\nerror_pages = {{ 404 = '{}' }}\n", page.display());
    for handler in ["respond".into(), format!("files'\nroot = '{}", site.path().display())] {
        let server = serve(&format!("{pages}[[service.web.route]]\npath = '/a'\nhandler = '{handler}'\n"));
        let answer = server.get("/none");
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("\r\n\r\nelsewhere"), "{answer}");
    }
}

#[test]
fn programs_read_beside_error_pages_and_run_nothing() {
    if find_program("bash").is_none() {
        return;
    }
    let (programs, errors) = (make_folder_outside_tmp(), make_folder_outside_tmp());
    let page = errors.path().join("404.html");
    fs::write(&page, "elsewhere").unwrap();
    let tool = errors.path().join("tool");
    write_program(&tool, "#!/bin/bash\necho ran\n");
    let script = format!(
        "#!/bin/bash\necho 'Content-Type: text/plain'; echo; cat '{}'; '{}' || echo denied\n",
        page.display(),
        tool.display()
    );
    write_program(&programs.path().join("a.cgi"), &script);
    let server = serve(&format!(
        "[service.web]\nerror_pages = {{ 404 = '{}' }}\nconfine.read = []\n\
         [[service.web.route]]\nhandler = 'cgi'\nroot = '{}'\n",
        page.display(),
        programs.path().display()
    ));
    assert!(server.get("/none").ends_with("\r\n\r\nelsewhere"));
    let answer = server.get("/a.cgi");
    assert!(answer.contains("elsewhere") && answer.contains("denied"), "{answer}");
}

#[test]
fn unreadable_page_is_replaced_by_the_usual_content() {
    let site = with_pages("{ 404 = 'DIR/404.html' }", "");
    let page = site.path("errors/404.html");
    for replace in [
        (|page| fs::remove_file(page).unwrap()) as fn(&std::path::Path),
        |page| symlink("/etc/passwd", page).unwrap(),
        |page| {
            fs::remove_file(page).unwrap();
            fs::create_dir(page).unwrap();
        },
        |page| {
            fs::remove_dir(page).unwrap();
            fs::write(page, vec![b'x'; (1 << 20) + 1]).unwrap();
        },
    ] {
        replace(&page);
        assert_eq!(site.get("/none").text(), "404 Not Found: no such file\n");
        assert!(site.ask("GET", "/none", FIREFOX).text().contains("<h1>Not Found</h1>"));
    }
    fs::write(&page, vec![b'x'; 1 << 20]).unwrap();
    assert_eq!(site.get("/none").content.len(), 1 << 20);
}
