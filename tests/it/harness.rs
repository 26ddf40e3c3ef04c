//! Starts the daemon with listening sockets and a notification socket.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{Backlog, listen};
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
pub use waiting::*;

pub const LSBAWS: &str = env!("CARGO_BIN_EXE_lsbaws");

/// Closes the descriptors that the caller left open: those from $FIRST on.
const CLOSE_OTHERS: &str =
    r#"for link in /proc/$$/fd/*; do number=${link##*/}; ((number < FIRST)) || exec {number}>&-; done"#;

/// LISTEN_PID is the PID of the shell, which becomes the daemon by exec.
const WITH_LISTEN_PID: &str = r#"LISTEN_PID=$$ exec "$@""#;

/// The parameters of a daemon.
pub struct Setup {
    config: String,
    /// Shell commands before the daemon, such as ulimit.
    prelude: String,
    sockets: Vec<OwnedFd>,
    names: Option<&'static str>,
    user: Option<u32>,
    /// Of `serve`.
    arguments: Vec<String>,
}

impl Setup {
    /// A daemon with this configuration and no sockets.
    pub fn new(config: &str) -> Self {
        let (prelude, sockets) = (String::new(), Vec::new());
        Self { config: config.into(), prelude, sockets, names: None, user: None, arguments: Vec::new() }
    }

    /// Adds a socket that the daemon inherits.
    pub fn socket(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.sockets.push(socket.into());
        self
    }

    pub fn names(mut self, names: &'static str) -> Self {
        self.names = Some(names);
        self
    }

    /// Adds arguments of `serve`.
    #[allow(dead_code)] // for tests/it
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub fn prelude(mut self, prelude: &str) -> Self {
        self.prelude = prelude.into();
        self
    }

    pub fn user(mut self, uid: u32) -> Self {
        self.user = Some(uid);
        self
    }

    /// Starts the daemon and waits for READY=1.
    pub fn start(self) -> Server {
        let server = self.spawn();
        assert_eq!(server.wait_notified("READY="), "1");
        server
    }

    /// Starts the daemon without waiting for READY=1.
    pub fn spawn(self) -> Server {
        self.spawn_with(|_| ())
    }

    /// The same, after `prepare` was called with the notification socket.
    fn spawn_with(self, prepare: impl FnOnce(&Path)) -> Server {
        let folder = make_folder();
        let config = folder.path().join("lsbaws.toml");
        fs::write(&config, &self.config).unwrap();
        let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(TIMEOUT)).unwrap();
        fs::set_permissions(
            folder.path().join("notify"),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )
        .unwrap();

        prepare(&folder.path().join("notify"));
        let script = format!("{CLOSE_OTHERS}\nunset FIRST link number\n{}\n{WITH_LISTEN_PID}", self.prelude);
        let mut command = command("bash");
        command.env("FIRST", (3 + self.sockets.len()).to_string());
        command.args(["-euc", &script, "bash", LSBAWS, "-c"]).arg(&config).arg("serve").args(self.arguments);
        command.env("NOTIFY_SOCKET", folder.path().join("notify"));
        if !self.sockets.is_empty() {
            command.env("LISTEN_FDS", self.sockets.len().to_string());
        }
        if let Some(names) = self.names {
            command.env("LISTEN_FDNAMES", names);
        }
        let numbers = 3..;
        let mapping = self
            .sockets
            .into_iter()
            .zip(numbers)
            .map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mapping.collect()).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some(uid) = self.user {
            command.uid(uid).gid(uid);
        }
        let mut process = command.spawn().unwrap();
        let stderr = process.stderr.take().unwrap();
        let (sender, lines) = channel();
        let is_paused = Arc::new(AtomicBool::new(false));
        let must_pause = Arc::clone(&is_paused);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                while must_pause.load(Relaxed) {
                    thread::park_timeout(Duration::from_millis(10));
                }
                if sender.send(record::unstamped(&line.unwrap()).to_owned()).is_err() {
                    return;
                }
            }
        });
        Server { process, folder, notify, lines, is_paused, address: None }
    }
}

/// A daemon that serves `config` on one listener `web` at a free port of 127.0.0.1.
pub fn serve(config: &str) -> Server {
    Setup::new(config).serve()
}

impl Setup {
    /// Adds a listener `web` at a free port of 127.0.0.1, and starts.
    pub fn serve(self) -> Server {
        let (setup, address) = self.listen();
        let mut server = setup.start();
        server.address = Some(address);
        server
    }

    /// The same with a full notification socket, which is not read.
    pub fn serve_unread(self) -> Server {
        let (setup, address) = self.listen();
        let mut server = setup.spawn_with(fill);
        server.address = Some(address);
        server
    }

    fn listen(self) -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // The backlog of std, 128, is too short for tests with many clients.
        listen(&listener, Backlog::new(4096).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        (self.socket(listener).names("web"), address)
    }
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
