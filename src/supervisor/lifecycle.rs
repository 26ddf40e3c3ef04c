//! The lifecycle of the daemon: serving, draining, killing its children.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::child::Child;
use super::connections::Connections;
use super::settings::Process;
use crate::connection::Id;
use crate::journal;

/// How often a drain checks whether bytes still move.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long they may stand still: a client that reads slowly reads much at a time.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Where in its lifecycle the daemon is.
#[derive(Debug)]
pub(crate) enum Lifecycle {
    Serving,
    /// No new connections; the children may finish.
    Draining(Drain),
    /// The children were killed.
    Killing,
}

/// How long the children may still run.
#[derive(Debug)]
pub(crate) struct Drain {
    /// All may run until then.
    until: Instant,
    /// Those whose bytes still move may run until then.
    max: Instant,
    next_check: Instant,
    is_accepting: bool,
    /// The bytes of each child, and when they were last seen to have moved.
    movement: HashMap<Id, (u64, Instant)>,
}

impl Lifecycle {
    pub(crate) fn is_serving(&self) -> bool {
        matches!(self, Self::Serving)
    }

    /// For the status.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining(_) => "draining",
            Self::Killing => "stopping",
        }
    }

    /// Connections may be accepted: new ones, or while draining those that were in a backlog before.
    pub(crate) fn is_accepting(&self) -> bool {
        match self {
            Self::Serving => true,
            Self::Draining(drain) => drain.is_accepting,
            Self::Killing => false,
        }
    }

    /// Acts on a stop signal: the first one drains, the second one kills.
    pub(crate) fn stop(&mut self, connections: &mut Connections, process: &Process, now: Instant) {
        if !self.is_serving() {
            connections.kill_all(now);
            *self = Self::Killing;
            return;
        }
        journal::log_draining(connections.children().count(), process.drain_timeout);
        connections.drain();
        let mut drain = Drain {
            until: now + process.drain_timeout,
            max: now + process.drain_timeout_max,
            next_check: now,
            is_accepting: true,
            movement: HashMap::new(),
        };
        drain.record_movement(connections, now);
        drain.plan_check(now);
        *self = Self::Draining(drain);
    }

    /// Does what is due. True: the drain is extended, since bytes still move.
    pub(crate) fn advance(&mut self, connections: &mut Connections, now: Instant) -> bool {
        let Self::Draining(drain) = self else { return false };
        if now < drain.next_check {
            return false;
        }
        drain.plan_check(now);
        drain.record_movement(connections, now);
        if now < drain.until {
            return false;
        }
        drain.is_accepting = false;
        let is_moving = |child: &Child| now < drain.max && drain.is_moving(child, now);
        connections.terminate_for_drain(now, is_moving) > 0
    }

    /// When [`Self::advance`] has something to do.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        match self {
            Self::Draining(drain) => Some(drain.next_check),
            Self::Serving | Self::Killing => None,
        }
    }
}

impl Drain {
    /// The next check is soon, or at one of the two ends.
    fn plan_check(&mut self, now: Instant) {
        let ends = [self.until, self.max].into_iter().filter(|&end| end > now);
        self.next_check = ends.fold(now + CHECK_INTERVAL, Instant::min);
    }

    fn record_movement(&mut self, connections: &Connections, now: Instant) {
        for child in connections.children().iter() {
            let bytes = child.slot().bytes();
            let id = child.identity().id;
            let (before, at) = self.movement.entry(id).or_insert((bytes, child.identity().accepted_at));
            if *before != bytes {
                (*before, *at) = (bytes, now);
            }
        }
    }

    fn is_moving(&self, child: &Child, now: Instant) -> bool {
        let moved_at = self.movement.get(&child.identity().id).map(|(_, at)| *at);
        moved_at.is_some_and(|at| now.saturating_duration_since(at) <= STALL_TIMEOUT)
    }
}
