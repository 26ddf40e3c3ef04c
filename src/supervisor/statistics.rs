//! What has happened since the start: counters that only grow, for each service, and how much of it in the last minute.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::outcome::Outcome;
use crate::status::{Histogram, Rate, Rates};
use crate::sys::Usage;

use super::refusal::REASONS;

/// Bounds of the histogram of durations, in seconds.
const BOUNDS: [f64; 8] = [0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0];
/// Seconds that the rates are kept for: more than the longest window.
const SECONDS: usize = 64;

/// What children have counted in their slots. A slot may hold anything: see [`Traffic::bounded`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) requests: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Traffic {
    /// Not more than a connection of this age can have moved: a million requests and 128 GiB in each second.
    pub(crate) fn bounded(self, age: Duration) -> Self {
        let seconds = age.as_secs().saturating_add(1);
        let (requests, bytes) = (seconds.saturating_mul(1_000_000), seconds.saturating_mul(128 << 30));
        Self {
            requests: self.requests.min(requests),
            bytes_in: self.bytes_in.min(bytes),
            bytes_out: self.bytes_out.min(bytes),
        }
    }

    /// What was added since `earlier`; nothing where a number has become less.
    pub(crate) fn since(self, earlier: Self) -> Self {
        self.zip(earlier, u64::saturating_sub)
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// Each number is at least as large as in `other`.
    pub(crate) fn max(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }

    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            requests: f(self.requests, other.requests),
            bytes_in: f(self.bytes_in, other.bytes_in),
            bytes_out: f(self.bytes_out, other.bytes_out),
        }
    }

    fn map(self, f: impl Fn(u64) -> u64) -> Self {
        self.zip(self, |number, _| f(number))
    }
}

/// What one service has done since the start.
#[derive(Debug, Default)]
pub(crate) struct ServiceCounters {
    pub(crate) accepted: u64,
    /// By the outcome in the record.
    pub(crate) ended: BTreeMap<&'static str, u64>,
    /// By reason.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    pub(crate) traffic: Traffic,
    pub(crate) cpu: Duration,
    durations: [u64; BOUNDS.len()],
    sum: Duration,
}

impl ServiceCounters {
    /// With every outcome and every reason, so that a counter exists before it counts.
    fn new() -> Self {
        let outcomes = Outcome::ALL.into_iter().map(Outcome::word).chain(["killed"]);
        Self {
            ended: outcomes.map(|word| (word, 0)).collect(),
            refused: REASONS.into_iter().map(|word| (word, 0)).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn histogram(&self) -> Histogram {
        let buckets = BOUNDS.into_iter().zip(self.durations).collect();
        Histogram { count: self.ended.values().sum(), sum: self.sum.as_secs_f64(), buckets }
    }
}

/// What has happened in one second.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    /// Since the start.
    number: u64,
    accepted: u64,
    refused: u64,
    traffic: Traffic,
}

/// All counters.
#[derive(Debug)]
pub(crate) struct Statistics {
    started: Instant,
    /// By name: those of earlier configurations stay.
    services: BTreeMap<String, ServiceCounters>,
    seconds: [Second; SECONDS],
}

impl Statistics {
    pub(crate) fn new(now: Instant) -> Self {
        Self { started: now, services: BTreeMap::new(), seconds: [Second::default(); SECONDS] }
    }

    /// By name. Every service has counters from here on.
    pub(crate) fn service(&mut self, name: &str) -> &mut ServiceCounters {
        if !self.services.contains_key(name) {
            self.services.insert(name.to_owned(), ServiceCounters::new());
        }
        self.services.get_mut(name).unwrap_or_else(|| unreachable!("it is in the table"))
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (&str, &ServiceCounters)> {
        self.services.iter().map(|(name, counters)| (name.as_str(), counters))
    }

    pub(crate) fn record_accepted(&mut self, service: &str, now: Instant) {
        self.service(service).accepted += 1;
        self.second(now).accepted += 1;
    }

    pub(crate) fn record_refused(&mut self, service: &str, reason: &'static str, now: Instant) {
        *self.service(service).refused.entry(reason).or_default() += 1;
        self.second(now).refused += 1;
    }

    pub(crate) fn record_ended(
        &mut self,
        service: &str,
        outcome: &'static str,
        duration: Duration,
        usage: Usage,
    ) {
        let service = self.service(service);
        *service.ended.entry(outcome).or_default() += 1;
        service.cpu += usage.user + usage.system;
        service.sum += duration;
        let seconds = duration.as_secs_f64();
        for (count, bound) in service.durations.iter_mut().zip(BOUNDS) {
            *count += u64::from(seconds <= bound);
        }
    }

    /// Counts what a connection has moved between two times, as evenly as that is known.
    pub(crate) fn record_traffic(&mut self, service: &str, traffic: Traffic, from: Instant, to: Instant) {
        if traffic == Traffic::default() {
            return;
        }
        let counters = self.service(service);
        counters.traffic = counters.traffic.plus(traffic);
        let whole = to.saturating_duration_since(from).as_secs();
        let part = traffic.map(|number| number / (whole + 1));
        let rest = traffic.map(|number| number - number / (whole + 1) * whole);
        // Of a long time only the last seconds are kept.
        for back in 1..=whole.min(SECONDS as u64 - 1) {
            let second = self.second(to - Duration::from_secs(back));
            second.traffic = second.traffic.plus(part);
        }
        let second = self.second(to);
        second.traffic = second.traffic.plus(rest);
    }

    /// The averages over the last 10 and 60 seconds, or since the start.
    pub(crate) fn rates(&self, now: Instant) -> Rates {
        Rates { last_10s: self.rate(10, now), last_60s: self.rate(60, now) }
    }

    fn rate(&self, window: u64, now: Instant) -> Rate {
        let age = now.saturating_duration_since(self.started);
        let current = age.as_secs();
        // The current second has just begun.
        let full = Duration::from_secs(window - 1) + Duration::from_nanos(age.subsec_nanos().into());
        let time = age.min(full).as_secs_f64().max(1.0);
        let mut sum = Second::default();
        for second in self.seconds.iter().filter(|second| second.number + window > current) {
            sum.accepted += second.accepted;
            sum.refused += second.refused;
            sum.traffic = sum.traffic.plus(second.traffic);
        }
        #[expect(clippy::cast_precision_loss, reason = "an average")]
        let average = |number: u64| number as f64 / time;
        Rate {
            accepted: average(sum.accepted),
            refused: average(sum.refused),
            requests: average(sum.traffic.requests),
            bytes_in: average(sum.traffic.bytes_in),
            bytes_out: average(sum.traffic.bytes_out),
        }
    }

    /// The counts of the second of this time. Those of a second that is too long ago are not kept.
    fn second(&mut self, at: Instant) -> &mut Second {
        let number = at.saturating_duration_since(self.started).as_secs();
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is small")]
        let second = &mut self.seconds[(number % SECONDS as u64) as usize];
        if second.number < number {
            *second = Second { number, ..Second::default() };
        }
        second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn requests(requests: u64) -> Traffic {
        Traffic { requests, bytes_in: 0, bytes_out: 0 }
    }

    #[test]
    fn rates_are_averages_of_the_last_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs_f64(seconds);
        let mut statistics = Statistics::new(start);
        for _ in 0..30 {
            statistics.record_accepted("web", at(0.5));
        }
        assert_eq!(statistics.rates(at(0.5)).last_10s.accepted, 30.0, "not the rate of half a second");
        assert_eq!(statistics.rates(at(3.0)).last_10s.accepted, 10.0);
        assert_eq!(statistics.rates(at(9.9)).last_60s.accepted, 30.0 / 9.9);
        assert_eq!(statistics.rates(at(10.0)).last_10s.accepted, 0.0, "ten seconds have begun since");
        assert_eq!(statistics.rates(at(59.0)).last_60s.accepted, 30.0 / 59.0);
        assert_eq!(statistics.rates(at(700.0)).last_60s.accepted, 0.0);
        assert_eq!(statistics.service("web").accepted, 30);
    }

    #[test]
    fn traffic_is_spread_over_its_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut statistics = Statistics::new(start);
        statistics.record_traffic("web", requests(1000), at(0), at(99));
        assert_eq!(statistics.service("web").traffic.requests, 1000);
        assert_eq!(statistics.rate(10, at(99)).requests, 100.0 / 9.0);
        assert_eq!(statistics.rate(60, at(99)).requests, 600.0 / 59.0);
        statistics.record_traffic("web", requests(7), at(99), at(99));
        assert_eq!(statistics.rate(10, at(99)).requests, 107.0 / 9.0);
    }

    #[test]
    fn a_slot_counts_no_more_than_its_age_allows() {
        let hostile = Traffic { requests: u64::MAX, bytes_in: u64::MAX, bytes_out: 3 };
        let bounded = hostile.bounded(Duration::from_secs(1));
        assert_eq!(bounded, Traffic { requests: 2_000_000, bytes_in: 256 << 30, bytes_out: 3 });
        assert_eq!(requests(2).since(requests(5)), requests(0), "no counter falls");
    }

    #[test]
    fn a_histogram_is_cumulative() {
        let mut statistics = Statistics::new(Instant::now());
        for millis in [5, 50, 5_000_000] {
            statistics.record_ended("web", "served", Duration::from_millis(millis), Usage::default());
        }
        let histogram = statistics.service("web").histogram();
        assert_eq!((histogram.count, histogram.sum), (3, 5000.055));
        let counts: Vec<_> = histogram.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [0, 1, 2, 2, 2, 2, 2, 2]);
    }
}
