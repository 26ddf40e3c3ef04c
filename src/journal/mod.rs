//! The records: what goes to the journal, or to standard error where there is none. This is the only
//! place that names journal fields. Every MESSAGE_ID has its text in `systemd/lsbaws.catalog`.

#![forbid(unsafe_code)]

mod from_child;
mod ledger;
mod record;
mod socket;
mod stderr;

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, reload};

use crate::capacity::{Wall, Warning};
use crate::connection::Identity;
use crate::scoreboard::Snapshot;
use crate::source::Source;
pub use from_child::{
    log_limit_refused, log_program_failed, log_program_fault, log_program_output, log_system_refused,
};
pub use ledger::{next_event, refresh};
pub use record::{Record, Refused, record_connection, record_refusal};

/// What is written, and where: `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    pub(crate) level: Level,
    /// Records of one kind that are written in a second; 0 is no limit.
    pub(crate) max_rate: u32,
}

/// Where entries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The journal, if standard error leads there; standard error otherwise.
    Auto,
    Journal,
    Stderr,
}

/// The least important entries that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

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
const CONNECTIONS_FOLDED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d3640b";
const SYSTEM_REFUSED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d3640c";
const RELOADED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36410";
const RELOAD_FAILED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36411";
const IDLE: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36412";
const STATE: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36413";
const SOURCE_PUNISHED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36414";
const SHORTAGE_OVER: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36415";
const LIMIT_REFUSED: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36420";
const WALL_AHEAD: &str = "86f3a1d04c7b4e0f9a52c8e1b7d36421";

/// Changes the level of what is written, while the daemon runs.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// How long the end of the daemon waits for a log that does not take the last counts.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// The log has not taken the event that was written last.
static IS_UNTAKEN: AtomicBool = AtomicBool::new(false);

/// Opens the journal, or standard error where `target` says so or no journal is at hand. A journal that is not
/// there yet is looked for at each record. At most `max_rate` records of one kind are written in a second; 0 is
/// no limit.
///
/// `stderr_is_peer`: standard error was the connection itself (inetd), so that nothing may go there and
/// the journal is asked whatever `auto` would find.
pub fn open(settings: Settings, stderr_is_peer: bool) -> io::Result<()> {
    let Settings { target, level, max_rate } = settings;
    let (filter, handle) = reload::Layer::new(filter_of(level));
    let _ = LEVEL.set(handle); // opened once
    let registry = tracing_subscriber::registry().with(filter);
    let wants_journal = match target {
        Target::Journal => true,
        Target::Stderr => false,
        Target::Auto => stderr_is_peer || libsystemd::logging::connected_to_journal(),
    };
    IS_JOURNAL.store(wants_journal, Relaxed);
    ledger::set_max_rate(max_rate);
    let result = match wants_journal {
        true => registry.with(socket::JournalLayer::new()).try_init(),
        false => registry.with(stderr::stderr_layer()).try_init(),
    };
    result.map_err(io::Error::other)
}

/// From now on other records are left out: those below `level`, and those of one kind above `max_rate` in a second.
pub fn change(settings: Settings) {
    let Settings { level, max_rate, .. } = settings;
    ledger::set_max_rate(max_rate);
    if let Some(handle) = LEVEL.get() {
        let _ = handle.reload(filter_of(level)); // there is a subscriber for as long as the process lives
    }
}

fn filter_of(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    }
}

/// Writes what is still only counted. To be called at the end of the daemon; standard error is told what the
/// journal does not take within a second.
pub fn close() {
    let wait = || match IS_JOURNAL.load(Relaxed) {
        true => drop(socket::connect_when_ready(LAST_PATIENCE)),
        false => stderr::wait_for_room(LAST_PATIENCE),
    };
    if let Some(words) = ledger::close(wait) {
        stderr::write_once(&format!("lsbaws: {words}\n"));
    }
}

/// Lets `write` write one event. True: the log has taken it, or is not to have it.
fn is_written(write: impl FnOnce()) -> bool {
    IS_UNTAKEN.store(false, Relaxed);
    write();
    !IS_UNTAKEN.load(Relaxed)
}

/// The log has not taken an event. To be called by its layer.
fn note_untaken() {
    IS_UNTAKEN.store(true, Relaxed);
}

/// The log, in a sentence.
fn sink_name() -> &'static str {
    if IS_JOURNAL.load(Relaxed) { "the journal" } else { "standard error" }
}

/// Tells the journal why the daemon ends, when standard error leads nowhere. Works before [`open`].
pub fn report_failure(sentence: &str) {
    socket::send_once(libsystemd::logging::Priority::Error, sentence, &[]);
}

/// Every listener is armed.
pub fn log_ready(listeners: &str) {
    ledger::tell(|| tracing::info!(MESSAGE_ID = READY, "serving on {listeners}"));
}

pub fn log_draining(children: usize, timeout: Duration) {
    ledger::tell(|| {
        tracing::info!(
            MESSAGE_ID = DRAINING,
            "stopping: connections left {children}, up to {} for them to finish",
            humantime::format_duration(timeout)
        );
    });
}

pub fn log_stopped(served: u64) {
    ledger::tell(|| tracing::info!(MESSAGE_ID = STOPPED, "stopped after {served} connections"));
}

/// The limit that an error comes from, as the end of a sentence.
struct Because<'a>(Option<&'a Wall>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |wall| write!(f, ": {wall}"))
    }
}

pub fn log_accept_exhausted(listener: &str, error: &io::Error, wall: Option<&Wall>) {
    ledger::tell(|| {
        tracing::error!(
            MESSAGE_ID = ACCEPT_EXHAUSTED,
            LSBAWS_LISTENER = listener,
            LSBAWS_ERROR = error.to_string(),
            LSBAWS_WALL = wall.map(|wall| wall.name.as_str()),
            LSBAWS_WALL_LIMIT = wall.map(|wall| wall.limit),
            LSBAWS_WALL_USED = wall.map(|wall| wall.used),
            "unable to accept: {error}{}; connections wait in the backlog until a child ends or a second has passed",
            Because(wall)
        );
    });
}

pub fn log_fork_exhausted(error: &io::Error, wall: Option<&Wall>) {
    ledger::tell(|| {
        tracing::error!(
            MESSAGE_ID = FORK_EXHAUSTED,
            LSBAWS_ERROR = error.to_string(),
            LSBAWS_WALL = wall.map(|wall| wall.name.as_str()),
            LSBAWS_WALL_LIMIT = wall.map(|wall| wall.limit),
            LSBAWS_WALL_USED = wall.map(|wall| wall.used),
            "unable to fork: {error}{}; the connection is kept and tried again",
            Because(wall)
        );
    });
}

/// A limit lies before those of the configuration.
pub fn log_wall_ahead(warning: &Warning) {
    let wall = warning.wall.as_ref();
    ledger::tell(|| {
        tracing::warn!(
            MESSAGE_ID = WALL_AHEAD,
            LSBAWS_WALL = wall.map(|wall| wall.name.as_str()),
            LSBAWS_WALL_LIMIT = wall.map(|wall| wall.limit),
            LSBAWS_WALL_USED = wall.map(|wall| wall.used),
            "{}",
            warning.sentence
        );
    });
}

/// Anything else that an administrator should know. The daemon goes on.
pub fn log_warning(sentence: &str) {
    ledger::tell(|| tracing::warn!("{sentence}"));
}

/// The configuration was read anew, and holds for every connection to come.
pub fn log_reloaded(listeners: &str) {
    ledger::tell(|| {
        tracing::info!(MESSAGE_ID = RELOADED, "configuration reloaded, serving on {listeners}");
    });
}

/// The new configuration is not usable: the old one stays.
pub fn log_reload_failed(error: &str) {
    ledger::tell(|| {
        tracing::error!(
            MESSAGE_ID = RELOAD_FAILED,
            LSBAWS_ERROR = error,
            "unable to reload, the configuration stays as it was: {error}"
        );
    });
}

/// Nobody has come for so long that the daemon ends, until somebody does.
pub fn log_idle(timeout: Duration) {
    ledger::tell(|| {
        tracing::info!(
            MESSAGE_ID = IDLE,
            "no connection for {}: ending until the next one comes",
            humantime::format_duration(timeout)
        );
    });
}

/// How things stand: one line of the answer to SIGUSR1.
pub fn log_state(sentence: &str) {
    ledger::tell(|| {
        tracing::info!(MESSAGE_ID = STATE, "{sentence}");
    });
}

/// A connection that is being served.
#[derive(Debug)]
pub struct Live<'a> {
    pub identity: &'a Identity,
    pub service: &'a str,
    pub pid: i32,
    pub told: &'a Snapshot,
    pub sentence: &'a str,
}

/// What a connection is doing now: another line of the answer to SIGUSR1.
pub fn log_live(live: &Live<'_>) {
    let Live { identity, told, .. } = live;
    ledger::tell(|| {
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
    });
}

/// A source was at fault so often that it is refused for that long.
pub fn log_punished(source: Source, faults: u32, time: Duration) {
    ledger::tell(|| {
        tracing::warn!(
            MESSAGE_ID = SOURCE_PUNISHED,
            LSBAWS_SOURCE = %source,
            "{source} is refused for {}: at fault {faults} times (limits.penalty_after)",
            humantime::format_duration(time)
        );
    });
}

/// What was short is there again.
pub fn log_shortage_over(what: &str, failures: u64) {
    ledger::tell(|| {
        tracing::info!(MESSAGE_ID = SHORTAGE_OVER, "able to {what} again: it had failed {failures} times");
    });
}
