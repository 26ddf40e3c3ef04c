//! Standard error as the log, and the service manager: lsbaws waits for neither.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};

use nix::fcntl::{FcntlArg, fcntl};
use nix::pty::openpty;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, ttyname};

use crate::cgi::{programs, say};
use crate::harness::{Record, Setup, ask, can_look_inside, make_folder, run_client, serve, split_stamp};

#[test]
fn unread_pipe_does_not_block_and_records_are_counted() {
    let folder = make_folder();
    let path = folder.path().join("stderr");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let pipe = File::options().read(true).write(true).open(&path).unwrap();
    let mut server = Setup::new("").prelude(&format!("exec 2>{}", path.display())).serve();
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let result = run_client(server.address(), &["--max-clients", "8", "--max-conns", "50"]);
    assert_eq!(result["answered"]["200"], 400, "{result}");
    server.wait_ended(400);
    assert!(count_suppressed(&pipe, 400) > 300);
    server.stop();
}

#[test]
fn terminal_gets_the_rest_of_a_line_later() {
    let pty = openpty(None, None).unwrap();
    let path = ttyname(&pty.slave).unwrap();
    let config = "[log]\nverbose = true\n";
    let mut server = Setup::new(config).prelude(&format!("exec 2>{}", path.display())).serve();
    let result = run_client(server.address(), &["--max-clients", "8", "--max-conns", "50"]);
    assert_eq!(result["answered"]["200"], 400, "{result}");
    server.wait_ended(400);
    assert!(count_suppressed(File::from(pty.master), 400) > 300);
    server.stop();
}

/// Reads the records and counts of this number of connections. Returns the number of suppressed records.
fn count_suppressed(log: impl Read, connections: usize) -> usize {
    let (mut single, mut suppressed) = (0, 0);
    let mut lines = BufReader::new(log).lines().map(Result::unwrap);
    while single + suppressed < connections {
        let line = lines.next().unwrap();
        let (_, line) = split_stamp(&line).unwrap_or_else(|| panic!("torn: {line}"));
        assert!(line.starts_with(" INFO ") && line.matches(" INFO ").count() == 1, "torn: {line}");
        match line.split_once(" count=") {
            Some((_, count)) => suppressed += count.parse::<usize>().unwrap(),
            None => single += usize::from(line.contains(" outcome=\"served\" ")),
        }
    }
    assert_eq!(single + suppressed, connections);
    suppressed
}

#[test]
fn shared_stderr_stays_blocking() {
    if !can_look_inside() {
        return;
    }
    let folder = make_folder();
    let path = folder.path().join("stderr");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let pipe = File::options().read(true).write(true).open(&path).unwrap();
    let server = Setup::new("").prelude(&format!("exec 2>{}", path.display())).serve();
    server.get("/");
    let ours = fs::read_to_string(format!("/proc/{}/fdinfo/2", server.pid())).unwrap();
    let flags = ours.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
    let flags = i32::from_str_radix(flags, 8).unwrap();
    assert_eq!(flags & libc::O_NONBLOCK, 0, "descriptor 2 is shared");
    drop(pipe);
}

#[test]
fn file_gets_all_lines() {
    let folder = make_folder();
    let path = folder.path().join("stderr");
    let mut server = Setup::new("").prelude(&format!("exec 2>>{}; echo first >&2", path.display())).serve();
    for _ in 0..20 {
        server.get("/");
    }
    server.stop();
    let text = fs::read_to_string(path).unwrap();
    assert!(text.starts_with("first\n"), "{text}");
    assert_eq!(text.matches(" outcome=\"served\"").count(), 20, "{text}");
}

#[test]
fn records_over_the_rate_are_suppressed_by_outcome() {
    for model in ["fork", "iterative"] {
        let server = serve(&format!("[log]\nmax_rate = 2\n[process]\nmodel = '{model}'\n"));
        let result = run_client(server.address(), &["--max-clients", "4", "--max-conns", "50"]);
        assert_eq!(result["answered"]["200"], 200, "{result}");
        let single = server.wait_recorded(200);
        assert!(single < 100, "{single} records are too many");
        // Each outcome has its own rate.
        ask(server.connect(), "nonsense\r\n\r\n");
        assert_eq!(server.record().get("outcome"), "client-error");
    }
}

#[test]
fn rate_0_suppresses_nothing() {
    let server = serve("[log]\nmax_rate = 0\n");
    let result = run_client(server.address(), &["--max-clients", "6", "--max-conns", "200"]);
    assert_eq!(result["answered"]["200"], 1200, "{result}");
    assert_eq!(server.wait_recorded(1200), 1200);
}

#[test]
fn records_below_the_level_are_not_counted() {
    let mut server = serve("[log]\nmax_rate = 1\nlevel = 'warn'\n");
    for _ in 0..10 {
        server.get("/");
    }
    server.stop();
    assert_eq!(server.lines_to_end(), [""; 0]);
}

#[test]
fn output_of_a_program_cannot_add_fields() {
    let it = programs("", &[("liar", &say("printf 'a\" pid=\"1\\\\ \\342\\200\\256 \\303\\251\\n' >&2"))]);
    it.server.get("/cgi/liar");
    let line = it.server.wait_line(" pid=");
    assert!(line.contains(": a\\x22 pid=\\x221\\x5c \\xe2\\x80\\xae \u{e9} connection="), "{line}");
    assert_eq!(Record::parse(&line).get("pid"), "");
}

#[test]
fn full_notification_socket_does_not_block_and_gets_stopping() {
    let mut server = serve("");
    server.fill_notifications();
    let slow = server.connect(); // keeps the daemon from exiting
    for _ in 0..3 {
        assert!(server.get("/").ends_with("Hello, World!\n"));
        server.record();
    }
    server.signal(Signal::SIGTERM);
    server.wait_line("stopping: ");
    assert_eq!(server.wait_notified("STOPPING="), "1");
    drop(slow);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn full_notification_socket_gets_ready_later() {
    let server = Setup::new("").serve_unread();
    assert!(server.get("/").ends_with("Hello, World!\n"));
    assert_eq!(server.wait_notified("READY="), "1");
}
