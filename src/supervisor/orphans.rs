//! What children leave behind: processes of a program whose child is gone, or that a program has started and not
//! waited for. They come to the daemon, which is a subreaper, and it ends them by process group: SIGTERM, and
//! after some grace SIGKILL.

use std::time::Instant;

use nix::sys::signal::killpg;
use nix::unistd::Pid;

use crate::sys::{self, Escalation};

/// Process groups that are being ended.
#[derive(Debug)]
pub struct Orphans {
    groups: Vec<(Pid, Escalation)>,
    has_grace: bool,
}

impl Orphans {
    pub fn new() -> Self {
        Self { groups: Vec::new(), has_grace: true }
    }

    /// Asks what is left of a group to end. Only if one of our children is in it: its number may come from a slot,
    /// which may say anything. False: nobody is left, but perhaps some who have ended.
    pub fn end(&mut self, group: Pid, now: Instant) -> bool {
        let is_left = sys::reap_group(group);
        if is_left {
            let mut escalation = Escalation::new(now);
            if !self.has_grace {
                escalation.kill(now);
            }
            let _ = killpg(group, escalation.take_signal(now)); // gone meanwhile: as wanted
            self.groups.push((group, escalation));
        }
        is_left
    }

    /// Kills the groups whose grace is over, and forgets those that are gone.
    pub fn refresh(&mut self, now: Instant) {
        self.groups.retain_mut(|(group, escalation)| {
            let goes_on = sys::is_own_group(*group);
            if goes_on && let Some(signal) = escalation.take_signal(now) {
                let _ = killpg(*group, signal);
            }
            goes_on
        });
    }

    /// From now on there is no grace.
    pub fn kill_all(&mut self, now: Instant) {
        self.has_grace = false;
        for (_, escalation) in &mut self.groups {
            escalation.kill(now);
        }
        self.refresh(now);
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// When a group's next signal is due.
    pub fn next_event(&self) -> Option<Instant> {
        self.groups.iter().map(|(_, escalation)| escalation.due()).min()
    }
}
