//! The status for people: SIGUSR1 writes it to the journal, and a drain shows the oldest connection to systemd.

use std::fmt;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::child::Child;
use super::children::Children;
use super::connections::Connections;
use super::listeners::Listeners;
use crate::journal::{self, OpenConnection};

/// Connections that have a line of their own. The others are counted.
const LINES_MAX: usize = 256;

/// Writes a line for the daemon, and one for each connection, the oldest first.
pub(crate) fn log_status(
    verb: &str,
    since: Instant,
    listeners: &Listeners,
    connections: &Connections,
    now: Instant,
) {
    let age = show_age(now.saturating_duration_since(since));
    let (listeners, connections_now) = (listeners.describe(), connections.describe(now));
    journal::log_status(&format!("status: {verb} for {age} on {listeners}; {connections_now}"));
    let children = connections.children();
    for child in children.by_age().into_iter().take(LINES_MAX) {
        journal::log_open_connection(&OpenConnection {
            identity: child.identity(),
            service: &child.service().name,
            pid: child.pid().map_or(0, Pid::as_raw),
            snapshot: &child.slot().read(),
            sentence: &Activity { child, now }.to_string(),
        });
    }
    if let Some(more @ 1..) = children.count().checked_sub(LINES_MAX) {
        journal::log_status(&format!("status: {more} younger connections are not listed"));
    }
}

/// What the oldest connection is doing.
pub(crate) fn describe_oldest(children: &Children, now: Instant) -> Option<String> {
    children.oldest().map(|child| Activity { child, now }.to_string())
}

/// What a connection is doing, in a few words.
struct Activity<'a> {
    child: &'a Child,
    now: Instant,
}

impl fmt::Display for Activity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (identity, service) = (self.child.identity(), self.child.service());
        let snapshot = self.child.slot().read();
        write!(f, "{} at {}: ", identity.describe_client(), service.name)?;
        if let (Some(method), Some(target)) = (snapshot.method, snapshot.target) {
            write!(f, "{method} {target}, ")?;
        }
        let age = self.now.saturating_duration_since(identity.accepted_at);
        write!(f, "{}, for {}", snapshot.phase, show_age(age))
    }
}

/// In whole seconds.
fn show_age(age: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(age.as_secs()))
}
