//! The attempts, by topic: each is a row of the table in docs/security.md.

pub mod clients;
pub mod endings;
pub mod files;
pub mod kernel;
pub mod messages;
pub mod network;
pub mod processes;
mod slow_clients;
pub mod state;

use std::net::TcpListener;

use crate::arena::{Arena, Kind};
use crate::attacker::Attacker;
use crate::steps::{Seen, Steps};

/// One attempt.
pub struct Row {
    pub name: &'static str,
    pub run: fn(&mut Scene<'_>) -> Seen,
    /// The kinds of children that try it.
    pub kinds: &'static [Kind],
    /// The kinds for which it works, and why it may.
    pub open: &'static [Kind],
    pub why: &'static str,
    /// Denied by Landlock from this ABI on; 0 for every kernel.
    pub landlock: u32,
    /// It needs the log of the daemon, or starts daemons of its own.
    pub needs_own_daemon: bool,
    /// Where it works, the daemon is of no use for other attempts.
    pub spoils: bool,
}

pub const PROGRAMS: &[Kind] = &[Kind::Cgi, Kind::Exec, Kind::App, Kind::Free];
/// What is confined as a service with programs is.
pub const LOOSE: &[Kind] = &[Kind::Mixed, Kind::Cgi, Kind::Exec, Kind::App];
pub const HTTP: &[Kind] = &[Kind::Http, Kind::Mixed];
pub const CONFINED: &[Kind] = &[Kind::Http, Kind::Mixed, Kind::Cgi, Kind::Exec, Kind::App];

/// An attempt that every kind makes, and that must be denied to all but [`Kind::Free`].
pub const fn row(name: &'static str, run: fn(&mut Scene<'_>) -> Seen) -> Row {
    Row {
        name,
        run,
        kinds: &Kind::ALL,
        open: &[],
        why: "",
        landlock: 0,
        needs_own_daemon: false,
        spoils: false,
    }
}

impl Row {
    pub const fn by(self, kinds: &'static [Kind]) -> Self {
        Self { kinds, ..self }
    }

    pub const fn open(self, open: &'static [Kind], why: &'static str) -> Self {
        Self { open, why, ..self }
    }

    pub const fn landlock(self, landlock: u32) -> Self {
        Self { landlock, ..self }
    }

    pub const fn spoils(self) -> Self {
        Self { spoils: true, ..self }
    }

    pub const fn with_own_daemon(self) -> Self {
        Self { needs_own_daemon: true, ..self }
    }
}

/// Every row.
pub fn all() -> Vec<&'static Row> {
    [files::ROWS, processes::ROWS, kernel::ROWS, network::ROWS, state::ROWS, endings::ROWS, messages::ROWS]
        .into_iter()
        .flatten()
        .collect()
}

/// An attempt of one kind of child.
pub struct Scene<'a> {
    pub arena: &'a mut Arena,
    pub attacker: Attacker,
    pub facts: Facts,
    /// Listens at [`Facts::port`].
    listener: &'a TcpListener,
}

/// What the attacker knows.
#[derive(Debug, Clone)]
pub struct Facts {
    pub kind: Kind,
    pub supervisor: i32,
    pub fork_server: i32,
    /// The process of another connection, of the same kind and service.
    pub sibling: i32,
    /// A process of another service.
    pub stranger: i32,
    pub folder: String,
    /// A port of this host on which the test listens.
    pub port: u16,
    /// The standard descriptor, or the descriptor, that is the connection.
    pub connection: i32,
}

impl Facts {
    /// The processes that the attacker must not reach, by what they are to it.
    pub fn targets(&self) -> [(&'static str, i32); 4] {
        [
            ("supervisor", self.supervisor),
            ("fork server", self.fork_server),
            ("another connection", self.sibling),
            ("another service", self.stranger),
        ]
    }

    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }
}

impl<'a> Scene<'a> {
    pub fn new(arena: &'a mut Arena, kind: Kind, listener: &'a TcpListener) -> Self {
        let facts = Facts {
            kind,
            supervisor: arena.supervisor,
            fork_server: arena.fork_server(),
            sibling: arena.victim(kind),
            stranger: arena.victim(kind.stranger()),
            folder: arena.folder().display().to_string(),
            port: listener.local_addr().unwrap().port(),
            connection: if kind.is_program() { 0 } else { 3 },
        };
        let attacker = arena.attacker(kind);
        Self { arena, attacker, facts, listener }
    }

    /// Whether a connection to [`Facts::port`] has arrived.
    pub fn has_arrived(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        self.listener.accept().is_ok()
    }

    /// Lets the attacker execute steps, and judges their goals.
    pub fn attempt(&mut self, add: impl FnOnce(&mut Steps, &Facts)) -> Seen {
        let mut steps = Steps::default();
        add(&mut steps, &self.facts);
        let answer = self.attacker.run(&steps);
        steps.judge(&answer)
    }
}
