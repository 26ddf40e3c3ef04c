//! Starts the daemon with listening sockets and a notification socket.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

#[path = "caller.rs"]
mod caller;
#[path = "clients.rs"]
mod clients;
#[path = "datagrams.rs"]
mod datagrams;
#[path = "processes.rs"]
mod processes;
#[path = "record.rs"]
mod record;
#[path = "setup.rs"]
mod setup;
#[path = "waiting.rs"]
mod waiting;
#[allow(unused_imports)] // tests/soak uses fewer
pub use caller::*;
#[allow(unused_imports)] // tests/soak uses fewer
pub use clients::*;
#[allow(unused_imports)] // tests/soak uses fewer
pub use datagrams::*;
#[allow(unused_imports)] // tests/soak uses fewer
pub use record::{Record, split_stamp, unstamped};
pub use setup::Setup;
pub use waiting::*;

pub const LSBAWS: &str = env!("CARGO_BIN_EXE_lsbaws");

/// A daemon that serves `config` on one listener `web` at a free port of 127.0.0.1.
pub fn serve(config: &str) -> Server {
    Setup::new(config).serve()
}

/// A running daemon.
pub struct Server {
    process: Child,
    /// Holds the configuration and the notification socket.
    folder: TempDir,
    notify: UnixDatagram,
    lines: Receiver<String>,
    #[allow(dead_code)] // for tests/soak
    is_paused: Arc<AtomicBool>,
    address: Option<SocketAddr>,
}

impl Server {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// Replaces the configuration file and reloads it.
    pub fn reload(&self, config: &str) {
        fs::write(self.folder.path().join("lsbaws.toml"), config).unwrap();
        self.signal(Signal::SIGHUP);
    }

    pub fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address())
    }

    /// The whole response to a GET.
    pub fn get(&self, target: &str) -> String {
        ask(self.connect(), &format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
    }

    /// Fills the notification socket.
    pub fn fill_notifications(&self) {
        fill(&self.folder.path().join("notify"));
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// The value of the next notification that begins with `name`.
    pub fn wait_notified(&self, name: &str) -> String {
        loop {
            let text = self.notification(name);
            if let Some(value) = text.lines().find_map(|line| line.strip_prefix(name)) {
                return value.to_owned();
            }
        }
    }

    /// The next notification that contains `part`.
    pub fn notification_with(&self, part: &str) -> String {
        loop {
            let text = self.notification(part);
            if text.contains(part) {
                return text;
            }
        }
    }

    /// The next notification. `what` is waited for.
    fn notification(&self, what: &str) -> String {
        let mut buffer = [0; 4096];
        let received = receive(&self.notify, &mut buffer);
        let length = received.unwrap_or_else(|error| panic!("no {what} came: {error}; {:?}", self.rest()));
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// Waits for a status text with so many ended connections.
    pub fn wait_ended(&self, connections: usize) {
        let words = format!(" ended {connections}");
        while !self.wait_notified("STATUS=").ends_with(&words) {}
    }

    /// The next line on standard error that contains `part`.
    pub fn wait_line(&self, part: &str) -> String {
        loop {
            let line = self
                .lines
                .recv_timeout(TIMEOUT)
                .unwrap_or_else(|error| panic!("no line with {part:?} came: {error}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The same, where no line before it contains `other`.
    pub fn wait_line_without(&self, part: &str, other: &str) -> String {
        loop {
            let line = self.wait_line("");
            assert!(!line.contains(other), "{line}");
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The next line on standard error that contains `part`, if it comes in time.
    #[allow(dead_code)] // for tests/attacks
    pub fn line_within(&self, part: &str, time: Duration) -> Option<String> {
        let end = std::time::Instant::now() + time;
        loop {
            let line =
                self.lines.recv_timeout(end.saturating_duration_since(std::time::Instant::now())).ok()?;
            if line.contains(part) {
                return Some(line);
            }
        }
    }

    /// The next record of a connection.
    pub fn record(&self) -> Record {
        Record::parse(&self.wait_line(" outcome="))
    }

    /// The next record of a connection whose last request was for `target`.
    pub fn record_of(&self, target: &str) -> Record {
        loop {
            let record = Record::parse(&self.wait_line(" outcome="));
            if record.get("target") == target {
                return record;
            }
        }
    }

    /// Waits until the records, and the counts of suppressed records, add up to so many connections. Returns the number
    /// of records.
    pub fn wait_recorded(&self, connections: usize) -> usize {
        let (mut single, mut suppressed) = (0, 0);
        while single + suppressed < connections {
            let line = self.wait_line(" outcome=");
            match line.split_once(" count=") {
                Some((_, count)) => suppressed += count.parse::<usize>().unwrap(),
                None => single += 1,
            }
        }
        assert_eq!(single + suppressed, connections);
        single
    }

    /// The lines that have arrived on standard error.
    pub fn rest(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Stops or continues reading standard error.
    #[allow(dead_code)] // for tests/soak
    pub fn pause_reading(&self, must_pause: bool) {
        self.is_paused.store(must_pause, Relaxed);
    }

    /// The remaining lines of standard error, up to its end.
    pub fn lines_to_end(&self) -> Vec<String> {
        self.lines.iter().collect()
    }

    pub fn count_fds(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Waits until the daemon sleeps, which it does only in poll(2).
    pub fn wait_idle(&self) {
        let stat = format!("/proc/{}/stat", self.pid());
        wait_until("the daemon sleeps", || fs::read_to_string(&stat).unwrap().contains(") S "));
    }

    /// Waits for the exit of the daemon.
    pub fn wait(&mut self) -> ExitStatus {
        wait_dead(self.pid());
        self.process.wait().unwrap()
    }

    /// Sends SIGTERM and asserts exit code 0.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.wait().code(), Some(0));
    }
}

/// Kills the children too, which would otherwise sleep on in their delays.
impl Drop for Server {
    fn drop(&mut self) {
        // Stopped first, so that no fork server is started again; then the fork servers, which are among the children, so that
        // no child is forked after the list.
        let _ = kill(self.pid(), Signal::SIGSTOP);
        for _ in 0..2 {
            for child in list_children(self.pid()) {
                let _ = kill(child, Signal::SIGKILL);
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The children of a process, from the oldest on.
fn list_children(pid: Pid) -> Vec<Pid> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

/// The program with the shipped configuration, which has the defaults.
pub fn lsbaws() -> Command {
    let mut command = command(LSBAWS);
    command.env("LSBAWS_CONFIG", concat!(env!("CARGO_MANIFEST_DIR"), "/etc/lsbaws.toml"));
    command
}
