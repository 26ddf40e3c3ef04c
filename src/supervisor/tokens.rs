//! A token bucket: so many at once, and as many in each second.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Tokens {
    rate: u32,
    /// When the bucket is, or was, full again.
    full_at: Instant,
}

impl Tokens {
    /// A full bucket. `rate`: more than 0.
    pub(crate) fn new(rate: u32, now: Instant) -> Self {
        Self { rate, full_at: now }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let is_any = now >= self.next(now);
        if is_any {
            self.full_at = self.full_at.max(now) + Duration::from_secs(1) / self.rate;
        }
        is_any
    }

    /// When there is a token: `now` or later.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        let one = Duration::from_secs(1) / self.rate;
        let lead = self.full_at.saturating_duration_since(now);
        now + (lead + one).saturating_sub(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_taken_at_once_and_then_accrues() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut tokens = Tokens::new(4, start);
        assert_eq!([(); 5].map(|()| tokens.take(at(0))), [true, true, true, true, false]);
        assert_eq!(tokens.next(at(0)), at(250));
        assert!(!tokens.take(at(249)) && tokens.take(at(250)) && !tokens.take(at(250)));
        assert_eq!([(); 5].map(|()| tokens.take(at(9000))), [true, true, true, true, false]);
        assert_eq!(tokens.next(at(20_000)), at(20_000));
    }
}
