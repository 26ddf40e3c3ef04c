//! The log of this process.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::entry::Entry;
use super::line::Destination;
use super::log::Log;
use super::settings::{Level, LogSettings, Target};
use super::stderr::Stderr;
use super::style::{set_style, style_by};

/// The log of this process, which has one thread. Entries come from many modules, so it is not an argument of each. A
/// child has a copy, of which it uses [`destination`] only.
static LOG: Mutex<Option<Log>> = Mutex::new(None);

/// Opens the log: the journal or standard error, by the target. An absent journal is no error: entries wait for it.
///
/// `stderr_is_peer`: standard error was the connection itself (inetd), so `auto` is the journal.
pub(crate) fn open(settings: LogSettings, stderr_is_peer: bool) -> io::Result<()> {
    let LogSettings { target, level, max_rate, .. } = settings;
    set_style(style_by(settings));
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
pub(super) fn with_log<T>(action: impl FnOnce(&mut Log) -> T) -> Option<T> {
    // A panic has ended the process.
    LOG.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(action)
}

/// Changes which entries are written from now on. The target stays.
pub(crate) fn change(settings: LogSettings) {
    set_style(style_by(settings));
    with_log(|log| log.change(settings));
}

/// Sends the entries that wait for the journal, and writes the counts of a second that is over. Never waits.
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

/// Writes the last entries before the daemon exits. What the log does not accept within a second is counted in a line
/// on standard error.
pub(crate) fn close() {
    if let Some(words) = with_log(Log::close).flatten() {
        let entry = Entry::without_id(Level::Error, words);
        let _ = Stderr::open().write_entry(&entry); // no other way left
    }
}

/// Where entries go.
pub(crate) fn destination() -> Destination {
    with_log(|log| log.destination()).unwrap_or(Destination::Stderr)
}

/// Counts a message that was lost elsewhere in this process.
pub(super) fn add_lost_message() {
    with_log(|log| log.add_lost_messages(1));
}
