//! The one entry that tracing-journald writes: a daemon that cannot start has no connection that could wait.

use std::time::{Duration, Instant};

use tracing_subscriber::prelude::*;

use super::entry::IDENTIFIER;
use super::socket::JournalSocket;
use crate::sys;

/// How long [`report_failure`] waits for the journal.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes to the journal why the daemon cannot start, if standard error is the connection. Needs no [`super::open`]. Gives up
/// if the journal does not accept it within a second.
pub(crate) fn report_failure(sentence: &str) {
    let deadline = Instant::now() + REPORT_TIMEOUT;
    let Ok(mut socket) = JournalSocket::open() else { return };
    // The layer sends a datagram when it is created, and one for the entry. Both would wait for room.
    let mut has_room = || socket.connect().is_ok() && sys::wait_writable(socket.as_arc(), deadline);
    if has_room()
        && let Ok(layer) = tracing_journald::Layer::new()
        && has_room()
    {
        let layer = layer.with_field_prefix(None).with_syslog_identifier(IDENTIFIER.into());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || tracing::error!("{sentence}"));
    }
}
