//! What the client processes report to their parent process, as bytes in a pipe.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use nix::errno::Errno;

/// Length of an encoded event in bytes.
const EVENT_SIZE: usize = 8;

/// A change of one connection. Each connection has [`Event::NotConnected`] alone, or [`Event::Connected`] and
/// then one of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Opened after this time.
    Connected(Duration),
    /// Not opened, because of this error.
    NotConnected(Errno),
    /// Received a complete response with this status, after this time.
    Answered(u16, Duration),
    /// Received something that is not an HTTP response.
    Invalid,
    /// The connection ended before the response did.
    Truncated,
    /// The response did not end in time.
    TimedOut,
}

impl Event {
    /// Kind, a zero byte, 16 bits of errno or status, 32 bits of microseconds (up to 71 minutes).
    fn encode(self) -> [u8; EVENT_SIZE] {
        let (kind, code, time) = match self {
            Self::Connected(time) => (0, 0, time),
            Self::NotConnected(errno) => (1, u16::try_from(errno as i32).unwrap_or_default(), Duration::ZERO),
            Self::Answered(status, time) => (2, status, time),
            Self::Invalid => (3, 0, Duration::ZERO),
            Self::Truncated => (4, 0, Duration::ZERO),
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
            1 => Self::NotConnected(Errno::from_raw(code.into())),
            2 => Self::Answered(code, time),
            3 => Self::Invalid,
            4 => Self::Truncated,
            5 => Self::TimedOut,
            _ => return None,
        })
    }
}

/// Writes the events of a client process, many of them at a time.
#[derive(Debug)]
pub(crate) struct EventWriter(BufWriter<File>);

impl EventWriter {
    pub(crate) fn new(pipe: File) -> Self {
        Self(BufWriter::new(pipe))
    }

    pub(crate) fn push(&mut self, event: Event) -> io::Result<()> {
        self.0.write_all(&event.encode())
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Decodes the events of one client process from pieces of any length.
#[derive(Debug, Default)]
pub(crate) struct EventDecoder {
    /// Bytes of an event that is not complete yet.
    partial: Vec<u8>,
}

impl EventDecoder {
    /// Returns the events that `bytes` completes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.partial.extend_from_slice(bytes);
        let (complete, rest) = self.partial.as_chunks::<EVENT_SIZE>();
        let events = complete.iter().filter_map(|&bytes| Event::decode(bytes)).collect();
        self.partial = rest.to_vec();
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 7] = [
        Event::Connected(Duration::from_micros(12)),
        Event::NotConnected(Errno::ECONNREFUSED),
        Event::Answered(200, Duration::from_micros(345)),
        Event::Answered(503, Duration::from_secs(3)),
        Event::Invalid,
        Event::Truncated,
        Event::TimedOut,
    ];

    #[test]
    fn events_are_decoded_as_encoded() {
        for event in EVENTS {
            assert_eq!(Event::decode(event.encode()), Some(event));
        }
        assert_eq!(Event::decode([6; EVENT_SIZE]), None);
    }

    #[test]
    fn long_times_become_the_maximum() {
        let day = Event::Connected(Duration::from_secs(86_400));
        let longest = Event::Connected(Duration::from_micros(u32::MAX.into()));
        assert_eq!(Event::decode(day.encode()), Some(longest));
    }

    #[test]
    fn events_are_decoded_from_pieces_of_any_length() {
        let bytes: Vec<u8> = EVENTS.iter().flat_map(|event| event.encode()).collect();
        for length in [1, 3, 8, bytes.len()] {
            let mut decoder = EventDecoder::default();
            let events: Vec<_> = bytes.chunks(length).flat_map(|piece| decoder.push(piece)).collect();
            assert_eq!(events, EVENTS, "pieces of {length} bytes");
        }
    }
}
