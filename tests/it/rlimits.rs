//! Limits of a service that the kernel enforces, and the records of children that reach them.

use crate::cgi::{dechunk, programs, say, status, write_program};
use crate::harness::{Record, Server, Setup, ask, lsbaws, make_folder, read_to_end, run, serve, unique_user};

const KEYS: &str = "cpu_time = '1500ms'\nmemory = '256 MiB'\nfile_size = '64 KiB'\nopen_files = 40\n\
                    processes = 4000\ncore = '0 B'\nnice = 19\numask = '0137'\n";

/// Asserts the output of [`SHOW`] under [`KEYS`].
fn assert_limited(text: &str) {
    for (name, soft, hard) in [
        ("Max cpu time", "2", "3"),
        ("Max address space", "268435456", "268435456"),
        ("Max file size", "65536", "65536"),
        ("Max open files", "40", "40"),
        ("Max processes", "4000", "4000"),
        ("Max core file size", "0", "0"),
    ] {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
        let values: Vec<_> = line.split_whitespace().take(2).collect();
        assert_eq!(values, [soft, hard], "{name}");
    }
    let rest: Vec<_> = text.lines().filter(|line| line.bytes().all(|byte| byte.is_ascii_digit())).collect();
    // Every user may set 19, whatever the nice value of the caller.
    assert_eq!(rest, ["19", "0137"], "nice and umask\n{text}");
}

const SHOW: &str = "cat /proc/self/limits; nice; umask";

#[test]
fn programs_have_the_limits_of_their_service() {
    for model in ["fork", "double-fork"] {
        let command = format!("command = ['/bin/sh', '-c', '{SHOW}']");
        let server = serve(&format!(
            "[process]\nmodel = '{model}'\n[service.web]\nprotocol = 'exec'\n{command}\n{KEYS}"
        ));
        assert_limited(&read_to_end(server.connect()));
    }
    let it = programs(&format!("[service.web]\n{KEYS}"), &[("show", &say(SHOW))]);
    assert_limited(&dechunk(&it.server.get("/cgi/show")).replace("\r\n", "\n"));
}

#[test]
fn connected_socket_has_the_limits_of_its_service() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let folder = make_folder();
    let program = folder.path().join("program");
    write_program(&program, &format!("#!/bin/sh\n{}\n", say("nice")));
    let config = format!(
        "[service.web]\nnice = 19\n[[service.web.route]]\nhandler = 'cgi'\nprogram = '{}'\n",
        program.display()
    );
    let _server = Setup::new(&config).socket(theirs).names("connection").spawn();
    let answer = ask(ours, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(dechunk(&answer), "19\n", "{answer}");
}

/// The record of a connection, after other messages about it.
fn ended(server: &Server) -> Record {
    Record::parse(&server.wait_line(" end="))
}

#[test]
fn record_names_the_cpu_time_limit() {
    let it = programs("[service.web]\ncpu_time = '1s'", &[("burn", "while :; do :; done")]);
    assert_eq!(status(&it.server.get("/cgi/burn")), "502");
    let record = ended(&it.server);
    assert_eq!(record.get("limit"), "cpu_time", "{}", record.line);
    assert!(
        record.line.contains("killed by SIGXCPU) (at the service's cpu_time of 1s), after"),
        "{}",
        record.line
    );
}

#[test]
fn program_that_ignores_sigxcpu_is_killed() {
    let server = serve(
        "[service.web]\nprotocol = 'exec'\ncpu_time = '1s'\n\
         command = ['/bin/sh', '-c', 'trap \"\" XCPU; while :; do :; done']\n",
    );
    assert_eq!(read_to_end(server.connect()), "");
    let record = server.record();
    assert_eq!((record.get("signal"), record.get("limit")), ("SIGKILL", "cpu_time"), "{}", record.line);
    assert!(record.line.contains("(at the service's cpu_time of 1s)"), "{}", record.line);
}

const WRITE_TWICE: &str = r#"exec perl -e 'open F, ">file"; syswrite F, "x" x 5000 for 1..2'"#;
/// With its output closed before.
const WRITE_CLOSED: &str = "exec head -c 5000 /dev/zero >file";

#[test]
fn record_names_the_file_size_limit() {
    let it =
        programs("[service.web]\nfile_size = '1 KiB'", &[("write", WRITE_TWICE), ("closed", WRITE_CLOSED)]);
    for target in ["/cgi/write", "/cgi/closed"] {
        assert_eq!(status(&it.server.get(target)), "502");
        let record = ended(&it.server);
        assert_eq!(record.get("limit"), "file_size", "{}", record.line);
        assert_eq!(std::fs::metadata(it.folder.path().join("file")).unwrap().len(), 1024);
    }
}

#[test]
fn record_names_the_memory_limit() {
    let dd = "dd if=/dev/zero of=/dev/null bs=200M count=1 2>&1";
    let it = programs("[service.web]\nmemory = '100 MiB'", &[("dd", &say(dd)), ("abort", "kill -ABRT $$")]);
    assert!(it.server.get("/cgi/dd").contains("memory exhausted"));
    ended(&it.server);
    it.server.get("/cgi/abort");
    let record = ended(&it.server);
    assert_eq!(record.get("limit"), "memory", "{}", record.line);
    assert!(record.line.contains("(at the service's memory of 100 MiB)"), "{}", record.line);
}

#[test]
fn record_of_another_signal_names_no_limit() {
    let server = serve(
        "[service.web]\nprotocol = 'exec'\ncpu_time = '1s'\ncommand = ['/bin/sh', '-c', 'kill -KILL $$']\n",
    );
    assert_eq!(read_to_end(server.connect()), "");
    let record = server.record();
    assert_eq!((record.get("signal"), record.get("limit")), ("SIGKILL", ""), "{}", record.line);
    assert!(!record.line.contains("the service's"), "{}", record.line);
}

#[test]
fn failed_fork_of_a_program_names_the_limit() {
    let config =
        "[service.web]\nprocesses = 1\n[[service.web.route]]\nhandler = 'cgi'\nprogram = '/bin/true'\n";
    let Some(user) = unique_user() else { return };
    let server = Setup::new(config).user(user).serve();
    assert!(server.get("/").starts_with("HTTP/1.1 5"));
    let line = server.wait_line("unable to run /bin/true: ");
    assert!(line.contains(": RLIMIT_NPROC (1, 3 in use), raise LimitNPROC="), "{line}");
    assert!(line.contains("processes of the service"), "{line}");
}

#[test]
fn limit_that_cannot_be_set_is_reported() {
    let config = "[service.web]\nopen_files = 200\n";
    let Some(user) = unique_user() else { return };
    let server = Setup::new(config).user(user).serve();
    crate::exhaustion::set_limit_of_all(&server, "--nofile=100:100");
    assert_eq!(read_to_end(server.connect()), "");
    server.wait_line("unable to set open_files of the service web: Operation not permitted");
    assert_eq!(server.record().get("outcome"), "config-error");
}

#[test]
fn limits_that_may_not_be_set_are_found_at_start() {
    for (prelude, key, expected) in [
        ("ulimit -n 100", "open_files = 101", "open_files: expected at most 100, the hard limit"),
        ("ulimit -v 1048576", "memory = '2 GiB'", "memory: expected at most 1 GiB, the hard limit"),
        // Every user may set 19, whatever the nice value of the caller.
        ("set -- nice -n 19 \"$@\"", "nice = 18", "nice: expected at least 19, "),
    ] {
        let Some(user) = unique_user() else { return };
        let config = format!("[service.web]\n{key}\n");
        let mut server = Setup::new(&config).user(user).prelude(prelude).spawn();
        server.wait_line(&format!("service.web.{expected}"));
        assert_eq!(server.wait().code(), Some(78), "{key}");
    }
}

#[test]
fn impossible_values_are_errors() {
    for (setting, expected) in [
        ("cpu_time='0s'", "cpu_time: expected a time"),
        ("memory='1 MiB'", "memory: expected at least "),
        ("file_size=-100", "file_size: expected a size"),
        ("open_files=3", "open_files: expected an integer from 16"),
        ("processes=0", "processes: expected an integer from 1"),
        ("core='-1'", "core: expected a size from 0 B to 1 TiB, such as"),
        ("nice=20", "nice: expected an integer from -20 to 19, found 20"),
        ("umask='999'", "umask: expected an octal mask in quotes"),
    ] {
        let (code, _, message) = run(&["check", "--set", &format!("service.web.{setting}")]);
        assert_eq!(code, 78, "{setting}");
        assert!(message.contains(&format!("service.web.{expected}")), "{message}");
    }
}

#[test]
fn check_shows_limits_as_they_are_written() {
    let output = lsbaws()
        .args(["check", "--show"])
        .env("LSBAWS_SERVICE__WEB__CORE", "0 B")
        .args(["--set", "service.web.umask='27'", "--set", "service.web.nice=19"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    let web = &table["service"]["web"];
    assert_eq!((web["core"].as_str(), web["umask"].as_str()), (Some("0 B"), Some("027")));
    assert_eq!(web["nice"].as_integer(), Some(19));
    assert!(web.get("memory").is_none(), "{text}");
}
