//! The status socket: a process that connects sends one line, gets a report of what is going on, and is disconnected. The
//! report is a sealed memory file, whose descriptor is sent. The supervisor waits for nothing here.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::geteuid;

use super::Supervisor;
use super::report::Parts;
use super::tokens::Tokens;
use crate::connection::{Connection, Peer};
use crate::journal;
use crate::listen::Listener;
use crate::listen::address::Mode;
use crate::listen::bind::bind_file;
use crate::status::GREETING;
use crate::status::control::ControlRequest;
use crate::sys::{self, Patience};

/// Connections at once, and in each second. More wait in the backlog.
const CONNECTIONS: u32 = 32;
/// How long a process may take to send its line. Then it gets its report without one.
const LINE_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of the longest line, and more.
const LINE_MAX: usize = 16;
/// Only its owner, and root.
const MODE: Mode = Mode(0o600);

#[derive(Debug)]
pub(crate) struct StatusSocket {
    path: PathBuf,
    listener: Listener,
    tokens: Tokens,
    /// Those that have not sent their line.
    callers: Vec<Caller>,
    /// accept(2) has failed, or there were too many connections.
    paused_until: Option<Instant>,
}

/// A process that may read the report.
#[derive(Debug)]
struct Caller {
    socket: OwnedFd,
    peer: Peer,
    /// What it has sent.
    line: Vec<u8>,
    until: Instant,
}

impl Caller {
    /// What it asks for, once that has arrived. A process that sends nothing asks for the report; one that sends something else
    /// gets nothing: `Some(None)`. It must not believe that the daemon drains.
    fn receive_request(&mut self, now: Instant) -> Option<Option<ControlRequest>> {
        let mut received = [0; LINE_MAX];
        let length = recv(self.socket.as_raw_fd(), &mut received, MsgFlags::MSG_DONTWAIT);
        self.line.extend_from_slice(&received[..length.unwrap_or(0)]);
        let is_complete = self.line.ends_with(b"\n") || self.line.len() >= LINE_MAX || length == Ok(0);
        (is_complete || now >= self.until).then(|| match &self.line[..] {
            b"" => Some(ControlRequest::Status),
            line => ControlRequest::from_line(line),
        })
    }
}

impl StatusSocket {
    /// Binds it. The daemon serves without it as well: a failure is logged.
    pub(crate) fn open(path: &Path, now: Instant) -> Option<Self> {
        match bind_file("status", path, MODE) {
            Ok(listener) => {
                let tokens = Tokens::new(CONNECTIONS, now);
                let callers = Vec::new();
                Some(Self { path: path.to_owned(), listener, tokens, callers, paused_until: None })
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

    /// What to poll: the callers, and the listener if connections are accepted now.
    pub(crate) fn polled(&self, now: Instant) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listener = self.paused_until.is_none_or(|until| now >= until).then(|| self.listener.as_fd());
        listener.into_iter().chain(self.callers.iter().map(|caller| caller.socket.as_fd()))
    }

    /// When the pause ends, or the time of a caller.
    pub(crate) fn next_event(&self, now: Instant) -> Option<Instant> {
        let pause = self.paused_until.filter(|&until| until > now);
        pause.into_iter().chain(self.callers.iter().map(|caller| caller.until)).min()
    }

    /// The time of a caller is over.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.callers.iter().any(|caller| now >= caller.until)
    }

    /// Accepts connections of processes that may read the report.
    fn accept(&mut self, now: Instant) {
        while self.tokens.next(now) <= now {
            match self.listener.accept() {
                Ok(Some(Connection { socket, identity })) => {
                    self.tokens.take(now);
                    if may_read(&identity.peer) {
                        let (line, until) = (Vec::new(), now + LINE_TIMEOUT);
                        self.callers.push(Caller { socket, peer: identity.peer, line, until });
                    }
                }
                Ok(None) => return,
                Err(_) => break,
            }
        }
        self.paused_until = Some(self.tokens.next(now).max(now + Duration::from_millis(100)));
    }

    /// The next caller that has sent its line, or whose time is over, and its request.
    fn take_request(&mut self, now: Instant) -> Option<(Caller, Option<ControlRequest>)> {
        let request = |(index, caller): (usize, &mut Caller)| Some((index, caller.receive_request(now)?));
        let (index, request) = self.callers.iter_mut().enumerate().find_map(request)?;
        Some((self.callers.swap_remove(index), request))
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
            drain: self.lifecycle.drain_cause(),
            started: self.started,
            reloads,
            failed_reloads,
        };
        self.reporter.report(parts, now)
    }

    /// Does what processes ask for that have connected, and sends them a report.
    pub(super) fn answer_callers(&mut self, now: Instant) {
        if let Some(socket) = &mut self.status_socket {
            socket.accept(now);
        }
        while let Some((caller, request)) =
            self.status_socket.as_mut().and_then(|socket| socket.take_request(now))
        {
            match request {
                None => continue,
                Some(ControlRequest::Status) => {}
                Some(ControlRequest::Drain) => self.request_drain(true, &caller.peer, now),
                Some(ControlRequest::Undrain) => self.request_drain(false, &caller.peer, now),
            }
            if let Some(file) = self.report(now) {
                // A new connection has room for it, unless its peer has gone.
                let _ = sys::send_message(caller.socket.as_fd(), GREETING, &[file.as_fd()], Patience::Never);
            }
        }
    }
}

/// Root may read the report, and drain the daemon, and so may the user of the daemon; but no process of a service that runs as
/// one of these: it must not learn what others do, nor take the host out of service. Those cannot gain privileges
/// (no_new_privs), which a process of the administrator can.
fn may_read(peer: &Peer) -> bool {
    match *peer {
        Peer::Unix { uid, pid } => {
            (uid == 0 || uid == geteuid().as_raw()) && can_gain_privileges(pid).unwrap_or(false)
        }
        Peer::Inet(_) | Peer::Unknown => false,
    }
}

/// By proc_pid_status(5).
fn can_gain_privileges(pid: i32) -> io::Result<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(status.lines().any(|line| line == "NoNewPrivs:\t0"))
}
