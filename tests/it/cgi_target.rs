//! What a program learns of the target of its request: the client's, however lsbaws has routed it.

use std::fs;
use std::path::Path;

use crate::cgi::{dechunk, status};
use crate::harness::{Record, Server, ask, command, find_program, make_folder, serve};

/// Serves files, and those with this ending by an interpreter. The index of each directory is such a program.
fn serve_site(root: &Path, ending: &str, interpreter: &Path) -> Server {
    serve(&format!(
        "[[service.web.route]]\nhandler = 'files'\nroot = '{0}'\nindex = ['index{ending}']\n\
         [[service.web.route]]\nextension = '{ending}'\nhandler = 'cgi'\nroot = '{0}'\ninterpreter = '{1}'\n",
        root.display(),
        interpreter.display()
    ))
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn request_uri_is_what_the_client_sent() {
    let folder = make_folder();
    let describe = "echo Content-Type: text/plain; echo; echo heard >&2\n\
                    echo $REQUEST_URI $SCRIPT_NAME,$PATH_INFO,$QUERY_STRING\n";
    for name in ["index.sh", "app/index.sh", "page.sh"] {
        write(folder.path(), name, describe);
    }
    write(folder.path(), "local.sh", "printf 'Location: /page.sh/info?z=1\\n\\n'");
    write(
        folder.path(),
        "beyond.sh",
        "printf 'Location: /page.sh/\\303\\251/../\\303\\251?z=\\303\\251\\n\\n'",
    );
    write(folder.path(), "twice.sh", "printf 'Location: /local.sh\\n\\n'");
    let server = serve_site(folder.path(), ".sh", Path::new("/bin/sh"));
    for (target, expected) in [
        ("/app/?x=1", "/app/?x=1 /app/index.sh,,x=1"),
        ("/app/index.sh?x=1", "/app/index.sh?x=1 /app/index.sh,,x=1"),
        ("//%61pp//?x=%zz", "//%61pp//?x=%zz /app/index.sh,,x=%zz"),
        ("/local.sh/a%20b?c", "/local.sh/a%20b?c /page.sh,/info,z=1"),
        ("/beyond.sh", "/beyond.sh /page.sh,/\u{e9},z=%C3%A9"),
        ("/twice.sh?c", "/twice.sh?c /page.sh,/info,z=1"),
        ("http://test/app/?x=1", "/app/?x=1 /app/index.sh,,x=1"),
        ("HTTPS://test:1/app/?x=1", "/app/?x=1 /app/index.sh,,x=1"),
        ("http://test?x=1", "/?x=1 /index.sh,,x=1"),
        ("https://test", "/ /index.sh,,"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        assert_eq!(dechunk(&ask(server.connect(), &request)).trim_end(), expected, "{target}");
        // The entries of the program have the same target as the record.
        let entry = server.wait_line(": heard ");
        assert!(entry.contains(&format!("target=\"{target}\"")), "{entry}");
        assert_eq!(server.record().get("target"), target);
    }
}

#[test]
fn failure_of_an_index_names_the_target_of_the_client() {
    let folder = make_folder();
    write(folder.path(), "index.sh", "exit 3");
    write(folder.path(), "loop.sh", "printf 'Location: /loop.sh?again\\n\\n'");
    let server = serve_site(folder.path(), ".sh", Path::new("/bin/sh"));
    for (target, expected) in [("/?x", "502"), ("/loop.sh?first", "508")] {
        assert_eq!(status(&server.get(target)), expected);
        let entry = server.wait_line(" failed: ");
        assert!(entry.contains(&format!("target=\"{target}\"")), "{entry}");
    }
}

#[test]
fn entries_spell_the_target_as_the_record_does() {
    let folder = make_folder();
    write(folder.path(), "page.sh", "echo heard >&2");
    let server = serve_site(folder.path(), ".sh", Path::new("/bin/sh"));
    for target in ["/page.sh?a\"b\\c'", &format!("/page.sh?{}", "x".repeat(1000)), "/page.sh?%22\u{e9}"] {
        assert_eq!(status(&server.get(target)), "502");
        let spelled = |line: &str| Record::parse(line).get("target").to_owned();
        let (heard, failed) = (server.wait_line(": heard "), server.wait_line(" failed: "));
        let record = server.wait_line(" outcome=");
        assert!(!spelled(&record).is_empty(), "{record}");
        assert_eq!([spelled(&heard), spelled(&failed)], [spelled(&record), spelled(&record)]);
    }
}

/// Redirects to the canonical URL as `redirect_canonical` of WordPress does.
const CANONICAL: &str = r#"<?php
$requested = 'http://' . $_SERVER['HTTP_HOST'] . $_SERVER['REQUEST_URI'];
$url = parse_url($requested);
$path = preg_replace(['|/index\.php/*?$|', '|/+|'], '/', $url['path']);
$canonical = 'http://' . $_SERVER['HTTP_HOST'] . $path . (isset($url['query']) ? '?' . $url['query'] : '');
if ($requested !== $canonical) {
    header("Location: $canonical", true, 301);
    exit;
}
echo $_SERVER['SCRIPT_NAME'], ',', $_SERVER['PATH_INFO'] ?? '', ',', $_SERVER['PHP_SELF'], ',', $_GET['x'] ?? '';
"#;

#[test]
fn canonical_redirects_of_php_end() {
    let (Some(php), Some(curl)) = (find_program("php-cgi"), find_program("curl")) else { return };
    let folder = make_folder();
    write(folder.path(), "blog/index.php", CANONICAL);
    let server = serve_site(folder.path(), ".php", &php);
    let home = "/blog/index.php,,/blog/index.php,1";
    for (path, target, redirects, expected) in [
        ("/blog/?x=1", "", 0, home),
        ("/blog/index.php?x=1", "", 1, home),
        ("//blog//?x=1", "", 1, home),
        ("/blog/?x=1", "http://HOST/blog/?x=1", 0, home),
        ("/blog/?x=1", "https://HOST/blog/?x=1", 0, home),
        ("/blog/index.php/a%20b/c?x=1", "", 0, "/blog/index.php,/a b/c,/blog/index.php/a b/c,1"),
    ] {
        let host = server.address().to_string();
        let mut curl = command(&curl);
        curl.args(["--silent", "--show-error", "--location", "--max-redirs", "5", "--path-as-is"]);
        curl.args(["--write-out", " %{num_redirects}"]).arg(format!("http://{host}{path}"));
        if !target.is_empty() {
            curl.args(["--request-target", &target.replace("HOST", &host)]);
        }
        let output = curl.output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        assert_eq!(answer, format!("{expected} {redirects}"), "{path} {target}: {output:?}");
    }
}
