//! How lines on standard error look to their reader: a file, the journal, or a terminal.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use nix::pty::{Winsize, openpty};
use nix::unistd::ttyname;
use serde_json::Value;

use crate::cgi::{say, write_program};
use crate::harness::{LSBAWS, Record, Server, Setup, command, make_folder, split_stamp};

/// A daemon whose standard error is `path`, with programs in `folder`.
fn start(log: &str, prelude: &str, path: &Path, folder: &Path) -> Server {
    write_program(&folder.join("talker"), &format!("#!/bin/sh\n{}\n", say("echo complaint >&2")));
    write_program(&folder.join("broken"), "#!/bin/sh\nexit 3\n");
    let prelude = format!("{prelude}\nexec 2>>{}", path.display());
    Setup::new(&config(log, folder)).prelude(&prelude).serve()
}

fn config(log: &str, programs: &Path) -> String {
    let route = format!("path = '/cgi'\nhandler = 'cgi'\nroot = '{}'", programs.display());
    format!("[log]\n{log}\n[[service.web.route]]\n{route}\n")
}

/// Makes it write lines of each kind: its own, records, and those of children. Then it stops.
fn make_lines(server: &mut Server) {
    for target in ["/cgi/talker", "/cgi/broken", &format!("/{}", "x".repeat(100))] {
        server.get(target);
    }
    server.wait_ended(3);
    server.reload("[limits]\nmax_connections = 'as many as the memory of this host permits'\n");
    server.wait_notified("RELOADING=");
    assert_eq!(server.wait_notified("READY="), "1");
    server.stop();
}

/// The parts of lines that [`make_lines`] causes.
const PARTS: [&str; 6] =
    ["serving on", "complaint", "broken failed", "-> 404", "reload failed", "stopped after 3"];

fn find_part<'a>(lines: &'a [String], part: &str) -> &'a str {
    lines.iter().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part:?} in {lines:#?}"))
}

/// The lines in a file that is standard error.
fn lines_of_file(log: &str, prelude: &str) -> Vec<String> {
    let folder = make_folder();
    let path = folder.path().join("stderr");
    File::create(&path).unwrap();
    let prelude = prelude.replace("PATH", &path.display().to_string());
    make_lines(&mut start(log, &prelude, &path, &folder.path().join("programs")));
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    text.lines().map(str::to_owned).collect()
}

/// The rows on a terminal of 80 columns that is standard error.
fn rows_of_terminal(log: &str, prelude: &str) -> Vec<String> {
    rows_after(log, prelude, |server, _| make_lines(server))
}

/// The same for a daemon that `act` uses and stops. It gets the folder of the programs too.
fn rows_after(log: &str, prelude: &str, act: impl FnOnce(&mut Server, &Path)) -> Vec<String> {
    let folder = make_folder();
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).unwrap();
    let path = ttyname(&pty.slave).unwrap();
    let programs = folder.path().join("programs");
    let mut server = start(log, prelude, &path, &programs);
    drop(pty.slave); // so that reading ends with the daemon, by EIO
    let reader = thread::spawn(move || {
        BufReader::new(File::from(pty.master)).lines().map_while(Result::ok).collect::<Vec<_>>()
    });
    act(&mut server, &programs);
    reader.join().unwrap()
}

#[test]
fn lines_to_a_file_have_time_level_message_and_fields() {
    let before = SystemTime::now() - Duration::from_millis(1); // stamps are cut to milliseconds
    let lines = lines_of_file("", "export TERM=xterm");
    for line in &lines {
        let (stamp, rest) = split_stamp(line).unwrap_or_else(|| panic!("no time: {line}"));
        let time = humantime::parse_rfc3339(stamp).unwrap();
        assert!(before <= time && time <= SystemTime::now(), "{line}");
        assert!([" INFO ", " WARN ", "ERROR "].contains(&&rest[..6]), "{line}");
    }
    assert!(PARTS.iter().all(|part| !find_part(&lines, part).is_empty()));
    assert_eq!(Record::parse(find_part(&lines, "-> 404")).get("status"), "404");
    assert!(find_part(&lines, "broken failed").contains(" target=\"/cgi/broken\""));
    assert!(!lines.concat().contains('\x1b'));
}

#[test]
fn json_lines_are_objects_with_the_fields_of_the_journal() {
    let lines = lines_of_file("format = 'json'", "export TERM=xterm");
    for line in &lines {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        humantime::parse_rfc3339(object["time"].as_str().unwrap()).unwrap();
        assert!(["info", "warn", "error"].contains(&object["level"].as_str().unwrap()), "{line}");
    }
    let parse = |part| serde_json::from_str::<Value>(find_part(&lines, part)).unwrap();
    let objects = PARTS.map(parse);
    assert_eq!(objects[1]["LSBAWS_SERVICE"], "web");
    assert_eq!(objects[2]["LSBAWS_TARGET"], "/cgi/broken");
    assert_eq!((&objects[3]["LSBAWS_STATUS"], &objects[3]["PRIORITY"]), (&"404".into(), &"6".into()));
    assert_eq!(objects[4]["level"], "error");
}

#[test]
fn start_that_fails_after_the_configuration_is_json() {
    let set = ["log.format='json'", "log.target='stderr'", "listen.web.address='192.0.2.1:80'"];
    let output = command(LSBAWS).args(set.iter().flat_map(|set| ["--set", set])).output().unwrap();
    let object: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(object["MESSAGE"].as_str().unwrap().contains("192.0.2.1:80"), "{object}");
}

#[test]
fn lines_to_the_journal_have_a_priority_and_no_time() {
    let prelude = "export JOURNAL_STREAM=$(stat -c %d:%i PATH)";
    let lines = lines_of_file("target = 'stderr'", prelude);
    let begins = ["<6> INFO ", "<4> WARN ", "<3>ERROR "];
    assert!(lines.iter().all(|line| begins.contains(&&line[..9])), "{lines:#?}");
    for (part, begin) in PARTS.iter().zip([0, 0, 2, 0, 2, 0]) {
        assert!(find_part(&lines, part).starts_with(begins[begin]), "{part}: {lines:#?}");
    }
}

#[test]
fn daemon_that_cannot_start_says_when() {
    let output = command(LSBAWS).args(["--set", "log.level=loud"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    let (_, message) = split_stamp(&message).unwrap_or_else(|| panic!("no time: {message}"));
    assert!(message.starts_with("ERROR --set log.level=loud: log.level: expected one of"), "{message}");
    // That is the answer of a command, and no line of a log.
    let output = command(LSBAWS).args(["check", "--set", "log.level=loud"]).output().unwrap();
    assert!(output.stderr.starts_with(b"lsbaws: --set log.level=loud: "));
}

#[test]
fn rows_on_a_terminal_are_short_and_without_fields() {
    for prelude in ["", "export TERM=dumb", "export TERM=xterm NO_COLOR=1"] {
        let rows = rows_of_terminal("", prelude);
        assert!(rows.iter().all(|row| row.len() <= 80), "{rows:#?}");
        assert!(rows.iter().all(|row| !row.contains('=') && !row.contains('\x1b')), "{rows:#?}");
        let times = rows.iter().filter(|row| row.as_bytes()[8] == b'Z' && row.as_bytes()[2] == b':').count();
        let record = find_part(&rows, "-> 404, served");
        assert!(record.contains(": GET /xxx") && record.contains("..."), "{record}");
        assert!(find_part(&rows, "complaint").ends_with(": complaint"));
        // What is no information only is whole.
        let at = rows
            .iter()
            .position(|row| row.contains(" warning: ") && row.contains("GET /cgi/broken"))
            .unwrap();
        let message = rows[at..at + 3].iter().map(|row| row.trim_start()).collect::<Vec<_>>().join(" ");
        assert!(message.contains("GET /cgi/broken -> 502, handler error"), "{message}");
        assert!(message.contains("(its program: exit code 3), after "), "{message}");
        let at = rows.iter().position(|row| row.contains(" error: reload failed")).unwrap();
        let more = rows[at + 1..].iter().take_while(|row| row.starts_with("          ")).count();
        let others = rows.iter().filter(|row| row.starts_with("          ")).count();
        assert!(more > 0 && times == rows.len() - others, "{rows:#?}");
        let message = rows[at..=at + more].iter().map(|row| row.trim_start()).collect::<Vec<_>>().join(" ");
        assert!(message.ends_with("found \"as many as the memory of this host permits\""), "{message}");
    }
}

#[test]
fn levels_have_colors_where_the_terminal_has() {
    let rows = rows_of_terminal("", "export TERM=xterm");
    assert!(rows.iter().any(|row| row.contains("Z\x1b[0m \x1b[1;31merror: \x1b[0m")), "{rows:#?}");
    let rows = rows_of_terminal("verbose = true", "export TERM=xterm");
    assert!(rows.iter().any(|row| row.contains("Z\x1b[0m \x1b[1;31mERROR\x1b[0m ")), "{rows:#?}");
}

#[test]
fn verbose_rows_are_those_of_a_file() {
    let rows = rows_of_terminal("verbose = true", "");
    let record = find_part(&rows, "-> 404, served (no route matches this path), after ");
    assert!(split_stamp(record).is_some() && record.contains(&"x".repeat(100)), "{record}");
    assert_eq!(Record::parse(record).get("status"), "404");
    // The same by the option.
    let rows = rows_of_terminal("", "set -- \"$@\" --verbose");
    assert_eq!(Record::parse(find_part(&rows, "-> 404")).get("status"), "404");
}

#[test]
fn reload_of_verbose_changes_the_rows_of_children() {
    for model in ["fork", "double-fork", "iterative"] {
        let log = |verbose: bool| format!("verbose = {verbose}\n[process]\nmodel = '{model}'");
        for before in [false, true] {
            let rows = rows_after(&log(before), "", |server, programs| {
                server.get("/cgi/talker");
                server.reload(&config(&log(!before), programs));
                server.wait_notified("RELOADING=");
                assert_eq!(server.wait_notified("READY="), "1");
                server.get("/cgi/talker");
                server.stop();
            });
            let complaints: Vec<_> = rows.iter().filter(|row| row.contains("complaint")).collect();
            let verbose: Vec<_> = complaints.iter().map(|row| row.contains(" connection=")).collect();
            assert_eq!(verbose, [before, !before], "{model}: {rows:#?}");
        }
    }
}

#[test]
fn fork_server_writes_lines_as_the_supervisor() {
    let folder = make_folder();
    let path = folder.path().join("stderr");
    File::create(&path).unwrap();
    let to_journal = format!("export JOURNAL_STREAM=$(stat -c %d:%i {0}); exec 2>>{0}", path.display());
    // The fork server cannot order its descriptors.
    let mut server =
        Setup::new("[log]\ntarget = 'stderr'\n").prelude(&format!("{to_journal}; ulimit -n 32")).spawn();
    assert_eq!(server.wait().code(), Some(71));
    let text = fs::read_to_string(path).unwrap();
    assert!(text.lines().any(|line| line.starts_with("<3>lsbaws: unable to order descriptors: ")), "{text}");
    assert!(text.lines().all(|line| line.starts_with('<')), "{text}");
}
