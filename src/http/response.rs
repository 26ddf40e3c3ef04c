//! Responses: a head, then content in one piece, in many, or straight from a file. What fits goes out in one
//! packet.

use std::os::fd::BorrowedFd;

use super::body::{DRAIN_MAX, Progress, Unread};
use super::date::Date;
use super::reason;
use super::stream::{Interrupted, Stream, TimeBudget};

/// Header fields that a route adds to each of its responses. They win over a handler's own.
#[derive(Debug, Default)]
pub struct FixedFields {
    names: Vec<String>,
    /// Each with its CR LF.
    lines: String,
}

impl FixedFields {
    /// Adds a field; both parts must be valid (RFC 9110, section 5).
    pub fn add(&mut self, name: &str, value: &str) {
        self.lines.extend([name, ": ", value, "\r\n"]);
        self.names.push(name.into());
    }

    fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

static NO_FIELDS: FixedFields = FixedFields { names: Vec::new(), lines: String::new() };

/// What the head of a response depends on, besides what answers.
#[derive(Debug)]
pub struct Terms {
    pub is_head: bool,
    /// The request's version is HTTP/1.`minor`.
    pub minor: u8,
    /// The connection may go on afterwards, as far as the request and the limits go.
    pub keep_alive: bool,
}

/// Answers one request.
#[derive(Debug)]
pub struct Responder<'a> {
    stream: &'a Stream<'a>,
    progress: &'a Progress,
    date: &'a mut Date,
    terms: Terms,
    fields: &'a FixedFields,
    /// Bytes that are to be sent: in the room of the request's page first, on the heap when that is full.
    room: &'a mut [u8],
    used: usize,
    queue: Vec<u8>,
    budget: TimeBudget,
}

impl<'a> Responder<'a> {
    pub fn new(
        stream: &'a Stream<'a>,
        progress: &'a Progress,
        date: &'a mut Date,
        terms: Terms,
        room: &'a mut [u8],
        budget: TimeBudget,
    ) -> Self {
        let fields = &NO_FIELDS;
        Self { stream, progress, date, terms, fields, room, used: 0, queue: Vec::new(), budget }
    }

    /// The fields of the route that answers.
    pub fn set_fields(&mut self, fields: &'a FixedFields) {
        self.fields = fields;
    }

    /// A response has begun: no other can be sent instead.
    pub fn has_begun(&self) -> bool {
        self.progress.has_begun.get()
    }

    /// A handler has let time pass.
    pub fn note_waited(&self) {
        self.stream.note_waited();
    }

    /// After the response the connection goes on.
    pub fn keeps_alive(&self) -> bool {
        self.terms.keep_alive
    }

    /// This response shall be the last.
    pub fn close_after(&mut self) {
        self.terms.keep_alive = false;
    }

    /// The second that the field Date of this response tells, since the epoch.
    pub fn now(&mut self) -> u64 {
        if self.stream.take_waited() {
            self.date.refresh();
        }
        self.date.second()
    }

    /// Begins a response.
    pub fn head(&mut self, status: u16) -> Head<'_, 'a> {
        self.now();
        self.stream.note_response(status);
        self.progress.has_begun.set(true);
        // Content that nobody has read is thrown away afterwards, where that has a bound.
        match self.progress.unread.get() {
            Unread::Bytes(count) if count > DRAIN_MAX => self.terms.keep_alive = false,
            Unread::Unknown => self.terms.keep_alive = false,
            Unread::Nothing | Unread::Bytes(_) => {}
        }
        self.put(b"HTTP/1.1 ");
        self.put_number(status.into());
        self.put(b" ");
        self.put(reason(status).as_bytes());
        self.put(b"\r\nDate: ");
        let date = *self.date.as_bytes();
        self.put(&date);
        self.put(b"\r\n");
        Head { responder: self }
    }

    /// A response that says in words what its status means here.
    pub fn error(&mut self, status: u16, why: &str) -> Result<(), Interrupted> {
        self.error_with(status, why, "", "")
    }

    /// The same, with one more field.
    pub fn error_with(&mut self, status: u16, why: &str, name: &str, value: &str) -> Result<(), Interrupted> {
        let sentence = format!("{status} {}: {why}\n", reason(status));
        let mut head = self.head(status);
        head.field("Content-Type", "text/plain; charset=utf-8");
        if !name.is_empty() {
            head.field(name, value);
        }
        head.send(sentence.as_bytes())
    }

    /// Sends bytes as they are, without a head of ours: for programs that make their own.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.progress.has_begun.set(true);
        }
        self.terms.keep_alive = false;
        self.put(bytes);
    }

    fn put(&mut self, bytes: &[u8]) {
        match self.room.get_mut(self.used..self.used + bytes.len()) {
            Some(room) if self.queue.is_empty() => {
                room.copy_from_slice(bytes);
                self.used += bytes.len();
            }
            _ => self.queue.extend_from_slice(bytes),
        }
    }

    /// In decimal. Piece by piece rather than by a format: this runs in every child, and each page of code
    /// that it does not need is a page fault saved.
    fn put_number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b"0123456789"[usize::try_from(number % 10).unwrap_or(0)];
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.put(&digits[start..]);
    }

    /// Bytes that are to be sent.
    pub fn queued(&self) -> usize {
        self.used + self.queue.len()
    }

    /// Sends everything, waiting for the peer within the budget.
    pub fn flush(&mut self, more: bool) -> Result<(), Interrupted> {
        let (used, queued) = (self.used, !self.queue.is_empty());
        self.used = 0;
        self.stream.send_all(&self.room[..used], more || queued, &mut self.budget)?;
        self.stream.send_all(&self.queue, more, &mut self.budget)?;
        self.queue.clear();
        Ok(())
    }

    /// Sends what the peer takes now. Bytes that it does not take stay queued.
    pub fn try_flush(&mut self) -> Result<(), Interrupted> {
        if self.used > 0 {
            let mut queue = self.room[..self.used].to_vec();
            queue.append(&mut self.queue);
            (self.queue, self.used) = (queue, 0);
        }
        let sent = self.stream.try_send(&self.queue, &mut self.budget)?;
        self.queue.drain(..sent);
        Ok(())
    }

    /// How long the peer may still let us wait until it takes something.
    pub fn budget(&mut self) -> &mut TimeBudget {
        &mut self.budget
    }
}

/// The head of a response, being written.
#[derive(Debug)]
pub struct Head<'r, 'a> {
    responder: &'r mut Responder<'a>,
}

/// How the content of a response is delimited (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    /// By the end of the connection.
    Close,
}

impl<'r, 'a> Head<'r, 'a> {
    /// Adds a field, unless the route has one of that name.
    pub fn field(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        if !self.responder.fields.contains(name) {
            for part in [name.as_bytes(), b": ", value.as_ref(), b"\r\n"] {
                self.responder.put(part);
            }
        }
        self
    }

    /// Sends a whole response: the head, and unless the request was `HEAD` (RFC 9110, section 9.3.2) the
    /// content.
    pub fn send(mut self, content: &[u8]) -> Result<(), Interrupted> {
        self.end(Some(Framing::Length(content.len() as u64)));
        if self.responder.terms.is_head {
            return self.responder.flush(false);
        }
        if self.responder.used + content.len() <= self.responder.room.len() {
            self.responder.put(content);
            return self.responder.flush(false);
        }
        self.responder.flush(true)?;
        self.responder.stream.send_all(content, false, &mut self.responder.budget)
    }

    /// Sends a response that has no content by its status: 204 and 304 (RFC 9110, section 8.6).
    pub fn send_nothing(mut self) -> Result<(), Interrupted> {
        self.end(None);
        self.responder.flush(false)
    }

    /// Sends nothing yet, and lets the content follow: `length` bytes, or as many as there will be.
    pub fn start(mut self, length: Option<u64>) -> Content<'r, 'a> {
        let terms = &mut self.responder.terms;
        let framing = match length {
            Some(length) => Framing::Length(length),
            None if terms.minor > 0 => Framing::Chunked,
            None => {
                terms.keep_alive = false;
                Framing::Close
            }
        };
        self.end(Some(framing));
        let left = match framing {
            Framing::Length(length) => length,
            Framing::Chunked | Framing::Close => u64::MAX,
        };
        let framed = Framed { framing, left, is_head: self.responder.terms.is_head, is_long: false };
        Content { responder: self.responder, framed }
    }

    fn end(&mut self, framing: Option<Framing>) {
        let responder = &mut *self.responder;
        match framing {
            Some(Framing::Length(length)) => {
                responder.put(b"Content-Length: ");
                responder.put_number(length);
                responder.put(b"\r\n");
            }
            Some(Framing::Chunked) => responder.put(b"Transfer-Encoding: chunked\r\n"),
            Some(Framing::Close) | None => {}
        }
        let fields = responder.fields;
        responder.put(fields.lines.as_bytes());
        if !responder.terms.keep_alive {
            responder.put(b"Connection: close\r\n");
        } else if responder.terms.minor == 0 {
            responder.put(b"Connection: keep-alive\r\n");
        }
        responder.put(b"\r\n");
    }
}

/// How the content of a response is framed, and how much of it is still to come.
#[derive(Debug)]
pub struct Framed {
    framing: Framing,
    /// More than these bytes are cut.
    left: u64,
    /// Nothing is sent: the request was `HEAD`.
    is_head: bool,
    /// Something was cut.
    is_long: bool,
}

impl Framed {
    /// Queues content, framed, without sending it.
    pub fn queue(&mut self, responder: &mut Responder<'_>, bytes: &[u8]) {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= count as u64;
        self.is_long |= count < bytes.len();
        if self.is_head || count == 0 {
            return;
        }
        if self.framing == Framing::Chunked {
            responder.put(format!("{count:x}\r\n").as_bytes());
        }
        responder.put(&bytes[..count]);
        if self.framing == Framing::Chunked {
            responder.put(b"\r\n");
        }
    }

    /// More bytes came than were announced.
    pub fn is_long(&self) -> bool {
        self.is_long
    }

    /// Fewer bytes came than were announced.
    pub fn is_short(&self) -> bool {
        matches!(self.framing, Framing::Length(_)) && self.left > 0 && !self.is_head
    }

    /// Queues the end. Content that is shorter than announced cannot be ended: the connection has to be
    /// closed, so that the peer notices (RFC 9112, section 8).
    pub fn end(self, responder: &mut Responder<'_>) {
        if self.is_short() {
            responder.close_after();
        }
        if self.framing == Framing::Chunked && !self.is_head {
            responder.put(b"0\r\n\r\n");
        }
    }
}

/// The content of a response, following its head.
#[derive(Debug)]
pub struct Content<'r, 'a> {
    responder: &'r mut Responder<'a>,
    framed: Framed,
}

impl Content<'_, '_> {
    /// Queues content; it goes out with what is sent next.
    pub fn queue(&mut self, bytes: &[u8]) {
        self.framed.queue(self.responder, bytes);
    }

    /// Sends a part of a file, together with what is queued. Not for content without a length.
    pub fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, count: u64) -> Result<(), Interrupted> {
        let count = count.min(self.framed.left);
        self.framed.left -= count;
        if self.framed.is_head || count == 0 {
            return Ok(());
        }
        self.responder.flush(true)?;
        self.responder.stream.send_file(file, offset, count, &mut self.responder.budget)
    }

    /// Ends the content, and sends what is still queued.
    pub fn finish(self) -> Result<(), Interrupted> {
        self.framed.end(self.responder);
        self.responder.flush(false)
    }

    /// For who has to use the responder between the parts.
    pub fn into_framed(self) -> Framed {
        self.framed
    }
}
