//! What becomes of the connections: events from the client processes, and their sums.

use std::collections::BTreeMap;
use std::io::{self, PipeWriter, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use nix::errno::Errno;

/// Bytes of an event in the pipe.
const EVENT_SIZE: usize = 8;

/// How many events go into one write: as many as the pipe takes in one piece (`PIPE_BUF`), so that
/// the writes of many processes do not mix, and one that dies leaves no half event.
const BATCH: usize = 4096 / EVENT_SIZE;

/// Something that became of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Opened after this time; exactly one of the other events follows.
    Connected(Duration),
    /// Not opened, for this reason.
    Refused(Errno),
    /// Answered completely with this status, after this time.
    Answered(u16, Duration),
    Wrong,
    Short,
    TimedOut,
}

impl Event {
    /// Kind, a free byte, 16 bits of errno or status, 32 bits of microseconds (those of an hour fit).
    fn encode(self) -> [u8; EVENT_SIZE] {
        let (kind, code, time) = match self {
            Self::Connected(time) => (0, 0, time),
            Self::Refused(errno) => (1, u16::try_from(errno as i32).unwrap_or_default(), Duration::ZERO),
            Self::Answered(status, time) => (2, status, time),
            Self::Wrong => (3, 0, Duration::ZERO),
            Self::Short => (4, 0, Duration::ZERO),
            Self::TimedOut => (5, 0, Duration::ZERO),
        };
        let time = u32::try_from(time.as_micros()).unwrap_or(u32::MAX).to_le_bytes();
        let code = code.to_le_bytes();
        [kind, 0, code[0], code[1], time[0], time[1], time[2], time[3]]
    }

    fn decode(bytes: [u8; EVENT_SIZE]) -> Option<Self> {
        let [kind, _, low, high, time @ ..] = bytes;
        let code = u16::from_le_bytes([low, high]);
        let time = Duration::from_micros(u32::from_le_bytes(time).into());
        Some(match kind {
            0 => Self::Connected(time),
            1 => Self::Refused(Errno::from_raw(code.into())),
            2 => Self::Answered(code, time),
            3 => Self::Wrong,
            4 => Self::Short,
            5 => Self::TimedOut,
            _ => return None,
        })
    }
}

/// A client process' end of the pipe to the parent.
pub(super) struct EventWriter {
    pipe: PipeWriter,
    batch: Vec<u8>,
}

impl EventWriter {
    pub(super) fn new(pipe: PipeWriter) -> Self {
        Self { pipe, batch: Vec::with_capacity(BATCH * EVENT_SIZE) }
    }

    pub(super) fn push(&mut self, event: Event) -> io::Result<()> {
        self.batch.extend_from_slice(&event.encode());
        if self.batch.len() >= BATCH * EVENT_SIZE { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.pipe.write_all(&self.batch)?;
        self.batch.clear();
        Ok(())
    }
}

/// The sums of all events so far.
#[derive(Debug)]
pub(super) struct Tally {
    pub connected: u64,
    /// Number of connections that were not opened, by errno.
    pub refused: BTreeMap<i32, u64>,
    /// Number of complete answers, by status.
    pub answered: BTreeMap<u16, u64>,
    pub wrong: u64,
    pub short: u64,
    pub timed_out: u64,
    /// Microseconds from asking to the last byte of the answer, of complete answers.
    pub answer_times: Histogram<u64>,
    /// Microseconds from asking for a connection to having it.
    pub connect_times: Histogram<u64>,
    /// Bytes of an event whose rest has not been read yet.
    partial: Vec<u8>,
}

impl Tally {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let histogram = Histogram::new_with_max(u32::MAX.into(), 3)?;
        Ok(Self {
            connected: 0,
            refused: BTreeMap::new(),
            answered: BTreeMap::new(),
            wrong: 0,
            short: 0,
            timed_out: 0,
            answer_times: histogram.clone(),
            connect_times: histogram,
            partial: Vec::new(),
        })
    }

    /// Counts the events in what was read from the pipe, wherever the reading cut them.
    pub(super) fn count_bytes(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.partial);
        let (whole, rest) = bytes.as_chunks::<EVENT_SIZE>();
        for event in whole.iter().filter_map(|&bytes| Event::decode(bytes)) {
            self.count(event);
        }
        self.partial = rest.to_vec();
    }

    fn count(&mut self, event: Event) {
        match event {
            Event::Connected(time) => {
                self.connected += 1;
                record(&mut self.connect_times, time);
            }
            Event::Refused(errno) => *self.refused.entry(errno as i32).or_default() += 1,
            Event::Answered(status, time) => {
                *self.answered.entry(status).or_default() += 1;
                record(&mut self.answer_times, time);
            }
            Event::Wrong => self.wrong += 1,
            Event::Short => self.short += 1,
            Event::TimedOut => self.timed_out += 1,
        }
    }

    /// Number of connections that nothing more will become of.
    pub(super) fn ended(&self) -> u64 {
        let refused: u64 = self.refused.values().sum();
        let answered: u64 = self.answered.values().sum();
        refused + answered + self.wrong + self.short + self.timed_out
    }
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 7] = [
        Event::Connected(Duration::from_micros(12)),
        Event::Refused(Errno::ECONNREFUSED),
        Event::Answered(200, Duration::from_micros(345)),
        Event::Answered(503, Duration::from_secs(3)),
        Event::Wrong,
        Event::Short,
        Event::TimedOut,
    ];

    #[test]
    fn events_survive_the_pipe() {
        for event in EVENTS {
            assert_eq!(Event::decode(event.encode()), Some(event));
        }
        assert_eq!(Event::decode([6; EVENT_SIZE]), None);
    }

    #[test]
    fn times_that_do_not_fit_are_the_longest() {
        let day = Event::Connected(Duration::from_secs(86_400));
        let longest = Event::Connected(Duration::from_micros(u32::MAX.into()));
        assert_eq!(Event::decode(day.encode()), Some(longest));
    }

    #[test]
    fn events_are_counted_wherever_reading_cut_them() {
        let bytes: Vec<u8> = EVENTS.iter().flat_map(|event| event.encode()).collect();
        for step in [1, 3, 8, bytes.len()] {
            let mut tally = Tally::new().unwrap();
            bytes.chunks(step).for_each(|piece| tally.count_bytes(piece));
            assert_eq!((tally.connected, tally.ended()), (1, 6), "by {step}");
            assert_eq!((tally.wrong, tally.short, tally.timed_out), (1, 1, 1));
            assert_eq!(tally.refused, BTreeMap::from([(Errno::ECONNREFUSED as i32, 1)]));
            assert_eq!(tally.answered, BTreeMap::from([(200, 1), (503, 1)]));
            assert_eq!(tally.connect_times.min(), 12);
            assert_eq!(tally.answer_times.len(), 2);
        }
    }
}
