//! The status socket: a process that connects gets a report of what is going on. The supervisor reads nothing from it and
//! waits for nothing: it sends the descriptor of a sealed memory file, and closes.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use super::Supervisor;
use super::report::Parts;
use super::tokens::Tokens;
use crate::connection::Peer;
use crate::journal;
use crate::listen::Listener;
use crate::listen::address::Mode;
use crate::listen::bind::bind_file;
use crate::status::GREETING;
use crate::sys::{self, Patience};

/// Connections at once, and in each second. More wait in the backlog.
const CONNECTIONS: u32 = 32;
/// Only its owner, and root.
const MODE: Mode = Mode(0o600);

#[derive(Debug)]
pub(crate) struct StatusSocket {
    path: PathBuf,
    listener: Listener,
    tokens: Tokens,
    /// accept(2) has failed, or there were too many connections.
    paused_until: Option<Instant>,
}

impl StatusSocket {
    /// Binds it. The daemon serves without it as well: a failure is logged.
    pub(crate) fn open(path: &Path, now: Instant) -> Option<Self> {
        match bind_file("status", path, MODE) {
            Ok(listener) => {
                let tokens = Tokens::new(CONNECTIONS, now);
                Some(Self { path: path.to_owned(), listener, tokens, paused_until: None })
            }
            Err(error) => {
                let path = path.display();
                journal::log_warning(&format!("unable to listen on {path} (process.status_socket): {error}"));
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What to poll, if connections are accepted now.
    pub(crate) fn polled(&self, now: Instant) -> Option<BorrowedFd<'_>> {
        self.paused_until.is_none_or(|until| now >= until).then(|| self.listener.as_fd())
    }

    /// When the pause ends.
    pub(crate) fn next_event(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|&until| until > now)
    }
}

impl Supervisor {
    /// Opens the status socket where the settings want it.
    pub(super) fn open_status_socket(&mut self, now: Instant) {
        let path = self.settings.status_socket.as_deref();
        if self.status_socket.as_ref().map(StatusSocket::path) != path {
            // The old one first: its file may be in the way.
            self.status_socket = None;
            self.status_socket = path.and_then(|path| StatusSocket::open(path, now));
        }
    }

    /// A report of the status, in a sealed memory file. None: there is no memory for it.
    pub(super) fn report(&mut self, now: Instant) -> Option<&Arc<OwnedFd>> {
        let (reloads, failed_reloads) = self.reloads;
        let parts = Parts {
            connections: &mut self.connections,
            listeners: &self.listeners,
            services: &self.settings.services,
            model: self.settings.process.model,
            state: self.lifecycle.word(),
            started: self.started,
            reloads,
            failed_reloads,
        };
        self.reporter.report(parts, now)
    }

    /// Sends a report to those that have connected.
    pub(super) fn report_to_callers(&mut self, now: Instant) {
        let Some(mut socket) = self.status_socket.take() else { return };
        while socket.tokens.take(now) {
            match socket.listener.accept() {
                Ok(Some(connection)) if may_read(&connection.identity.peer) => {
                    if let Some(file) = self.report(now) {
                        // A new connection has room for it, unless its peer has gone.
                        let to = connection.socket.as_fd();
                        let _ = sys::send_message(to, GREETING, &[file.as_fd()], Patience::Never);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.status_socket = Some(socket);
                    return;
                }
                Err(_) => break,
            }
        }
        socket.paused_until = Some(socket.tokens.next(now).max(now + Duration::from_millis(100)));
        self.status_socket = Some(socket);
    }
}

/// Root may read the report, and the user of the daemon, but no process of a service that runs as this user: it must not
/// learn what others do. Those cannot gain privileges (no_new_privs), which a process of the administrator can.
fn may_read(peer: &Peer) -> bool {
    match *peer {
        Peer::Unix { uid: 0, .. } => true,
        Peer::Unix { uid, pid } => uid == geteuid().as_raw() && can_gain_privileges(pid).unwrap_or(false),
        Peer::Inet(_) | Peer::Unknown => false,
    }
}

/// By proc_pid_status(5).
fn can_gain_privileges(pid: i32) -> io::Result<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(status.lines().any(|line| line == "NoNewPrivs:\t0"))
}
