//! The records: what goes to the journal, or to standard error where there is none. This is the only
//! place that names journal fields. Every MESSAGE_ID has its text in `systemd/lsbaws.catalog`.

mod from_child;
mod record;

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, reload};

use crate::config;
use crate::connection::Identity;
use crate::scoreboard::Testimony;
pub use from_child::{note_program_failed, note_program_fault, note_program_output};
pub use record::{EndedBy, Record, record_connection, record_refusal};

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
const RELOADED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36410";
const RELOAD_FAILED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36411";
const IDLE: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36412";
const STATE: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36413";

/// Changes the level of what is written, while the daemon runs.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Opens the journal, or standard error where `target` says so or no journal is at hand.
///
/// `stderr_is_peer`: standard error was the connection itself (inetd), so that nothing may go there and
/// the journal is asked whatever `auto` would find.
pub fn open(target: config::LogTarget, level: config::Level, stderr_is_peer: bool) -> io::Result<()> {
    let (filter, handle) = reload::Layer::new(filter_of(level));
    let _ = LEVEL.set(handle); // opened once
    let registry = tracing_subscriber::registry().with(filter);
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

/// From now on records below `level` are left out.
pub fn set_level(level: config::Level) {
    if let Some(handle) = LEVEL.get() {
        let _ = handle.reload(filter_of(level)); // there is a subscriber for as long as the process lives
    }
}

fn filter_of(level: config::Level) -> LevelFilter {
    match level {
        config::Level::Error => LevelFilter::ERROR,
        config::Level::Warn => LevelFilter::WARN,
        config::Level::Info => LevelFilter::INFO,
        config::Level::Debug => LevelFilter::DEBUG,
    }
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

/// The configuration was read anew, and holds for every connection to come.
pub fn note_reloaded(listeners: &str) {
    tracing::info!(MESSAGE_ID = RELOADED, "configuration reloaded, serving on {listeners}");
}

/// The new configuration is not usable: the old one stays.
pub fn note_reload_failed(error: &str) {
    tracing::error!(
        MESSAGE_ID = RELOAD_FAILED,
        LSBAWS_ERROR = error,
        "unable to reload, the configuration stays as it was: {error}"
    );
}

/// Nobody has come for so long that the daemon ends, until somebody does.
pub fn note_idle(timeout: Duration) {
    tracing::info!(
        MESSAGE_ID = IDLE,
        "no connection for {}: ending until the next one comes",
        humantime::format_duration(timeout)
    );
}

/// How things stand: one line of the answer to SIGUSR1.
pub fn note_state(sentence: &str) {
    tracing::info!(MESSAGE_ID = STATE, "{sentence}");
}

/// A connection that is being served.
#[derive(Debug)]
pub struct Live<'a> {
    pub identity: &'a Identity,
    pub service: &'a str,
    pub pid: i32,
    pub told: &'a Testimony,
    pub sentence: &'a str,
}

/// What a connection is doing now: another line of the answer to SIGUSR1.
pub fn note_live(live: &Live<'_>) {
    let Live { identity, told, .. } = live;
    tracing::info!(
        MESSAGE_ID = STATE,
        LSBAWS_CONNECTION = %identity.id,
        LSBAWS_LISTENER = &*identity.listener,
        LSBAWS_SERVICE = live.service,
        LSBAWS_PEER = %identity.peer,
        LSBAWS_PID = live.pid,
        LSBAWS_REQUESTS = told.requests,
        LSBAWS_BYTES_IN = told.bytes_in,
        LSBAWS_BYTES_OUT = told.bytes_out,
        LSBAWS_METHOD = told.method.as_deref(),
        LSBAWS_TARGET = told.target.as_deref(),
        LSBAWS_PHASE = %told.phase,
        "state: {}", live.sentence
    );
}
