//! The content of a response, after its head.

use std::os::fd::BorrowedFd;

use super::Responder;
use crate::http::stream::Interrupted;

/// Ends chunked content (RFC 9112, section 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How the content of a response is delimited (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseFraming {
    Length(u64),
    Chunked,
    /// By the end of the connection.
    Close,
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

impl<'r, 'a> ResponseContent<'r, 'a> {
    pub(super) fn new(responder: &'r mut Responder<'a>, framing: ResponseFraming) -> Self {
        let left = match framing {
            ResponseFraming::Length(length) => length,
            ResponseFraming::Chunked | ResponseFraming::Close => u64::MAX,
        };
        let framed = Framed { framing, left, is_head: responder.terms.is_head, is_long: false };
        Self { responder, framed }
    }

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
