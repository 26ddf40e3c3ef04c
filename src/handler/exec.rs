//! The protocol `exec`: the child becomes a program, with the connection on its standard input and output
//! (inetd(8), "nowait").

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::SigSet;
use nix::sys::socket::{SockaddrStorage, getsockname};

use crate::child::outcome::Outcome;
use crate::connection::{Connection, Peer};
use crate::journal;
use crate::scoreboard::{Phase, Slot};

/// Where programs look for others, unless `environment` says something else.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that serves connections.
#[derive(Debug)]
pub struct Exec {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub directory: PathBuf,
    /// Besides the variables that describe the connection.
    pub environment: Vec<(String, String)>,
}

impl Exec {
    /// Becomes the program: returns only if that fails, after telling why. To be called in a child that holds
    /// nothing but the connection and the standard descriptors.
    ///
    /// The program gets a process group of its own, an empty signal mask, all signals at their defaults
    /// (those that were ignored at the start are reset by the parent; SIGPIPE by the standard library's
    /// exec), and a clean environment. Standard error stays that of the daemon: the journal.
    pub fn become_program(&self, connection: &Connection, service: &str, slot: &Slot) -> Outcome {
        slot.enter(Phase::Program);
        let error = match self.exec(connection) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        slot.enter(Phase::Starting);
        let error = match self.directory.is_dir() {
            true => error,
            false => {
                io::Error::other(format!("its directory {} is missing: {error}", self.directory.display()))
            }
        };
        journal::note_program_failed(&connection.identity, service, &self.program, &error);
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::EACCES | libc::ENOEXEC | libc::ENOTDIR) => Outcome::Config,
            _ => Outcome::System,
        }
    }

    fn exec(&self, connection: &Connection) -> io::Result<std::convert::Infallible> {
        let socket = connection.socket.as_fd();
        let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
        fcntl(socket, FcntlArg::F_SETFL(flags & !OFlag::O_NONBLOCK))?;
        let standard = || socket.try_clone_to_owned().map(Stdio::from);
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env_clear()
            .env("PATH", PATH)
            .envs(describe_connection(connection))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(standard()?)
            .stdout(standard()?);
        SigSet::empty().thread_set_mask()?;
        Err(command.exec())
    }
}

/// The variables by which programs know their peer: those of systemd.exec(5) and of UCSPI-TCP 1.0, and the
/// connection's id, by which its record is found.
pub fn describe_connection(connection: &Connection) -> Vec<(&'static str, String)> {
    let mut variables = vec![("UNIQUE_ID", connection.identity.id.to_string())];
    match connection.identity.peer {
        Peer::Inet(peer) => {
            let (address, port) = (peer.ip().to_string(), peer.port().to_string());
            variables.extend([
                ("PROTO", "TCP".to_owned()),
                ("TCPREMOTEIP", address.clone()),
                ("TCPREMOTEPORT", port.clone()),
                ("REMOTE_ADDR", address),
                ("REMOTE_PORT", port),
            ]);
            if let Some((address, port)) = local_address(connection.socket.as_fd()) {
                variables.extend([("TCPLOCALIP", address), ("TCPLOCALPORT", port.to_string())]);
            }
        }
        Peer::Unix { uid, pid } => variables.extend([
            ("PROTO", "IPC".to_owned()),
            ("IPCREMOTEEUID", uid.to_string()),
            ("IPCREMOTEPID", pid.to_string()),
        ]),
        Peer::Unknown => {}
    }
    variables
}

/// The address and port of our end, of an Internet socket.
pub fn local_address(socket: BorrowedFd<'_>) -> Option<(String, u16)> {
    use std::os::fd::AsRawFd;
    let address = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok()?;
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some((v4.ip().to_string(), v4.port())),
        (_, Some(v6)) => Some((v6.ip().to_canonical().to_string(), v6.port())),
        _ => None,
    }
}
