//! The file of access lines: what happens to it, and to its disk, stops nothing but lines.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::access::{Lines, RESPOND, read_lines};
use crate::harness::{Server, Setup, command, find_program, serve, wait_dead, wait_until};

/// The process that writes the lines of a daemon.
fn find_writer(server: &Server) -> Option<Pid> {
    list_writers(server).first().copied()
}

/// All processes that write lines of a daemon, or open the file.
pub fn list_writers(server: &Server) -> Vec<Pid> {
    let list = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap();
    let mut pids: Vec<_> =
        list.split_whitespace().map(|pid| pid.parse().unwrap()).map(Pid::from_raw).collect();
    pids.retain(|pid| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.starts_with(b"lsbaws\0access-writer\0"))
    });
    pids
}

#[test]
fn file_is_opened_again_after_sigusr2() {
    let lines = Lines::new();
    let server = serve(&format!("{}{RESPOND}", lines.table("{target}")));
    server.get("/a");
    lines.read(1);
    let mode = fs::metadata(lines.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    let old = lines.folder.path().join("old");
    fs::rename(lines.path(), &old).unwrap();
    server.get("/b");
    assert_eq!(read_lines(&old, 2), ["/a", "/b"]);
    server.signal(Signal::SIGUSR2);
    wait_until("the file exists again", || lines.path().exists());
    server.get("/c");
    wait_until("the line is in one of both", || {
        [lines.path(), old.clone()].iter().any(|path| fs::read_to_string(path).unwrap().contains("/c"))
    });
    let count = |path| fs::read_to_string(path).unwrap().lines().count();
    assert_eq!(count(&old) + count(&lines.path()), 3);
}

#[test]
fn logrotate_loses_no_line() {
    let Some(logrotate) = find_program("logrotate") else { return };
    let lines = Lines::new();
    let server = serve(&format!("{}{RESPOND}", lines.table("{target}")));
    // The shipped file, for this folder, this user and this process.
    let shipped = fs::read_to_string("packaging/logrotate").unwrap();
    let signal = "systemctl kill --kill-who=main --signal=USR2 lsbaws.service 'lsbaws@*.service'";
    assert!(shipped.contains(signal), "{shipped}");
    // The folder of an instance: see LogsDirectory= of lsbaws@.service.
    assert!(shipped.contains("\n/var/log/lsbaws/*.log /var/log/lsbaws-*/*.log {\n"), "{shipped}");
    let own = shipped
        .replace("/var/log/lsbaws", lines.folder.path().to_str().unwrap())
        .replace("if [ -d /run/systemd/system ]; then", "if true; then")
        .replace(signal, &format!("kill -USR2 {}", server.pid()))
        .replace("\tsu lsbaws lsbaws\n", "")
        .replace("create 0640 lsbaws lsbaws", "create 0640");
    let file = lines.folder.path().join("rotate.conf");
    fs::write(&file, own).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    for round in 1..=3 {
        server.get(&format!("/{round}"));
        // The last writer has its line, whichever file that is.
        wait_until("the line is written", || all(&lines).contains(&format!("/{round}")));
        let state = lines.folder.path().join("state");
        let output =
            command(&logrotate).arg("--force").arg("--state").arg(&state).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut targets = all(&lines);
    targets.sort();
    assert_eq!(targets, ["/1", "/2", "/3"]);
}

/// All lines, also of rotated files.
fn all(lines: &Lines) -> Vec<String> {
    let names = fs::read_dir(lines.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let files = names.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("access.log"));
    files
        .flat_map(|path| {
            let text = match path.extension().is_some_and(|extension| extension == "gz") {
                true => {
                    String::from_utf8(command("gzip").arg("-dc").arg(&path).output().unwrap().stdout).unwrap()
                }
                false => fs::read_to_string(&path).unwrap_or_default(),
            };
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// The lost lines that a message counts.
fn find_lost(line: &str) -> Option<u32> {
    Some(line.split_once("lost ")?.1.strip_suffix(" access lines")?.parse().unwrap())
}

#[test]
fn full_disk_costs_lines_alone() {
    let mut server =
        serve(&format!("log.access = {{ target = '/dev/full', format = '{{target}}' }}\n{RESPOND}"));
    for _ in 0..3 {
        assert!(server.get("/").ends_with("hello"));
    }
    server.wait_line("unable to write access lines to /dev/full: No space left on device");
    server.signal(Signal::SIGTERM);
    let rest = server.lines_to_end();
    assert_eq!(rest.iter().filter_map(|line| find_lost(line)).sum::<u32>(), 3, "{rest:?}");
    assert!(!rest.iter().any(|line| line.contains("unable to write")), "logged once: {rest:?}");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn stalled_disk_does_not_stop_the_service() {
    let lines = Lines::new();
    let server = serve(&format!("{}{RESPOND}", lines.table("{target}")));
    let writer = find_writer(&server).unwrap();
    kill(writer, Signal::SIGSTOP).unwrap();
    // 3,000 lines of 2 KiB are more than wait.
    let target = format!("/{}", "x".repeat(2000));
    for _ in 0..3 {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(999)
            + &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut client = server.connect();
        let mut reader = client.try_clone().unwrap();
        let reading = std::thread::spawn(move || crate::harness::read_to_end(&mut reader));
        std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
        assert_eq!(reading.join().unwrap().matches("hello").count(), 1000);
    }
    let lost = server.wait_line(" access lines");
    assert!(lost.contains("lost "), "{lost}");
    kill(writer, Signal::SIGCONT).unwrap();
    // What waited is written, and what comes now.
    server.get("/after");
    wait_until("the last line is written", || {
        fs::read_to_string(lines.path()).unwrap_or_default().ends_with("/after\n")
    });
    let text = fs::read_to_string(lines.path()).unwrap();
    assert!(text.lines().all(|line| line == target || line == "/after"));
    assert!(text.lines().count() > 400, "{}", text.lines().count());
}

#[test]
fn killed_writer_is_started_again() {
    let lines = Lines::new();
    let server = serve(&format!("{}{RESPOND}", lines.table("{target}")));
    server.get("/a");
    lines.read(1);
    kill(find_writer(&server).unwrap(), Signal::SIGKILL).unwrap();
    server.wait_line("the writer of access lines was killed by SIGKILL; starting it again in 1s");
    // Lines wait for the next one.
    server.get("/b");
    assert_eq!(lines.read(2), ["/a", "/b"]);
}

#[test]
fn lines_of_a_killed_writer_are_counted() {
    let lines = Lines::new();
    let server = serve(&format!("{}{RESPOND}", lines.table("{target}")));
    server.get("/a");
    lines.read(1);
    let writer = find_writer(&server).unwrap();
    kill(writer, Signal::SIGSTOP).unwrap();
    for _ in 0..5 {
        server.get("/lost");
        server.record(); // the line went before it
    }
    kill(writer, Signal::SIGKILL).unwrap();
    server.wait_line("the writer of access lines was killed by SIGKILL; starting it again in 1s");
    server.get("/b");
    let written = lines.read(2);
    server.signal(Signal::SIGTERM);
    let rest = server.lines_to_end();
    let lost: u32 = rest.iter().filter_map(|line| find_lost(line)).sum();
    assert!(lost > 0, "{rest:?}");
    assert_eq!(written.len() + lost as usize, 7, "{written:?} {rest:?}");
}

#[test]
fn signals_to_all_processes_stop_no_line() {
    let lines = Lines::new();
    let mut server = serve(&format!("{}{RESPOND}", lines.table("{target}")));
    let writer = find_writer(&server).unwrap();
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2] {
        kill(writer, signal).unwrap();
    }
    server.get("/a");
    // The stop of the daemon waits for the last line.
    server.stop();
    assert_eq!(fs::read_to_string(lines.path()).unwrap(), "/a\n");
    wait_dead(writer);
}

#[test]
fn daemon_does_not_start_without_its_file() {
    let mut server = Setup::new(&format!("log.access.target = '/nonexistent/access.log'\n{RESPOND}")).spawn();
    assert_eq!(server.wait().code(), Some(71));
    let lines = server.lines_to_end();
    let sentence = "unable to open /nonexistent/access.log for access lines: No such file or directory";
    assert!(lines.iter().any(|line| line.contains(sentence)), "{lines:?}");
}
