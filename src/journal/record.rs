//! The one record of each connection, written when its process has ended or it was refused one.

use std::fmt;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::entry::Entry;
use super::global::with_log;
use super::message_id::{
    CONNECTION_ENDED, CONNECTION_FAILED, CONNECTION_KILLED, CONNECTION_NOT_SERVED, CONNECTION_REFUSED,
};
use super::ratelimit::Kind;
use super::settings::Level;
use crate::capacity::SystemLimit;
use crate::connection::Identity;
use crate::limits::Rlimit;
use crate::outcome::{Outcome, TerminatedBy};
use crate::refusal::RequestRefusal;
use crate::scoreboard::{ProgramEnd, Snapshot};
use crate::source::Source;
use crate::sys::{Exit, Usage};

/// What answers checks of balancers, as the configuration names it: a protocol, and a handler.
const AGENT_CHECK: &str = "agent-check";
const HEALTH: &str = "health";

/// How one connection ended.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) service: &'a str,
    pub(crate) handler: Option<&'static str>,
    pub(crate) pid: i32,
    pub(crate) exit: Exit,
    /// The exit code is that of a program that the child has become, not an outcome.
    pub(crate) is_program: bool,
    pub(crate) terminated_by: Option<TerminatedBy>,
    /// Its program left processes, which were terminated.
    pub(crate) has_orphans: bool,
    /// Words for what the kernel cannot do to confine the child; empty if it can do everything.
    pub(crate) gaps: &'a str,
    /// The limit of the service at which the kernel ended it, or its program.
    pub(crate) limit: Option<&'a Rlimit>,
    pub(crate) usage: Usage,
    /// From accept to end.
    pub(crate) duration: Duration,
    pub(crate) snapshot: Snapshot,
    /// Why its client was refused, after a proxy had named it.
    pub(crate) refusal: Option<RefusalNote>,
}

/// Why a client was refused.
#[derive(Debug)]
pub(crate) struct RefusalNote {
    /// The value of LSBAWS_REASON.
    pub(crate) word: &'static str,
    pub(crate) source: Option<Source>,
    pub(crate) sentence: String,
}

/// Writes, or counts, the one record of a connection whose process has ended. Returns the value of `LSBAWS_OUTCOME`.
pub(crate) fn record_connection(record: &Record<'_>) -> &'static str {
    let outcome = record.outcome();
    let kind = match (record.exit, outcome) {
        (Exit::Killed { .. } | Exit::Unknown, _) => Kind::Killed,
        (Exit::Exited(_), Some(outcome)) => Kind::Ended(outcome),
        (Exit::Exited(_), None) => Kind::Ended(Outcome::HandlerError), // a program's own exit code
    };
    let level = record.level(outcome);
    let now = record.identity.accepted_at + record.duration;
    with_log(|log| {
        log.record((kind, level), &record.identity.client(), now, || record.to_entry(outcome, kind, level));
        log.add_lost_messages(record.snapshot.lost_messages);
        log.add_lost_lines(record.snapshot.lost_lines);
    });
    kind.word()
}

impl Record<'_> {
    /// None: the child was killed, or has become a program that has exit codes of its own.
    fn outcome(&self) -> Option<Outcome> {
        match self.exit {
            Exit::Exited(0) => Some(Outcome::Served),
            Exit::Exited(code) if !self.is_program => Outcome::from_code(code),
            _ => None,
        }
    }

    /// A crash is an error, a failure of the handler a warning. Checks of balancers, twice a second for each balancer, are of
    /// interest where something is wrong.
    fn level(&self, outcome: Option<Outcome>) -> Level {
        match (self.exit, outcome) {
            _ if self.terminated_by.is_some() => Level::Warn,
            (Exit::Exited(_), Some(Outcome::Served)) if self.is_passed_check() => Level::Debug,
            (Exit::Exited(_), Some(Outcome::Served | Outcome::ClientError | Outcome::Refused)) => Level::Info,
            (Exit::Exited(_), Some(Outcome::HandlerError) | None) => Level::Warn,
            _ => Level::Error,
        }
    }

    /// The connection was a single check, and the host can take connections.
    fn is_passed_check(&self) -> bool {
        let Snapshot { requests, status, target, .. } = &self.snapshot;
        let is_passed = match self.handler {
            Some(AGENT_CHECK) => target.as_deref().is_some_and(|line| line.starts_with("up ready")),
            Some(HEALTH) => *status == Some(200),
            _ => false,
        };
        is_passed && *requests == 1
    }

    /// Why the connection, or its last request, was refused.
    fn reason(&self) -> Option<&'static str> {
        let refused = self.refusal.as_ref().map(|refusal| refusal.word);
        let header = self.snapshot.header_error.map(|_| "proxy_protocol");
        refused.or(header).or_else(|| self.snapshot.refusal.map(RequestRefusal::word))
    }

    fn to_entry(&self, outcome: Option<Outcome>, kind: Kind, level: Level) -> Entry {
        let Record { identity, usage, snapshot, .. } = self;
        let (end, exit_code, signal) = match self.exit {
            Exit::Exited(code) => ("exited", Some(code), None),
            Exit::Killed { signal, dumped: true } => ("dumped", None, Some(signal_name(signal))),
            Exit::Killed { signal, dumped: false } => ("killed", None, Some(signal_name(signal))),
            Exit::Unknown => ("unknown", None, None),
        };
        let message_id = match self.exit {
            Exit::Killed { .. } | Exit::Unknown => CONNECTION_KILLED,
            Exit::Exited(_) if level >= Level::Info => CONNECTION_ENDED,
            Exit::Exited(_) => CONNECTION_FAILED,
        };
        Entry::new(level, message_id, Sentence { record: self, outcome, signal: signal.as_deref() })
            .connection(identity, self.service, self.handler)
            .field("LSBAWS_PID", self.pid)
            .text("LSBAWS_END", end)
            .optional("LSBAWS_EXIT_CODE", exit_code)
            .optional_text("LSBAWS_SIGNAL", signal.as_deref())
            .text("LSBAWS_OUTCOME", kind.word())
            .optional_text("LSBAWS_CLIENT_GONE", snapshot.is_client_gone.then_some("yes"))
            .optional_text("LSBAWS_ORPHANS", self.has_orphans.then_some("yes"))
            .optional_text("LSBAWS_NOT_CONFINED", Some(self.gaps).filter(|gaps| !gaps.is_empty()))
            .optional("LSBAWS_TERMINATED_BY", self.terminated_by)
            .optional_text("LSBAWS_LIMIT", self.limit.map(|limit| limit.key.name()))
            .field("LSBAWS_DURATION_USEC", self.duration.as_micros())
            .field("LSBAWS_USER_USEC", usage.user.as_micros())
            .field("LSBAWS_SYSTEM_USEC", usage.system.as_micros())
            .field("LSBAWS_MAXRSS_KIB", usage.max_rss_kib)
            .field("LSBAWS_MINOR_FAULTS", usage.minor_faults)
            .optional_text("LSBAWS_REASON", self.reason())
            .optional_text("LSBAWS_ERROR", snapshot.error.as_ref())
            .optional("LSBAWS_SOURCE", self.refusal.as_ref().and_then(|refusal| refusal.source))
            .snapshot(snapshot, self.is_program)
            .optional("LSBAWS_FIRST_BYTE_USEC", snapshot.first_byte.map(|time| time.as_micros()))
            .optional_text("LSBAWS_EXCEPTION", snapshot.exception.as_ref())
            .optional_text("LSBAWS_PROGRAM_END", snapshot.program.map(describe_program))
    }
}

/// The message of a record.
struct Sentence<'a> {
    record: &'a Record<'a>,
    outcome: Option<Outcome>,
    signal: Option<&'a str>,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { identity, snapshot, exit, is_program, .. } = self.record;
        write!(f, "{}: ", identity.describe_client())?;
        match (&snapshot.method, &snapshot.target) {
            (Some(method), Some(target)) => write!(f, "{method} {target}")?,
            (None, Some(line)) if self.record.handler == Some(AGENT_CHECK) => {
                write!(f, "{AGENT_CHECK} -> {line}")?;
            }
            (None, Some(line)) => write!(f, "\"{line}\"")?,
            _ if *is_program || self.record.handler == Some("exec") => f.write_str(self.record.service)?,
            _ => f.write_str("no request")?,
        }
        if let Some(status) = snapshot.status {
            write!(f, " -> {status}")?;
        }
        let phase = snapshot.phase;
        match (self.signal, self.outcome, exit) {
            (Some(signal), ..) => write!(f, ", child killed by {signal} while {phase}"),
            // The client sent no request.
            (_, Some(Outcome::Served), _) if snapshot.requests == 0 && !is_program => Ok(()),
            (_, Some(Outcome::Served), _) => f.write_str(", served"),
            (_, Some(Outcome::ClientError), _) => write!(f, ", client error while {phase}"),
            (_, Some(Outcome::HandlerError), _) => write!(f, ", handler error while {phase}"),
            (_, Some(Outcome::Refused), _) => f.write_str(", refused by policy"),
            (_, Some(Outcome::Bug), _) => write!(f, ", bug in lsbaws while {phase}"),
            (_, Some(Outcome::SystemError), _) => write!(f, ", system error while {phase}"),
            (_, Some(Outcome::ConfigError), _) => f.write_str(", invalid configuration"),
            (_, None, Exit::Exited(code)) => write!(f, ", program exited with code {code}"),
            (_, None, Exit::Unknown) => f.write_str(", the exit status of the child is not known"),
            (_, None, Exit::Killed { .. }) => Ok(()),
        }?;
        self.write_causes(f)?;
        write!(f, ", after {:.3} ms", self.record.duration.as_secs_f64() * 1e3)
    }
}

impl Sentence<'_> {
    fn write_causes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { snapshot, limit, terminated_by, has_orphans, .. } = self.record;
        // The exception of an application says more than the error that is answered.
        let exception = snapshot.exception.as_ref().filter(|_| self.outcome == Some(Outcome::HandlerError));
        match (&self.record.refusal, snapshot.header_error, exception.or(snapshot.error.as_ref())) {
            (Some(RefusalNote { sentence, .. }), ..) => write!(f, " ({sentence})")?,
            (_, Some(error), _) => write!(f, " ({error})")?,
            (_, _, Some(error)) => write!(f, " ({error})")?,
            (None, None, None) => {}
        }
        f.write_str(if snapshot.is_client_gone { " (the client has gone)" } else { "" })?;
        if let Some(end) = snapshot.program.filter(|&end| end != ProgramEnd::Exited(0)) {
            write!(f, " (its program: {})", describe_program(end))?;
        }
        if let Some(limit) = limit {
            write!(f, " (at the service's {} of {})", limit.key.name(), limit.shown)?;
        }
        f.write_str(match terminated_by {
            Some(TerminatedBy::Deadline) => " (terminated: max_duration exceeded)",
            Some(TerminatedBy::Idle) => " (terminated: idle_timeout exceeded)",
            Some(TerminatedBy::Start) => " (terminated: start_timeout exceeded in on_fork)",
            Some(TerminatedBy::Drain) => " (terminated: process.drain_timeout exceeded)",
            Some(TerminatedBy::Stop) => " (terminated: second stop signal)",
            None => "",
        })?;
        f.write_str(if *has_orphans { " (terminated orphaned processes of its program)" } else { "" })
    }
}

/// Why a connection got no process, and how it was answered.
#[derive(Debug)]
pub(crate) struct RefusalRecord<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) service: &'a str,
    /// The status of the response. None: the connection was closed without one.
    pub(crate) status: Option<u16>,
    pub(crate) outcome: Outcome,
    /// The value of LSBAWS_REASON.
    pub(crate) reason: &'static str,
    pub(crate) source: Option<Source>,
    /// The reason, as the end of the message.
    pub(crate) sentence: fmt::Arguments<'a>,
    pub(crate) system_limit: Option<&'a SystemLimit>,
}

/// Writes, or counts, the one record of a connection that got no process.
pub(crate) fn record_refusal(refusal: &RefusalRecord<'_>) {
    let RefusalRecord { identity, status, sentence, outcome, .. } = refusal;
    let duration = identity.accepted_at.elapsed();
    let kind = Kind::Ended(*outcome);
    let (level, message_id) = match outcome {
        Outcome::Refused => (Level::Info, CONNECTION_REFUSED),
        _ => (Level::Warn, CONNECTION_NOT_SERVED),
    };
    let to_entry = || {
        let how = status.map_or("closed".to_owned(), |status| format!("refused with {status}"));
        let message = format_args!("{}: {how}, {sentence}", identity.peer);
        Entry::new(level, message_id, message)
            .connection(identity, refusal.service, None)
            .text("LSBAWS_END", "refused")
            .text("LSBAWS_OUTCOME", kind.word())
            .text("LSBAWS_REASON", refusal.reason)
            .optional("LSBAWS_SOURCE", refusal.source)
            .field("LSBAWS_DURATION_USEC", duration.as_micros())
            .optional("LSBAWS_STATUS", *status)
            .system_limit(refusal.system_limit)
    };
    with_log(|log| log.record((kind, level), &identity.peer, identity.accepted_at + duration, to_entry));
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
