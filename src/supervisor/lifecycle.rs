//! The lifecycle of the daemon: serving, announcing a drain, draining, killing its children.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::child::Child;
use super::connections::Connections;
use super::settings::Process;
use crate::connection::Id;
use crate::journal;
use crate::notify::Stage;
use crate::status::health::DrainCause;

/// How often a drain checks whether bytes still move.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long they may stand still: a client that reads slowly reads much at a time.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Where in its lifecycle the daemon is.
#[derive(Debug)]
pub(crate) enum Lifecycle {
    Serving,
    /// Connections are served as before, but the checks of balancers fail, so that they send new ones elsewhere.
    Announcing(Announcement),
    /// No new connections; the children may finish.
    Draining(Drain),
    /// The children were killed.
    Killing,
}

/// A drain that was requested, or that precedes a stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announcement {
    since: Instant,
    /// When the daemon stops. None: it does not.
    stops_at: Option<Instant>,
}

/// What a stop signal, or a request, leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Announces the stop for this time.
    Announce(Duration),
    Drain,
    Kill,
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
    /// Whether the listeners are open.
    pub(crate) fn is_serving(&self) -> bool {
        matches!(self, Self::Serving | Self::Announcing(_))
    }

    /// Whether a daemon without connections may exit. Not in a drain that was requested: the next one would know nothing of it.
    pub(crate) fn permits_idle_exit(&self) -> bool {
        matches!(self, Self::Serving)
    }

    /// Whether no stop has begun.
    pub(crate) fn is_staying(&self) -> bool {
        matches!(self, Self::Serving | Self::Announcing(Announcement { stops_at: None, .. }))
    }

    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Serving => Stage::Serving,
            Self::Announcing(_) => Stage::Announcing,
            Self::Draining(_) | Self::Killing => Stage::Draining,
        }
    }

    /// For the status.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Announcing(_) | Self::Draining(_) => "draining",
            Self::Killing => "stopping",
        }
    }

    /// Why checks of balancers fail, if they do.
    pub(crate) fn drain_cause(&self) -> Option<DrainCause> {
        match self {
            Self::Serving => None,
            _ if self.is_staying() => Some(DrainCause::Request),
            _ => Some(DrainCause::Stop),
        }
    }

    /// Announces a drain, as requested, or ends it. False: there is nothing to do.
    pub(crate) fn request_drain(&mut self, must_drain: bool, now: Instant) -> bool {
        *self = match (&self, must_drain) {
            (Self::Serving, true) => Self::Announcing(Announcement { since: now, stops_at: None }),
            (Self::Announcing(Announcement { stops_at: None, .. }), false) => Self::Serving,
            _ => return false,
        };
        true
    }

    /// What a stop signal leads to: a drain, which `lead` precedes for balancers, and after the second signal its end.
    pub(crate) fn plan_stop(&mut self, lead: Duration, now: Instant) -> Step {
        let since = match self {
            Self::Serving => now,
            Self::Announcing(Announcement { since, stops_at: None }) => *since,
            Self::Announcing(_) => return Step::Drain,
            Self::Draining(_) | Self::Killing => return Step::Kill,
        };
        let left = (since + lead).saturating_duration_since(now);
        if left.is_zero() {
            return Step::Drain;
        }
        *self = Self::Announcing(Announcement { since, stops_at: Some(now + left) });
        Step::Announce(left)
    }

    /// The announcement of a stop is over.
    pub(crate) fn is_drain_due(&self, now: Instant) -> bool {
        matches!(self, Self::Announcing(Announcement { stops_at: Some(at), .. }) if now >= *at)
    }

    /// Connections may be accepted: new ones, or while draining those that were in a backlog before.
    pub(crate) fn is_accepting(&self) -> bool {
        match self {
            Self::Serving | Self::Announcing(_) => true,
            Self::Draining(drain) => drain.is_accepting,
            Self::Killing => false,
        }
    }

    /// Kills all children.
    pub(crate) fn kill(&mut self, connections: &mut Connections, now: Instant) {
        connections.kill_all(now);
        *self = Self::Killing;
    }

    /// Lets the children finish.
    pub(crate) fn drain(&mut self, connections: &mut Connections, process: &Process, now: Instant) {
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

    /// When [`Self::advance`] has something to do, or [`Self::is_drain_due`].
    pub(crate) fn next_event(&self) -> Option<Instant> {
        match self {
            Self::Draining(drain) => Some(drain.next_check),
            Self::Announcing(announcement) => announcement.stops_at,
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEAD: Duration = Duration::from_secs(10);

    #[test]
    fn announced_stop_is_due_after_the_lead_time() {
        let (mut lifecycle, now) = (Lifecycle::Serving, Instant::now());
        assert_eq!(lifecycle.plan_stop(LEAD, now), Step::Announce(LEAD));
        assert!(lifecycle.is_serving() && lifecycle.is_accepting() && !lifecycle.is_staying());
        assert_eq!(lifecycle.drain_cause(), Some(DrainCause::Stop));
        assert!(!lifecycle.is_drain_due(now) && lifecycle.is_drain_due(now + LEAD));
        assert_eq!(lifecycle.next_event(), Some(now + LEAD));
        assert!(!lifecycle.request_drain(false, now), "it cannot be ended");
        assert_eq!(lifecycle.plan_stop(LEAD, now), Step::Drain, "the second signal");
    }

    #[test]
    fn stop_without_lead_time_drains_at_once() {
        assert_eq!(Lifecycle::Serving.plan_stop(Duration::ZERO, Instant::now()), Step::Drain);
        assert_eq!(Lifecycle::Killing.plan_stop(LEAD, Instant::now()), Step::Kill);
    }

    #[test]
    fn requested_drain_counts_as_lead_time_and_prevents_the_idle_exit() {
        let (mut lifecycle, now) = (Lifecycle::Serving, Instant::now());
        assert!(lifecycle.permits_idle_exit() && lifecycle.drain_cause().is_none());
        assert!(lifecycle.request_drain(true, now) && !lifecycle.request_drain(true, now));
        assert!(!lifecycle.permits_idle_exit() && lifecycle.is_staying());
        assert_eq!(lifecycle.drain_cause(), Some(DrainCause::Request));
        assert!(!lifecycle.is_drain_due(now + 9 * LEAD));
        let mut other = Lifecycle::Serving;
        other.request_drain(true, now);
        assert_eq!(other.plan_stop(LEAD, now + LEAD), Step::Drain);
        assert_eq!(lifecycle.plan_stop(LEAD, now + LEAD / 2), Step::Announce(LEAD / 2));
        assert!(lifecycle.is_drain_due(now + LEAD));
        other.request_drain(false, now);
        assert!(other.permits_idle_exit());
    }
}
