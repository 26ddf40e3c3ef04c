//! The handler `wsgi` (PEP 3333), with applications that need nothing but Python: tests/wsgi/bare.py.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgi::{post, status};
use crate::harness::{LSBAWS, Server, ask, command, serve};

/// The folder of the applications.
pub const APPLICATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wsgi");

pub fn route(path: &str, application: &str) -> String {
    format!(
        "[[service.web.route]]\npath = '{path}'\nhandler = 'wsgi'\napplication = '{application}'\n\
         python = '/usr/bin/python3'\ndirectory = '{APPLICATIONS}'\nenvironment = {{ GREETING = 'Hi' }}\n"
    )
}

/// Serves an application of tests/wsgi/bare.py.
fn serve_application(name: &str) -> Server {
    serve(&route("/", &format!("bare:{name}")))
}

/// What follows the head of a response.
pub fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}")).1
}

#[test]
fn application_is_loaded_once_and_each_connection_has_a_process() {
    let server = serve_application("identity");
    let answers: Vec<String> = (0..3).map(|_| content(&server.get("/")).to_owned()).collect();
    let numbers = |at: usize| answers.iter().map(move |answer| answer.split(' ').nth(at).unwrap());
    let own: Vec<_> = numbers(0).collect();
    assert!(own[0] != own[1] && own[1] != own[2] && own[0] != own[2], "{answers:?}");
    assert!(numbers(1).all(|loader| loader == own_first(&answers, 1)), "{answers:?}");
    // The supervisor is the parent of all, and the random numbers of each are its own.
    assert!(numbers(2).all(|parent| parent == server.pid().to_string()), "{answers:?}");
    assert_ne!(answers[0].split(' ').nth(3), answers[1].split(' ').nth(3));
    let record = server.record();
    assert_eq!((record.get("handler"), record.get("outcome")), ("wsgi", "served"));
}

fn own_first(answers: &[String], at: usize) -> &str {
    answers[0].split(' ').nth(at).unwrap()
}

#[test]
fn environ_is_that_of_pep_3333() {
    let config = [route("/", "bare:environ"), route("/app", "bare:environ")].concat();
    let server = serve(&config);
    let port = server.address().port();
    let request = "GET /app/b%C3%A4r/?q=%20 HTTP/1.1\r\nHost: example.org:81\r\nX-Two: a\r\nX-Two: b\r\n\
                   Proxy: evil\r\nX_Under: c\r\nConnection: close\r\n\r\n";
    let answer = ask(server.connect(), request);
    let lines: Vec<_> = content(&answer).lines().collect();
    for expected in [
        "REQUEST_METHOD='GET'",
        "SCRIPT_NAME='/app'",
        "PATH_INFO='/bÃ¤r/'",
        "QUERY_STRING='q=%20'",
        "HTTP_HOST='example.org:81'",
        "SERVER_NAME='example.org'",
        "SERVER_PORT='81'",
        "SERVER_PROTOCOL='HTTP/1.1'",
        "REMOTE_ADDR='127.0.0.1'",
        "HTTP_X_TWO='a, b'",
        "wsgi.url_scheme='http'",
        "wsgi.version=(1, 0)",
        "wsgi.multithread=False",
        "wsgi.multiprocess=True",
        "wsgi.input_terminated=True",
        "greeting='Hi'",
    ] {
        assert!(lines.contains(&expected), "{expected}: {answer}");
    }
    assert!(
        !answer.contains("HTTP_PROXY") && !answer.contains("X_UNDER") && !answer.contains("LENGTH"),
        "{answer}"
    );
    let answer = ask(server.connect(), "GET / HTTP/1.0\r\n\r\n");
    for expected in
        ["SCRIPT_NAME=''", "PATH_INFO='/'", "SERVER_NAME='127.0.0.1'", "SERVER_PROTOCOL='HTTP/1.0'"]
    {
        assert!(content(&answer).lines().any(|line| line == expected), "{expected}: {answer}");
    }
    assert!(content(&answer).contains(&format!("SERVER_PORT='{port}'")), "{answer}");
}

#[test]
fn validator_finds_no_fault() {
    let server = serve_application("validated");
    for target in ["/", "/parts", "/generator", "/empty"] {
        let answer = server.get(target);
        assert_eq!(status(&answer), "200", "{target}: {answer}");
    }
    assert_eq!(content(&post(&server, "/echo", "Content-Type: a/b\r\n", b"abc")), "3\r\nabc\r\n0\r\n\r\n");
    let answer = ask(server.connect(), "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && content(&answer).is_empty(), "{answer}");
}

#[test]
fn list_has_a_length_and_a_generator_chunks() {
    let server = serve_application("app");
    let answer = server.get("/parts");
    assert!(answer.contains("\r\nContent-Length: 6\r\n") && content(&answer) == "abcdef", "{answer}");
    let answer = server.get("/generator");
    let expected = "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n";
    assert!(
        answer.contains("\r\nTransfer-Encoding: chunked\r\n") && content(&answer) == expected,
        "{answer}"
    );
    server.wait_line("generator closed");
    let answer = ask(server.connect(), "GET /generator HTTP/1.0\r\n\r\n");
    assert_eq!(content(&answer), "abcd");
    let answer = server.get("/write");
    assert_eq!(content(&answer), "7\r\nwritten\r\n8\r\nreturned\r\n0\r\n\r\n");
    let answer = server.get("/nothing");
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n") && !answer.contains("Length"), "{answer}");
}

#[test]
fn parts_are_sent_before_the_next_is_made() {
    let server = serve_application("app");
    let mut stream = server.connect();
    stream.write_all(b"GET /steps HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    // Each part is the time since the last one, and the application waits for this client between them.
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains("first") {
        let mut part = [0; 1024];
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0);
        bytes.extend_from_slice(&part[..count]);
    }
    assert!(!String::from_utf8_lossy(&bytes).contains("second"));
    drop(stream);
    // The client has gone: the application is closed.
    server.wait_line("steps closed");
}

#[test]
fn input_is_a_file_that_ends_with_the_content() {
    let server = serve_application("app");
    let chunked = "POST /lines HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                   5\r\na\nbc\n\r\n3\r\ndef\r\n0\r\n\r\n";
    assert_eq!(content(&ask(server.connect(), chunked)), "[b'a\\n', b'bc\\n', b'def'] None");
    let answer = post(&server, "/reads", "", b"0123456789\nabc\n");
    assert_eq!(content(&answer), "[b'0123', b'45', b'6789\\n', [b'abc\\n'], b'', b'']");
    let large = vec![b'x'; 3 << 20];
    let answer = post(&server, "/count", "", &large);
    assert_eq!(content(&answer), large.len().to_string());
    // What is not read is discarded, and the connection stays open.
    let two = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
               GET /parts HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = ask(server.connect(), two);
    assert!(answer.ends_with("abcdef") && answer.matches("200 OK").count() == 2, "{answer}");
}

#[test]
fn one_process_serves_all_requests_of_a_connection() {
    let server = serve_application("identity");
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2)
        + "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = ask(server.connect(), &request);
    let pids: Vec<_> = answer.split("process ").skip(1).map(|part| part.split(' ').next().unwrap()).collect();
    assert!(pids.len() == 3 && pids[0] == pids[1] && pids[1] == pids[2], "{answer}");
    assert_eq!(server.record().get("requests"), "3");
}

#[test]
fn exceptions_are_errors_with_a_traceback_in_the_log() {
    let server = serve_application("app");
    let answer = server.get("/raise");
    assert!(status(&answer) == "500" && content(&answer).contains("the application failed"), "{answer}");
    server.wait_line("Traceback (most recent call last)");
    server.wait_line("bare:app failed: ValueError: before");
    assert_eq!(server.record_of("/raise").get("outcome"), "handler-error");
    // The response has begun: its end is missing.
    let answer = server.get("/raise-later");
    assert!(status(&answer) == "200" && !answer.ends_with("0\r\n\r\n"), "{answer}");
    server.wait_line("bare:app failed: ValueError: during");
    // An application that catches its own error replaces a head that is not sent.
    let answer = server.get("/replace");
    assert!(status(&answer) == "500" && content(&answer) == "replaced", "{answer}");
    let answer = server.get("/replace-late");
    assert!(status(&answer) == "200" && !answer.ends_with("0\r\n\r\n"), "{answer}");
    server.wait_line("bare:app failed: ValueError: late");
    let answer = server.get("/exit");
    assert_eq!(status(&answer), "500", "{answer}");
    server.wait_line("bare:app failed: SystemExit: 3");
}

#[test]
fn invalid_responses_are_errors() {
    let server = serve_application("app");
    for (target, error) in [
        ("/invalid/split", "the header X has a control character"),
        ("/invalid/hop", "the header Connection is of the connection"),
        ("/invalid/status", "expected a status such as"),
        ("/invalid/twice", "start_response was called already"),
        ("/invalid/never", "the application has not called start_response"),
        ("/invalid/text", "expected content as bytes, found str"),
        ("/invalid/none", "is not iterable"),
    ] {
        assert_eq!(status(&server.get(target)), "500", "{target}");
        server.wait_line(error);
    }
    let answer = server.get("/short");
    assert!(answer.ends_with("\r\n\r\nshort"), "{answer}");
    server.wait_line("bare:app failed: sent less than its Content-Length");
    let answer = server.get("/long");
    assert!(answer.ends_with("\r\n\r\nlon"), "{answer}");
    server.wait_line("bare:app failed: sent more than its Content-Length");
}

#[test]
fn process_that_dies_is_recorded_and_harms_no_other() {
    let server = serve_application("app");
    assert_eq!(server.get("/os-exit"), "");
    let record = server.record_of("/os-exit");
    assert_eq!((record.get("outcome"), record.get("exit_code")), ("handler-error", "5"));
    assert_eq!(server.get("/crash"), "");
    server.wait_line("Fatal Python error: Segmentation fault");
    assert_eq!(server.record_of("/crash").get("signal"), "SIGSEGV");
    assert_eq!(status(&server.get("/")), "200");
}

#[test]
fn fork_of_an_application_does_not_answer() {
    let server = serve_application("app");
    let answer = server.get("/fork");
    assert_eq!(content(&answer), "parent of 0: RuntimeError");
    assert_eq!(server.record_of("/fork").get("outcome"), "served");
}

#[test]
fn threads_of_a_request_may_use_it() {
    let server = serve_application("app");
    assert_eq!(content(&post(&server, "/thread", "", b"abc")), "abc");
}

#[test]
fn output_of_python_goes_to_the_log_with_the_connection() {
    let server = serve_application("app");
    assert_eq!(status(&server.get("/print")), "200");
    for part in ["a line of print", "a line of wsgi.errors", "WARNING:root:a line of logging", "no end"] {
        let line = server.wait_line(part);
        assert!(line.contains("target=\"/print\"") && line.contains("peer=127.0.0.1:"), "{line}");
    }
}

#[test]
fn application_that_cannot_be_loaded_is_answered_503() {
    let server = serve_application("missing");
    let line = server.wait_line("unable to load bare:missing");
    assert!(line.contains("AttributeError: module 'bare' has no attribute 'missing'"), "{line}");
    let answer = server.get("/");
    assert!(status(&answer) == "503" && answer.contains("\r\nRetry-After: "), "{answer}");
}

#[test]
fn reload_to_a_broken_application_changes_nothing() {
    let server = serve_application("app");
    server.reload(&route("/", "bare:missing"));
    server.wait_line("reload failed, keeping the running configuration");
    assert_eq!(status(&server.get("/")), "200");
    server.reload(&route("/", "bare:other"));
    server.wait_line("configuration reloaded");
    assert_eq!(content(&server.get("/")), "the other\n");
}

#[test]
fn threads_at_the_import_are_named_in_a_warning() {
    let server = serve(&route("/", "threads:app"));
    server.wait_line("the application has started threads, which its processes do not have: ticker");
    assert_eq!(status(&server.get("/")), "200");
    let server = serve(&(route("/", "threads:lazy") + "warm_up = '/'\n"));
    server.wait_line("the application has started threads, which its processes do not have: ticker, worker");
}

#[test]
fn warm_up_calls_the_application_before_the_forks() {
    let keys = "warm_up = ['/app/calls?q', 'https://example.org/app/calls', '/app/raise', '/app/missing']\n";
    let server = serve(&(route("/app", "bare:app") + keys));
    server.wait_line("warm_up of bare:app with /app/raise: ValueError: before");
    server.wait_line("warm_up of bare:app with /app/missing: the application answered 404");
    let answer = server.get("/app/calls");
    let lines: Vec<_> = content(&answer).lines().collect();
    assert!(lines.contains(&"loader localhost /app /calls q"), "{answer}");
    assert!(lines.contains(&"loader example.org /app /calls "), "{answer}");
    // Those of the fork server, and the own one.
    assert_eq!(lines.iter().filter(|line| line.starts_with("child")).count(), 1, "{answer}");
    assert_eq!(server.get("/app/calls").lines().count(), answer.lines().count());
}

#[test]
fn spares_have_the_application_loaded() {
    let server = serve(&(route("/", "bare:identity") + "[process]\nspares = 2\n"));
    let first = server.get("/");
    let second = server.get("/");
    assert!(status(&first) == "200" && content(&first) != content(&second), "{first} {second}");
    let random = |answer: &str| content(answer).split(' ').nth(3).map(str::to_owned);
    assert_ne!(random(&first), random(&second));
}

#[test]
fn spare_has_no_descriptor_that_other_children_have_not() {
    let [first, second] = ["", "[process]\nspares = 2\n"].map(|keys| {
        let server = serve(&(route("/", "native:app") + keys));
        content(&server.get("/descriptors")).to_owned()
    });
    assert_eq!(first, second);
}

#[test]
fn other_handlers_of_the_service_are_served_too() {
    let files =
        format!("[[service.web.route]]\npath = '/files/'\nhandler = 'files'\nroot = '{APPLICATIONS}'\n");
    let server = serve(&(route("/", "bare:app") + &files));
    assert!(server.get("/files/bare.py").contains("def app"));
    assert_eq!(content(&server.get("/parts")), "abcdef");
}

#[test]
fn files_outside_the_application_are_out_of_reach() {
    let server = serve_application("app");
    let secret = crate::harness::make_folder();
    std::fs::write(secret.path().join("secret"), "s3cr3t").unwrap();
    let outside = format!("{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(content(&server.get(&format!("/open{outside}"))), "PermissionError");
    assert_eq!(content(&server.get(&format!("/write-to{APPLICATIONS}/new"))), "PermissionError");
    assert_eq!(content(&server.get(&format!("/open{APPLICATIONS}/bare.py"))), "opened");
    assert_eq!(content(&server.get("/connect")), "OSError");
}

#[test]
fn extension_of_another_build_is_refused() {
    // A daemon and beside it the extension, in which the build has another name.
    let folder = crate::harness::make_folder();
    let (daemon, extension) = (folder.path().join("lsbaws"), folder.path().join("_lsbaws.abi3.so"));
    // By cp, as in tests/it/client.rs.
    assert!(command("cp").arg(LSBAWS).arg(&daemon).status().unwrap().success());
    let script = r"open(sys.argv[2], 'wb').write(open(sys.argv[1], 'rb').read().replace(*map(str.encode, sys.argv[3:])))";
    let built = std::path::Path::new(LSBAWS).with_file_name("_lsbaws.abi3.so");
    let build = env!("LSBAWS_BUILD");
    let other = "x".repeat(build.len());
    let mut python = command("/usr/bin/python3");
    python.args(["-c", &format!("import sys; {script}")]).arg(built).arg(&extension).args([build, &other]);
    assert!(python.status().unwrap().success());
    let mut command = command("timeout"); // so that there is an end if the sentence does not come
    command.arg("60").arg(&daemon);
    command.args(["wsgi", "bare:app", "--directory", APPLICATIONS, "--python", "/usr/bin/python3"]);
    let mut process = command.args(["--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
    let expected = format!(
        "{} (build {build}) cannot use {} (build {other}): install lsbaws and lsbaws-wsgi of one version",
        daemon.display(),
        extension.display()
    );
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
    let found = lines.any(|line| line.contains(&expected));
    kill(Pid::from_raw(process.id().cast_signed()), Signal::SIGTERM).unwrap();
    process.wait().unwrap();
    assert!(found);
}

#[test]
fn configuration_is_checked() {
    for (keys, error) in [
        ("application = 'bare'", "expected a module and a callable"),
        ("", "expected a module and a callable, such as \"hello:app\", found nothing"),
        ("application = 'a:b'\nvirtualenv = '/nowhere'", "expected a virtual environment"),
        (
            "application = 'a:b'\npython = '/usr/bin/python3'\nvirtualenv = '/x'",
            "expected either python or virtualenv",
        ),
        ("application = 'a:b'\ndirectory = '/nowhere'", "expected a directory"),
        ("application = 'a:b'\nwarm_up = ['hello']", "expected a path such as \"/\", or a URL"),
    ] {
        let folder = crate::harness::make_folder();
        let file = folder.path().join("lsbaws.toml");
        std::fs::write(&file, format!("[[service.web.route]]\nhandler = 'wsgi'\n{keys}\n")).unwrap();
        let output = command(LSBAWS).arg("check").arg("-c").arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.into_raw() != 0 && text.contains(error), "{keys}: {text}");
    }
}
