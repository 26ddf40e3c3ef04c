//! The log: records of connections and messages of the daemon, to the journal, or to standard error where there
//! is no journal. This folder alone names the fields of entries.
//!
//! Entries go out by a sender of our own (socket.rs). tracing-journald blocks while journald is stopped, and does
//! not report what was lost, and a record must neither block the supervisor nor be lost without being counted. So
//! it writes one entry alone, where waiting harms no connection: why the daemon cannot start.

#![forbid(unsafe_code)]

mod child;
mod entry;
mod events;
mod log;
mod message_id;
mod queue;
mod ratelimit;
mod record;
mod socket;
mod stderr;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing_subscriber::prelude::*;

pub(crate) use child::ChildLog;
pub(crate) use events::*;
pub(crate) use record::{Record, RefusalRecord, record_connection, record_refusal};

use crate::sys;
use log::Log;
use socket::JournalSocket;

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

/// How important an entry is, and the least important entries that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    /// As the journal has it (syslog(3)).
    fn priority(self) -> &'static str {
        match self {
            Self::Error => "3",
            Self::Warn => "4",
            Self::Info => "6",
            Self::Debug => "7",
        }
    }

    /// As lines on standard error have it.
    fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }
}

/// How long [`report_failure`] waits for the journal.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// The log of this process, which has one thread. Entries come from many modules, so it is not handed around. A
/// child has a copy, of which it uses no more than [`is_journal`].
static LOG: Mutex<Option<Log>> = Mutex::new(None);

/// Opens the journal, or standard error where the target says so or no journal is at hand. A journal that is
/// absent is looked for again while entries wait for it.
///
/// `stderr_is_peer`: standard error was the connection itself (inetd), so that nothing may go there, and `auto`
/// means the journal.
pub(crate) fn open(settings: Settings, stderr_is_peer: bool) -> io::Result<()> {
    let Settings { target, level, max_rate } = settings;
    let wants_journal = match target {
        Target::Journal => true,
        Target::Stderr => false,
        Target::Auto => stderr_is_peer || libsystemd::logging::connected_to_journal(),
    };
    let log = match wants_journal {
        true => Log::to_journal(level, max_rate)?,
        false => Log::to_stderr(level, max_rate),
    };
    *LOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(log);
    Ok(())
}

/// Runs `action` on the log, if it is open.
fn with_log<T>(action: impl FnOnce(&mut Log) -> T) -> Option<T> {
    // A panic has ended the process.
    LOG.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(action)
}

/// Changes which entries are written from now on. The target stays.
pub(crate) fn change(settings: Settings) {
    with_log(|log| log.change(settings.level, settings.max_rate));
}

/// Sends what waits for the journal, and writes the counts of a second that is over. Never waits.
pub(crate) fn flush(now: Instant) {
    with_log(|log| log.refresh(now));
}

/// When [`flush`] has something to do.
pub(crate) fn next_event() -> Option<Instant> {
    with_log(|log| log.next_event()).flatten()
}

/// The socket to the journal while entries wait for it: when it is ready for POLLOUT, [`flush`] has something
/// to do.
pub(crate) fn writable() -> Option<Arc<UnixDatagram>> {
    with_log(|log| log.writable()).flatten()
}

/// Writes what is not written yet, at the end of the daemon. What the log does not accept within a second is
/// counted in a line on standard error.
pub(crate) fn close() {
    if let Some(words) = with_log(Log::close).flatten() {
        let _ = stderr::Stderr::open().write_line(format!("lsbaws: {words}\n").as_bytes()); // no other way left
    }
}

/// Whether entries go to the journal.
fn is_journal() -> bool {
    with_log(|log| log.is_journal()).unwrap_or(false)
}

/// Counts a message that was lost elsewhere in this process.
fn add_lost_message() {
    with_log(|log| log.add_lost_messages(1));
}

/// Writes to the journal why the daemon cannot start, when standard error leads nowhere. Works without [`open`].
/// Gives up when the journal does not accept it within a second.
pub(crate) fn report_failure(sentence: &str) {
    let deadline = Instant::now() + REPORT_TIMEOUT;
    let Ok(mut socket) = JournalSocket::open() else { return };
    // Both the layer's creation and its entry are a datagram that waits for room.
    let mut has_room = || socket.connect().is_ok() && wait_for_room(socket.as_arc(), deadline);
    if has_room()
        && let Ok(layer) = tracing_journald::Layer::new()
        && has_room()
    {
        let layer = layer.with_field_prefix(None).with_syslog_identifier(entry::IDENTIFIER.into());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || tracing::error!("{sentence}"));
    }
}

/// Waits until `fd` is ready for writing. False: it was not by then.
fn wait_for_room(fd: &impl AsFd, deadline: Instant) -> bool {
    let now = Instant::now();
    let timeout = if now < deadline { sys::poll_timeout(deadline, now) } else { PollTimeout::ZERO };
    poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)], timeout).is_ok_and(|ready| ready > 0)
}
