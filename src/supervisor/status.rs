//! What is going on right now, for people: SIGUSR1 writes it to the journal, a drain tells systemd.

use std::fmt;
use std::time::{Duration, Instant};

use super::Supervisor;
use super::children::{Child, Children};
use crate::journal::{self, Live};

/// Connections that are told one by one. The rest are counted.
const TOLD_MAX: usize = 256;

impl Supervisor {
    /// Writes how things stand, and a line for each connection, the oldest first.
    pub(super) fn report_state(&self, now: Instant) {
        let children = &self.children;
        let listeners: Vec<_> = self.listeners.iter().map(super::Entry::describe).collect();
        let sentence = format!(
            "state: {} for {} on {}; connections {} of {}, spares {}, ended {}, refused {}, sources punished {}, left behind by programs {}",
            if self.life.is_serving() { "serving" } else { "draining" },
            show_age(now.saturating_duration_since(self.started)),
            listeners.join(", "),
            children.count(),
            children.process.max_connections,
            children.spares.count(),
            self.counts().ended,
            self.admission.refused(),
            children.sources.count_punished(now),
            children.strangers,
        );
        journal::log_state(&sentence);
        for (pid, child) in children.by_age().into_iter().take(TOLD_MAX) {
            let told = child.slot.read();
            let sentence = Doing { child, now }.to_string();
            journal::log_live(&Live {
                identity: &child.identity,
                service: &child.service.name,
                pid: pid.as_raw(),
                told: &told,
                sentence: &sentence,
            });
        }
        if children.by_pid.len() > TOLD_MAX {
            journal::log_state(&format!(
                "state: and {} younger connections",
                children.by_pid.len() - TOLD_MAX
            ));
        }
    }
}

impl Children {
    /// The oldest first.
    fn by_age(&self) -> Vec<(nix::unistd::Pid, &Child)> {
        let mut children: Vec<_> = self.by_pid.iter().map(|(pid, child)| (*pid, child)).collect();
        children.sort_unstable_by_key(|(_, child)| child.identity.accepted_at);
        children
    }

    /// What the oldest connection does.
    pub(super) fn describe_oldest(&self, now: Instant) -> Option<String> {
        let oldest = self.by_pid.iter().min_by_key(|(_, child)| child.identity.accepted_at);
        oldest.map(|(_, child)| Doing { child, now }.to_string())
    }
}

/// What a connection is doing, in a few words.
struct Doing<'a> {
    child: &'a Child,
    now: Instant,
}

impl fmt::Display for Doing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Child { identity, service, slot, .. } = self.child;
        let told = slot.read();
        write!(f, "{} at {}: ", identity.peer, service.name)?;
        if let (Some(method), Some(target)) = (told.method, told.target) {
            write!(f, "{method} {target}, ")?;
        }
        let age = self.now.saturating_duration_since(identity.accepted_at);
        write!(f, "{}, since {}", told.phase, show_age(age))
    }
}

/// In whole seconds.
fn show_age(age: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(age.as_secs()))
}
