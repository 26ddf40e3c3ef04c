//! Per-source state between connections: a token bucket for the rate, failures and penalties. Kept only for sources
//! that need it; how many connections a source has now is counted in the table of children.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::settings::AdmissionRules;
use crate::source::{Counted, Source};

/// The largest number of sources: an attacker may have many addresses.
const SOURCES_MAX: usize = 16_384;

/// Why a source is refused now, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMuch {
    Rate(Duration),
    Penalty(Duration),
}

/// How a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Served connections make up for it.
    Connection,
    /// A wrong password. A guess costs a client little, and so does a connection that is served: only time makes up for it.
    Password,
}

/// A penalty that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Penalty {
    pub(crate) failures: u32,
    pub(crate) time: Duration,
}

#[derive(Debug)]
struct Account {
    /// Connections that may arrive at once, in thousandths, as of `last`.
    tokens: u64,
    last: Instant,
    /// Failed connections with no wrong password, less those that were served since.
    failures: u32,
    /// Those with a wrong password.
    wrong_passwords: u32,
    last_failure: Option<Instant>,
    /// The last penalty and its end.
    penalty: Option<(Duration, Instant)>,
}

/// By source. Empty while no connection has failed and rates are not limited.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    accounts: HashMap<Source, Account>,
}

impl Sources {
    /// Counts the arrival of a connection. Fails when it is one too many. The factor is that of every limit.
    pub(crate) fn record_arrival(
        &mut self,
        (source, factor): Counted,
        rules: &AdmissionRules,
        now: Instant,
    ) -> Result<(), TooMuch> {
        let rate = find_rate(rules, factor);
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

    /// Counts a failed connection. Returns the penalty that begins with it, if one does.
    pub(crate) fn record_failure(
        &mut self,
        (source, factor): Counted,
        kind: FailureKind,
        rules: &AdmissionRules,
        now: Instant,
    ) -> Option<Penalty> {
        if rules.penalty_after == 0 {
            return None;
        }
        self.make_room(source, rules, now);
        let rate = find_rate(rules, factor);
        let account = self.accounts.entry(source).or_insert_with(|| Account::new(rate, now));
        if account.is_forgiven(rules, now) {
            (account.failures, account.wrong_passwords, account.penalty) = (0, 0, None);
        }
        // Connections from before the penalty do not count twice.
        if account.penalty.is_some_and(|(_, until)| now < until) {
            return None;
        }
        match kind {
            FailureKind::Connection => account.failures += 1,
            FailureKind::Password => account.wrong_passwords += 1,
        }
        account.last_failure = Some(now);
        let failures = account.failures + account.wrong_passwords;
        if failures < rules.penalty_after.saturating_mul(factor) {
            return None;
        }
        let time = account.penalty.map_or(rules.penalty_time, |(time, _)| time.saturating_mul(2));
        let time = time.min(rules.penalty_time_max);
        (account.failures, account.wrong_passwords) = (0, 0);
        account.penalty = Some((time, now + time));
        Some(Penalty { failures, time })
    }

    /// Counts a served connection: it makes up for a failed one.
    pub(crate) fn record_served(&mut self, source: Source) {
        if let Some(account) = self.accounts.get_mut(&source) {
            account.failures = account.failures.saturating_sub(1);
        }
    }

    /// Sources that are penalized now.
    pub(crate) fn count_penalized(&self, now: Instant) -> usize {
        let is_penalized = |account: &&Account| account.penalty.is_some_and(|(_, until)| now < until);
        self.accounts.values().filter(is_penalized).count()
    }

    /// Those sources, each with the time that is left.
    pub(crate) fn list_penalized(&self, now: Instant) -> Vec<(Source, Duration)> {
        let left = |account: &Account| account.penalty.map(|(_, until)| until.saturating_duration_since(now));
        let penalized = self.accounts.iter().filter_map(|(source, account)| Some((*source, left(account)?)));
        penalized.filter(|(_, left)| !left.is_zero()).collect()
    }

    /// Forgets every source.
    pub(crate) fn clear(&mut self) {
        self.accounts.clear();
    }

    /// Evicts idle entries, and when that is not enough every second entry.
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

/// Connections in a second.
fn find_rate(rules: &AdmissionRules, factor: u32) -> u64 {
    u64::from(rules.max_rate_per_source) * u64::from(factor)
}

impl Account {
    fn new(rate: u64, now: Instant) -> Self {
        Self {
            tokens: rate * 1000,
            last: now,
            failures: 0,
            wrong_passwords: 0,
            last_failure: None,
            penalty: None,
        }
    }

    /// Takes a token of a bucket that holds as many as arrive in a second.
    fn take_token(&mut self, rate: u64, now: Instant) -> Result<(), TooMuch> {
        let micros = u64::try_from((now - self.last).as_micros()).unwrap_or(u64::MAX);
        let filled = self.tokens.saturating_add(micros.saturating_mul(rate) / 1000).min(rate * 1000);
        // A refused arrival does not reset the part of a token that has accrued.
        if filled < 1000 {
            return Err(TooMuch::Rate(Duration::from_millis((1000 - filled).div_ceil(rate))));
        }
        (self.tokens, self.last) = (filled - 1000, now);
        Ok(())
    }

    /// So long without a failure, and out of penalty, that the count is reset.
    fn is_forgiven(&self, rules: &AdmissionRules, now: Instant) -> bool {
        let is_over = |at: Instant| now.saturating_duration_since(at) >= rules.penalty_time_max;
        self.last_failure.is_none_or(is_over) && self.penalty.is_none_or(|(_, until)| is_over(until))
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

    fn source(number: u32) -> Counted {
        let peer = Peer::Inet((std::net::Ipv4Addr::from(number), 1).into());
        (Source::of(&peer, Prefixes { v4: 32, v6: 64, ..Prefixes::default() }).unwrap(), 1)
    }

    #[test]
    fn a_rate_admits_one_second_at_once_and_then_accrues() {
        let rules = AdmissionRules { max_rate_per_source: 2, ..rules() };
        let (mut sources, start) = (Sources::default(), Instant::now());
        let mut arrive =
            |millis| sources.record_arrival(source(1), &rules, start + Duration::from_millis(millis));
        assert_eq!([arrive(0), arrive(0)], [Ok(()), Ok(())]);
        assert_eq!(arrive(0), Err(TooMuch::Rate(Duration::from_millis(500))));
        assert_eq!(arrive(400), Err(TooMuch::Rate(Duration::from_millis(100))));
        assert_eq!(arrive(500), Ok(()), "the refused arrival has cost nothing");
        assert!(arrive(500).is_err());
        assert_eq!([arrive(60_000), arrive(60_000)], [Ok(()), Ok(())]);
        assert!(arrive(60_000).is_err(), "one second accrues at most");
    }

    #[test]
    fn penalties_double_up_to_a_maximum_and_are_reset() {
        let (mut sources, start, rules) = (Sources::default(), Instant::now(), rules());
        let mut now = start;
        let penalize = |sources: &mut Sources, now: Instant| {
            for _ in 0..2 {
                assert_eq!(sources.record_failure(source(1), FailureKind::Connection, &rules, now), None);
            }
            sources.record_failure(source(1), FailureKind::Connection, &rules, now).unwrap().time.as_secs()
        };
        for expected in [10, 20, 40, 60, 60] {
            assert_eq!(penalize(&mut sources, now), expected);
            assert!(matches!(sources.record_arrival(source(1), &rules, now), Err(TooMuch::Penalty(_))));
            assert_eq!(sources.record_arrival(source(2), &rules, now), Ok(()), "another source");
            now += Duration::from_secs(expected);
            assert_eq!(sources.record_arrival(source(1), &rules, now), Ok(()), "the penalty ends by itself");
        }
        now += Duration::from_secs(61);
        assert_eq!(penalize(&mut sources, now), 10, "the count was reset");
    }

    #[test]
    fn served_connections_make_up_for_failed_ones() {
        let (mut sources, now, rules) = (Sources::default(), Instant::now(), rules());
        for _ in 0..10 {
            assert_eq!(sources.record_failure(source(1), FailureKind::Connection, &rules, now), None);
            sources.record_served(source(1).0);
        }
    }

    #[test]
    fn served_connections_do_not_make_up_for_wrong_passwords() {
        let (mut sources, now, rules) = (Sources::default(), Instant::now(), rules());
        let mut guess = |now| {
            let penalty = sources.record_failure(source(1), FailureKind::Password, &rules, now);
            sources.record_served(source(1).0);
            penalty.map(|penalty| penalty.failures)
        };
        assert_eq!([guess(now), guess(now), guess(now)], [None, None, Some(3)]);
        let later = now + 2 * rules.penalty_time_max;
        assert_eq!([guess(later), guess(later)], [None, None]);
        let later = later + rules.penalty_time_max;
        assert_eq!([guess(later), guess(later), guess(later)], [None, None, Some(3)], "the count was reset");
    }

    #[test]
    fn limits_of_wider_networks_are_larger() {
        let (mut sources, now) = (Sources::default(), Instant::now());
        let rules = AdmissionRules { max_rate_per_source: 2, ..rules() };
        let wider = (source(1).0, 4);
        let admitted = (0..20).filter(|_| sources.record_arrival(wider, &rules, now).is_ok()).count();
        assert_eq!(admitted, 8);
        let failures =
            (1..20).find(|_| sources.record_failure(wider, FailureKind::Connection, &rules, now).is_some());
        assert_eq!(failures, Some(12));
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut sources, now, rules) = (Sources::default(), Instant::now(), rules());
        for number in 0..3 * u32::try_from(SOURCES_MAX).unwrap() {
            sources.record_failure(source(number), FailureKind::Connection, &rules, now);
            assert!(sources.accounts.len() <= SOURCES_MAX);
        }
        let later = now + Duration::from_secs(120);
        for number in 0..u32::try_from(SOURCES_MAX).unwrap() {
            sources.record_failure(source(u32::MAX - number), FailureKind::Connection, &rules, later);
        }
        assert!(sources.accounts.len() <= SOURCES_MAX);
        assert!(
            sources.accounts.values().all(|account| account.last_failure == Some(later)),
            "old entries are evicted first"
        );
    }
}
