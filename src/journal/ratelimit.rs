//! The rate limiter of the records: each record of a connection is written, or counted here by its kind, so that
//! the records and the counts always add up to the connections accepted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::settings::Level;
use crate::connection::Peer;
use crate::outcome::Outcome;
use crate::source::{Prefixes, Source, WiderPrefix};

/// `log.max_rate` is for whole seconds, and counts are written, or retried, once in each.
const SECOND: Duration = Duration::from_secs(1);

/// A part of the records of one kind, as a divisor, that is kept for sources with few records: a source that floods does
/// not suppress the records of others.
const KEPT_PART: u32 = 4;
/// How many records in a second are few, as a divisor of `log.max_rate`.
const FEW_PART: u32 = 16;
/// Sources of one second. Records of further ones have no part in what is kept.
const SOURCES_MAX: usize = 4096;
/// What is a source here.
const PREFIXES: Prefixes = Prefixes { v4: 32, v6: 56, wider_v6: [WiderPrefix { length: 0, factor: 0 }; 2] };

/// What records are counted by: the outcome of the child, or that it had none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ended(Outcome),
    Killed,
}

impl Kind {
    const COUNT: usize = Outcome::ALL.len() + 1;

    pub(super) fn all() -> impl Iterator<Item = Self> {
        Outcome::ALL.into_iter().map(Self::Ended).chain([Self::Killed])
    }

    fn index(self) -> usize {
        Self::all().position(|kind| kind == self).unwrap_or_default()
    }

    /// The value of LSBAWS_OUTCOME.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ended(outcome) => outcome.word(),
            Self::Killed => "killed",
        }
    }
}

/// The records of one kind that were not written one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    /// Over `log.max_rate`.
    pub(super) over_rate: u64,
    /// Not accepted by the log.
    pub(super) unaccepted: u64,
    /// The level of the most important of them.
    pub(super) level: Level,
}

impl Tally {
    const NONE: Self = Self { over_rate: 0, unaccepted: 0, level: Level::Debug };

    /// One record that the log did not accept.
    pub(super) fn of_unaccepted(level: Level) -> Self {
        Self { unaccepted: 1, level, ..Self::NONE }
    }

    pub(super) fn count(&self) -> u64 {
        self.over_rate + self.unaccepted
    }

    fn add(&mut self, other: Self) {
        self.over_rate += other.over_rate;
        self.unaccepted += other.unaccepted;
        self.level = self.level.min(other.level);
    }
}

/// What is counted instead of written.
#[derive(Debug)]
pub(super) struct RateLimiter {
    /// Records of one kind in one second; 0 is no limit.
    max_rate: u32,
    /// When this second is over. None: nothing has been recorded yet.
    second_end: Option<Instant>,
    /// Records of each kind that were admitted in this second.
    admitted: [u32; Kind::COUNT],
    tallies: [Tally; Kind::COUNT],
    /// Records of each source that were admitted in this second.
    by_source: HashMap<Source, u32>,
}

impl RateLimiter {
    pub(super) fn new(max_rate: u32) -> Self {
        let (admitted, tallies) = ([0; Kind::COUNT], [Tally::NONE; Kind::COUNT]);
        Self { max_rate, second_end: None, admitted, tallies, by_source: HashMap::new() }
    }

    pub(super) fn set_max_rate(&mut self, max_rate: u32) {
        self.max_rate = max_rate;
    }

    /// Begins another second, if this one is over. True: the counts of the last one are due.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        let is_over = self.second_end.is_none_or(|end| now >= end);
        if is_over {
            self.second_end = Some(now + SECOND);
            self.admitted = [0; Kind::COUNT];
            self.by_source.clear();
        }
        is_over
    }

    /// Whether one more record of this kind, of a connection of `peer`, may be written in this second. If not, it is
    /// counted.
    pub(super) fn admit(&mut self, kind: Kind, level: Level, peer: &Peer) -> bool {
        if self.max_rate == 0 {
            return true;
        }
        let index = kind.index();
        let source = Source::of(peer, PREFIXES);
        let of_source = source.map_or(u32::MAX, |source| self.by_source.get(&source).copied().unwrap_or(0));
        let has_few = of_source < (self.max_rate / FEW_PART).max(1);
        let kept = if has_few { 0 } else { self.max_rate / KEPT_PART };
        let is_admitted = self.admitted[index] < self.max_rate - kept;
        if is_admitted {
            self.admitted[index] += 1;
            self.count_source(source);
        } else {
            self.tallies[index].add(Tally { over_rate: 1, level, ..Tally::NONE });
        }
        is_admitted
    }

    fn count_source(&mut self, source: Option<Source>) {
        if let Some(source) = source
            && (self.by_source.len() < SOURCES_MAX || self.by_source.contains_key(&source))
        {
            *self.by_source.entry(source).or_insert(0) += 1;
        }
    }

    /// Counts records that will not be written one by one.
    pub(super) fn count(&mut self, kind: Kind, tally: Tally) {
        self.tallies[kind.index()].add(tally);
    }

    /// Takes what was counted of this kind.
    pub(super) fn take(&mut self, kind: Kind) -> Option<Tally> {
        let tally = std::mem::replace(&mut self.tallies[kind.index()], Tally::NONE);
        (tally.count() > 0).then_some(tally)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tallies.iter().all(|tally| tally.count() == 0)
    }

    /// When this second is over.
    pub(super) fn second_end(&self) -> Option<Instant> {
        self.second_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_rate_and_counts_add_up() {
        let served = Kind::Ended(Outcome::Served);
        let mut limiter = RateLimiter::new(2);
        let (start, peer) = (Instant::now(), Peer::Unknown);
        assert!(limiter.advance(start) && !limiter.advance(start));
        let admitted = (0..5).filter(|_| limiter.admit(served, Level::Info, &peer)).count();
        assert_eq!(admitted, 2);
        assert!(limiter.admit(Kind::Killed, Level::Error, &peer));
        limiter.count(served, Tally::of_unaccepted(Level::Warn));
        assert_eq!(limiter.take(served), Some(Tally { over_rate: 3, unaccepted: 1, level: Level::Warn }));
        assert!(limiter.is_empty() && limiter.take(Kind::Killed).is_none());
        assert!(limiter.advance(start + SECOND) && limiter.admit(served, Level::Info, &peer));
    }

    #[test]
    fn flood_of_one_source_leaves_room_for_others() {
        let served = Kind::Ended(Outcome::Served);
        let mut limiter = RateLimiter::new(64);
        limiter.advance(Instant::now());
        let peer = |last: u8| Peer::Inet(([192, 0, 2, last], 1).into());
        let mut admit =
            |last, count| (0..count).filter(|_| limiter.admit(served, Level::Info, &peer(last))).count();
        assert_eq!(admit(1, 1000), 48, "a quarter is kept");
        assert_eq!([admit(2, 10), admit(3, 3), admit(4, 10)], [4, 3, 4], "a few for each");
        assert_eq!([admit(1, 10), admit(2, 10)], [0, 0]);
        assert_eq!([admit(5, 10), admit(6, 10)], [4, 1], "and no more than the rate in all");
        assert_eq!(limiter.take(served).map(|tally| tally.count()), Some(1063 - 64));
    }
}
