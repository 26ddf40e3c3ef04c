//! The handler `cgi` (RFC 3875): meta-variables, content and responses.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use crate::harness::{Record, Server, ask, command, make_folder, read_to_end, serve};

/// A folder of shell scripts, and a server that runs them below `/cgi`.
pub struct Programs {
    pub folder: TempDir,
    pub server: Server,
}

pub fn write_program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Another process writes the file. A process that another test forks meanwhile would inherit a descriptor of this
    // one for a moment, and a file that is open for writing cannot be executed (ETXTBSY in execve(2)).
    let mut writer = command("sh");
    writer.args(["-euc", "cat >\"$0\"; chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut writer = writer.spawn().unwrap();
    writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
}

pub fn programs(keys: &str, scripts: &[(&str, &str)]) -> Programs {
    let folder = make_folder();
    for (name, script) in scripts {
        write_program(&folder.path().join(name), &format!("#!/bin/sh\n{script}\n"));
    }
    let root = folder.path().display();
    let server =
        serve(&format!("[[service.web.route]]\npath = '/cgi'\nhandler = 'cgi'\nroot = '{root}'\n{keys}\n"));
    Programs { folder, server }
}

/// Becomes a program that exits when `$!`, the last background process of the script, is a zombie. A shell would reap it.
pub const EXEC_UNTIL_ZOMBIE: &str = r#"exec awk -v file=/proc/$!/stat 'BEGIN {
    while ((getline line <file) > 0 && line !~ /\) Z /) close(file)
}'"#;

/// A script that responds with plain text: the output of `text`, which is a script.
pub fn say(text: &str) -> String {
    format!("echo Content-Type: text/plain\necho\n{text}")
}

/// A served record, whose program has exited with this code.
pub fn assert_program_exited(record: &Record, code: u8) {
    let ends = (record.get("outcome"), record.get("program_end"));
    assert_eq!(ends, ("served", &*format!("exit code {code}")), "{}", record.line);
}

pub fn status(answer: &str) -> &str {
    answer.strip_prefix("HTTP/1.1 ").map_or(answer, |rest| &rest[..3])
}

pub fn post(server: &Server, target: &str, fields: &str, content: &[u8]) -> String {
    let mut stream = server.connect();
    let length = content.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(content).unwrap();
    read_to_end(stream)
}

/// The content of a chunked response.
pub fn dechunk(answer: &str) -> String {
    let (head, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Transfer-Encoding: chunked"), "{answer}");
    let mut content = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").expect("a chunk");
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(after, "\r\n");
            return content;
        }
        content.push_str(&after[..size]);
        rest = after[size..].strip_prefix("\r\n").unwrap();
    }
}

#[test]
fn program_receives_the_meta_variables() {
    let it = programs("environment = { OWN = 'mine' }", &[("dir/env", &say("env | sort; pwd"))]);
    let answer = ask(
        it.server.connect(),
        "POST /cgi/dir/env/path%20info/x?a=b&c HTTP/1.1\r\nHost: example.org:81\r\nConnection: close\r\nContent-Type: text/x\r\n\
         Content-Length: 3\r\nProxy: http://evil\r\nCookie: a=1\r\nCookie: b=2\r\nX-Two: 1\r\nX-Two: 2\r\nAuthorization: Basic x\r\n\r\nabc",
    );
    let content = dechunk(&answer);
    let root = it.folder.path().display();
    let port = it.server.address().port();
    for line in [
        "GATEWAY_INTERFACE=CGI/1.1".to_owned(),
        "SERVER_PROTOCOL=HTTP/1.1".into(),
        format!("SERVER_SOFTWARE=lsbaws/{}", env!("CARGO_PKG_VERSION")),
        "SERVER_NAME=example.org".into(),
        "SERVER_PORT=81".into(),
        "SERVER_ADDR=127.0.0.1".into(),
        "REQUEST_METHOD=POST".into(),
        "REQUEST_URI=/cgi/dir/env/path%20info/x?a=b&c".into(),
        "SCRIPT_NAME=/cgi/dir/env".into(),
        format!("SCRIPT_FILENAME={root}/dir/env"),
        "PATH_INFO=/path info/x".into(),
        format!("PATH_TRANSLATED={root}/path info/x"),
        format!("DOCUMENT_ROOT={root}"),
        "QUERY_STRING=a=b&c".into(),
        "REMOTE_ADDR=127.0.0.1".into(),
        "REMOTE_HOST=127.0.0.1".into(),
        "CONTENT_LENGTH=3".into(),
        "CONTENT_TYPE=text/x".into(),
        "HTTP_COOKIE=a=1; b=2".into(),
        "HTTP_X_TWO=1, 2".into(),
        "HTTP_AUTHORIZATION=Basic x".into(),
        "HTTP_HOST=example.org:81".into(),
        "OWN=mine".into(),
        format!("{root}/dir"),
    ] {
        assert!(content.lines().any(|found| found == line), "{line}\n{content}");
    }
    for absent in
        ["HTTP_PROXY", "HTTP_CONNECTION", "HTTP_CONTENT_LENGTH", "LISTEN_", "NOTIFY_SOCKET", "LSBAWS"]
    {
        assert!(!content.contains(&format!("\n{absent}")), "{absent}\n{content}");
    }
    let id = it.server.record().get("connection").to_owned();
    assert!(content.contains(&format!("UNIQUE_ID={id}\n")) && content.contains("REMOTE_PORT="), "{content}");
    assert_ne!(port, 81);
    // Without content and path info, their variables are absent. QUERY_STRING is always set.
    let content = dechunk(&it.server.get("/cgi/dir/env"));
    assert!(content.contains("QUERY_STRING=\n"), "{content}");
    for absent in ["CONTENT_LENGTH", "CONTENT_TYPE", "PATH_INFO", "PATH_TRANSLATED"] {
        assert!(!content.contains(&format!("{absent}=")), "{absent}\n{content}");
    }
}

#[test]
fn program_has_default_signals_and_its_own_group() {
    let it = programs(
        "",
        &[("self", &say("grep Sig /proc/self/status; ls /proc/self/fd | wc -l; ps -o pgid= $$; echo $$"))],
    );
    let content = dechunk(&it.server.get("/cgi/self"));
    let mask =
        |name: &str| content.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(mask("SigBlk:"), "0000000000000000");
    assert_eq!(mask("SigIgn:"), "0000000000000000");
    let numbers: Vec<_> = content.lines().skip_while(|line| line.starts_with("Sig")).map(str::trim).collect();
    assert_eq!(numbers[0], "4", "the standard descriptors and one of ls: {content}");
    assert_eq!(numbers[1], numbers[2], "{content}");
}

#[test]
fn content_flows_both_ways_at_once() {
    let it = programs("", &[("echo", &say("cat"))]);
    // The client sends more than all buffers hold while it reads.
    let content: Vec<u8> = (0..16 << 20).map(|n: u32| b'a' + u8::try_from(n % 23).unwrap()).collect();
    let mut stream = it.server.connect();
    let head = format!("POST /cgi/echo HTTP/1.0\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len());
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || {
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).unwrap();
        answer
    });
    stream.write_all(&content).unwrap();
    assert!(answer.join().unwrap().ends_with(&content));
}

#[test]
fn requests_can_follow_chunked_content() {
    let it = programs("", &[("echo", &say("cat; echo length=$CONTENT_LENGTH"))]);
    let answers = ask(
        it.server.connect(),
        "POST /cgi/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\n...\r\n0\r\nA: b\r\n\r\n\
         POST /cgi/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nsecondGET /cgi/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 3, "{answers}");
    for part in ["hello...", "length=8\n", "second", "length=6\n"] {
        assert!(answers.contains(part), "{part}\n{answers}");
    }
    assert_eq!(it.server.record().number("requests"), 3);
}

#[test]
fn client_receives_100_continue_when_the_program_runs() {
    let it = programs("", &[("echo", &say("cat"))]);
    let mut stream = it.server.connect();
    stream
        .write_all(b"POST /cgi/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").unwrap();
    let answer = read_to_end(stream);
    assert_eq!(dechunk(&answer), "hello");
    let refused = ask(
        it.server.connect(),
        "POST /cgi/none HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    assert!(refused.starts_with("HTTP/1.1 404 ") && refused.contains("Connection: close"), "{refused}");
}

#[test]
fn output_is_streamed() {
    let it =
        programs("", &[("slow", "printf 'Content-Type: text/plain\\n\\nfirst\\n'; read line; echo $line")]);
    let mut stream = it.server.connect();
    stream
        .write_all(b"POST /cgi/slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 7\r\n\r\n")
        .unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"first\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    stream.write_all(b"second\n").unwrap();
    assert!(read_to_end(stream).contains("second\n"));
}

#[test]
fn header_fields_of_a_program_shape_the_response() {
    let it = programs(
        "",
        &[
            (
                "status",
                "printf 'Status: 404 Gone fishing\\r\\nContent-Type: text/x\\r\\nX-A: b\\r\\n\\r\\nno\\n'",
            ),
            ("local", "printf 'Location: /cgi/target?x=y\\n\\n'"),
            (
                "target",
                &say("echo $REQUEST_METHOD $QUERY_STRING ${CONTENT_LENGTH-none} ${CONTENT_TYPE-none}; cat"),
            ),
            ("loop", "printf 'Location: /cgi/loop\\n\\n'"),
            ("away", "printf 'Location: https://example.org/\\n\\n'"),
            ("none", "printf 'Status: 204 No Content\\n\\n'"),
            ("length", "printf 'Content-Type: a/b\\nContent-Length: 2\\n\\nhi'"),
            ("nph-raw", "printf 'HTTP/1.1 299 Mine\\r\\nX: y\\r\\n\\r\\nraw'"),
        ],
    );
    let answer = it.server.get("/cgi/status");
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(answer.contains("\r\nX-A: b\r\n") && answer.contains("\r\nContent-Type: text/x\r\n"), "{answer}");
    assert_eq!(it.server.record().get("outcome"), "served");
    let dropped = post(&it.server, "/cgi/local", "Content-Type: a/b\r\n", b"dropped");
    assert_eq!(dechunk(&dropped), "GET x=y none none\n");
    assert_eq!(status(&it.server.get("/cgi/loop")), "508");
    let answer = it.server.get("/cgi/away");
    assert!(answer.starts_with("HTTP/1.1 302 ") && answer.contains("\r\nLocation: https://example.org/\r\n"));
    let answer = it.server.get("/cgi/none");
    assert!(
        answer.starts_with("HTTP/1.1 204 ") && answer.ends_with("\r\n\r\n") && !answer.contains("chunked")
    );
    let answer = it.server.get("/cgi/length");
    assert!(answer.contains("\r\nContent-Length: 2\r\n") && answer.ends_with("\r\n\r\nhi"), "{answer}");
    assert_eq!(it.server.get("/cgi/nph-raw"), "HTTP/1.1 299 Mine\r\nX: y\r\n\r\nraw");
    let head = ask(it.server.connect(), "HEAD /cgi/length HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(head.contains("\r\nContent-Length: 2\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn extensions_and_interpreters_choose_programs() {
    let folder = make_folder();
    let root = folder.path().display();
    fs::write(
        folder.path().join("index.sh"),
        "echo Content-Type: text/plain; echo; echo index $QUERY_STRING; cat",
    )
    .unwrap();
    fs::write(folder.path().join("page.sh"), "echo Content-Type: text/plain; echo; echo ran $PATH_INFO")
        .unwrap();
    let server = serve(&format!(
        "[[service.web.route]]\nbody = 'static'\n\
         [[service.web.route]]\npath = '/files/'\nhandler = 'files'\nroot = '{root}'\nindex = ['index.sh']\n\
         [[service.web.route]]\npath = '/files/'\nextension = '.sh'\nhandler = 'cgi'\nroot = '{root}'\ninterpreter = '/bin/sh'\n\
         [[service.web.route]]\nextension = '.sh'\nhandler = 'cgi'\nroot = '{root}'\ninterpreter = '/bin/sh'\n"
    ));
    assert_eq!(dechunk(&server.get("/page.sh/x")), "ran /x\n");
    assert!(server.get("/page.txt").ends_with("static"));
    assert_eq!(status(&server.get("/other.sh")), "404");
    // The extension is that of the file that runs, not of the path info.
    fs::write(folder.path().join("upload.gif"), "echo Content-Type: a/b; echo; echo owned").unwrap();
    assert_eq!(status(&server.get("/upload.gif/x.sh")), "404");
    assert_eq!(status(&server.get("/files/upload.gif/x.sh")), "404");
    // An index that is a program runs for every method. Its source is never sent.
    assert_eq!(dechunk(&server.get("/files/?a=b")), "index a=b\n");
    assert_eq!(dechunk(&post(&server, "/files/", "", b"content")), "index\ncontent");
    assert_eq!(dechunk(&server.get("/files/page.sh")), "ran\n");
}

#[test]
fn one_program_can_answer_for_a_whole_route() {
    let folder = make_folder();
    let program = folder.path().join("one");
    write_program(
        &program,
        &format!("#!/bin/sh\n{}\n", say("echo $SCRIPT_NAME,$PATH_INFO,$PATH_TRANSLATED")),
    );
    let server = serve(&format!(
        "[process]\nmodel = 'iterative'\n\
         [[service.web.route]]\npath = '/one'\nhandler = 'cgi'\nprogram = '{0}'\ndocument_root = '/srv/'\n\
         [[service.web.route]]\nhandler = 'cgi'\nprogram = '{0}'\n",
        program.display()
    ));
    for (target, expected) in [
        ("/one", "/one,,\n"),
        ("/one/", "/one,/,/srv/\n"),
        ("/one//a/b", "/one,/a/b,/srv/a/b\n"),
        ("/", ",/,\n"),
    ] {
        assert_eq!(dechunk(&server.get(target)), expected, "{target}");
    }
}
