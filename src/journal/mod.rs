//! The records: what goes to the journal, or to standard error where there is none. This is the only
//! place that names journal fields. Every MESSAGE_ID has its text in `systemd/lsbaws.catalog`.

mod from_child;
mod record;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format;
use tracing_subscriber::prelude::*;

use crate::config;
use crate::walls::{Wall, Warning};
pub use from_child::{note_limit_refused, note_program_failed, note_program_fault, note_program_output};
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
const WALL_AHEAD: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36421";
const LIMIT_REFUSED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36420";

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

/// The limit that an error comes from, as the end of a sentence.
struct Because<'a>(Option<&'a Wall>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |wall| write!(f, ": {wall}"))
    }
}

pub fn note_accept_exhausted(listener: &str, error: &io::Error, wall: Option<&Wall>) {
    tracing::error!(
        MESSAGE_ID = ACCEPT_EXHAUSTED,
        LSBAWS_LISTENER = listener,
        LSBAWS_ERROR = %error,
        LSBAWS_WALL = wall.map(|wall| wall.name.as_str()),
        LSBAWS_WALL_LIMIT = wall.map(|wall| wall.limit),
        LSBAWS_WALL_USED = wall.map(|wall| wall.used),
        "unable to accept: {error}{}; connections wait in the backlog until a child ends or a second has passed",
        Because(wall)
    );
}

pub fn note_fork_exhausted(error: &io::Error, wall: Option<&Wall>) {
    tracing::error!(
        MESSAGE_ID = FORK_EXHAUSTED,
        LSBAWS_ERROR = %error,
        LSBAWS_WALL = wall.map(|wall| wall.name.as_str()),
        LSBAWS_WALL_LIMIT = wall.map(|wall| wall.limit),
        LSBAWS_WALL_USED = wall.map(|wall| wall.used),
        "unable to fork: {error}{}; the connection is kept and tried again",
        Because(wall)
    );
}

/// A limit lies before those of the configuration.
pub fn note_wall_ahead(warning: &Warning) {
    let wall = warning.wall.as_ref();
    tracing::warn!(
        MESSAGE_ID = WALL_AHEAD,
        LSBAWS_WALL = wall.map(|wall| wall.name.as_str()),
        LSBAWS_WALL_LIMIT = wall.map(|wall| wall.limit),
        LSBAWS_WALL_USED = wall.map(|wall| wall.used),
        "{}",
        warning.sentence
    );
}

/// Anything else that an administrator should know. The daemon goes on.
pub fn note_warning(sentence: &str) {
    tracing::warn!("{sentence}");
}
