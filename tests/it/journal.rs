//! A journal that is slow, stopped, restarted or missing neither blocks the daemon nor loses a count. The
//! journal of the tests is a socket in a folder that the daemon finds in the place of journald's.

use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::cgi::{say, write_program};
use crate::harness::{
    Server, Setup, TIMEOUT, ask, command, connect, fill, make_folder, receive, run_client, skip,
};

const MOUNT: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
    mount --bind \"$JOURNAL\" /run/systemd/journal && exec \"$@\"";

/// A folder that the daemon sees as that of journald, and the socket in it if it exists.
struct Journal {
    folder: TempDir,
    socket: Option<UnixDatagram>,
}

impl Journal {
    /// None, and the test is skipped, if no file system can be mounted.
    fn missing() -> Option<Self> {
        let mut mount = command("unshare");
        mount.args([Self::unshare(), "mount", "-t", "tmpfs", "tmpfs", "/run"]);
        let works = mount.status().is_ok_and(|status| status.success());
        if !works {
            skip("needs a mount namespace");
            return None;
        }
        Some(Self { folder: make_folder(), socket: None })
    }

    /// Listens and reads nothing.
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

    /// Listens with another socket. Returns the old one.
    fn replace(&mut self) -> Option<UnixDatagram> {
        let old = self.socket.take();
        fs::remove_file(self.path()).unwrap();
        self.listen();
        old
    }

    /// Sends to the journal until its queue is full.
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

    /// The fields of the next entry.
    fn read(&self) -> HashMap<String, String> {
        let mut buffer = vec![0; 65_536];
        loop {
            let length = receive(self.socket.as_ref().unwrap(), &mut buffer).unwrap();
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

    /// Reads the records and counts of this number of connections. Returns the number of suppressed records.
    fn read_recorded(&self, connections: usize) -> usize {
        let (mut single, mut suppressed) = (0, 0);
        while single + suppressed < connections {
            let entry = self.read_with("LSBAWS_OUTCOME");
            match entry.get("LSBAWS_COUNT") {
                Some(count) => suppressed += count.parse::<usize>().unwrap(),
                None => single += 1,
            }
        }
        assert_eq!(single + suppressed, connections);
        suppressed
    }
}

/// The fields of an entry in the journal's native protocol: `NAME=value`, or the name, a newline, the length and the
/// value.
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
fn stalled_journal_does_not_block_and_records_are_counted() {
    let Some(journal) = Journal::listening() else { return };
    let server = journal.serve("max_rate = 0\n");
    let result = run_client(server.address(), &["--max-clients", "20", "--max-conns", "125"]);
    assert_eq!(result["answered"]["200"], 2500, "{result}");
    server.wait_ended(2500);
    let suppressed = journal.read_recorded(2500);
    assert!((500..2000).contains(&suppressed), "the queue holds 1 MiB, {suppressed} records found no room");
}

#[test]
fn burst_waits_until_the_journal_reads() {
    let Some(journal) = Journal::listening() else { return };
    let server = journal.serve("max_rate = 0\n");
    let result = run_client(server.address(), &["--max-clients", "5", "--max-conns", "200"]);
    assert_eq!(result["answered"]["200"], 1000, "{result}");
    server.wait_ended(1000);
    assert_eq!(journal.read()["MESSAGE_ID"], "86f3a1d04c7b4e0f9a52c8e1b7d36404", "the order stays");
    assert_eq!(journal.read_recorded(1000), 0);
}

#[test]
fn rate_is_limited_before_the_journal() {
    let Some(journal) = Journal::listening() else { return };
    let server = journal.serve("max_rate = 1\n");
    let result = run_client(server.address(), &["--max-conns", "50"]);
    assert_eq!(result["answered"]["200"], 50, "{result}");
    let entry = journal.read_with("LSBAWS_COUNT");
    assert_eq!(entry["MESSAGE_ID"], "86f3a1d04c7b4e0f9a52c8e1b7d3640b");
    assert_eq!((&*entry["LSBAWS_END"], &*entry["LSBAWS_OUTCOME"]), ("suppressed", "served"));
    assert_eq!(entry["PRIORITY"], "6");
    let count = &entry["LSBAWS_COUNT"];
    let message = "over log.max_rate, 0 not accepted by the journal";
    assert_eq!(entry["MESSAGE"], format!("suppressed {count} records (served): {count} {message}"));
}

#[test]
fn restarted_journal_gets_what_it_has_missed() {
    let Some(mut journal) = Journal::listening() else { return };
    let server = journal.serve("");
    server.get("/before");
    assert_eq!(journal.read_with("LSBAWS_OUTCOME")["LSBAWS_TARGET"], "/before");
    journal.remove();
    for _ in 0..5 {
        server.get("/missed");
    }
    server.wait_ended(6); // a child may outlive one that starts later
    ask(server.connect(), "nonsense\r\n\r\n");
    server.wait_ended(7);
    journal.listen();
    for _ in 0..5 {
        assert_eq!(journal.read_with("LSBAWS_OUTCOME")["LSBAWS_TARGET"], "/missed");
    }
    assert_eq!(journal.read_with("LSBAWS_OUTCOME")["LSBAWS_OUTCOME"], "client-error");
    server.get("/after");
    assert_eq!(journal.read_with("LSBAWS_OUTCOME")["LSBAWS_TARGET"], "/after");
}

#[test]
fn replaced_socket_is_found_while_the_old_one_is_full() {
    let Some(mut journal) = Journal::listening() else { return };
    let server = journal.serve("");
    journal.fill();
    server.get("/missed");
    server.wait_ended(1);
    let old = journal.replace();
    assert_eq!(journal.read_with("LSBAWS_OUTCOME")["LSBAWS_TARGET"], "/missed");
    drop(old);
}

#[test]
fn journal_may_come_after_the_daemon() {
    let Some(mut journal) = Journal::missing() else { return };
    let server = journal.serve("");
    for _ in 0..3 {
        assert!(server.get("/").ends_with("Hello, World!\n"));
    }
    server.wait_ended(3);
    journal.listen();
    assert_eq!(journal.read()["MESSAGE_ID"], "86f3a1d04c7b4e0f9a52c8e1b7d36404");
    assert_eq!(journal.read_recorded(3), 0);
    server.get("/later");
    assert_eq!(journal.read_with("LSBAWS_OUTCOME")["LSBAWS_TARGET"], "/later");
    // From now on it may stop.
    journal.fill();
    server.get("/");
    server.get("/");
    server.wait_ended(6);
    assert_eq!(journal.read_recorded(2), 0);
}

#[test]
fn full_journal_does_not_block_the_start() {
    let Some(journal) = Journal::listening() else { return };
    journal.fill();
    let server = journal.serve("");
    assert!(server.get("/").ends_with("Hello, World!\n"));
    server.wait_ended(1);
    assert_eq!(journal.read_recorded(1), 0);
}

#[test]
fn last_words_on_stderr_name_what_is_lost() {
    let Some(journal) = Journal::listening() else { return };
    journal.fill();
    for model in ["fork", "iterative"] {
        let mut server = journal.serve(&format!("[process]\nmodel = '{model}'\n"));
        for _ in 0..3 {
            server.get("/");
        }
        ask(server.connect(), "nonsense\r\n\r\n");
        server.stop();
        let words = "ERROR journal unavailable; lost records: served 3, client-error 1; other messages: 3";
        assert_eq!(server.wait_line("unavailable"), words);
    }
}

#[test]
fn single_connection_is_counted_like_any_other() {
    let Some(journal) = Journal::missing() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let mut server = journal.setup("").socket(connection).names("connection").spawn();
    assert!(ask(client, "GET / HTTP/1.0\r\n\r\n").ends_with("Hello, World!\n"));
    assert_eq!(server.wait().code(), Some(0));
    server.wait_line("ERROR journal unavailable; lost records: served 1; other messages: 0");
}

#[test]
fn stop_waits_a_moment_for_the_journal() {
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
fn stopped_journal_does_not_block_output_of_programs() {
    let Some(journal) = Journal::listening() else { return };
    let folder = make_folder();
    let script = say("i=0; while [ $i -lt 100 ]; do echo x$i >&2; i=$((i+1)); done; echo done");
    write_program(&folder.path().join("loud"), &format!("#!/bin/sh\n{script}\n"));
    let route = format!("handler = 'cgi'\nroot = '{}'\n", folder.path().display());
    let server = journal.serve(&format!("[[service.web.route]]\n{route}"));
    server.get("/none");
    assert_eq!(journal.read_recorded(1), 0);
    journal.fill();
    // The queue has no room for any line. The client receives its response, and the lines are counted.
    assert!(server.get("/loud").contains("done\n"));
    server.wait_ended(2);
    assert_eq!(journal.read_recorded(1), 0);
    assert_eq!(journal.read()["MESSAGE"], "lost 100 other messages, not accepted by the journal");
    // A journal that reads receives all lines.
    let address = server.address();
    let request = "GET /loud HTTP/1.0\r\n\r\n";
    let client = std::thread::spawn(move || ask(connect(address), request));
    for i in 0..100 {
        let entry = journal.read_with("LSBAWS_TARGET");
        assert!(entry["MESSAGE"].ends_with(&format!(": x{i}")), "{entry:?}");
    }
    assert!(client.join().unwrap().contains("done\n"));
}
