//! The one record of each connection, written when its process has ended or it was refused one.

use std::fmt;
use std::time::Duration;

use nix::sys::signal::Signal;
use tracing::Level;

use super::ledger::{self, Kind};
use super::{CONNECTION_ENDED, CONNECTION_KILLED, CONNECTION_REFUSED};
use crate::capacity::Wall;
use crate::connection::Identity;
use crate::limits::Rlimit;
use crate::outcome::{Outcome, TerminatedBy};
use crate::scoreboard::{ProgramEnd, Snapshot};
use crate::source::Source;
use crate::sys::{Exit, Usage};

/// What became of one connection.
#[derive(Debug)]
pub struct Record<'a> {
    pub identity: &'a Identity,
    pub service: &'a str,
    pub handler: Option<&'static str>,
    pub pid: i32,
    pub exit: Exit,
    /// The exit code is that of a program that the child has become, not an outcome.
    pub is_program: bool,
    pub terminated_by: Option<TerminatedBy>,
    /// Processes of its program were left, and have been told to end.
    pub left_behind: bool,
    /// The limit of the service at which the kernel has ended it, or its program.
    pub limit: Option<&'a Rlimit>,
    pub usage: Usage,
    pub wall: Duration,
    pub told: Snapshot,
}

/// Writes, or counts, the one record of a connection whose process has ended.
pub fn record_connection(record: &Record<'_>) {
    let outcome = match record.exit {
        Exit::Exited(0) => Some(Outcome::Served),
        Exit::Exited(code) if !record.is_program => Outcome::from_code(code),
        _ => None,
    };
    let kind = match (record.exit, outcome) {
        (Exit::Killed { .. }, _) => Kind::Killed,
        (Exit::Exited(_), Some(outcome)) => Kind::Ended(outcome),
        (Exit::Exited(_), None) => Kind::Ended(Outcome::HandlerError), // a program's own exit code
    };
    let level = level_of(record, outcome);
    let now = record.identity.accepted_at + record.wall;
    ledger::record(kind, level, now, || write_connection(record, outcome, kind, level));
}

fn write_connection(record: &Record<'_>, outcome: Option<Outcome>, kind: Kind, level: Level) {
    let Record { identity, usage, told, .. } = record;
    let (message_id, end, exit_code, signal) = match record.exit {
        Exit::Exited(code) => (CONNECTION_ENDED, "exited", Some(code), None),
        Exit::Killed { signal, dumped: true } => {
            (CONNECTION_KILLED, "dumped", None, Some(signal_name(signal)))
        }
        Exit::Killed { signal, dumped: false } => {
            (CONNECTION_KILLED, "killed", None, Some(signal_name(signal)))
        }
    };
    let program = told.program.map(describe_program);
    // What a program sends and receives, nobody counts.
    let bytes = |count: u64| (!record.is_program).then_some(count);
    // The level is part of a call site, so each level has its own.
    macro_rules! write_record {
        ($level:expr) => {
            tracing::event!(
                $level,
                MESSAGE_ID = message_id,
                LSBAWS_CONNECTION = %identity.id,
                LSBAWS_LISTENER = &*identity.listener,
                LSBAWS_SERVICE = record.service,
                LSBAWS_HANDLER = record.handler,
                LSBAWS_PEER = %identity.peer,
                LSBAWS_PID = record.pid,
                LSBAWS_END = end,
                LSBAWS_EXIT_CODE = exit_code,
                LSBAWS_SIGNAL = signal.as_deref(),
                LSBAWS_OUTCOME = kind.word(),
                LSBAWS_LEFT_BEHIND = record.left_behind.then_some("yes"),
                LSBAWS_ENDED_BY = record.terminated_by.map(tracing::field::display),
                LSBAWS_LIMIT = record.limit.map(|limit| limit.key),
                LSBAWS_WALL_USEC = micros(record.wall),
                LSBAWS_USER_USEC = micros(usage.user),
                LSBAWS_SYSTEM_USEC = micros(usage.system),
                LSBAWS_MAXRSS_KB = usage.max_rss_kib,
                LSBAWS_MINOR_FAULTS = usage.minor_faults,
                LSBAWS_REQUESTS = (!record.is_program).then_some(told.requests),
                LSBAWS_BYTES_IN = bytes(told.bytes_in),
                LSBAWS_BYTES_OUT = bytes(told.bytes_out),
                LSBAWS_METHOD = told.method.as_deref(),
                LSBAWS_TARGET = told.target.as_deref(),
                LSBAWS_STATUS = told.status,
                LSBAWS_PHASE = %told.phase,
                LSBAWS_PROGRAM_END = program.as_deref(),
                "{}", Sentence { record, outcome, signal: signal.as_deref() }
            )
        };
    }
    match level {
        Level::ERROR => write_record!(Level::ERROR),
        Level::WARN => write_record!(Level::WARN),
        _ => write_record!(Level::INFO),
    };
}

/// How much a person should care: a crash is an error, a handler's failure a warning.
fn level_of(record: &Record<'_>, outcome: Option<Outcome>) -> Level {
    match (record.exit, outcome) {
        _ if record.terminated_by.is_some() => Level::WARN,
        (Exit::Exited(_), Some(Outcome::Served | Outcome::ClientError | Outcome::Refused)) => Level::INFO,
        (Exit::Exited(_), Some(Outcome::HandlerError) | None) => Level::WARN,
        _ => Level::ERROR,
    }
}

/// The record as a person reads it.
struct Sentence<'a> {
    record: &'a Record<'a>,
    outcome: Option<Outcome>,
    signal: Option<&'a str>,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { identity, told, wall, exit, terminated_by, .. } = self.record;
        write!(f, "{}: ", identity.peer)?;
        match (&told.method, &told.target) {
            (Some(method), Some(target)) => write!(f, "{method} {target}")?,
            (None, Some(line)) => write!(f, "\"{line}\"")?,
            _ if self.record.is_program => f.write_str(self.record.service)?,
            _ => f.write_str("no request")?,
        }
        if let Some(status) = told.status {
            write!(f, " -> {status}")?;
        }
        let phase = told.phase;
        match (self.signal, self.outcome, exit) {
            (Some(signal), ..) => write!(f, ", child killed by {signal} while {phase}"),
            // Nothing was asked for.
            (_, Some(Outcome::Served), _) if told.requests == 0 && !self.record.is_program => Ok(()),
            (_, Some(Outcome::Served), _) => f.write_str(", served"),
            (_, Some(Outcome::ClientError), _) => write!(f, ", the client's fault while {phase}"),
            (_, Some(Outcome::HandlerError), _) => write!(f, ", the handler's fault while {phase}"),
            (_, Some(Outcome::Refused), _) => f.write_str(", refused by policy"),
            (_, Some(Outcome::Bug), _) => write!(f, ", a bug in lsbaws while {phase}"),
            (_, Some(Outcome::SystemError), _) => {
                write!(f, ", the system refused something while {phase}")
            }
            (_, Some(Outcome::ConfigError), _) => f.write_str(", the configuration cannot work"),
            (_, None, Exit::Exited(code)) => write!(f, ", the program ended with exit code {code}"),
            (_, None, Exit::Killed { .. }) => Ok(()),
        }?;
        if let Some(end) = told.program.filter(|&end| end != ProgramEnd::Exited(0)) {
            write!(f, " (its program: {})", describe_program(end))?;
        }
        if let Some(limit) = self.record.limit {
            write!(f, " (the service's {} is {})", limit.key, limit.shown)?;
        }
        f.write_str(match terminated_by {
            Some(TerminatedBy::Deadline) => " (ended by lsbaws: max_duration has passed)",
            Some(TerminatedBy::Drain) => " (ended by lsbaws: process.drain_timeout has passed)",
            Some(TerminatedBy::Stop) => " (ended by lsbaws: told to stop at once)",
            None => "",
        })?;
        if self.record.left_behind {
            f.write_str(" (processes that its program left behind were told to end)")?;
        }
        write!(f, ", after {:.3} ms", wall.as_secs_f64() * 1e3)
    }
}

/// Why a connection got no process, and how it was answered.
#[derive(Debug)]
pub struct Refused<'a> {
    pub identity: &'a Identity,
    pub service: &'a str,
    /// None: it was closed, without any word of HTTP.
    pub status: Option<u16>,
    pub outcome: Outcome,
    /// The limit that was met, in a word.
    pub reason: &'static str,
    pub source: Option<Source>,
    /// The reason in a few words.
    pub sentence: fmt::Arguments<'a>,
    pub wall: Option<&'a Wall>,
}

/// Writes, or counts, the one record of a connection that got no process.
pub fn record_refusal(refused: &Refused<'_>) {
    let Refused { identity, status, sentence, .. } = refused;
    let how = status.map_or("closed".to_owned(), |status| format!("refused with {status}"));
    let wall = identity.accepted_at.elapsed();
    let kind = Kind::Ended(refused.outcome);
    // The level is part of a call site, so each level has its own.
    macro_rules! write_record {
        ($level:expr) => {
            ledger::record(kind, $level, identity.accepted_at + wall, || {
                tracing::event!(
                    $level,
                    MESSAGE_ID = CONNECTION_REFUSED,
                    LSBAWS_CONNECTION = %identity.id,
                    LSBAWS_LISTENER = &*identity.listener,
                    LSBAWS_SERVICE = refused.service,
                    LSBAWS_PEER = %identity.peer,
                    LSBAWS_END = "refused",
                    LSBAWS_OUTCOME = kind.word(),
                    LSBAWS_REASON = refused.reason,
                    LSBAWS_SOURCE = refused.source.map(tracing::field::display),
                    LSBAWS_WALL_USEC = micros(wall),
                    LSBAWS_STATUS = *status,
                    LSBAWS_WALL = refused.wall.map(|wall| wall.name.as_str()),
                    LSBAWS_WALL_LIMIT = refused.wall.map(|wall| wall.limit),
                    LSBAWS_WALL_USED = refused.wall.map(|wall| wall.used),
                    "{}: {how}, {sentence}",
                    identity.peer
                );
            })
        };
    }
    match refused.outcome {
        Outcome::Refused => write_record!(Level::INFO),
        _ => write_record!(Level::WARN),
    }
}

fn describe_program(end: ProgramEnd) -> String {
    match end {
        ProgramEnd::Running => "still running".to_owned(),
        ProgramEnd::Exited(code) => format!("exit code {code}"),
        ProgramEnd::Killed(signal) => format!("killed by {}", signal_name(signal)),
    }
}

fn signal_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
