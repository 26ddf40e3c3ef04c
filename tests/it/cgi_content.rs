//! Content for CGI programs: its length, where it is stored, and what that must not let through.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use nix::unistd::geteuid;

use crate::cgi::{Programs, dechunk, programs, say, status, write_program};
use crate::harness::{
    Server, Setup, ask, command, find_program, make_folder, make_folder_outside_tmp, read_to_end, run, serve,
    skip,
};

/// More than stays in memory.
const LARGE: usize = 300_000;

/// A request with chunked content, in chunks of any sizes.
fn chunked(target: &str, fields: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{fields}\r\n"
    );
    let mut request = head.into_bytes();
    for chunk in content.chunks(7001) {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}

fn post_chunked(server: &Server, target: &str, content: &[u8]) -> String {
    let mut stream = server.connect();
    // The server may refuse it before it has read all.
    let _ = stream.write_all(&chunked(target, "", content));
    read_to_end(stream)
}

/// Bytes that differ, so that a part in the wrong place is seen.
fn text(length: usize) -> Vec<u8> {
    (0..length).map(|n| b'a' + u8::try_from(n * 7 % 23).unwrap()).collect()
}

/// Says what the program gets.
fn tell() -> String {
    say("echo \"${CONTENT_LENGTH-none} ${HTTP_TRANSFER_ENCODING-none}\"; cat")
}

#[test]
fn chunked_content_comes_with_its_length() {
    let it = programs("", &[("tell", &tell())]);
    for length in [1, 65_536, 65_537, LARGE] {
        let content = text(length);
        let answer = dechunk(&post_chunked(&it.server, "/cgi/tell", &content));
        let (line, rest) = answer.split_once('\n').unwrap();
        assert_eq!(line, format!("{length} none"));
        assert!(rest.as_bytes() == content, "{length}");
        assert_eq!(it.server.record().get("outcome"), "served");
    }
}

#[test]
fn content_is_streamed_without_its_length_where_that_is_set() {
    let reply = say("echo ${CONTENT_LENGTH-none}; read line; echo $line; cat");
    let it = programs("stream = true", &[("talk", &reply)]);
    let mut stream = it.server.connect();
    let head =
        "POST /cgi/talk HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}6\r\nfirst\n\r\n").as_bytes()).unwrap();
    // The program responds before the client has sent all.
    let mut seen = Vec::new();
    while !seen.ends_with(b"first\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
    let answer = String::from_utf8(seen).unwrap() + &read_to_end(stream);
    assert_eq!(dechunk(&answer), "none\nfirst\nsecond");
}

#[test]
fn empty_content_has_the_length_zero() {
    let it = programs("", &[("tell", &say("echo ${CONTENT_LENGTH-none}; cat"))]);
    for (method, fields, expected) in [
        ("POST", "", "0"),
        ("PUT", "Content-Length: 0\r\n", "0"),
        ("DELETE", "", "0"),
        ("REPORT", "", "0"),
        ("POST", "Transfer-Encoding: chunked\r\n", "0"),
        ("GET", "Content-Length: 0\r\n", "none"),
        ("GET", "", "none"),
    ] {
        let end = if fields.starts_with('T') { "0\r\n\r\n" } else { "" };
        let request =
            format!("{method} /cgi/tell HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n{end}");
        let answer = ask(it.server.connect(), &request);
        assert_eq!(dechunk(&answer), format!("{expected}\n"), "{method} {fields}");
    }
}

#[test]
fn php_reads_chunked_forms_and_uploads() {
    let (Some(php), Some(curl)) = (find_program("php-cgi"), find_program("curl")) else { return };
    let folder = make_folder();
    let root = folder.path().display();
    let server = serve(&format!(
        "[[service.web.route]]\nextension = '.php'\nhandler = 'cgi'\nroot = '{root}'\ninterpreter = '{}'\n",
        php.display()
    ));
    let script = "<?php echo $_SERVER['CONTENT_LENGTH'], ' ', $_POST['b'] ?? '-', ' ', $_FILES['f']['size'] ?? '-', ' ', \
                  strlen(file_get_contents('php://input'));";
    fs::write(folder.path().join("post.php"), script).unwrap();
    let upload = folder.path().join("upload");
    fs::write(&upload, text(2 << 20)).unwrap();
    let url = format!("http://{}/post.php", server.address());
    let send = |arguments: &[&str]| {
        let mut curl = command(&curl);
        curl.args(["-sS", "-H", "Transfer-Encoding: chunked"]).args(arguments).arg(&url);
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(send(&["-d", "b=posted"]), "8 posted - 8");
    // curl waits for 100 Continue before so much.
    let file = format!("f=@{}", upload.display());
    let answer = send(&["-H", "Expect: 100-continue", "-F", "b=with", "-F", &file]);
    assert!(answer.contains(&format!(" with {} ", 2 << 20)), "{answer}");
    let raw = send(&["-H", "Content-Type: a/b", "--data-binary", &format!("@{}", upload.display())]);
    assert_eq!(raw, format!("{0} - - {0}", 2 << 20));
    for _ in 0..3 {
        let record = server.record();
        assert_eq!((record.get("outcome"), record.get("status")), ("served", "200"), "{}", record.line);
    }
}

#[test]
fn stored_content_is_asked_for_before_the_program_starts() {
    let it = programs("", &[("tell", &tell())]);
    let request = chunked("/cgi/tell", "Expect: 100-continue\r\n", b"hello");
    let (head, content) = request.split_at(request.len() - b"5\r\nhello\r\n0\r\n\r\n".len());
    let mut stream = it.server.connect();
    stream.write_all(head).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(content).unwrap();
    assert_eq!(dechunk(&read_to_end(stream)), "5 none\nhello");
    // A request that fails is not asked for its content.
    let request = chunked("/cgi/none", "Expect: 100-continue\r\n", b"");
    let mut stream = it.server.connect();
    stream.write_all(&request[..request.len() - 5]).unwrap();
    assert!(read_to_end(stream).starts_with("HTTP/1.1 404 "));
}

/// A program that leaves a file where it has run.
fn marking(keys: &str) -> Programs {
    programs(keys, &[("mark", &format!("touch $(dirname $0)/ran; {}", say("cat")))])
}

fn has_run(it: &Programs) -> bool {
    it.folder.path().join("ran").exists()
}

#[test]
fn program_does_not_start_for_content_that_is_refused() {
    let it = marking("max_body_size = '100000 B'");
    assert_eq!(status(&post_chunked(&it.server, "/cgi/mark", &text(LARGE))), "413");
    let record = it.server.record();
    assert_eq!((record.get("outcome"), record.get("program_end")), ("client-error", ""), "{}", record.line);
    let broken =
        "POST /cgi/mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n";
    assert_eq!(status(&ask(it.server.connect(), broken)), "400");
    assert!(!has_run(&it));
    assert_eq!(status(&post_chunked(&it.server, "/cgi/mark", &text(100_000))), "200");
    assert!(has_run(&it));
}

#[test]
fn slow_chunked_content_ends_at_the_body_timeout() {
    let it = marking("\n[limits]\nbody_timeout = '200ms'");
    let mut stream = it.server.connect();
    let head = "POST /cgi/mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(status(&read_to_end(stream)), "408");
    assert_eq!(it.server.record().get("outcome"), "client-error");
    assert!(!has_run(&it));
}

#[test]
fn slow_chunked_content_gives_up_its_place() {
    let it = marking("\n[limits]\nbody_timeout = '1h'\nmax_connections = 1");
    let mut stream = it.server.connect();
    let head = "POST /cgi/mark HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(status(&it.server.get("/cgi/none")), "404", "another client gets the place");
    assert_eq!(status(&read_to_end(stream)), "408");
    let record = it.server.record_of("/cgi/mark");
    assert_eq!((record.get("outcome"), record.get("client_gone")), ("client-error", ""), "{}", record.line);
    assert!(!has_run(&it));
}

/// Serves `/cgi/mark` with these keys of the service and of the route, and asserts that large content is not stored.
fn assert_not_stored(setup: impl FnOnce(String) -> Server, service: &str, keys: &str, error: &str) {
    let folder = make_folder();
    write_program(
        &folder.path().join("mark"),
        &format!("#!/bin/sh\ntouch $(dirname $0)/ran\n{}\n", say("cat")),
    );
    let root = folder.path().display();
    let server = setup(format!(
        "[service.web]\n{service}\n[[service.web.route]]\npath = '/cgi'\nhandler = 'cgi'\nroot = '{root}'\n{keys}\n"
    ));
    let answer = post_chunked(&server, "/cgi/mark", &text(LARGE));
    assert_eq!(status(&answer), "507", "{answer}");
    server.wait_line(&format!("unable to store the request content in {error}"));
    let record = server.record();
    assert_eq!((record.get("outcome"), record.get("status")), ("system-error", "507"), "{}", record.line);
    assert!(!folder.path().join("ran").exists());
    assert_eq!(status(&post_chunked(&server, "/cgi/mark", b"small")), "200", "the next is served");
}

#[test]
fn content_beyond_the_file_size_of_the_service_is_507() {
    let error = "/var/tmp: File too large";
    for size in ["10 KiB", "100 KiB"] {
        assert_not_stored(|config| serve(&config), &format!("file_size = '{size}'"), "", error);
    }
}

#[test]
fn program_cannot_write_to_its_stored_content() {
    let script = say("sh -c 'echo more >&0' 2>/dev/null && echo written; wc -c");
    let it = programs("", &[("look", &script)]);
    let answer = post_chunked(&it.server, "/cgi/look", &text(LARGE));
    assert!(!answer.contains("written") && answer.contains(&LARGE.to_string()), "{answer}");
}

#[test]
fn content_without_room_on_the_disk_is_507() {
    let mut unshare = command("unshare");
    if !geteuid().is_root() || !unshare.args(["--mount", "true"]).status().unwrap().success() {
        return skip("needs root, and a namespace, to mount a small file system");
    }
    let folder = make_folder_outside_tmp();
    let path = folder.path().display().to_string();
    // In the second, there is room for the content, but a tenth stays free.
    for (size, used) in [("128k", 0), ("4m", 3_800_000)] {
        // A namespace of mounts for the daemon alone. The process stays the same.
        let mount =
            format!("mount -t tmpfs -o size={size} tmpfs {path}; head -c {used} /dev/zero >{path}/used");
        let inner = format!("{mount}; exec \"$@\"");
        let prelude = format!("set -- unshare --mount bash -euc '{inner}' bash \"$@\"");
        assert_not_stored(
            |config| Setup::new(&config).prelude(&prelude).serve(),
            "",
            &format!("spool_directory = '{path}'"),
            &format!("{path}: No space left on device"),
        );
    }
}

#[test]
fn spool_directory_is_for_files_without_names() {
    let spool = make_folder_outside_tmp();
    let path = spool.path().display();
    let script = say(&format!("ls {path} | wc -l; touch {path}/new 2>/dev/null || echo denied; wc -c"));
    let it = programs(&format!("spool_directory = '{path}'"), &[("look", &script)]);
    let answer = dechunk(&post_chunked(&it.server, "/cgi/look", &text(LARGE)));
    assert_eq!(answer, format!("0\ndenied\n{LARGE}\n"));
}

#[test]
fn spool_directory_must_exist() {
    let folder = make_folder();
    let check = |spool: &Path| {
        let config = folder.path().join("config");
        let route = "[[service.web.route]]\nhandler = 'cgi'\nprogram = '/bin/true'\n";
        fs::write(&config, format!("{route}spool_directory = '{}'\n", spool.display())).unwrap();
        run(&["-c", config.to_str().unwrap(), "check", "--quiet"])
    };
    let (status, _, errors) = check(&folder.path().join("none"));
    assert_eq!(status, 78, "{errors}");
    assert!(errors.contains("spool_directory: expected a directory, found "), "{errors}");
    assert_eq!(check(folder.path()).0, 0);
}
