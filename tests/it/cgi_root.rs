//! Programs below a root run from where they were found, whatever is renamed meanwhile, and what they leave ends.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::cgi::{dechunk, programs, say, status, write_program};
use crate::harness::{ask, find_program, make_folder, make_folder_outside_tmp, serve, wait_dead, wait_until};

fn exchange(one: &Path, other: &Path) {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).unwrap();
}

/// Exchanges two names as fast as possible while `body` runs.
fn while_exchanging<T>(one: &Path, other: &Path, body: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                exchange(one, other);
            }
        });
        let result = body();
        is_over.store(true, Relaxed);
        result
    })
}

/// A copy of a binary that another process writes: see [`write_program`].
fn copy_program(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let status = crate::harness::command("cp").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// Requests of a race. More of them show more.
fn count_of_requests() -> usize {
    std::env::var("LSBAWS_RACE_REQUESTS").map_or(300, |count| count.parse().unwrap())
}

/// A folder with programs inside and outside of a root, and a link that leads outside.
struct Race {
    folder: TempDir,
}

impl Race {
    /// `make` makes a program that answers with the word.
    fn new(make: impl Fn(&Path, &str)) -> Self {
        // Not below /tmp, which programs may read in any case.
        let folder = make_folder_outside_tmp();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("root/d")).unwrap();
        fs::create_dir_all(at("outside")).unwrap();
        make(&at("root/d/nph-a"), "inside");
        make(&at("outside/nph-a"), "outside");
        symlink(at("outside"), at("root/link")).unwrap();
        Self { folder }
    }

    /// How many requests are answered by the program inside, by that outside and by lsbaws while the directory and the link
    /// are exchanged.
    fn run(&self, keys: &str) -> [usize; 3] {
        let root = self.folder.path().join("root");
        let server = serve(&format!(
            "{keys}\n[[service.web.route]]\nhandler = 'cgi'\nroot = '{}'\nenvironment = {{ WHERE = 'inside' }}\n",
            root.display()
        ));
        let ask = || server.get("/d/nph-a");
        assert!(ask().contains("inside"));
        let mut counts = [0; 3];
        while_exchanging(&root.join("d"), &root.join("link"), || {
            for _ in 0..count_of_requests() {
                let answer = ask();
                let is_ours = answer.starts_with("HTTP/1.1 ");
                counts[if is_ours { 2 } else { usize::from(!answer.contains("inside")) }] += 1;
            }
        });
        if root.join("d").is_symlink() {
            exchange(&root.join("d"), &root.join("link"));
        }
        let _ = writeln!(std::io::stderr(), "inside, outside, not run: {counts:?}");
        assert!(counts[0] > 0 && counts[2] > 0, "{counts:?}");
        counts
    }
}

#[test]
fn renamed_directory_runs_no_binary_outside_the_root() {
    let (Some(env), Some(uname)) = (find_program("env"), find_program("uname")) else { return };
    // Their output is the whole response: `env` prints the variables, `uname` prints a name.
    let race = Race::new(|path, word| copy_program(if word == "inside" { &env } else { &uname }, path));
    assert_eq!(race.run("")[1], 0);
    assert_eq!(race.run("[service.web]\nconfine = false")[1], 0);
}

fn make_script(path: &Path, word: &str) {
    write_program(path, &format!("#!/bin/sh\necho {word}\n"));
}

#[test]
fn renamed_directory_runs_no_script_outside_the_root() {
    let race = Race::new(make_script);
    assert_eq!(race.run("[service.web.confine]\nread = ['/etc']")[1], 0);
}

/// Measures what the manual admits.
#[test]
#[ignore = "a measurement"]
fn script_is_exchanged_before_its_interpreter_opens_it() {
    let race = Race::new(make_script);
    race.run("");
    race.run("[service.web]\nconfine = false");
}

/// Switches the link `name` to another directory, as a deployment does.
fn switch(name: &Path, to: &str) {
    let next = name.with_extension("next");
    symlink(to, &next).unwrap();
    fs::rename(&next, name).unwrap();
}

#[test]
fn switched_root_is_served_from_the_new_directory() {
    let folder = make_folder();
    let at = |name: &str| folder.path().join(name);
    for release in ["1", "2"] {
        let text = say(&format!("echo release {release}; echo $SCRIPT_FILENAME; echo $0; cat data; ls"));
        write_program(&at(release).join("sub/a"), &format!("#!/bin/sh\n{text}\n"));
        fs::write(at(release).join("sub/data"), format!("data {release}\n")).unwrap();
        fs::write(at(release).join("file"), format!("file {release}\n")).unwrap();
    }
    symlink("1", at("current")).unwrap();
    let root = at("current").display().to_string();
    for model in ["fork", "double-fork", "iterative"] {
        switch(&at("current"), "1");
        let server = serve(&format!(
            "[process]\nmodel = '{model}'\n[[service.web.route]]\nhandler = 'cgi'\npath = '/cgi/'\nroot = '{root}'\n\
             [[service.web.route]]\nhandler = 'files'\nroot = '{root}'\n"
        ));
        let expected = |release: &str, root: &str| {
            format!("release {release}\n{root}/sub/a\n{root}/sub/a\ndata {release}\na\ndata\n")
        };
        assert_eq!(dechunk(&server.get("/cgi/sub/a")), expected("1", &root));
        // A connection that has begun in the old release continues with it, by the name that this has now.
        let mut old = server.connect();
        old.write_all(b"GET /cgi/sub/a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut first = [0; 12];
        old.read_exact(&mut first).unwrap();
        switch(&at("current"), "2");
        if model != "iterative" {
            let rest = ask(old, "GET /cgi/sub/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let last = &rest[rest.rfind("HTTP/1.1 200 ").unwrap()..];
            assert_eq!(dechunk(last), expected("1", &at("1").display().to_string()), "{model}");
        } else {
            drop(old);
        }
        // Time must pass here: the path is looked at once a second.
        thread::park_timeout(Duration::from_millis(1100));
        assert!(server.get("/file").ends_with("file 2\n"), "{model}: the first connection");
        assert_eq!(dechunk(&server.get("/cgi/sub/a")), expected("2", &root), "{model}");
        let line = server.wait_line("leads to another directory now");
        assert!(line.contains(&format!("service web: root {root} ")), "{line}");
    }
}

#[test]
fn missing_root_is_named_once_and_served_when_it_is_back() {
    let folder = make_folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("www")).unwrap();
    fs::write(at("www/file"), "old").unwrap();
    let server =
        serve(&format!("[[service.web.route]]\nhandler = 'files'\nroot = '{}'\n", at("www").display()));
    assert!(server.get("/file").ends_with("old"));
    fs::rename(at("www"), at("gone")).unwrap();
    let warning = format!("root {}: No such file or directory", at("www").display());
    wait_until("a warning names the root", || {
        assert!(server.get("/file").ends_with("old"));
        server.rest().iter().any(|line| line.contains(&warning))
    });
    fs::create_dir(at("www")).unwrap();
    fs::write(at("www/file"), "new").unwrap();
    wait_until("the new directory is served", || server.get("/file").ends_with("new"));
    assert!(server.rest().iter().all(|line| !line.contains(&warning)));
}

/// Ways in which a program leaves a process: in its group, in a group of its own, in a session of its own, and below
/// another that has left. Each writes the PID of the process.
const LEAVING: [(&str, &str); 4] = [
    ("group", "sleep 1000 & echo $!; touch left"),
    ("own-group", "perl -e 'setpgrp; exec \"sleep\", 1000' & echo $!; touch left"),
    ("session", "setsid sh -c 'echo $$; touch left; exec sleep 1000' &"),
    (
        "deep",
        "setsid sh -c \"trap '' TERM; setsid sleep 1000 & echo \\$!; touch left; while :; do sleep 1000; done\" &",
    ),
];
/// Waits until a process of [`LEAVING`] has written its PID.
const WAIT_LEFT: &str = "exec >&-; until test -e left; do sleep 0.01; done; rm left";

#[test]
fn processes_that_a_program_leaves_end_with_its_request() {
    let scripts = LEAVING.map(|(name, text)| (name, say(&format!("{text}\n{WAIT_LEFT}"))));
    let scripts: Vec<_> = scripts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let it = programs("", &scripts);
    let mut stream = it.server.connect();
    for (name, _) in LEAVING {
        let answer = it.server.get(&format!("/cgi/{name}"));
        wait_dead(Pid::from_raw(dechunk(&answer).trim().parse().unwrap()));
        let record = it.server.record_of(&format!("/cgi/{name}"));
        assert_eq!((record.get("program_end"), record.get("orphans")), ("exit code 0", "yes"), "{name}");
    }
    // Before the next request of the connection, not only at its end.
    let request = "GET /cgi/session HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut pids = Vec::new();
    for _ in 0..2 {
        stream.write_all(request.as_bytes()).unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"0\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        let answer = String::from_utf8(seen).unwrap();
        pids.push(Pid::from_raw(dechunk(&answer).trim().parse().unwrap()));
        wait_dead(pids[0]);
    }
    drop(stream);
    wait_dead(pids[1]);
}

#[test]
fn kept_job_outlives_its_request_each_time() {
    let folder = make_folder();
    let at = |name: &str| folder.path().join(name);
    // A job in the background, with a session of its own as in the manual, and without.
    for (name, command) in [("session", "setsid sh"), ("group", "sh")] {
        let job = format!("{command} -c 'until test -e go; do sleep 0.01; done; touch done-{name}-$0'");
        let text = say(&format!("{job} $QUERY_STRING </dev/null >/dev/null 2>&1 &"));
        write_program(&at(name), &format!("#!/bin/sh\n{text}\n"));
    }
    let server = serve(&format!(
        "[service.web]\nleftover = 'keep'\n[[service.web.route]]\nhandler = 'cgi'\nroot = '{}'\n",
        folder.path().display()
    ));
    let targets = || ["session", "group"].into_iter().flat_map(|name| (0..20).map(move |n| (name, n)));
    for (name, number) in targets() {
        let target = format!("/{name}?{number}");
        assert_eq!(status(&server.get(&target)), "200");
        let record = server.record_of(&target);
        assert_eq!((record.get("program_end"), record.get("orphans")), ("exit code 0", ""));
    }
    // All connections have ended, and all jobs run until this exists.
    fs::write(at("go"), "").unwrap();
    let is_done = |(name, number)| at(&format!("done-{name}-{number}")).exists();
    wait_until("each job finishes", || targets().all(is_done));
}
