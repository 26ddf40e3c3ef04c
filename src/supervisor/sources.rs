//! What is kept of a source between its connections: how fast it comes, and how often it was at fault. Only of
//! those for whom there is something to keep; how many connections a source has now, the children tell.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::settings::AdmissionRules;
use crate::source::Source;

/// Sources that something is kept of. An attacker has many addresses.
const SOURCES_MAX: usize = 16_384;

/// Why a source is refused now, and for how long it will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMuch {
    Rate(Duration),
    Penalty(Duration),
}

/// A penalty that has just begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Penalty {
    pub faults: u32,
    pub time: Duration,
}

#[derive(Debug)]
struct Account {
    /// Connections that may come at once, in thousandths, at the time of the last one.
    tokens: u64,
    last: Instant,
    /// Faults that no served connection has made up for.
    faults: u32,
    last_fault: Option<Instant>,
    /// The penalty that was last imposed.
    penalty: Option<(Duration, Instant)>,
}

/// By source. Empty where no source was at fault and rates are not limited.
#[derive(Debug, Default)]
pub struct Sources {
    accounts: HashMap<Source, Account>,
}

impl Sources {
    /// Takes the arrival of a connection into account, and says whether it is too much.
    pub fn note_arrival(
        &mut self,
        source: Source,
        rules: &AdmissionRules,
        now: Instant,
    ) -> Result<(), TooMuch> {
        let rate = u64::from(rules.max_rate_per_source);
        if rate == 0 && self.accounts.is_empty() {
            return Ok(());
        }
        if rate > 0 {
            self.make_room(source, rules, now);
        }
        let account = match rate > 0 {
            true => self.accounts.entry(source).or_insert_with(|| Account::new(rate, now)),
            false => match self.accounts.get_mut(&source) {
                Some(account) => account,
                None => return Ok(()),
            },
        };
        if let Some((_, until)) = account.penalty.filter(|(_, until)| now < *until) {
            return Err(TooMuch::Penalty(until - now));
        }
        if rate > 0 { account.take_token(rate, now) } else { Ok(()) }
    }

    /// A connection of that source has ended by its own fault. The penalty that it has earned, if any.
    pub fn note_fault(&mut self, source: Source, rules: &AdmissionRules, now: Instant) -> Option<Penalty> {
        if rules.penalty_after == 0 {
            return None;
        }
        self.make_room(source, rules, now);
        let rate = u64::from(rules.max_rate_per_source);
        let account = self.accounts.entry(source).or_insert_with(|| Account::new(rate, now));
        if account.is_forgiven(rules, now) {
            (account.faults, account.penalty) = (0, None);
        }
        // Those that were there already when it was punished are punished with it.
        if account.penalty.is_some_and(|(_, until)| now < until) {
            return None;
        }
        account.faults += 1;
        account.last_fault = Some(now);
        if account.faults < rules.penalty_after {
            return None;
        }
        let time = account.penalty.map_or(rules.penalty_time, |(time, _)| time.saturating_mul(2));
        let time = time.min(rules.penalty_time_max);
        let faults = std::mem::take(&mut account.faults);
        account.penalty = Some((time, now + time));
        Some(Penalty { faults, time })
    }

    /// A connection of that source was served: that makes up for a fault.
    pub fn note_served(&mut self, source: Source) {
        if let Some(account) = self.accounts.get_mut(&source) {
            account.faults = account.faults.saturating_sub(1);
        }
    }

    /// Sources that are being punished now.
    pub fn count_punished(&self, now: Instant) -> usize {
        let is_punished = |account: &&Account| account.penalty.is_some_and(|(_, until)| now < until);
        self.accounts.values().filter(is_punished).count()
    }

    /// What was kept is of no use under other rules.
    pub fn clear(&mut self) {
        self.accounts.clear();
    }

    /// Forgets whoever there is nothing to say of any more; and when that is not enough, half of the others.
    fn make_room(&mut self, source: Source, rules: &AdmissionRules, now: Instant) {
        if self.accounts.len() < SOURCES_MAX || self.accounts.contains_key(&source) {
            return;
        }
        self.accounts.retain(|_, account| !account.is_idle(rules, now));
        let mut is_kept = false;
        if self.accounts.len() >= SOURCES_MAX {
            self.accounts.retain(|_, _| {
                is_kept = !is_kept;
                is_kept
            });
        }
    }
}

impl Account {
    fn new(rate: u64, now: Instant) -> Self {
        Self { tokens: rate * 1000, last: now, faults: 0, last_fault: None, penalty: None }
    }

    /// Takes a token of a bucket that holds as many as come in a second.
    fn take_token(&mut self, rate: u64, now: Instant) -> Result<(), TooMuch> {
        let micros = u64::try_from((now - self.last).as_micros()).unwrap_or(u64::MAX);
        let filled = self.tokens.saturating_add(micros.saturating_mul(rate) / 1000).min(rate * 1000);
        // A part of a token that has not come yet is not lost by asking again and again.
        if filled < 1000 {
            return Err(TooMuch::Rate(Duration::from_millis((1000 - filled).div_ceil(rate))));
        }
        (self.tokens, self.last) = (filled - 1000, now);
        Ok(())
    }

    /// So long without a fault, and out of penalty, that all is as if there had been none.
    fn is_forgiven(&self, rules: &AdmissionRules, now: Instant) -> bool {
        let is_over = |at: Instant| now.saturating_duration_since(at) >= rules.penalty_time_max;
        self.last_fault.is_none_or(is_over) && self.penalty.is_none_or(|(_, until)| is_over(until))
    }

    fn is_idle(&self, rules: &AdmissionRules, now: Instant) -> bool {
        let is_full = now.saturating_duration_since(self.last) >= Duration::from_secs(1);
        is_full && self.is_forgiven(rules, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Peer;
    use crate::source::Prefixes;

    fn rules() -> AdmissionRules {
        AdmissionRules {
            max_rate_per_source: 0,
            penalty_after: 3,
            penalty_time: Duration::from_secs(10),
            penalty_time_max: Duration::from_secs(60),
            ..AdmissionRules::default()
        }
    }

    fn source(number: u32) -> Source {
        let peer = Peer::Inet((std::net::Ipv4Addr::from(number), 1).into());
        Source::of(&peer, Prefixes { v4: 32, v6: 64 }).unwrap()
    }

    #[test]
    fn a_rate_lets_a_second_of_it_in_at_once_and_then_as_it_comes() {
        let rules = AdmissionRules { max_rate_per_source: 2, ..rules() };
        let (mut sources, start) = (Sources::default(), Instant::now());
        let mut arrive =
            |millis| sources.note_arrival(source(1), &rules, start + Duration::from_millis(millis));
        assert_eq!([arrive(0), arrive(0)], [Ok(()), Ok(())]);
        assert_eq!(arrive(0), Err(TooMuch::Rate(Duration::from_millis(500))));
        assert_eq!(arrive(400), Err(TooMuch::Rate(Duration::from_millis(100))));
        assert_eq!(arrive(500), Ok(()), "asking meanwhile has cost nothing");
        assert!(arrive(500).is_err());
        assert_eq!([arrive(60_000), arrive(60_000)], [Ok(()), Ok(())]);
        assert!(arrive(60_000).is_err(), "no more than a second's is saved up");
    }

    #[test]
    fn penalties_grow_to_their_most_and_end_and_are_forgiven() {
        let (mut sources, start, rules) = (Sources::default(), Instant::now(), rules());
        let mut now = start;
        let punish = |sources: &mut Sources, now: Instant| {
            for _ in 0..2 {
                assert_eq!(sources.note_fault(source(1), &rules, now), None);
            }
            sources.note_fault(source(1), &rules, now).unwrap().time.as_secs()
        };
        for expected in [10, 20, 40, 60, 60] {
            assert_eq!(punish(&mut sources, now), expected);
            assert!(matches!(sources.note_arrival(source(1), &rules, now), Err(TooMuch::Penalty(_))));
            assert_eq!(sources.note_arrival(source(2), &rules, now), Ok(()), "another one");
            now += Duration::from_secs(expected);
            assert_eq!(sources.note_arrival(source(1), &rules, now), Ok(()), "it is over by itself");
        }
        now += Duration::from_secs(61);
        assert_eq!(punish(&mut sources, now), 10, "long ago");
    }

    #[test]
    fn who_is_served_makes_up_for_it() {
        let (mut sources, now, rules) = (Sources::default(), Instant::now(), rules());
        for _ in 0..10 {
            assert_eq!(sources.note_fault(source(1), &rules, now), None);
            sources.note_served(source(1));
        }
    }

    #[test]
    fn the_table_has_an_end() {
        let (mut sources, now, rules) = (Sources::default(), Instant::now(), rules());
        for number in 0..3 * u32::try_from(SOURCES_MAX).unwrap() {
            sources.note_fault(source(number), &rules, now);
            assert!(sources.accounts.len() <= SOURCES_MAX);
        }
        let later = now + Duration::from_secs(120);
        for number in 0..u32::try_from(SOURCES_MAX).unwrap() {
            sources.note_fault(source(u32::MAX - number), &rules, later);
        }
        assert!(sources.accounts.len() <= SOURCES_MAX);
        assert!(
            sources.accounts.values().all(|account| account.last_fault == Some(later)),
            "the old ones first"
        );
    }
}
