//! Paths as real clients send them: segments `.` and `..`, encoded slashes, bytes above 0x7F. What a path is routed as, it
//! is served as.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Output;

use crate::cgi::{dechunk, say, status, write_program};
use crate::harness::{Server, command, find_program, make_folder, read_to_end, serve};
use crate::site::{Site, configure};

/// `apt-get` with the sources, lists and caches of a folder, and without those of this host.
fn apt_get(folder: &Path, arguments: &[&str]) -> Output {
    let mut apt = command("apt-get");
    apt.env("HOME", folder).env("LC_ALL", "C.UTF-8").env("APT_CONFIG", folder.join("apt.conf"));
    apt.current_dir(folder).args(arguments).output().unwrap()
}

/// The flat repository of sources.list(5): `deb URL ./`. apt requests `URL/./Packages`.
#[test]
fn apt_updates_from_a_flat_repository() {
    let Some(_) = find_program("apt-get") else { return };
    let folder = make_folder();
    let at = |name: &str| folder.path().join(name);
    for name in [
        "repository",
        "etc/preferences.d",
        "etc/trusted.gpg.d",
        "state/lists/partial",
        "cache/archives/partial",
    ] {
        fs::create_dir_all(at(name)).unwrap();
    }
    fs::write(at("state/status"), "").unwrap();
    fs::write(at("repository/some_1_all.deb"), "the package").unwrap();
    let sum = command("sha256sum").arg(at("repository/some_1_all.deb")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let packages = format!(
        "Package: some\nVersion: 1\nArchitecture: all\nMaintainer: Test\nDescription: Some\n\
         Filename: ./some_1_all.deb\nSize: 11\nSHA256: {}\n\n",
        &sum[..64]
    );
    fs::write(at("repository/Packages"), packages).unwrap();
    let server = serve(&configure(&at("repository"), "path = '/repository'"));
    let (address, dir) = (server.address(), folder.path().display());
    fs::write(at("etc/sources.list"), format!("deb [trusted=yes] http://{address}/repository ./\n")).unwrap();
    let conf = format!(
        "Dir \"{dir}\"; Dir::Etc \"{dir}/etc\"; Dir::State \"{dir}/state\"; Dir::State::status \"{dir}/state/status\";\n\
         Dir::Cache \"{dir}/cache\"; APT::Sandbox::User \"\"; APT::Update::Error-Mode \"any\";\n\
         Acquire::http::Proxy \"DIRECT\"; Acquire::Languages \"none\"; Acquire::Retries \"0\";\n"
    );
    fs::write(at("apt.conf"), conf).unwrap();
    let update = apt_get(folder.path(), &["update"]);
    assert!(update.status.success(), "{update:?}");
    let download = apt_get(folder.path(), &["download", "some"]);
    assert!(download.status.success(), "{download:?}");
    assert_eq!(fs::read(at("some_1_all.deb")).unwrap(), b"the package");
    let record = server.record_of("/repository/./some_1_all.deb");
    assert_eq!((record.get("status"), record.get("outcome")), ("200", "served"), "{}", record.line);
}

/// Routes that must not be confused: files, a program below them, a refusal, and one program for all other paths.
struct Tree {
    folder: tempfile::TempDir,
    server: Server,
}

impl Tree {
    fn new() -> Self {
        let folder = make_folder();
        let at = |name: &str| folder.path().join(name);
        for (name, content) in [
            ("files/a.txt", "a"),
            ("files/caf\u{e9}.txt", "cafe"),
            ("files/sub/index.html", "index"),
            ("files/sub/deep/b.txt", "b"),
            ("files/run/index.sh", "echo Content-Type: text/plain; echo; echo run $SCRIPT_NAME,$PATH_INFO"),
            ("files/.hidden/c", "secret"),
        ] {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), content).unwrap();
        }
        let names = say("printf '%s\\n' \"$SCRIPT_NAME,$PATH_INFO,$QUERY_STRING\"");
        write_program(&at("one"), &format!("#!/bin/sh\n{names}\n"));
        write_program(&at("bin/env"), &format!("#!/bin/sh\n{names}\n"));
        let files = at("files");
        let keys = format!(
            "path = '/pub/'\nindex = ['index.html', 'index.sh']\nlisting = true\n\
             [[service.web.route]]\npath = '/pub/'\nextension = '.sh'\nhandler = 'cgi'\nroot = '{0}/files'\ninterpreter = '/bin/sh'\n\
             [[service.web.route]]\npath = '/admin/'\nstatus = 403\nbody = 'refused'\n\
             [[service.web.route]]\npath = '/bin/'\nhandler = 'cgi'\nroot = '{0}/bin'\n\
             [[service.web.route]]\npath = '/moved/'\nhandler = 'redirect'\nto = '/new/'\n\
             [[service.web.route]]\nhandler = 'cgi'\nprogram = '{0}/one'\n\
             [limits]\nexempt = []\npenalty_after = 1\npenalty_time = '1h'\n",
            folder.path().display()
        );
        let server = serve(&configure(&files, &keys));
        Self { folder, server }
    }

    /// The status, and the content of a success or the target of a redirect.
    fn get(&self, target: &[u8]) -> String {
        let mut stream = self.server.connect();
        let request =
            [b"GET ".as_slice(), target, b" HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"].concat();
        stream.write_all(&request).unwrap();
        let answer = read_to_end(stream);
        let location = answer.lines().find_map(|line| line.strip_prefix("Location: "));
        let content = match location {
            Some(location) => location.to_owned(),
            None if answer.contains("Transfer-Encoding: chunked") => dechunk(&answer),
            None if status(&answer) == "200" => answer.split_once("\r\n\r\n").unwrap().1.to_owned(),
            None => String::new(),
        };
        format!("{} {}", status(&answer), content.trim_end())
    }

    /// None of these is a fault of the client: a penalty would refuse the next connection.
    fn expect(&self, cases: &[(&str, &str)]) {
        for (target, expected) in cases {
            assert_eq!(self.get(target.as_bytes()), *expected, "{target}");
            assert_eq!(self.server.record().get("outcome"), "served", "{target}");
        }
    }
}

#[test]
fn dot_segments_are_removed_before_routing() {
    Tree::new().expect(&[
        ("/pub/./a.txt", "200 a"),
        ("/./pub/sub/../a.txt", "200 a"),
        ("/pub/sub/%2e%2E/%2e/a.txt", "200 a"),
        ("/../../pub/a.txt", "200 a"),
        ("/none/../pub/a.txt", "200 a"),
        // Routes.
        ("/pub/../admin/x", "403 "),
        ("/admin/../pub/a.txt", "200 a"),
        ("/pub/../pub/%2e./one/x?../y", "200 ,/one/x,../y"),
        ("/pub/..", "200 ,/,"),
        ("/bin/x/../env/./a/../b", "200 /bin/env,/b,"),
        ("/bin/env/..", "404 "),
        ("/moved/a/../b/./c?d=/../e", "301 /new/b/c?d=/../e"),
        ("/moved/..", "200 ,/,"),
        // Indexes, listings, and redirects to a slash.
        ("/pub/sub/.", "200 index"),
        ("/pub/sub/deep/..", "200 index"),
        ("/pub/sub/deep/../deep", "301 /pub/sub/deep/"),
        ("/pub/./run/.", "200 run /pub/run/index.sh,"),
        ("/pub/run/./index.sh/a/../b", "200 run /pub/run/index.sh,/b"),
        // Hidden names, and the root.
        ("/pub/./.hidden/c", "404 "),
        ("/pub/sub/../.hidden/c", "404 "),
        ("/pub/.hidden/../a.txt", "200 a"),
        ("/pub/../one", "200 ,/one,"),
        ("/pub/sub/../../../../one", "200 ,/one,"),
    ]);
}

#[test]
fn encoded_slashes_reach_programs_decoded() {
    let tree = Tree::new();
    fs::create_dir(tree.folder.path().join("bin/dir")).unwrap();
    tree.expect(&[
        ("/bin/env/a%2Fb%2f/c", "200 /bin/env,/a/b/c,"),
        ("/bin/env%2Fa", "200 /bin/env,/a,"),
        ("/x%2Fy?z%2F", "200 ,/x/y,z%2F"),
        ("/%2Fhost.test/", "200 ,/host.test/,"),
        ("/moved/a%2Fb", "301 /new/a%2Fb"),
        // A program sees what is routed.
        ("/admin%2Fx", "403 "),
        ("/%2Fadmin/x", "403 "),
        ("/x/../admin%2f", "403 "),
        // No file's name has a slash.
        ("/pub/sub%2Findex.html", "404 "),
        ("/pub/sub%2F", "404 "),
        ("/pub/run%2F", "404 "),
        ("/pub/%2Fa.txt", "404 "),
        ("/pub%2Fa.txt", "404 "),
        ("/pub/run%2Findex.sh", "404 "),
        ("/pub/x%2F.hidden/c", "404 "),
        ("/bin%2Fenv", "404 "),
        ("/bin/dir%2Fenv", "404 "),
    ]);
}

#[test]
fn dots_next_to_an_encoded_slash_are_status_400() {
    for target in ["/bin/env/..%2Fx", "/bin/env/a%2F..", "/pub/..%2f..%2fone", "/x/%2e%2e%2Fy", "/x%2Fy/../z"]
    {
        let server = serve("[[service.web.route]]\n");
        let answer = server.get(target);
        let sentence = "400 Bad Request: the path has a segment . or .. next to an encoded slash\n";
        assert!(answer.ends_with(sentence), "{target}: {answer}");
    }
}

#[test]
fn bytes_beyond_ascii_are_as_if_encoded() {
    let tree = Tree::new();
    for (target, expected) in [
        (b"/pub/caf\xc3\xa9.txt".as_slice(), "200 cafe"),
        (b"/pub/caf%C3\xa9.txt", "200 cafe"),
        (b"http://test/pub/caf\xc3\xa9.txt", "200 cafe"),
        (b"/pub/caf\xe9.txt", "404 "),
        (b"/caf\xc3\xa9?\xc3\xa9", "200 ,/caf\u{e9},%C3%A9"),
        (b"/moved/\xff?\xfe", "301 /new/%FF?%FE"),
    ] {
        assert_eq!(tree.get(target), expected, "{}", target.escape_ascii());
        let record = tree.server.record();
        assert_eq!(record.get("outcome"), "served");
        assert!(record.get("target").contains('%'), "{}", record.line);
    }
}

#[test]
fn curl_sends_bytes_and_dots_as_they_are() {
    let Some(curl) = find_program("curl") else { return };
    let site = Site::new("");
    site.write("caf\u{e9}.txt", "cafe");
    site.write("a/b", "b");
    for (path, content) in [("/caf\u{e9}.txt", "cafe"), ("/a/../caf%C3%A9.txt", "cafe"), ("/./a/./b", "b")] {
        let mut curl = command(&curl);
        curl.args(["--silent", "--fail", "--path-as-is", "--noproxy", "*"]);
        let output = curl.arg(format!("http://{}{path}", site.server.address())).output().unwrap();
        assert!(output.status.success() && output.stdout == content.as_bytes(), "{path}: {output:?}");
    }
}

#[test]
fn php_receives_a_normalized_path() {
    let Some(php) = find_program("php-cgi") else { return };
    let folder = make_folder();
    let names =
        "<?php echo $_SERVER['SCRIPT_NAME'], ' ', $_SERVER['PATH_INFO'] ?? '-', ' ', $_SERVER['PHP_SELF'];";
    fs::write(folder.path().join("index.php"), names).unwrap();
    let keys = format!(
        "index = ['index.php']\n[[service.web.route]]\nextension = '.php'\nhandler = 'cgi'\nroot = '{}'\ninterpreter = '{}'\n",
        folder.path().display(),
        php.display()
    );
    let server = serve(&configure(folder.path(), &keys));
    for (target, expected) in [
        ("/x/../index.php/a%2Fb", "/index.php /a/b /index.php/a/b"),
        ("/./index.php/./caf\u{e9}/../\u{e9}", "/index.php /\u{e9} /index.php/\u{e9}"),
        ("/a/..", "/index.php - /index.php"),
    ] {
        assert_eq!(dechunk(&server.get(target)), expected, "{target}");
    }
}
