//! Orphans: processes of a program whose child has exited, or that a program has started and not waited for. They come
//! to the supervisor, which is a subreaper, and it terminates them by process group.

use std::time::Instant;

use nix::sys::signal::killpg;
use nix::unistd::Pid;

use crate::sys::{self, Escalation};

/// Process groups that are being terminated.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    groups: Vec<(Pid, Escalation)>,
    /// No grace any more.
    is_killing: bool,
}

impl Orphans {
    /// Terminates what is left of a group. Only if a child of this process is in it: the group may come from a slot,
    /// which may hold anything. False: none of it runs any more.
    pub(crate) fn terminate(&mut self, group: Pid, now: Instant) -> bool {
        let is_left = sys::reap_group(group);
        if is_left {
            let mut escalation = Escalation::new(now);
            if self.is_killing {
                escalation.kill(now);
            }
            self.groups.push((group, escalation));
            self.refresh(now);
        }
        is_left
    }

    /// Sends the signals that are due, and forgets the groups that have exited.
    pub(crate) fn refresh(&mut self, now: Instant) {
        self.groups.retain_mut(|(group, escalation)| {
            let is_left = sys::is_own_group(*group);
            if is_left && let Some(signal) = escalation.take_signal(now) {
                let _ = killpg(*group, signal); // it has exited meanwhile
            }
            is_left
        });
    }

    /// Kills all groups at once, and later ones without grace.
    pub(crate) fn kill_all(&mut self, now: Instant) {
        self.is_killing = true;
        for (_, escalation) in &mut self.groups {
            escalation.kill(now);
        }
        self.refresh(now);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// When the next signal is due.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        self.groups.iter().map(|(_, escalation)| escalation.due()).min()
    }
}
