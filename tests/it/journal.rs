//! A journal that is slow, stopped, restarted or missing neither blocks the daemon nor loses a count. The
//! journal is ours: a socket in a folder that the daemon finds in the place of journald's.

use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::cgi::{say, write_program};
use crate::harness::{Server, Setup, TIMEOUT, ask, command, connect, fill, make_folder, run_client, skip};

const MOUNT: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
    mount --bind \"$JOURNAL\" /run/systemd/journal && exec \"$@\"";

/// A folder that the daemon sees as that of journald, and the socket in it, if there is one.
struct Journal {
    folder: TempDir,
    socket: Option<UnixDatagram>,
}

impl Journal {
    /// None, and the test is skipped, where no file system may be mounted.
    fn missing() -> Option<Self> {
        let mut mount = command("unshare");
        mount.args([Self::unshare(), "mount", "-t", "tmpfs", "tmpfs", "/run"]);
        let works = mount.status().is_ok_and(|status| status.success());
        if !works {
            skip("no mount namespace to be had");
            return None;
        }
        Some(Self { folder: make_folder(), socket: None })
    }

    /// Listens, and reads nothing yet.
    fn listening() -> Option<Self> {
        let mut journal = Self::missing()?;
        journal.listen();
        Some(journal)
    }

    fn unshare() -> &'static str {
        if nix::unistd::geteuid().is_root() { "-m" } else { "-rm" }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn listen(&mut self) {
        let socket = UnixDatagram::bind(self.path()).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        self.socket = Some(socket);
    }

    fn remove(&mut self) {
        self.socket = None;
        fs::remove_file(self.path()).unwrap();
    }

    /// Sends to the journal until it takes no more.
    fn fill(&self) {
        fill(&self.path());
    }

    fn setup(&self, config: &str) -> Setup {
        let folder = self.folder.path().display();
        let unshare = Self::unshare();
        let prelude =
            format!("export JOURNAL={folder}\nset -- unshare {unshare} sh -euc '{MOUNT}' sh \"$@\"");
        Setup::new(&format!("[log]\ntarget = 'journal'\n{config}")).prelude(&prelude)
    }

    fn serve(&self, config: &str) -> Server {
        self.setup(config).serve()
    }

    /// The next entry's fields.
    fn read(&self) -> HashMap<String, String> {
        let mut buffer = vec![0; 65_536];
        loop {
            let length = self.socket.as_ref().unwrap().recv(&mut buffer).unwrap();
            let entry = parse_entry(&buffer[..length]);
            if entry.contains_key("MESSAGE") {
                return entry;
            }
        }
    }

    /// The next entry with this field.
    fn read_with(&self, field: &str) -> HashMap<String, String> {
        loop {
            let entry = self.read();
            if entry.contains_key(field) {
                return entry;
            }
        }
    }

    /// Reads until the records and the counts tell of so many connections. How many were counted only.
    fn read_recorded(&self, connections: usize) -> usize {
        let (mut single, mut folded) = (0, 0);
        while single + folded < connections {
            let entry = self.read_with("LSBAWS_OUTCOME");
            match entry.get("LSBAWS_COUNT") {
                Some(count) => folded += count.parse::<usize>().unwrap(),
                None => single += 1,
            }
        }
        assert_eq!(single + folded, connections);
        folded
    }
}

/// The fields of an entry in the journal's own protocol: `NAME=value`, or the name, a line end and the value with
/// its length before it.
fn parse_entry(mut bytes: &[u8]) -> HashMap<String, String> {
    let mut entry = HashMap::new();
    while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
        let line = std::str::from_utf8(&bytes[..end]).unwrap();
        bytes = &bytes[end + 1..];
        if let Some((name, value)) = line.split_once('=') {
            entry.insert(name.to_owned(), value.to_owned());
        } else {
            let (length, rest) = bytes.split_at(8);
            let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
            entry.insert(line.to_owned(), String::from_utf8_lossy(&rest[..length]).into_owned());
            bytes = &rest[length + 1..];
        }
    }
    entry
}

#[test]
fn a_journal_that_does_not_read_holds_nobody_up_and_every_connection_is_counted() {
    let Some(journal) = Journal::listening() else { return };
    let server = journal.serve("");
    let result = run_client(server.address(), &["--max-clients", "10", "--max-conns", "200"]);
    assert_eq!(result["answered"]["200"], 2000, "{result}");
    assert!(journal.read_recorded(2000) > 1000, "a queue holds few");
}

#[test]
fn a_restarted_journal_is_told_how_many_it_has_missed() {
    let Some(mut journal) = Journal::listening() else { return };
    let server = journal.serve("");
    server.get("/before");
    assert_eq!(journal.read_with("LSBAWS_OUTCOME")["LSBAWS_TARGET"], "/before");
    journal.remove();
    for _ in 0..5 {
        server.get("/missed");
    }
    ask(server.connect(), "nonsense\r\n\r\n");
    server.wait_ended(7);
    journal.listen();
    let mut counts = HashMap::new();
    for _ in 0..2 {
        let entry = journal.read_with("LSBAWS_COUNT");
        assert_eq!(entry["MESSAGE_ID"], "86f3a1d04c7b4e0f9a52c8e1b7d3640b");
        assert_eq!((&*entry["LSBAWS_END"], &*entry["PRIORITY"]), ("folded", "6"));
        counts.insert(entry["LSBAWS_OUTCOME"].clone(), entry["LSBAWS_COUNT"].clone());
    }
    assert_eq!((&*counts["served"], &*counts["client-error"]), ("5", "1"));
    server.get("/after");
    assert_eq!(journal.read_with("LSBAWS_OUTCOME")["LSBAWS_TARGET"], "/after");
}

#[test]
fn a_journal_that_is_missing_at_the_start_may_come_later() {
    let Some(mut journal) = Journal::missing() else { return };
    let server = journal.serve("");
    for _ in 0..3 {
        assert!(server.get("/").ends_with("Hello, World!\n"));
    }
    server.wait_ended(3);
    journal.listen();
    let entry = journal.read_with("LSBAWS_COUNT");
    assert_eq!((&*entry["LSBAWS_OUTCOME"], &*entry["LSBAWS_COUNT"]), ("served", "3"));
    assert!(entry["MESSAGE"].ends_with("over log.max_rate 0, not taken by the journal 3"), "{entry:?}");
    // That it is ready.
    assert_eq!(journal.read()["MESSAGE"], "messages lost, besides the records of connections: 1");
    // As if it had always been there: it may even stop.
    server.get("/later");
    assert_eq!(journal.read_with("LSBAWS_OUTCOME")["LSBAWS_TARGET"], "/later");
    journal.fill();
    server.get("/");
    server.get("/");
    server.wait_ended(6);
    assert_eq!(journal.read_recorded(2), 2);
}

#[test]
fn a_journal_that_is_stopped_at_the_start_does_not_stop_it() {
    let Some(journal) = Journal::listening() else { return };
    journal.fill();
    let server = journal.serve("");
    assert!(server.get("/").ends_with("Hello, World!\n"));
    server.wait_ended(1);
    assert_eq!(journal.read_recorded(1), 1);
}

#[test]
fn what_no_journal_takes_standard_error_tells_at_the_end() {
    let Some(journal) = Journal::listening() else { return };
    journal.fill();
    for model in ["fork", "iterative"] {
        let mut server = journal.serve(&format!("[process]\nmodel = '{model}'\n"));
        for _ in 0..3 {
            server.get("/");
        }
        ask(server.connect(), "nonsense\r\n\r\n");
        server.stop();
        let words = "lsbaws: the journal has not taken the records of connections: served 3, client-error 1,";
        server.wait_line(words);
    }
}

#[test]
fn a_single_connection_is_counted_like_any_other() {
    let Some(journal) = Journal::missing() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let mut server = journal.setup("").socket(connection).names("connection").spawn();
    assert!(ask(client, "GET / HTTP/1.0\r\n\r\n").ends_with("Hello, World!\n"));
    assert_eq!(server.wait().code(), Some(0));
    server.wait_line("the records of connections: served 1,");
}

#[test]
fn the_end_waits_a_moment_for_a_journal_that_reads_again() {
    let Some(journal) = Journal::listening() else { return };
    journal.fill();
    let mut server = journal.serve("");
    for _ in 0..3 {
        server.get("/");
    }
    server.signal(Signal::SIGTERM);
    server.wait_notified("STOPPING=");
    journal.read_recorded(3);
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(server.lines_to_end(), [""; 0]);
}

#[test]
fn a_stopped_journal_does_not_hold_up_what_programs_say() {
    let Some(journal) = Journal::listening() else { return };
    let folder = make_folder();
    let script = say("i=0; while [ $i -lt 100 ]; do echo x$i >&2; i=$((i+1)); done; echo done");
    write_program(&folder.path().join("loud"), &format!("#!/bin/sh\n{script}\n"));
    let route = format!("handler = 'cgi'\nroot = '{}'\n", folder.path().display());
    let server = journal.serve(&format!("[[service.web.route]]\n{route}"));
    server.get("/none");
    assert_eq!(journal.read_recorded(1), 0);
    journal.fill();
    // Some lines find no room. The answer comes all the same, and so does the record.
    assert!(server.get("/loud").contains("done\n"));
    server.wait_ended(2);
    assert_eq!(journal.read_recorded(1), 1);
    // A journal that reads loses none.
    let address = server.address();
    let request = "GET /loud HTTP/1.0\r\n\r\n";
    let client = std::thread::spawn(move || ask(connect(address), request));
    for i in 0..100 {
        let entry = journal.read_with("LSBAWS_TARGET");
        assert!(entry["MESSAGE"].ends_with(&format!(": x{i}")), "{entry:?}");
    }
    assert!(client.join().unwrap().contains("done\n"));
}
