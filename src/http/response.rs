//! Responses: a head, then content in one piece, in several, or from a file. Small responses are one packet.
//!
//! Every function that sends fails with [`Interrupted`]: the client has gone, or reads too slowly.

use std::os::fd::BorrowedFd;

use super::body::{DRAIN_MAX, Progress, Unread};
use super::budget::TimeBudget;
use super::date::Date;
use super::error_content::ErrorPages;
use super::fields::{AddedFields, FixedFields};
use super::reason_phrase;
use super::send_queue::SendQueue;
use super::stream::{Interrupted, Stream};
use super::terms::Terms;

/// Ends chunked content (RFC 9112, section 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Answers one request.
#[derive(Debug)]
pub(crate) struct Responder<'a> {
    stream: &'a Stream<'a>,
    progress: &'a Progress,
    date: &'a mut Date,
    terms: Terms<'a>,
    fields: AddedFields<'a>,
    queue: SendQueue<'a>,
    budget: TimeBudget,
    /// Bytes of the connection that were sent before.
    sent_before: u64,
}

impl<'a> Responder<'a> {
    pub(crate) fn new(
        stream: &'a Stream<'a>,
        progress: &'a Progress,
        date: &'a mut Date,
        terms: Terms<'a>,
        room: &'a mut [u8],
        budget: TimeBudget,
    ) -> Self {
        let fields = AddedFields::default();
        let (queue, sent_before) = (SendQueue::new(room), stream.sent());
        Self { stream, progress, date, terms, fields, queue, budget, sent_before }
    }

    /// The fields of the route that answers.
    pub(crate) fn set_fields(&mut self, fields: &'a FixedFields) {
        self.fields.route = fields;
    }

    /// The error pages of the route that answers.
    pub(crate) fn set_error_pages(&mut self, pages: Option<&'a dyn ErrorPages>) {
        self.terms.errors.route = pages;
    }

    /// Adds a field, whichever route answers.
    pub(crate) fn keep_field(&mut self, name: &str, value: &[u8]) {
        self.fields.keep(name, value);
    }

    /// Whether a response has begun, so that no other can be sent instead.
    pub(crate) fn has_begun(&self) -> bool {
        self.progress.has_begun.get()
    }

    /// Bytes of content that have been sent.
    pub(crate) fn content_sent(&self) -> u64 {
        (self.stream.sent() - self.sent_before).saturating_sub(self.progress.overhead.get())
    }

    /// Records that a handler has waited.
    pub(crate) fn set_waited(&self) {
        self.stream.set_waited();
    }

    /// Whether the connection stays open after the response.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.terms.keep_alive
    }

    /// Closes the connection after this response.
    pub(crate) fn close_after(&mut self) {
        self.terms.keep_alive = false;
    }

    /// After the last response of a connection: the client sees its end now, whatever this process still waits for.
    pub(crate) fn end_sending(&self) {
        if !self.terms.keep_alive {
            self.stream.end_sending();
        }
    }

    /// The time in the field Date of this response, in seconds since the epoch.
    pub(crate) fn now(&mut self) -> u64 {
        if self.stream.take_waited() {
            self.date.refresh();
        }
        self.date.second()
    }

    /// Begins a response.
    pub(crate) fn head(&mut self, status: u16) -> Head<'_, 'a> {
        self.now();
        self.stream.record_response(status);
        self.progress.has_begun.set(true);
        // Unread content is discarded afterwards, up to a limit.
        match self.progress.unread.get() {
            Unread::Bytes(count) if count > DRAIN_MAX => self.terms.keep_alive = false,
            Unread::Unknown => self.terms.keep_alive = false,
            Unread::Nothing | Unread::Bytes(_) => {}
        }
        // Together with `Head::end`, the length of the head.
        self.progress.overhead.set(self.progress.overhead.get().wrapping_sub(self.queued() as u64));
        self.put(b"HTTP/1.1 ");
        self.queue.put_number(status.into());
        self.put(b" ");
        self.put(reason_phrase(status).as_bytes());
        self.put(b"\r\nDate: ");
        let date = *self.date.as_bytes();
        self.put(&date);
        self.put(b"\r\n");
        Head { responder: self }
    }

    /// Sends a response that gives the reason for its status.
    pub(crate) fn error(&mut self, status: u16, reason: &str) -> Result<(), Interrupted> {
        self.error_with(status, reason, "", "")
    }

    /// The same, with one more field.
    #[cold]
    pub(crate) fn error_with(
        &mut self,
        status: u16,
        reason: &str,
        name: &str,
        value: &str,
    ) -> Result<(), Interrupted> {
        let errors = self.terms.errors;
        let content = errors.content(status, reason);
        self.stream.record_error(status, reason);
        let mut head = self.head(status);
        head.field("Content-Type", &*content.media_type).no_sniff();
        for (name, value) in content.fields {
            head.field(name, value);
        }
        if !name.is_empty() {
            head.field(name, value);
        }
        head.send(&content.content)
    }

    /// Queues bytes without a head, for programs that write the whole response.
    pub(crate) fn queue_raw(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.progress.has_begun.set(true);
        }
        self.terms.keep_alive = false;
        self.put(bytes);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.queue.put(bytes);
    }

    /// The number of queued bytes.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Sends all queued bytes, waiting for the client within the budget.
    pub(crate) fn flush(&mut self, more: bool) -> Result<(), Interrupted> {
        let (first, rest) = self.queue.parts();
        let sent = self.stream.send_all(first, more || !rest.is_empty(), &mut self.budget);
        let sent = sent.and_then(|()| self.stream.send_all(rest, more, &mut self.budget));
        self.queue.clear();
        sent
    }

    /// Sends what the socket takes without blocking. The rest stays queued.
    pub(crate) fn try_flush(&mut self) -> Result<(), Interrupted> {
        let sent = self.stream.try_send(self.queue.join(), &mut self.budget)?;
        self.queue.remove(sent);
        Ok(())
    }

    /// How long the client may still take to read.
    pub(crate) fn budget(&mut self) -> &mut TimeBudget {
        &mut self.budget
    }
}

/// The head of a response, being written.
#[derive(Debug)]
pub(crate) struct Head<'r, 'a> {
    responder: &'r mut Responder<'a>,
}

/// How the content of a response is delimited (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResponseFraming {
    Length(u64),
    Chunked,
    /// By the end of the connection.
    Close,
}

impl<'r, 'a> Head<'r, 'a> {
    /// Adds a field, unless one of the route or of an internal redirect replaces it.
    pub(crate) fn field(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        if !self.responder.fields.replaces(name) {
            for part in [name.as_bytes(), b": ", value.as_ref(), b"\r\n"] {
                self.responder.put(part);
            }
        }
        self
    }

    /// Forbids browsers to take the content for another media type, such as a page with scripts.
    pub(crate) fn no_sniff(&mut self) -> &mut Self {
        self.field("X-Content-Type-Options", "nosniff")
    }

    /// Sends the head and, unless the request was `HEAD` (RFC 9110, section 9.3.2), the content.
    pub(crate) fn send(mut self, content: &[u8]) -> Result<(), Interrupted> {
        self.end(Some(ResponseFraming::Length(content.len() as u64)));
        if self.responder.terms.is_head {
            return self.responder.flush(false);
        }
        if self.responder.queue.has_room_for(content.len()) {
            self.responder.put(content);
            return self.responder.flush(false);
        }
        self.responder.flush(true)?;
        self.responder.stream.send_all(content, false, &mut self.responder.budget)
    }

    /// Sends a response whose status excludes content: 204 or 304 (RFC 9110, section 8.6).
    pub(crate) fn send_nothing(mut self) -> Result<(), Interrupted> {
        self.end(None);
        self.responder.flush(false)
    }

    /// Queues the head. The content follows: `length` bytes, or any number.
    pub(crate) fn start(mut self, length: Option<u64>) -> ResponseContent<'r, 'a> {
        let terms = &mut self.responder.terms;
        let framing = match length {
            Some(length) => ResponseFraming::Length(length),
            None if terms.minor > 0 => ResponseFraming::Chunked,
            None => {
                terms.keep_alive = false;
                ResponseFraming::Close
            }
        };
        self.end(Some(framing));
        let left = match framing {
            ResponseFraming::Length(length) => length,
            ResponseFraming::Chunked | ResponseFraming::Close => u64::MAX,
        };
        let framed = Framed { framing, left, is_head: self.responder.terms.is_head, is_long: false };
        ResponseContent { responder: self.responder, framed }
    }

    fn end(&mut self, framing: Option<ResponseFraming>) {
        let responder = &mut *self.responder;
        match framing {
            Some(ResponseFraming::Length(length)) => {
                responder.put(b"Content-Length: ");
                responder.queue.put_number(length);
                responder.put(b"\r\n");
            }
            Some(ResponseFraming::Chunked) => responder.put(b"Transfer-Encoding: chunked\r\n"),
            Some(ResponseFraming::Close) | None => {}
        }
        let fields = std::mem::take(&mut responder.fields);
        fields.lines().for_each(|line| responder.put(line));
        if !responder.terms.keep_alive {
            responder.put(b"Connection: close\r\n");
        } else if responder.terms.minor == 0 {
            responder.put(b"Connection: keep-alive\r\n");
        }
        responder.put(b"\r\n");
        responder.progress.add_overhead(responder.queued());
    }
}

/// How the content of a response is framed, and how much of it is missing.
#[derive(Debug)]
pub(crate) struct Framed {
    framing: ResponseFraming,
    /// Bytes that may follow; more are dropped.
    left: u64,
    /// The request was `HEAD`: no content is sent.
    is_head: bool,
    /// Bytes were dropped.
    is_long: bool,
}

impl Framed {
    /// Queues content with its framing.
    pub(crate) fn queue(&mut self, responder: &mut Responder<'_>, bytes: &[u8]) {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= count as u64;
        self.is_long |= count < bytes.len();
        if self.is_head || count == 0 {
            return;
        }
        if self.framing == ResponseFraming::Chunked {
            let size = format!("{count:x}\r\n");
            responder.put(size.as_bytes());
            responder.progress.add_overhead(size.len() + 2);
        }
        responder.put(&bytes[..count]);
        if self.framing == ResponseFraming::Chunked {
            responder.put(b"\r\n");
        }
    }

    /// Sends a part of a file, after what is queued. Only for content with a length.
    pub(crate) fn send_file(
        &mut self,
        responder: &mut Responder<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        count: u64,
    ) -> Result<(), Interrupted> {
        let count = count.min(self.left);
        self.left -= count;
        if self.is_head || count == 0 {
            return Ok(());
        }
        responder.flush(true)?;
        responder.stream.send_file(file, offset, count, &mut responder.budget)
    }

    /// Whether the content was longer than announced.
    pub(crate) fn is_long(&self) -> bool {
        self.is_long
    }

    /// Bytes that may follow.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Whether the client needs no further content.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_head || (matches!(self.framing, ResponseFraming::Length(_)) && self.left == 0)
    }

    /// Whether the content is shorter than announced.
    pub(crate) fn is_short(&self) -> bool {
        matches!(self.framing, ResponseFraming::Length(_)) && self.left > 0 && !self.is_head
    }

    /// Queues the end. After content that is shorter than announced, the connection is closed, so that the client
    /// detects it (RFC 9112, section 8).
    pub(crate) fn end(self, responder: &mut Responder<'_>) {
        if self.is_short() {
            responder.close_after();
        }
        if self.framing == ResponseFraming::Chunked && !self.is_head {
            responder.put(LAST_CHUNK);
            responder.progress.add_overhead(LAST_CHUNK.len());
        }
    }
}

/// The content of a response, following its head.
#[derive(Debug)]
pub(crate) struct ResponseContent<'r, 'a> {
    responder: &'r mut Responder<'a>,
    framed: Framed,
}

impl ResponseContent<'_, '_> {
    /// Queues content. It is sent together with what follows.
    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        self.framed.queue(self.responder, bytes);
    }

    /// Sends a part of a file, after what is queued. Only for content with a length.
    pub(crate) fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        count: u64,
    ) -> Result<(), Interrupted> {
        self.framed.send_file(self.responder, file, offset, count)
    }

    /// Ends the content, and sends what is queued.
    pub(crate) fn finish(self) -> Result<(), Interrupted> {
        self.framed.end(self.responder);
        self.responder.flush(false)
    }

    /// Releases the responder, for callers that use it between the parts.
    pub(crate) fn into_framed(self) -> Framed {
        self.framed
    }
}
