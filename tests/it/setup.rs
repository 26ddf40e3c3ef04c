//! How the daemon is started.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::socket::{Backlog, listen};

use super::{LSBAWS, Server, TIMEOUT, command, fill, make_folder, record};

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
    program: PathBuf,
    sockets: Vec<OwnedFd>,
    names: Option<&'static str>,
    user: Option<u32>,
    /// Of `serve`.
    arguments: Vec<String>,
}

impl Setup {
    /// A daemon with this configuration and no sockets.
    pub fn new(config: &str) -> Self {
        Self {
            config: config.into(),
            prelude: String::new(),
            program: LSBAWS.into(),
            sockets: Vec::new(),
            names: None,
            user: None,
            arguments: Vec::new(),
        }
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

    /// Another file of the program.
    #[allow(dead_code)] // for tests/it
    pub fn program(mut self, program: &Path) -> Self {
        self.program = program.into();
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
        fs::set_permissions(folder.path().join("notify"), fs::Permissions::from_mode(0o777)).unwrap();

        prepare(&folder.path().join("notify"));
        let script = format!("{CLOSE_OTHERS}\nunset FIRST link number\n{}\n{WITH_LISTEN_PID}", self.prelude);
        let mut command = command("bash");
        command.env("FIRST", (3 + self.sockets.len()).to_string());
        command.args(["-euc", &script, "bash"]).arg(self.program);
        command.arg("-c").arg(&config).arg("serve").args(self.arguments);
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
