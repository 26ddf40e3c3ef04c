//! CGI programs that fail or misbehave: their status, their record, and the end of their processes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgi::{EXEC_UNTIL_ZOMBIE, Programs, dechunk, post, programs, say, status, write_program};
use crate::harness::{Setup, ask, command, make_folder, read_to_end, serve, skip, unique_user, wait_dead};

#[test]
fn each_failure_has_its_status_and_its_record() {
    let it = programs(
        "",
        &[
            ("silent", "exit 3"),
            ("garbage", "echo this is no head; echo; echo more"),
            ("endless", "printf 'Content-Type: text/plain\\n'"),
            ("killed", "kill -SEGV $$"),
            ("cut", &say("echo begun; kill -KILL $$")),
            ("short", "printf 'Content-Type: a/b\\nContent-Length: 5\\n\\nhi'"),
            ("failing", &say("echo fine; exit 4")),
        ],
    );
    for (name, expected, outcome, end) in [
        ("silent", "502", "handler-error", "exit code 3"),
        ("garbage", "502", "handler-error", ""), // it exits, or lsbaws terminates it before
        ("endless", "502", "handler-error", "exit code 0"),
        ("killed", "502", "handler-error", "killed by SIGSEGV"),
        ("cut", "200", "handler-error", "killed by SIGKILL"),
        ("short", "200", "handler-error", "exit code 0"),
        ("failing", "200", "served", "exit code 4"),
    ] {
        assert_failure(&it, name, expected, outcome, end);
    }
    assert_eq!(status(&it.server.get("/cgi/missing")), "404");
    assert_eq!(status(&it.server.get("/cgi/.hidden")), "404");
    assert_eq!(status(&it.server.get("/cgi/")), "404");
    fs::write(it.folder.path().join("data"), "not executable").unwrap();
    assert_eq!(status(&it.server.get("/cgi/data")), "403");
    let line = it.server.wait_line("/data: Permission denied: the file is not executable (chmod +x) ");
    assert!(line.contains(" target=\"/cgi/data\""), "{line}");
    write_program(&it.folder.path().join("orphan"), "#!/no/such/interpreter\n");
    assert_eq!(status(&it.server.get("/cgi/orphan")), "500");
    it.server.wait_line("/orphan: interpreter '/no/such/interpreter' not found: No such file");
    write_program(&it.folder.path().join("dos"), "#!/bin/sh\r\n");
    assert_eq!(status(&it.server.get("/cgi/dos")), "500");
    it.server
        .wait_line("/dos: interpreter '/bin/sh' not found (the #! line ends with a carriage return): No");
    let traced =
        ask(it.server.connect(), "TRACE /cgi/silent HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(status(&traced) == "405" && traced.contains("\r\nAllow: GET, "), "{traced}");
}

#[test]
fn program_that_is_denied_names_the_cause() {
    let folder = make_folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    write_program(&folder.path().join("program"), "#!/bin/sh\n");
    let route = format!("path = '/cgi'\nhandler = 'cgi'\nroot = '{}'", folder.path().display());
    let setup = || Setup::new(&format!("[[service.web.route]]\n{route}\n"));
    let folder_path = folder.path().display();
    let remount =
        format!("mount --bind {folder_path} {folder_path}; mount -o remount,bind,noexec {folder_path}");
    let can_mount = command("unshare").args(["-rm", "sh", "-ec", &remount]).status().unwrap().success();
    if can_mount {
        let prelude = format!("set -- unshare -rm sh -ec '{remount}; exec \"$@\"' sh \"$@\"");
        let server = setup().prelude(&prelude).serve();
        assert_eq!(status(&server.get("/cgi/program")), "403");
        server.wait_line(": its file system is mounted with noexec ");
    } else {
        skip("needs a mount namespace of its own");
    }
    let Some(user) = unique_user() else { return };
    fs::set_permissions(folder.path().join("program"), fs::Permissions::from_mode(0o744)).unwrap();
    let server = setup().user(user).serve();
    assert_eq!(status(&server.get("/cgi/program")), "403");
    server.wait_line(&format!(": the user with UID {user} may not execute the file "));
}

/// Requests a program, and asserts the status, the message about its failure and the record.
fn assert_failure(it: &Programs, name: &str, expected: &str, outcome: &str, end: &str) {
    let answer = it.server.get(&format!("/cgi/{name}"));
    assert_eq!(status(&answer), expected, "{name}: {answer}");
    if outcome == "handler-error" {
        let line = it.server.wait_line(&format!("/{name} failed: "));
        assert!(line.starts_with("ERROR ") && line.contains(" connection="), "{line}");
        assert!(!answer.ends_with("0\r\n\r\n"), "{name}: cut, not ended: {answer}");
    }
    let record = it.server.record();
    assert_eq!(record.get("outcome"), outcome, "{name}: {}", record.line);
    assert!(end.is_empty() || record.get("program_end") == end, "{name}: {}", record.line);
}

#[test]
fn program_that_takes_too_long_is_terminated() {
    let it = programs("timeout = '300ms'", &[("slow", "sleep 100")]);
    assert_failure(&it, "slow", "504", "handler-error", "killed by SIGTERM");
    // A shell must begin its response within that time, on a busy host too.
    let it = programs("timeout = '2s'", &[("late", &say("echo begun; sleep 100"))]);
    assert_failure(&it, "late", "200", "handler-error", "killed by SIGTERM");
}

#[test]
fn odd_programs_do_no_harm() {
    let it = programs(
        "timeout = '20s'",
        &[
            // Reads nothing; the client sends more than the pipe holds.
            ("deaf", &say("echo did not listen")),
            ("early", &format!("{}; exec >&- 2>&-; cat >/dev/null", say("echo done"))),
            // The background process keeps the output open.
            ("daemon", &say("sleep 1000 & echo $!")),
            ("loud", &say("for i in 1 2 3; do echo line $i >&2; done; printf 'half\\033[0m' >&2")),
        ],
    );
    let answer = post(&it.server, "/cgi/deaf", "", &vec![b'x'; 1 << 20]);
    assert!(answer.contains("did not listen"), "{answer}");
    it.server.record();
    let answer = post(&it.server, "/cgi/early", "", b"to be read");
    assert_eq!(dechunk(&answer), "done\n");
    assert_eq!(it.server.record().get("program_end"), "exit code 0");
    let sleeper = dechunk(&it.server.get("/cgi/daemon"));
    assert_eq!(it.server.record().get("outcome"), "served");
    wait_dead(Pid::from_raw(sleeper.trim().parse().unwrap()));
    it.server.get("/cgi/loud");
    for line in ["line 1", "line 2", "line 3", "half\\x1b[0m"] {
        let logged = it.server.wait_line(line);
        assert!(logged.starts_with(" INFO 127.0.0.1:"), "{logged}");
        assert!(logged.contains("target=\"/cgi/loud\""), "{logged}");
    }
}

#[test]
fn program_is_terminated_when_the_client_disconnects() {
    let folder = make_folder();
    let marker = folder.path().join("terminated");
    let script = format!(
        "trap 'echo terminated >{}; exit 9' TERM\n{}\nwhile :; do echo more; done",
        marker.display(),
        say("echo $$")
    );
    let it = programs("", &[("endless", &script)]);
    let mut stream = it.server.connect();
    stream.write_all(b"GET /cgi/endless HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    drop(stream);
    let record = it.server.record();
    record.assert_client_gone();
    assert_eq!(record.get("program_end"), "exit code 9", "{}", record.line);
    assert_eq!(fs::read_to_string(marker).unwrap(), "terminated\n");
}

#[test]
fn program_ends_with_its_killed_child() {
    let it = programs("", &[("long", &say("echo $$; exec sleep 1000"))]);
    let mut stream = it.server.connect();
    stream.write_all(b"GET /cgi/long HTTP/1.0\r\n\r\n").unwrap();
    let mut seen = String::new();
    while !seen.ends_with('\n') || !seen.contains("\r\n\r\n") || seen.ends_with("\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.push(char::from(byte[0]));
    }
    let program = seen.lines().last().unwrap().parse().unwrap();
    kill(Pid::from_raw(it.server.children()[0]), Signal::SIGKILL).unwrap();
    let record = it.server.record();
    assert_eq!((record.get("end"), record.get("program_end")), ("killed", "still running"));
    wait_dead(Pid::from_raw(program));
}

#[test]
fn group_of_a_program_ends_with_its_killed_child() {
    // The program ignores SIGTERM and starts another process in its group.
    let script = say("trap '' TERM\nsleep 1000 & echo $! $PPID\nwhile :; do sleep 1000; done");
    for model in ["fork", "double-fork"] {
        let folder = make_folder();
        write_program(&folder.path().join("stubborn"), &format!("#!/bin/sh\n{script}\n"));
        let server = serve(&format!(
            "[process]\nmodel = '{model}'\n[[service.web.route]]\nhandler = 'cgi'\nroot = '{}'\n",
            folder.path().display()
        ));
        let mut stream = server.connect();
        stream.write_all(b"GET /stubborn HTTP/1.0\r\n\r\n").unwrap();
        let mut answer =
            BufReader::new(stream).lines().map(Result::unwrap).skip_while(|line| !line.is_empty());
        let line = answer.nth(1).unwrap();
        let (sleeper, child) = line.split_once(' ').unwrap();
        kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL).unwrap();
        assert_eq!(server.record().get("program_end"), "still running", "{model}");
        wait_dead(Pid::from_raw(sleeper.parse().unwrap()));
    }
}

#[test]
fn processes_that_left_the_group_are_reaped() {
    // The first program starts a process that leaves the group, and exits when that one is a zombie. The second lists
    // the children of the process that runs both.
    let it = programs(
        "",
        &[
            ("leaver", &say(&format!("setsid true & {EXEC_UNTIL_ZOMBIE}"))),
            ("look", &say("read list </proc/$PPID/task/$PPID/children; echo $list $$")),
        ],
    );
    let mut stream = it.server.connect();
    let keep = "GET /cgi/leaver HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10);
    let last = "GET /cgi/look HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all((keep + last).as_bytes()).unwrap();
    let answer = read_to_end(stream);
    let look = dechunk(&answer[answer.rfind("HTTP/1.1 200 ").unwrap()..]);
    let (children, own) = look.trim_end().rsplit_once(' ').unwrap();
    assert_eq!(children, own, "the only child is the program itself");
}

#[test]
fn nph_program_receives_content_and_has_a_status() {
    let it =
        programs("", &[("nph-echo", "printf 'HTTP/1.1 200 OK\\r\\n\\r\\n'; cat"), ("nph-silent", "exit 0")]);
    let mut stream = it.server.connect();
    stream
        .write_all(
            b"POST /cgi/nph-echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        )
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").unwrap();
    assert_eq!(read_to_end(stream), "HTTP/1.1 200 OK\r\n\r\nhello");
    assert_eq!(status(&it.server.get("/cgi/nph-silent")), "502");
    let it = programs("timeout = '300ms'", &[("nph-slow", "sleep 100")]);
    assert_eq!(status(&it.server.get("/cgi/nph-slow")), "504");
}

#[test]
fn slow_content_does_not_spend_the_time_of_the_program() {
    let it = programs("timeout = '1s'", &[("echo", &say("cat"))]);
    let mut stream = it.server.connect();
    stream.write_all(b"POST /cgi/echo HTTP/1.0\r\nContent-Length: 2\r\n\r\na").unwrap();
    // Time must pass here: more than the timeout of the program, while lsbaws waits for the client.
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::from(1200_u16)).unwrap();
    stream.write_all(b"b").unwrap();
    assert!(read_to_end(stream).ends_with("\r\n\r\nab"));
    assert_eq!(it.server.record().get("outcome"), "served");
}

#[test]
fn max_duration_is_a_handler_error_while_a_program_runs() {
    let folder = make_folder();
    write_program(&folder.path().join("slow"), "#!/bin/sh\nsleep 100\n");
    let server = serve(&format!(
        "[limits]\nmax_duration = '1s'\n[[service.web.route]]\nhandler = 'cgi'\nroot = '{}'\n",
        folder.path().display()
    ));
    assert_eq!(status(&server.get("/slow")), "504");
    server.wait_line("/slow failed: did not respond before the end of the connection (max_duration)");
    assert_eq!(server.record().get("outcome"), "handler-error");
}

#[test]
fn body_and_output_sizes_are_limited() {
    let it = programs(
        "max_body_size = '10 B'\nmax_output_size = '100 KiB'",
        &[("echo", &say("cat")), ("much", &say("yes"))],
    );
    assert_eq!(status(&post(&it.server, "/cgi/echo", "", b"0123456789")), "200");
    assert_eq!(it.server.record().get("outcome"), "served");
    assert_eq!(status(&post(&it.server, "/cgi/echo", "", b"0123456789a")), "413");
    assert_eq!(it.server.record().get("outcome"), "client-error");
    let chunked = "POST /cgi/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n";
    assert_eq!(status(&ask(it.server.connect(), chunked)), "413");
    let much = it.server.get("/cgi/much");
    assert!(much.starts_with("HTTP/1.1 200 ") && much.len() < 200 * 1024 && !much.ends_with("0\r\n\r\n"));
    it.server.wait_line("output larger than max_output_size");
    // Output that arrives together with the head counts as well.
    let at_once = format!("head -c 102401 /dev/zero >content; {}", say("cat content"));
    let it = programs("max_output_size = '100 KiB'", &[("at-once", &at_once)]);
    it.server.get("/cgi/at-once");
    it.server.wait_line("output larger than max_output_size");
    let it = programs("require_length = true", &[("echo", &say("cat"))]);
    assert_eq!(status(&ask(it.server.connect(), chunked)), "411");
    assert_eq!(status(&post(&it.server, "/cgi/echo", "", b"x")), "200");
}

#[test]
fn missing_content_ends_at_the_body_timeout() {
    let folder = make_folder();
    write_program(&folder.path().join("echo"), "#!/bin/sh\nread line\nexit 1\n");
    let server = serve(&format!(
        "[limits]\nbody_timeout = '200ms'\n[[service.web.route]]\nhandler = 'cgi'\nroot = '{}'\n",
        folder.path().display()
    ));
    let mut stream = server.connect();
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx").unwrap();
    let answer = read_to_end(stream);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(server.record().get("outcome"), "client-error");
}

#[test]
fn slow_content_ends_at_the_body_timeout() {
    let folder = make_folder();
    write_program(&folder.path().join("deaf"), "#!/bin/sh\nread line\nexit 1\n");
    // At this rate, a byte adds next to nothing to the time.
    let server = serve(&format!(
        "[limits]\nbody_timeout = '200ms'\nmin_rate = '1 MiB'\n[[service.web.route]]\nhandler = 'cgi'\nroot = '{}'\n",
        folder.path().display()
    ));
    let mut stream = server.connect();
    stream.write_all(b"POST /deaf HTTP/1.0\r\nContent-Length: 100\r\n\r\n").unwrap();
    // Each byte is in time, until the response arrives.
    let comes = |stream: &TcpStream| {
        poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLIN)], PollTimeout::from(50_u16)).unwrap() > 0
    };
    while !comes(&stream) {
        stream.write_all(b"x").unwrap();
    }
    assert_eq!(status(&read_to_end(stream)), "408");
    assert_eq!(server.record().get("outcome"), "client-error");
}

#[test]
fn standard_error_of_a_program_is_bounded() {
    let it = programs(
        "",
        &[(
            "flood",
            &format!("i=0; while [ $i -lt 1000 ]; do echo; echo x$i; i=$((i+1)); done >&2; {}", say("")),
        )],
    );
    it.server.get("/cgi/flood");
    it.server.wait_line("more bytes of standard error dropped");
}

#[test]
fn program_can_finish_after_its_response() {
    let it = programs(
        "",
        &[
            ("none", "printf 'Status: 204\\n\\n'; sleep 0.2; echo ignored"),
            ("there", &say("echo there")),
            ("detour", "printf 'Location: /cgi/there\\n\\n'; sleep 0.2; touch $(dirname $0)/detoured"),
        ],
    );
    assert_eq!(status(&it.server.get("/cgi/none")), "204");
    assert_eq!(it.server.record().get("program_end"), "exit code 0");
    assert!(it.server.get("/cgi/detour").contains("there"));
    assert_eq!(it.server.record().get("outcome"), "served");
    assert!(it.folder.path().join("detoured").exists());
}

#[test]
fn response_for_a_failed_program_closes_the_connection() {
    let it = programs("", &[("silent", "exit 3"), ("lost", "printf 'Location: /a b\\n\\n'")]);
    for (name, why) in [("silent", "exited without a response"), ("lost", "invalid Location: '/a b'")] {
        let request = format!("GET /cgi/{name} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = ask(it.server.connect(), &request);
        assert_eq!(status(&answer), "502", "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        it.server.wait_line(&format!("/{name} failed: {why}"));
    }
}

#[test]
fn output_beyond_content_length_is_reported() {
    let it = programs("", &[("long", "printf 'Content-Type: a/b\\nContent-Length: 2\\n\\nhi there'")]);
    assert!(it.server.get("/cgi/long").ends_with("\r\n\r\nhi"));
    it.server.wait_line("/long failed: output longer than its Content-Length");
    assert_eq!(it.server.record().get("outcome"), "served");
}
