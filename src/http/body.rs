//! The content of a request, read as its framing delimits it. Bytes received beyond its end are kept for the next
//! request.

use std::cell::Cell;
use std::time::Duration;

use super::budget::TimeBudget;
use super::chunked::Decoder;
use super::failure::Failure;
use super::framing::Framing;
use super::request::Request;
use super::stream::Stream;

/// Bytes received at once of a content whose end is not known ahead.
const RAW_SIZE: usize = 8192;
/// How long a client may take to receive `100 Continue`.
const CONTINUE_TIME: Duration = Duration::from_secs(1);
/// Bytes of unread content that are discarded to keep the connection open.
pub(crate) const DRAIN_MAX: u64 = 64 * 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How much of a content has not been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    Nothing,
    Bytes(u64),
    /// Its length is unknown, or the client waits for `100 Continue` and may never send it.
    Unknown,
}

/// The state that the content and the response of one request share.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) unread: Cell<Unread>,
    /// A response has begun.
    pub(crate) has_begun: Cell<bool>,
    /// Bytes for the client that are no content.
    pub(crate) overhead: Cell<u64>,
}

#[derive(Debug)]
enum Rest {
    Length(u64),
    Chunked(Decoder),
}

/// The content of one request.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    stream: &'a Stream<'a>,
    progress: &'a Progress,
    rest: Rest,
    /// Bytes received together with the head.
    pending: &'a [u8],
    /// Bytes of a chunked content. Those from `raw_start` on are not decoded yet.
    raw: Vec<u8>,
    raw_start: usize,
    raw_size: usize,
    budget: TimeBudget,
    awaits_continue: bool,
    received: u64,
    limit: u64,
}

/// Bytes that belong to the next request.
#[derive(Debug)]
pub(crate) struct Leftover {
    /// How many of those received with the head, at their end.
    pending: usize,
    /// If that is 0: these, received later.
    raw: Vec<u8>,
}

impl Leftover {
    /// Moves the bytes to the front of `buffer`, whose first `filled` bytes were received with the head. Returns
    /// their number.
    pub(crate) fn move_to_front(self, buffer: &mut [u8], filled: usize) -> usize {
        if self.pending > 0 {
            buffer.copy_within(filled - self.pending..filled, 0);
            return self.pending;
        }
        buffer[..self.raw.len()].copy_from_slice(&self.raw);
        self.raw.len()
    }
}

/// Limits of a content.
#[derive(Debug)]
pub(crate) struct BodyLimits {
    pub(crate) budget: TimeBudget,
    /// Bytes after decoding.
    pub(crate) size: u64,
    /// Bytes that may be left over for the next request.
    pub(crate) room: usize,
}

impl Progress {
    /// That of a request whose content and response have not begun.
    pub(crate) fn new() -> Self {
        Self { unread: Cell::new(Unread::Nothing), has_begun: Cell::new(false), overhead: Cell::new(0) }
    }

    /// Counts bytes for the client that are no content.
    pub(super) fn add_overhead(&self, count: usize) {
        self.overhead.set(self.overhead.get().wrapping_add(count as u64));
    }
}

impl<'a> Body<'a> {
    /// The content of `request`; `pending` was received together with the head.
    pub(crate) fn new(
        request: &Request<'_>,
        pending: &'a [u8],
        stream: &'a Stream<'a>,
        progress: &'a Progress,
        limits: BodyLimits,
    ) -> Self {
        let rest = match request.framing {
            Framing::None => Rest::Length(0),
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunked(Decoder::default()),
        };
        // A client that has begun to send does not wait (RFC 9110, section 10.1.1).
        let awaits_continue =
            request.expects_continue && request.framing != Framing::None && pending.is_empty();
        let body = Self {
            stream,
            progress,
            rest,
            pending,
            raw: Vec::new(),
            raw_start: 0,
            raw_size: RAW_SIZE.min(limits.room),
            budget: limits.budget,
            awaits_continue,
            received: 0,
            limit: limits.size,
        };
        body.update_progress();
        body
    }

    /// The length that the client announced; `None` for a chunked content.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.rest {
            Rest::Length(left) => Some(self.received + left),
            Rest::Chunked(_) => None,
        }
    }

    /// Replaces the limit of [`BodyLimits`], in bytes.
    pub(crate) fn set_limit(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    /// Fails with 413 when the client announces more than the limit.
    pub(crate) fn check_length(&self) -> Result<(), Failure> {
        match self.length() {
            Some(length) if length > self.limit => Err(too_large()),
            _ => Ok(()),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        match &self.rest {
            Rest::Length(left) => *left == 0,
            Rest::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// How long the client may still take to send it.
    pub(crate) fn budget(&mut self) -> &mut TimeBudget {
        &mut self.budget
    }

    /// Reads what has arrived. `None`: nothing yet. 0 is the end of the content.
    ///
    /// The first read sends `100 Continue` to a client that waits for it. Fails with 400 where the framing is
    /// broken, and with 413 above the limit.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        if self.is_done() || buffer.is_empty() {
            return Ok(Some(0));
        }
        if self.awaits_continue {
            if self.progress.has_begun.get() {
                return Ok(Some(0)); // after a final response the client need not send it
            }
            self.awaits_continue = false;
            let mut budget = TimeBudget::new(CONTINUE_TIME, CONTINUE_TIME, u64::MAX);
            let sent = self.stream.send_all(CONTINUE, false, &mut budget);
            self.progress.add_overhead(CONTINUE.len());
            sent.map_err(|_| Failure::Gone)?; // a client that does not take these bytes takes no response
        }
        let count = match self.rest {
            Rest::Length(left) => self.read_length(left, buffer)?,
            Rest::Chunked(_) => self.read_chunked(buffer)?,
        };
        let Some(count) = count else { return Ok(None) };
        // The bytes of the framing earn no time: a client could send little else.
        self.budget.earn(count);
        self.received += count as u64;
        if let Rest::Length(left) = &mut self.rest {
            *left -= count as u64;
        }
        self.update_progress();
        if self.received > self.limit {
            return Err(too_large());
        }
        Ok(Some(count))
    }

    /// Reads, waiting for the first byte within the budget. 0 is the end of the content.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        loop {
            if let Some(count) = self.try_read(buffer)? {
                return Ok(count);
            }
            self.stream.wait_for_more(&mut self.budget)?;
        }
    }

    /// Discards what was not read, up to `DRAIN_MAX`. True: nothing is left, so the connection can stay open.
    pub(crate) fn drain(&mut self) -> bool {
        self.is_done() || self.discard()
    }

    /// Not inlined, so that its buffer costs the common connection no page of stack.
    #[inline(never)]
    fn discard(&mut self) -> bool {
        let mut scratch = [0; 1024];
        let mut left = DRAIN_MAX;
        self.limit = u64::MAX;
        while !self.is_done() {
            if self.awaits_continue || left == 0 {
                return false;
            }
            match self.read(&mut scratch) {
                Ok(count) => left = left.saturating_sub(count as u64),
                Err(_) => return false,
            }
        }
        true
    }

    /// What was received after the content, which must have been read to its end.
    pub(crate) fn into_leftover(mut self) -> Leftover {
        self.raw.drain(..self.raw_start);
        Leftover { pending: self.pending.len(), raw: self.raw }
    }

    fn read_length(&mut self, left: u64, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if self.pending.is_empty() {
            return self.receive(&mut buffer[..room]);
        }
        let count = room.min(self.pending.len());
        buffer[..count].copy_from_slice(&self.pending[..count]);
        self.pending = &self.pending[count..];
        Ok(Some(count))
    }

    fn read_chunked(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        loop {
            if self.pending.is_empty() && self.raw_start == self.raw.len() {
                let mut raw = std::mem::take(&mut self.raw);
                raw.resize(self.raw_size, 0);
                let received = self.receive(&mut raw);
                raw.truncate(received.as_ref().map_or(0, |count| count.unwrap_or(0)));
                (self.raw, self.raw_start) = (raw, 0);
                if received?.is_none() {
                    return Ok(None);
                }
            }
            let Rest::Chunked(decoder) = &mut self.rest else { return Ok(Some(0)) };
            let input = if self.pending.is_empty() { &self.raw[self.raw_start..] } else { self.pending };
            let (taken, given) =
                decoder.decode(input, buffer).map_err(|reason| Failure::Refused(400, reason))?;
            if self.pending.is_empty() {
                self.raw_start += taken;
            } else {
                self.pending = &self.pending[taken..];
            }
            if given > 0 || decoder.is_done() {
                return Ok(Some(given));
            }
        }
    }

    /// Receives what has arrived. The end of input is an error here.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        match self.stream.try_receive(buffer)? {
            Some(0) => Err(Failure::Refused(400, "the request ended before its content")),
            received => Ok(received),
        }
    }

    fn update_progress(&self) {
        self.progress.unread.set(match self.rest {
            _ if self.is_done() => Unread::Nothing,
            _ if self.awaits_continue => Unread::Unknown,
            Rest::Length(left) => Unread::Bytes(left),
            Rest::Chunked(_) => Unread::Unknown,
        });
    }
}

fn too_large() -> Failure {
    Failure::Refused(413, "the request content is too large")
}
