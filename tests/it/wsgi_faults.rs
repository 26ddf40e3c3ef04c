//! Applications that fail, and clients that leave them: tests/wsgi/faults.py.

use std::io::{Read, Write};

use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::cgi::status;
use crate::harness::{Server, make_folder, read_to_end, reset, serve, wait_dead};
use crate::wsgi::content;
use crate::wsgi_transfers::route;

fn assert_serves(server: &Server) {
    assert_eq!(content(&server.get("/")), "fine");
}

#[test]
fn application_that_leaks_reaches_the_memory_limit() {
    let server = serve(&format!("[service.web]\nmemory = '512 MiB'\n{}", route()));
    let answer = server.get("/leak");
    assert_eq!(status(&answer), "500", "{answer}");
    server.wait_line("faults:app failed: MemoryError");
    let record = server.record_of("/leak");
    assert_eq!((record.get("outcome"), record.get("limit")), ("handler-error", "memory"), "{}", record.line);
    assert!(record.line.contains("(MemoryError) (at the service's memory of 512 MiB)"), "{}", record.line);
    assert_serves(&server);
}

#[test]
fn application_that_computes_for_too_long_is_killed() {
    let server = serve(&format!("[service.web]\ncpu_time = '1s'\n{}", route()));
    assert_eq!(server.get("/spin"), "");
    let record = server.record_of("/spin");
    assert_eq!((record.get("signal"), record.get("limit")), ("SIGXCPU", "cpu_time"), "{}", record.line);
    assert_serves(&server);
}

#[test]
fn application_that_sleeps_past_the_deadline_is_terminated() {
    let server = serve(&format!("[service.web]\nmax_duration = '1s'\n{}", route()));
    assert_eq!(server.get("/wait/nowhere"), "");
    let record = server.record_of("/wait/nowhere");
    assert_eq!(record.get("terminated_by"), "deadline", "{}", record.line);
    assert!(record.line.contains("(terminated: max_duration exceeded)"), "{}", record.line);
    assert_serves(&server);
}

#[test]
fn abort_is_recorded_with_its_traceback() {
    let server = serve(&format!("[service.web]\ncore = '0 B'\n{}", route()));
    assert_eq!(server.get("/abort"), "");
    server.wait_line("Fatal Python error: Aborted");
    let record = server.record_of("/abort");
    assert_eq!((record.get("signal"), record.get("core_dumped")), ("SIGABRT", ""), "{}", record.line);
    assert_serves(&server);
}

#[test]
fn exit_in_the_middle_of_a_response_cuts_it() {
    let server = serve(&route());
    let answer = server.get("/partial");
    assert!(answer.ends_with("\r\n\r\n5\r\nbegun\r\n"), "{answer}");
    let record = server.record_of("/partial");
    assert_eq!((record.get("outcome"), record.get("exit_code")), ("handler-error", "4"), "{}", record.line);
}

#[test]
fn process_that_an_application_leaves_is_terminated() {
    let server = serve(&route());
    let pid: i32 = content(&server.get("/orphan")).parse().unwrap();
    let record = server.record_of("/orphan");
    assert_eq!(record.get("orphans"), "yes", "{}", record.line);
    wait_dead(Pid::from_raw(pid));
}

#[test]
fn silent_application_finishes_although_its_client_has_gone() {
    let server = serve(&route());
    let folder = make_folder();
    let path = folder.path().join("go");
    let mut stream = server.connect();
    write!(stream, "GET /wait{} HTTP/1.1\r\nHost: a\r\n\r\n", path.display()).unwrap();
    server.wait_line("begun");
    reset(stream);
    std::fs::write(&path, "").unwrap();
    // Its first write fails: no line after that.
    let record = server.record();
    record.assert_client_gone();
    assert!(server.rest().iter().all(|line| !line.contains("sent") && !line.contains("failed")));
}

#[test]
fn client_that_has_sent_its_request_may_half_close() {
    let server = serve(&route());
    let folder = make_folder();
    let path = folder.path().join("go");
    let mut stream = server.connect();
    write!(stream, "GET /wait{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path.display()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    server.wait_line("begun");
    std::fs::write(&path, "").unwrap();
    assert!(read_to_end(&mut stream).ends_with("6\r\npassed\r\n0\r\n\r\n"));
}

#[test]
fn dead_child_does_not_end_the_fork_server() {
    let server = serve(&route());
    let folder = make_folder();
    let mut stream = server.connect();
    write!(stream, "GET /wait{}/none HTTP/1.1\r\nHost: a\r\n\r\n", folder.path().display()).unwrap();
    server.wait_line("begun");
    let [child] = server.children()[..] else { panic!("{:?}", server.children()) };
    kill(Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(server.record().get("signal"), "SIGKILL");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest); // the end, or a reset
    assert!(rest.is_empty());
    assert_serves(&server);
}

#[test]
fn python_that_cannot_serve_is_refused_with_a_reason() {
    for (lie, sentence) in [
        (
            "sysconfig.get_config_var = lambda name: name == 'Py_GIL_DISABLED'",
            "service web: lsbaws does not support a free-threaded build of Python; starting it again",
        ),
        (
            "sys.version_info = (3, 8, 1)",
            "service web: lsbaws serves applications with Python 3.9 or later; this is Python 3.8",
        ),
    ] {
        let folder = make_folder();
        let path = folder.path().display();
        std::fs::write(folder.path().join("sitecustomize.py"), format!("import sys, sysconfig\n{lie}\n"))
            .unwrap();
        let server = serve(&format!(
            "[[service.web.route]]\nhandler = 'wsgi'\napplication = 'a:b'\npython = '/usr/bin/python3'\n\
             directory = '{path}'\nenvironment = {{ PYTHONPATH = '{path}' }}\n"
        ));
        server.wait_line(sentence);
        assert_eq!(status(&server.get("/")), "503");
    }
}

#[test]
fn modules_of_an_application_do_not_replace_those_of_the_start() {
    let folder = make_folder();
    for name in ["sysconfig", "types", "contextlib"] {
        std::fs::write(folder.path().join(format!("{name}.py")), "raise LookupError('shadowed')\n").unwrap();
    }
    crate::wsgi_template::write_module(folder.path(), "fine");
    assert_serves(&serve(&crate::wsgi_template::route_in(folder.path(), "module:app", "")));
}
