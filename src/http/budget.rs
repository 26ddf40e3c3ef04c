//! How long the process waits for one client.

use std::time::Duration;

use super::limits::Limits;

/// What is left of a time budget when others wait for the place of a client.
const HURRIED_TIME: Duration = Duration::from_secs(5);

/// How long the process waits for the client in one direction. Waiting uses the budget up; each `min_rate` bytes
/// that move add a second, up to the initial value. So neither a silent client nor a slow one holds a process for
/// long. Nothing refills `total`, the ceiling of a transfer that is just fast enough.
#[derive(Debug)]
pub(crate) struct TimeBudget {
    full: Duration,
    left: Duration,
    total: Duration,
    min_rate: u64,
    /// Instead of `min_rate` once it is hurried.
    hurried_rate: u64,
}

impl TimeBudget {
    /// `total`: all waiting together. `min_rate` is in bytes per second.
    pub(crate) fn new(full: Duration, total: Duration, min_rate: u64) -> Self {
        let min_rate = min_rate.max(1);
        Self { full, left: full, total, min_rate, hurried_rate: min_rate }
    }

    /// For the content of one request.
    pub(crate) fn for_content(limits: &Limits) -> Self {
        let hurried_rate = limits.min_rate_when_full;
        Self { hurried_rate, ..Self::new(limits.body_timeout, limits.body_timeout_max, limits.min_rate) }
    }

    /// For one response.
    pub(crate) fn for_response(limits: &Limits) -> Self {
        let hurried_rate = limits.min_rate_when_full;
        Self { hurried_rate, ..Self::new(limits.write_timeout, limits.write_timeout_max, limits.min_rate) }
    }

    pub(crate) fn left(&self) -> Duration {
        self.left.min(self.total)
    }

    /// Others wait for the place of this client: little time is left to one that is slow.
    pub(crate) fn hurry(&mut self) {
        self.full = self.full.min(HURRIED_TIME);
        self.left = self.left.min(self.full);
        self.min_rate = self.min_rate.max(self.hurried_rate);
    }

    pub(crate) fn earn(&mut self, bytes: usize) {
        let micros = (bytes as u64).saturating_mul(1_000_000) / self.min_rate;
        self.left = self.full.min(self.left.saturating_add(Duration::from_micros(micros)));
    }

    pub(crate) fn spend(&mut self, waited: Duration) {
        self.left = self.left.saturating_sub(waited);
        self.total = self.total.saturating_sub(waited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_budget_is_refilled_up_to_its_total() {
        let seconds = Duration::from_secs;
        let mut budget = TimeBudget::new(seconds(10), seconds(25), 100);
        budget.spend(seconds(9));
        budget.earn(400);
        assert_eq!(budget.left(), seconds(5));
        budget.earn(1 << 20);
        assert_eq!(budget.left(), seconds(10), "bytes refill it up to its initial value");
        budget.spend(seconds(10));
        budget.earn(1 << 20);
        assert_eq!(budget.left(), seconds(6), "19 of 25 seconds are used up");
        budget.spend(seconds(6));
        budget.earn(1 << 20);
        assert!(budget.left().is_zero());
    }

    #[test]
    fn hurried_time_budget_is_short() {
        let seconds = Duration::from_secs;
        let mut budget = TimeBudget { hurried_rate: 1000, ..TimeBudget::new(seconds(30), seconds(60), 100) };
        budget.hurry();
        assert_eq!(budget.left(), HURRIED_TIME);
        budget.spend(seconds(3));
        budget.earn(1000);
        assert_eq!(budget.left(), seconds(3));
        let mut budget = TimeBudget::new(seconds(2), seconds(60), 100);
        budget.hurry();
        assert_eq!(budget.left(), seconds(2), "never more");
    }
}
