//! `fallback` of a route: a front controller, and an application of one page.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::config_mistakes::check;
use crate::harness::{Setup, ask, find_program, make_folder, run, serve, unique_user};
use crate::site::{Site, configure};

/// As those of WordPress and Laravel: it answers by REQUEST_URI, whatever its own name is.
const CONTROLLER: &str = r#"<?php
header('Content-Type: text/plain');
http_response_code($_SERVER['REQUEST_URI'] === '/gone' ? 410 : 200);
foreach (['REQUEST_METHOD', 'REQUEST_URI', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'PHP_SELF'] as $name)
    echo ($_SERVER[$name] ?? '') ?: '-', ' ';
echo $_GET['p'] ?? '-', ' ', $_POST['name'] ?? '-';
"#;

/// What it answers to a request without content.
fn controlled(method: &str, target: &str, query: &str, p: &str) -> String {
    format!("{method} {target} /index.php - {query} /index.php {p} -")
}

#[test]
fn front_controller_answers_what_names_no_file() {
    let Some(php) = find_program("php-cgi") else { return };
    let root = make_folder();
    for (name, text) in [
        ("index.php", CONTROLLER),
        ("style.css", "css"),
        ("wp-admin/index.php", "<?php echo 'admin';"),
        ("wp-includes/functions.php", "<?php echo 'run';"),
        ("uploads/a.txt", "upload"),
        (".env", "secret"),
    ] {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let (root, php) = (root.path().display(), php.display());
    let server = serve(&format!(
        "[[service.web.route]]\nhandler = 'files'\nroot = '{root}'\nindex = 'index.php'\nfallback = '/index.php'\n\
         [[service.web.route]]\nextension = '.php'\nhandler = 'cgi'\nroot = '{root}'\ninterpreter = '{php}'\n\
         [[service.web.route]]\npath = '/uploads/'\nhandler = 'files'\nroot = '{root}/uploads'\n"
    ));
    let get = |target: &str, query, p| (target.to_owned(), controlled("GET", target, query, p));
    let sent = |target: &str, content: &str| (target.to_owned(), content.to_owned());
    for (target, content) in [
        get("/", "-", "-"),
        get("/?p=7", "p=7", "7"),
        get("/2026/11/hello-world/", "-", "-"),
        get("/about?p=a%20b", "p=a%20b", "a b"),
        get("/missing.css", "-", "-"),
        // The name of a file cannot have a slash.
        get("/wiki/AC%2FDC", "-", "-"),
        // A directory without an index, with and without its slash.
        get("/wp-includes", "-", "-"),
        get("/wp-includes/", "-", "-"),
        sent("/wp-includes/functions.php", "run"),
        sent("/wp-admin/", "admin"),
        sent("/style.css", "css"),
        sent("/uploads/a.txt", "upload"),
    ] {
        let response = server.get(&target);
        assert!(response.starts_with("HTTP/1.1 200 ") && response.contains(&content), "{target}: {response}");
    }
    assert!(server.get("/gone").starts_with("HTTP/1.1 410 "));
    assert!(server.get("/wp-admin").contains("\r\nLocation: /wp-admin/\r\n"));
    for target in ["/.env", "/.git/config", "/uploads/missing", "/missing.php"] {
        assert!(server.get(target).starts_with("HTTP/1.1 404 "), "{target}");
    }
    // All methods with their content, but not for a path that names a file.
    let send = |method: &str, target: &str, framing: &str| {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        ask(server.connect(), &format!("{head}Content-Type: application/x-www-form-urlencoded\r\n{framing}"))
    };
    let content = "Content-Length: 7\r\n\r\nname=me";
    let posted = send("POST", "/login?p=1", content);
    assert!(posted.contains("POST /login?p=1 /index.php - p=1 /index.php 1 me"), "{posted}");
    let chunked = send("POST", "/login", "Transfer-Encoding: chunked\r\n\r\n7\r\nname=me\r\n0\r\n\r\n");
    assert!(chunked.ends_with(" - me") || chunked.contains(" - me\r\n"), "{chunked}");
    let deleted = send("DELETE", "/posts/7", content);
    assert!(deleted.contains("DELETE /posts/7 /index.php - - /index.php - -"), "{deleted}");
    let file = send("POST", "/style.css", content);
    assert!(
        file.starts_with("HTTP/1.1 405 ") && file.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"),
        "{file}"
    );
    let record = server.record_of("/posts/7");
    assert_eq!((record.get("status"), record.get("handler")), ("200", "cgi"));
}

#[test]
fn application_of_one_page_answers_its_paths() {
    let site = Site::new("listing = false");
    site.write("index.html", "page");
    site.write("assets/app.js", "script");
    let root = site.root.path().display().to_string();
    let server = serve(&format!(
        "{}[[service.web.route]]\npath = '/assets/'\nhandler = 'files'\nroot = '{root}/assets'\n",
        configure(site.root.path(), "fallback = '/index.html'")
    ));
    for (target, status, content) in [
        ("/", 200, "page"),
        ("/users/7/edit?tab=1", 200, "page"),
        ("/assets/app.js", 200, "script"),
        ("/assets/gone.js", 404, ""),
    ] {
        let response = server.get(target);
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {response}");
        assert!(response.ends_with(content), "{target}: {response}");
    }
    let response = ask(server.connect(), "POST /users HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
    let page = server.get("/users");
    assert!(
        page.contains("\r\nContent-Type: text/html; charset=utf-8\r\n") && page.contains("\r\nETag: "),
        "{page}"
    );
    // An application of which nothing is left, after a faulty deployment.
    fs::remove_file(site.path("index.html")).unwrap();
    let response = server.get("/users/8");
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
    let line = server.wait_line("unable to open the fallback /index.html: No such file");
    assert!(line.contains(" target=\"/users/8\""), "{line}");
}

#[test]
fn file_without_permission_does_not_fall_back() {
    let Some(user) = unique_user() else { return };
    let site = Site::new("");
    site.write("index.html", "page");
    site.write("secret", "secret");
    fs::set_permissions(site.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let server = Setup::new(&configure(site.root.path(), "fallback = '/index.html'")).user(user).serve();
    assert!(server.get("/secret").starts_with("HTTP/1.1 403 "));
    assert!(server.get("/other").ends_with("page"));
}

#[test]
fn fallback_must_be_a_file_that_a_route_answers() {
    let folder = make_folder();
    for name in ["index.php", "index.html"] {
        fs::write(folder.path().join(name), "<?php").unwrap();
    }
    let error = |fallback: &str, more: &str| {
        let (_, message) = check(&configure(folder.path(), &format!("fallback = '{fallback}'\n{more}")));
        message.trim().replace("FILE:4: service.web.route[0].fallback: ", "")
    };
    assert_eq!(error("/index.html", ""), "");
    assert!(error("index.html", "").ends_with("expected a path that begins with /, found \"index.html\""));
    assert!(error("/app.html", "").ends_with("no such file: \"/app.html\""));
    let message = error("/index.php", "");
    assert!(message.ends_with("\"/index.php\" would be sent as a file and not run; add a route with handler = \"cgi\" and the extension of the program"), "{message}");
    let root = folder.path().display();
    let cgi = format!(
        "[[service.web.route]]\nextension = '.php'\nhandler = 'cgi'\nroot = '{root}'\ninterpreter = '/bin/cat'\n"
    );
    assert_eq!(error("/index.php", &cgi), "");
    assert!(error("/app.php", &cgi).ends_with("no such file: \"/app.php\""));
}

#[test]
fn programs_that_are_sent_as_files_are_a_warning() {
    let folder = make_folder();
    for name in ["index.php", "admin/js/app.js", "admin/user/edit.php"] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "<?php").unwrap();
    }
    let root = folder.path().display();
    let cgi = "handler = 'cgi'\nprogram = '/bin/true'\n";
    let site = format!(
        "[[service.web.route]]\nextension = '.php'\n{cgi}\
         [[service.web.route]]\npath = '/admin/'\nhandler = 'files'\nroot = '{root}/admin'\n"
    );
    let warnings = |text: &str| {
        let file = folder.path().join("lsbaws.toml");
        fs::write(&file, text).unwrap();
        let (code, checked, message) = run(&["check", "-c", file.to_str().unwrap()]);
        assert_eq!(code, 0, "{message}");
        checked.lines().filter(|line| line.contains("sent as a file")).map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = format!(
        "warning: service.web.route: {root}/admin/user/edit.php is sent as a file and not run: the route of \"/admin/\" \
         comes before that of \".php\" at \"/\"; add a route with path = \"/admin/\" and extension = \".php\""
    );
    assert_eq!(warnings(&site), [expected]);
    let own = format!("[[service.web.route]]\npath = '/admin/'\nextension = '.php'\n{cgi}");
    assert_eq!(warnings(&(site.clone() + &own)), [""; 0]);
    fs::remove_file(folder.path().join("admin/user/edit.php")).unwrap();
    assert_eq!(warnings(&site), [""; 0]);
}
