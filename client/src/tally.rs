//! The sums of all events.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

use crate::event::Event;

/// The sums of all events so far.
#[derive(Debug)]
pub(crate) struct Tally {
    pub connected: u64,
    /// Number of connections that were not opened, by errno.
    pub not_connected: BTreeMap<i32, u64>,
    /// Number of complete responses, by status.
    pub answered: BTreeMap<u16, u64>,
    pub invalid: u64,
    pub truncated: u64,
    pub timed_out: u64,
    /// Microseconds to open a connection.
    pub connect_times: Histogram<u64>,
    /// Microseconds from the request to the last byte of the response, for complete responses.
    pub response_times: Histogram<u64>,
}

impl Tally {
    /// Fails if the histograms do not fit in memory.
    pub(crate) fn new() -> Result<Self, CreationError> {
        let histogram = Histogram::new_with_max(u32::MAX.into(), 3)?;
        Ok(Self {
            connected: 0,
            not_connected: BTreeMap::new(),
            answered: BTreeMap::new(),
            invalid: 0,
            truncated: 0,
            timed_out: 0,
            connect_times: histogram.clone(),
            response_times: histogram,
        })
    }

    pub(crate) fn count(&mut self, event: Event) {
        match event {
            Event::Connected(time) => {
                self.connected += 1;
                record_time(&mut self.connect_times, time);
            }
            Event::NotConnected(errno) => *self.not_connected.entry(errno as i32).or_default() += 1,
            Event::Answered(status, time) => {
                *self.answered.entry(status).or_default() += 1;
                record_time(&mut self.response_times, time);
            }
            Event::Invalid => self.invalid += 1,
            Event::Truncated => self.truncated += 1,
            Event::TimedOut => self.timed_out += 1,
        }
    }

    /// Number of connections that have ended.
    pub(crate) fn ended(&self) -> u64 {
        let not_connected: u64 = self.not_connected.values().sum();
        let answered: u64 = self.answered.values().sum();
        not_connected + answered + self.invalid + self.truncated + self.timed_out
    }
}

fn record_time(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn each_event_is_counted_once() {
        let mut tally = Tally::new().unwrap();
        for event in [
            Event::Connected(Duration::from_micros(12)),
            Event::NotConnected(Errno::ECONNREFUSED),
            Event::Answered(200, Duration::from_micros(345)),
            Event::Answered(503, Duration::from_secs(3)),
            Event::Invalid,
            Event::Truncated,
            Event::TimedOut,
        ] {
            tally.count(event);
        }
        assert_eq!((tally.connected, tally.ended()), (1, 6));
        assert_eq!((tally.invalid, tally.truncated, tally.timed_out), (1, 1, 1));
        assert_eq!(tally.not_connected, BTreeMap::from([(Errno::ECONNREFUSED as i32, 1)]));
        assert_eq!(tally.answered, BTreeMap::from([(200, 1), (503, 1)]));
        assert_eq!(tally.connect_times.min(), 12);
        assert_eq!(tally.response_times.len(), 2);
    }
}
