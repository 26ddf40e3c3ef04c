//! The tools that administrators use on access lines: goaccess, fail2ban.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::access::{Lines, RESPOND};
use crate::auth::{ALICE, ALICE_LINE, MALLORY, get, make_users, route};
use crate::harness::{Server, ask, command, find_program, make_folder, serve, wait_until};

/// The format of goaccess for `format = "json"`, as in lsbaws.toml(5).
const JSON: &str = r#"{"time":"%dT%t.%^","client":"%h","host":"%v","method":"%m","target":"%U","protocol":"%H","status":"%s","bytes":"%b","duration":"%T","referer":"%R","user_agent":"%u","user":"%e"}"#;

#[test]
fn goaccess_counts_what_was_served() {
    let Some(goaccess) = find_program("goaccess") else { return };
    for (format, own) in [("combined", "COMBINED"), ("json", JSON)] {
        let lines = Lines::new();
        let server = serve(&format!(
            "{}[[service.web.route]]\npath = '/found'\nhandler = 'respond'\nbody = 'hello'\n",
            lines.table(format)
        ));
        for target in ["/found/1", "/found/2?x=\"y\"", "/found/1", "/missing"] {
            server.get(target);
        }
        ask(
            server.connect(),
            "GET /found/3 HTTP/1.1\r\nHost: x\r\nUser-Agent: a \"b\" \\c\r\nReferer: http://r/é\r\n\r\nBAD\r\n\r\n",
        );
        let total = lines.read(6).len() as u64;
        let report = lines.folder.path().join("report.json");
        let mut goaccess = command(&goaccess);
        goaccess.arg(lines.path()).arg("--no-global-config").arg("--log-format").arg(own);
        if format == "json" {
            goaccess.args(["--date-format=%Y-%m-%d", "--time-format=%H:%M:%S"]);
        }
        let output = goaccess.arg("-o").arg(&report).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        let general = |name: &str| report["general"][name].as_u64().unwrap();
        assert_eq!((general("total_requests"), general("valid_requests")), (total, total), "{format}");
        let hits = |class: &str| {
            let classes = report["status_codes"]["data"].as_array().unwrap();
            let class = classes.iter().find(|found| found["data"].as_str().unwrap().starts_with(class));
            class.map_or(0, |class| class["hits"]["count"].as_u64().unwrap())
        };
        assert_eq!((hits("2xx"), hits("4xx")), (4, total - 4), "{format}");
    }
}

#[test]
fn fail2ban_filter_finds_errors_alone() {
    let Some(regex) = find_program("fail2ban-regex") else { return };
    let lines = Lines::new();
    let server = errors(&lines);
    let text = lines.read(6);
    drop(server);
    let journal: Vec<_> = text.iter().map(|line| format!("host lsbaws[123]: {line}")).collect();
    // What a client can send is not taken for an address or a status.
    let forged = r#"192.0.2.9 - - [26/Nov/2026:18:02:29 +0000] "GET /\x22 404 1 \x22 HTTP/1.1" 200 5 "-" "10.9.9.9 - - [] \x22x\x22 404 1 \x22""#;
    for (name, mut all) in [("file", text), ("journal", journal)] {
        all.push(forged.into());
        let log = lines.folder.path().join(name);
        fs::write(&log, all.join("\n") + "\n").unwrap();
        let output = command(&regex).arg(&log).arg("packaging/fail2ban/lsbaws.conf").output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(report.contains("Lines: 7 lines, 0 ignored, 4 matched, 3 missed"), "{name}: {report}");
    }
}

#[test]
fn fail2ban_counts_wrong_passwords_alone() {
    let Some(regex) = find_program("fail2ban-regex") else { return };
    let lines = Lines::new();
    let (_folder, users) = make_users(ALICE_LINE);
    let server = serve(&format!("{}{}", lines.table("combined"), route("/", &users, "")));
    // How every client begins; the right password; a wrong one.
    for credentials in ["", ALICE, MALLORY] {
        get(&server, "/", credentials);
    }
    let text = lines.read(3);
    let users: Vec<_> = text.iter().map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert_eq!(users, ["-", "alice", "mallory"]);
    let output = command(&regex).arg(lines.path()).arg("packaging/fail2ban/lsbaws.conf").output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(report.contains("Lines: 3 lines, 0 ignored, 1 matched, 2 missed"), "{report}");
}

#[test]
fn fail2ban_reads_entries_of_the_daemon_alone() {
    let filter = fs::read_to_string("packaging/fail2ban/lsbaws.conf").unwrap();
    let terms = filter.lines().find_map(|line| line.strip_prefix("journalmatch = ")).unwrap();
    // "+" is "or". Only journald sets fields that begin with "_".
    for term in terms.split(" + ") {
        assert!(
            term.starts_with("_SYSTEMD_UNIT=lsbaws.service ")
                || term.starts_with("_SYSTEMD_SLICE=system-lsbaws.slice ")
        );
        assert!(term.contains(" _EXE=/usr/bin/lsbaws MESSAGE_ID="), "{term}");
    }
}

/// Six lines, of which four are errors.
fn errors(lines: &Lines) -> Server {
    let server = serve(&format!(
        "{}[[service.web.route]]\npath = '/found'\nhandler = 'respond'\nbody = 'hello'\n\
         [[service.web.route]]\npath = '/denied'\ndeny = '127.0.0.1'\n{}",
        lines.table("combined"),
        RESPOND.replace("[[service.web.route]]\n", "")
    ));
    for target in ["/found", "/found/\"%20404", "/missing", "/denied", "/a/../b"] {
        server.get(target);
    }
    ask(server.connect(), "BAD\r\n\r\n");
    server
}

/// A fail2ban that is ended with the test.
struct Fail2ban(Child);

impl Drop for Fail2ban {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

#[test]
fn fail2ban_bans_by_the_shipped_filter() {
    let Some(server) = find_program("fail2ban-server") else { return };
    let lines = Lines::new();
    let daemon = errors(&lines);
    lines.read(6);
    let folder = make_folder();
    let path = |name: &str| folder.path().join(name);
    for name in ["filter.d", "action.d"] {
        fs::create_dir(path(name)).unwrap();
    }
    fs::copy("packaging/fail2ban/lsbaws.conf", path("filter.d/lsbaws.conf")).unwrap();
    let banned = path("banned");
    let write = |name: &str, text: String| fs::write(path(name), text).unwrap();
    write("action.d/file.conf", format!("[Definition]\nactionban = echo <ip> >>{}\n", banned.display()));
    let (socket, pid, log) = (path("socket"), path("pid"), path("log"));
    let show = |path: &Path| path.display().to_string();
    write(
        "fail2ban.conf",
        format!(
            "[Definition]\nloglevel = INFO\nlogtarget = {}\nsyslogsocket = auto\nsocket = {}\npidfile = {}\ndbfile = None\n\
             dbpurgeage = 1d\ndbmaxmatches = 10\nallowipv6 = auto\n",
            show(&log),
            show(&socket),
            show(&pid)
        ),
    );
    write(
        "jail.conf",
        format!(
            "[DEFAULT]\nignoreself = false\nignoreip =\nbackend = polling\nusedns = no\nmaxretry = 4\nfindtime = 1h\nbantime = 1h\n\
             [lsbaws]\nenabled = true\nfilter = lsbaws\nlogpath = {}\naction = file\n",
            lines.path().display()
        ),
    );
    let mut fail2ban = command(&server);
    fail2ban.args(["-f", "-c"]).arg(folder.path()).arg("-s").arg(&socket).arg("-p").arg(&pid).arg("start");
    fail2ban.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _fail2ban = Fail2ban(fail2ban.spawn().unwrap());
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    wait_until("the client is banned", || !read(&banned).is_empty());
    assert_eq!(read(&banned), "127.0.0.1\n", "{}", read(&log));
    drop(daemon);
}
