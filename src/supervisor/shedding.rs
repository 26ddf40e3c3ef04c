//! Which children make room while connections wait because the limit is reached: those whose clients use their places
//! least. Phases and times come from slots, so that a child that writes rubbish into its own harms itself alone.

use std::cmp::Reverse;
use std::time::Duration;

use crate::scoreboard::Phase;

/// A client may take this long for the head of a request, or a transfer may last, before it has to make room.
const SHED_MIN: Duration = Duration::from_secs(1);

/// How a child makes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    /// Begins no further request.
    Close,
    /// Ends a head that is not complete, and a transfer below `limits.min_rate_when_full`.
    Hurry,
}

/// A child as its slot shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) phase: Phase,
    /// For how long it waits for a request, or for the head of one; otherwise the age of the connection.
    pub(crate) time: Duration,
    /// What the supervisor has asked of it already.
    pub(crate) requested: Option<Request>,
}

/// Chooses children to make room for `waiting` connections, by their indices: the longest idle first, then the slowest
/// heads. If these are too few, all transfers have to be faster.
pub(crate) fn choose(candidates: &[Candidate], waiting: usize) -> Vec<(usize, Request)> {
    let longest = |phase, min, requested: Option<Request>| {
        let is_chosen = move |(_, candidate): &(usize, &Candidate)| {
            candidate.phase == phase && candidate.time >= min && candidate.requested <= requested
        };
        let mut chosen: Vec<_> = candidates.iter().enumerate().filter(is_chosen).collect();
        chosen.sort_by_key(|(_, candidate)| Reverse(candidate.time));
        chosen.into_iter().map(|(index, _)| index)
    };
    let idle = longest(Phase::Idle, Duration::ZERO, None).map(|index| (index, Request::Close));
    let heads = longest(Phase::Reading, SHED_MIN, Some(Request::Close)).map(|index| (index, Request::Hurry));
    let mut chosen: Vec<_> = idle.chain(heads).take(waiting).collect();
    if chosen.len() < waiting {
        for phase in [Phase::Handling, Phase::Writing, Phase::Closing] {
            let transfers = longest(phase, SHED_MIN, Some(Request::Close));
            chosen.extend(transfers.map(|index| (index, Request::Hurry)));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(phase: Phase, seconds: u64) -> Candidate {
        Candidate { phase, time: Duration::from_secs(seconds), requested: None }
    }

    #[test]
    fn longest_idle_come_first_and_then_the_slowest_heads() {
        let candidates = [
            candidate(Phase::Idle, 2),
            candidate(Phase::Reading, 3),
            candidate(Phase::Idle, 5),
            candidate(Phase::Handling, 90),
            candidate(Phase::Reading, 9),
            candidate(Phase::Starting, 90),
            candidate(Phase::Program, 90),
        ];
        use Request::{Close, Hurry};
        assert_eq!(choose(&candidates, 0), []);
        assert_eq!(choose(&candidates, 1), [(2, Close)]);
        assert_eq!(choose(&candidates, 3), [(2, Close), (0, Close), (4, Hurry)]);
        assert_eq!(choose(&candidates, 4), [(2, Close), (0, Close), (4, Hurry), (1, Hurry)]);
        assert_eq!(choose(&candidates, 5).last(), Some(&(3, Hurry)), "a transfer");
        assert_eq!(choose(&candidates, 99).len(), 5, "neither a program nor a child that has just started");
    }

    #[test]
    fn new_heads_and_transfers_have_a_moment() {
        let mut young = [Phase::Reading, Phase::Handling, Phase::Writing].map(|phase| candidate(phase, 0));
        assert_eq!(choose(&young, 9), []);
        young[0].time = SHED_MIN;
        assert_eq!(choose(&young, 9), [(0, Request::Hurry)]);
    }

    #[test]
    fn children_are_asked_once() {
        let asked = |phase, requested| Candidate { requested: Some(requested), ..candidate(phase, 9) };
        assert_eq!(choose(&[asked(Phase::Idle, Request::Close)], 1), []);
        assert_eq!(choose(&[asked(Phase::Writing, Request::Close)], 1), [(0, Request::Hurry)]);
        assert_eq!(choose(&[asked(Phase::Reading, Request::Hurry)], 1), []);
    }
}
