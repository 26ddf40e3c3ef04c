//! The life of the daemon: serving, draining, killing its children, over.

use std::time::{Duration, Instant};

use super::children::Children;
use super::ending::Movement;
use super::settings::Process;
use crate::journal;

/// How often a drain looks whether bytes still move, and for how long they may stand still: a client that takes them
/// slowly takes many at a time.
const LOOK: Duration = Duration::from_secs(1);
const STILL: Duration = Duration::from_secs(5);

/// Where in its life the daemon is.
#[derive(Debug)]
pub enum Life {
    Serving,
    /// Accepts nobody new; the children may finish.
    Draining(Drain),
    /// The children were killed.
    Killing,
}

/// How long the children may still go on.
#[derive(Debug)]
pub struct Drain {
    /// All may go on until then.
    until: Instant,
    /// Those whose bytes still move may go on until then.
    longest: Instant,
    next_look: Instant,
    is_accepting: bool,
    /// Of each child at the last look.
    movement: Movement,
}

impl Life {
    pub fn is_serving(&self) -> bool {
        matches!(self, Self::Serving)
    }

    /// Connections may be accepted: anybody's, or while draining those that were in a backlog before.
    pub fn is_accepting(&self) -> bool {
        match self {
            Self::Serving => true,
            Self::Draining(drain) => drain.is_accepting,
            Self::Killing => false,
        }
    }

    /// Told to stop: the first time drains, the second time ends at once.
    pub fn stop(&mut self, children: &mut Children, process: &Process, now: Instant) {
        if self.is_serving() {
            journal::log_draining(children.count(), process.drain_timeout);
            children.drain();
            let mut movement = Movement::default();
            children.note_movement(&mut movement, now);
            let (until, longest) = (now + process.drain_timeout, now + process.drain_timeout_max);
            let mut drain = Drain { until, longest, next_look: now, is_accepting: true, movement };
            drain.plan_look(now);
            *self = Self::Draining(drain);
        } else {
            children.kill_all();
            children.orphans.kill_all(now);
            *self = Self::Killing;
        }
    }

    /// What the passing of time changes. True: the end is put off, since bytes still move.
    pub fn advance(&mut self, children: &mut Children, now: Instant) -> bool {
        let Self::Draining(drain) = self else { return false };
        if now < drain.next_look {
            return false;
        }
        drain.plan_look(now);
        children.note_movement(&mut drain.movement, now);
        if now < drain.until {
            return false;
        }
        drain.is_accepting = false;
        let since = now.checked_sub(STILL).filter(|_| now < drain.longest);
        children.end_still(since.map(|since| (&drain.movement, since)), now) > 0
    }

    pub fn next_event(&self) -> Option<Instant> {
        match self {
            Self::Draining(drain) => Some(drain.next_look),
            Self::Serving | Self::Killing => None,
        }
    }
}

impl Drain {
    /// Looks again soon, and at each of the two ends.
    fn plan_look(&mut self, now: Instant) {
        let ends = [self.until, self.longest].into_iter().filter(|&end| end > now);
        self.next_look = ends.fold(now + LOOK, Instant::min);
    }
}
