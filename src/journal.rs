//! The records: what goes to the journal, or to standard error where there is none. This is the only
//! place that names journal fields. Every MESSAGE_ID has its text in `systemd/lsbaws.catalog`.

use std::fmt;
use std::io;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use nix::sys::signal::Signal;
use tracing::Level;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format;
use tracing_subscriber::prelude::*;

use crate::child::outcome::Outcome;
use crate::config;
use crate::connection::Identity;
use crate::scoreboard::{ProgramEnd, Testimony};
use crate::sys::{Exit, Usage};

/// Where records go, for children, which have closed the parent's way there.
static IS_JOURNAL: AtomicBool = AtomicBool::new(false);

/// What `journalctl -t` filters by.
const IDENTIFIER: &str = "lsbaws";

const CONNECTION_ENDED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36401";
const CONNECTION_KILLED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36402";
const CONNECTION_REFUSED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36403";
const READY: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36404";
const DRAINING: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36405";
const STOPPED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36406";
const ACCEPT_EXHAUSTED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36407";
const FORK_EXHAUSTED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36408";
const PROGRAM_FAILED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36409";
const PROGRAM_OUTPUT: &str = "86f3a1d04c7b4e0f9a52c8e1b7d3640a";

/// Opens the journal, or standard error where `target` says so or no journal is at hand.
///
/// `stderr_is_peer`: standard error was the connection itself (inetd), so that nothing may go there and
/// the journal is asked whatever `auto` would find.
pub fn open(target: config::LogTarget, level: config::Level, stderr_is_peer: bool) -> io::Result<()> {
    let level = match level {
        config::Level::Error => LevelFilter::ERROR,
        config::Level::Warn => LevelFilter::WARN,
        config::Level::Info => LevelFilter::INFO,
        config::Level::Debug => LevelFilter::DEBUG,
    };
    let registry = tracing_subscriber::registry().with(level);
    let wants_journal = match target {
        config::LogTarget::Journal => true,
        config::LogTarget::Stderr => false,
        config::LogTarget::Auto => stderr_is_peer || libsystemd::logging::connected_to_journal(),
    };
    let journal = wants_journal.then(open_journal);
    let result = match journal {
        Some(Ok(layer)) => {
            IS_JOURNAL.store(true, Relaxed);
            registry.with(layer).try_init()
        }
        Some(Err(error)) if target == config::LogTarget::Journal => return Err(error),
        _ => registry.with(stderr_layer()).try_init(),
    };
    result.map_err(io::Error::other)
}

fn open_journal() -> io::Result<tracing_journald::Layer> {
    let priorities = PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        // The crate's own mapping makes info a notice, which journalctl prints in bold.
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    };
    Ok(tracing_journald::Layer::new()?
        .with_field_prefix(None)
        .with_syslog_identifier(IDENTIFIER.into())
        .with_priority_mappings(priorities))
}

/// Tells the journal why the daemon ends, when standard error leads nowhere. Works before [`open`].
pub fn report_failure(sentence: &str) {
    use libsystemd::logging::{Priority, journal_send};
    let identifier = [("SYSLOG_IDENTIFIER", IDENTIFIER)];
    let _ = journal_send(Priority::Error, sentence, identifier.into_iter()); // nobody left to tell
}

/// One line for each record: its sentence, then `name=value` for the fields in lower case.
fn stderr_layer<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let fields = format::debug_fn(|out, field, value| match field.name() {
        "message" => write!(out, "{value:?}"),
        "MESSAGE_ID" => Ok(()),
        name => {
            write!(out, "{}={value:?}", name.strip_prefix("LSBAWS_").unwrap_or(name).to_ascii_lowercase())
        }
    });
    tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .without_time()
        .with_target(false)
        .log_internal_errors(false)
        .fmt_fields(fields.delimited(" "))
}

/// Why lsbaws itself ended a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// The drain took longer than `process.drain_timeout`.
    Drain,
    /// A second SIGTERM asked for an end at once.
    Stop,
}

impl fmt::Display for EndedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drain => "drain",
            Self::Stop => "stop",
        })
    }
}

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
    pub ended_by: Option<EndedBy>,
    pub usage: Usage,
    pub wall: Duration,
    pub told: Testimony,
}

/// Writes the one record of a connection whose process has ended.
pub fn record_connection(record: &Record<'_>) {
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
    let outcome = match exit_code {
        Some(0) => Some(Outcome::Served),
        Some(code) if !record.is_program => Outcome::from_code(code),
        _ => None,
    };
    let program = told.program.map(describe_program);
    // What a program sends and receives, nobody counts.
    let bytes = |count: u64| (!record.is_program).then_some(count);
    let outcome_word = match (exit_code, outcome) {
        (None, _) => "killed".to_owned(),
        (Some(_), Some(outcome)) => outcome.to_string(),
        (Some(_), None) => "handler".to_owned(), // a program's own exit code
    };
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
                LSBAWS_OUTCOME = outcome_word.as_str(),
                LSBAWS_ENDED_BY = record.ended_by.map(tracing::field::display),
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
    match level_of(record, outcome) {
        Level::ERROR => write_record!(Level::ERROR),
        Level::WARN => write_record!(Level::WARN),
        _ => write_record!(Level::INFO),
    };
}

/// How much a person should care: a crash is an error, a handler's failure a warning.
fn level_of(record: &Record<'_>, outcome: Option<Outcome>) -> Level {
    match (record.exit, outcome) {
        (Exit::Exited(_), Some(Outcome::Served | Outcome::Client | Outcome::Refused)) => Level::INFO,
        (Exit::Exited(_), Some(Outcome::Handler) | None) => Level::WARN,
        (Exit::Killed { .. }, _) if record.ended_by.is_some() => Level::WARN,
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
        let Record { identity, told, wall, exit, ended_by, .. } = self.record;
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
            (_, Some(Outcome::Client), _) => write!(f, ", the client's fault while {phase}"),
            (_, Some(Outcome::Handler), _) => write!(f, ", the handler's fault while {phase}"),
            (_, Some(Outcome::Refused), _) => f.write_str(", refused by policy"),
            (_, Some(Outcome::Bug), _) => write!(f, ", a bug in lsbaws while {phase}"),
            (_, Some(Outcome::System), _) => {
                write!(f, ", the system refused something while {phase}")
            }
            (_, Some(Outcome::Config), _) => f.write_str(", the configuration cannot work"),
            (_, None, Exit::Exited(code)) => write!(f, ", the program ended with exit code {code}"),
            (_, None, Exit::Killed { .. }) => Ok(()),
        }?;
        if let Some(end) = told.program.filter(|&end| end != ProgramEnd::Exited(0)) {
            write!(f, " (its program: {})", describe_program(end))?;
        }
        f.write_str(match ended_by {
            Some(EndedBy::Drain) => " (ended by lsbaws: process.drain_timeout has passed)",
            Some(EndedBy::Stop) => " (ended by lsbaws: told to stop at once)",
            None => "",
        })?;
        write!(f, ", after {:.3} ms", wall.as_secs_f64() * 1e3)
    }
}

/// A connection that got no process: the parent has answered it with `status`, or closed it.
pub fn record_refusal(identity: &Identity, service: &str, status: Option<u16>, error: &io::Error) {
    let how = if status.is_some() { "refused with 503" } else { "closed" };
    tracing::warn!(
        MESSAGE_ID = CONNECTION_REFUSED,
        LSBAWS_CONNECTION = %identity.id,
        LSBAWS_LISTENER = &*identity.listener,
        LSBAWS_SERVICE = service,
        LSBAWS_PEER = %identity.peer,
        LSBAWS_END = "refused",
        LSBAWS_OUTCOME = %Outcome::System,
        LSBAWS_WALL_USEC = micros(identity.accepted_at.elapsed()),
        LSBAWS_STATUS = status,
        LSBAWS_ERROR = %error,
        "{}: {how}, no process for it: {error}",
        identity.peer
    );
}

/// A child's program could not be started. To be called in the child.
pub fn note_program_failed(identity: &Identity, service: &str, program: &Path, error: &io::Error) {
    let mut error = error.to_string();
    if error.starts_with("No such file") && program.exists() {
        error = format!("the interpreter that its first line names is missing: {error}");
    }
    let sentence = format!("{}: unable to run {}: {error}", identity.peer, program.display());
    tell_from_child(false, identity, service, PROGRAM_FAILED, &sentence, &[("LSBAWS_ERROR", &error)]);
}

/// A program has not answered as it should. To be called in the child that runs it.
pub fn note_program_fault(identity: &Identity, service: &str, target: &str, program: &Path, why: &str) {
    let sentence = format!("{}: {} has failed: {why}", identity.peer, program.display());
    let more = [("LSBAWS_TARGET", target), ("LSBAWS_ERROR", why)];
    tell_from_child(false, identity, service, PROGRAM_FAILED, &sentence, &more);
}

/// A line that a program has written to its standard error. To be called in the child that runs it.
pub fn note_program_output(identity: &Identity, service: &str, target: &str, line: &str) {
    let sentence = format!("{}: {line}", identity.peer);
    tell_from_child(true, identity, service, PROGRAM_OUTPUT, &sentence, &[("LSBAWS_TARGET", target)]);
}

/// Writes an entry without the parent's socket to the journal, which a child has closed.
fn tell_from_child(
    is_info: bool,
    identity: &Identity,
    service: &str,
    message_id: &str,
    sentence: &str,
    more: &[(&str, &str)],
) {
    use libsystemd::logging::{Priority, journal_send};
    let (id, peer) = (identity.id.to_string(), identity.peer.to_string());
    let mut fields = vec![
        ("MESSAGE_ID", message_id),
        ("LSBAWS_CONNECTION", &id),
        ("LSBAWS_LISTENER", &*identity.listener),
        ("LSBAWS_SERVICE", service),
        ("LSBAWS_PEER", &peer),
    ];
    fields.extend(more);
    if IS_JOURNAL.load(Relaxed) {
        fields.push(("SYSLOG_IDENTIFIER", IDENTIFIER));
        let priority = if is_info { Priority::Info } else { Priority::Error };
        let _ = journal_send(priority, sentence, fields.into_iter()); // nobody left to tell
        return;
    }
    let mut line = format!("{} {sentence}", if is_info { " INFO" } else { "ERROR" });
    for (name, value) in &fields[1..] {
        let name = name.strip_prefix("LSBAWS_").unwrap_or(name).to_ascii_lowercase();
        line.push_str(&format!(" {name}={value:?}"));
    }
    line.push('\n');
    let _ = io::stderr().write_all(line.as_bytes()); // nobody left to tell
}

/// Every listener is armed.
pub fn note_ready(listeners: &str) {
    tracing::info!(MESSAGE_ID = READY, "serving on {listeners}");
}

pub fn note_draining(children: usize, timeout: Duration) {
    tracing::info!(
        MESSAGE_ID = DRAINING,
        "stopping: connections left {children}, up to {} for them to finish",
        humantime::format_duration(timeout)
    );
}

pub fn note_stopped(served: u64) {
    tracing::info!(MESSAGE_ID = STOPPED, "stopped after {served} connections");
}

pub fn note_accept_exhausted(listener: &str, error: &io::Error) {
    tracing::error!(
        MESSAGE_ID = ACCEPT_EXHAUSTED,
        LSBAWS_LISTENER = listener,
        LSBAWS_ERROR = %error,
        "unable to accept: {error}; connections wait in the backlog until a child ends or a second has passed"
    );
}

pub fn note_fork_exhausted(error: &io::Error) {
    tracing::error!(
        MESSAGE_ID = FORK_EXHAUSTED,
        LSBAWS_ERROR = %error,
        "unable to fork: {error}; the connection is kept and tried again"
    );
}

/// Anything else that an administrator should know. The daemon goes on.
pub fn note_warning(sentence: &str) {
    tracing::warn!("{sentence}");
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
