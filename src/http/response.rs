//! Responses: a head, then content in one piece, in several, or from a file. Small responses are one packet.
//!
//! Every function that sends fails with [`Interrupted`]: the client has gone, or reads too slowly.

mod content;

use content::ResponseFraming;
pub(crate) use content::{Framed, ResponseContent};

use super::body::{DRAIN_MAX, Progress, Unread};
use super::budget::TimeBudget;
use super::date::Date;
use super::error_content::ErrorPages;
use super::fields::{AddedFields, FixedFields};
use super::reason_phrase;
use super::send_queue::SendQueue;
use super::stream::{Interrupted, Stream};
use super::terms::Terms;

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
        ResponseContent::new(self.responder, framing)
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
