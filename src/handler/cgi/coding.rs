//! The content of a program's response: decoded if the program has encoded it for the connection, compressed if the route
//! and the client do so, and framed again.

use crate::http::chunked::Decoder;
use crate::http::compress::{Choice, Codings, Encoder, forbids_transform};
use crate::http::request::Request;
use crate::http::response::{Framed, Responder};

use super::head::Field;

/// Output on its way from a program to the client.
#[derive(Debug)]
pub(crate) struct Decoded {
    framed: Framed,
    coding: Coding,
    compressor: Option<Compressor>,
}

/// Compresses the content of a program.
#[derive(Debug)]
pub(crate) struct Compressor {
    encoder: Encoder,
    /// Bytes of content that may follow, if the program has announced a length. More are dropped.
    left: Option<u64>,
    is_long: bool,
    has_failed: bool,
}

impl Compressor {
    /// `length`: of the content, if the program has announced it.
    pub(crate) fn new(encoder: Encoder, length: Option<u64>) -> Self {
        Self { encoder, left: length, is_long: false, has_failed: false }
    }

    /// The client can decode each piece at once: the next one of a stream of events may be far away.
    fn compress(&mut self, mut content: &[u8]) -> Vec<u8> {
        if let Some(left) = &mut self.left {
            let count = usize::try_from(*left).unwrap_or(usize::MAX).min(content.len());
            self.is_long |= count < content.len();
            *left -= count as u64;
            content = &content[..count];
        }
        if content.is_empty() {
            return Vec::new();
        }
        self.encoder.write_through(content).unwrap_or_else(|_| {
            self.has_failed = true;
            Vec::new()
        })
    }
}

/// How the content of a response is compressed.
pub(crate) fn choose(
    codings: &Codings,
    request: &Request<'_>,
    status: u16,
    fields: &[Field<'_>],
    length: Option<u64>,
) -> Choice {
    /// A program that sends these has made its content for a certain coding.
    const BOUND: [&str; 6] =
        ["content-encoding", "content-range", "content-md5", "content-digest", "digest", "repr-digest"];
    if codings.is_empty() {
        return Choice::Never;
    }
    let values = |wanted: &'static str| {
        let of_it = fields.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted));
        of_it.map(|(_, value)| *value)
    };
    let is_bound = |(name, _): &Field<'_>| BOUND.iter().any(|bound| bound.eq_ignore_ascii_case(name));
    let media_type = values("Content-Type").next().unwrap_or_default();
    if status == 206 || fields.iter().any(is_bound) || forbids_transform(values("Cache-Control")) {
        return Choice::Never;
    }
    codings.choose(request, media_type, length)
}

/// The value of ETag for compressed content: the tag of the program, weak, since the program compares it with its own
/// (RFC 9110, section 8.8.1).
pub(crate) fn weaken(tag: &[u8]) -> Vec<u8> {
    if tag.starts_with(b"W/") { tag.to_vec() } else { [b"W/", tag].concat() }
}

/// The transfer coding of a program's output.
#[derive(Debug, Default)]
pub(crate) struct Coding {
    /// `None`: the output is the content.
    decoder: Option<Decoder>,
    /// Output followed the last chunk.
    is_long: bool,
}

impl Coding {
    pub(crate) fn new(is_chunked: bool) -> Self {
        Self { decoder: is_chunked.then(Decoder::default), is_long: false }
    }

    /// Passes the content in a piece of output to `take`.
    ///
    /// # Errors
    /// A sentence about output that is not in the coding.
    pub(crate) fn decode(
        &mut self,
        mut output: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), &'static str> {
        let Some(decoder) = &mut self.decoder else {
            take(output);
            return Ok(());
        };
        let mut room = [0; 4096];
        while !output.is_empty() && !decoder.is_done() {
            let (read, written) = decoder.decode(output, &mut room)?;
            take(&room[..written]);
            output = &output[read..];
        }
        self.is_long |= !output.is_empty();
        Ok(())
    }
}

impl Decoded {
    pub(crate) fn new(framed: Framed, coding: Coding, compressor: Option<Compressor>) -> Self {
        Self { framed, coding, compressor }
    }

    /// Queues content that is decoded already.
    pub(crate) fn queue_content(&mut self, responder: &mut Responder<'_>, content: &[u8]) {
        match &mut self.compressor {
            Some(compressor) => self.framed.queue(responder, &compressor.compress(content)),
            None => self.framed.queue(responder, content),
        }
    }

    /// Queues the content in a piece of output.
    ///
    /// # Errors
    /// Those of [`Coding::decode`].
    pub(crate) fn queue(&mut self, responder: &mut Responder<'_>, output: &[u8]) -> Result<(), &'static str> {
        let Self { framed, coding, compressor } = self;
        coding.decode(output, |content| match compressor {
            Some(compressor) => framed.queue(responder, &compressor.compress(content)),
            None => framed.queue(responder, content),
        })
    }

    /// Whether the client needs no further content.
    pub(crate) fn is_complete(&self) -> bool {
        self.framed.is_complete()
    }

    /// Why the output is longer than its head, or its chunks, announce.
    pub(crate) fn find_excess(&self) -> Option<&'static str> {
        let is_long = self.compressor.as_ref().map_or(self.framed.is_long(), |compressor| compressor.is_long);
        match (self.coding.is_long, is_long) {
            (true, _) => Some("output longer than its chunks"),
            (_, true) => Some("output longer than its Content-Length"),
            _ => None,
        }
    }

    /// Queues the end, unless the output lacks its own. A response that has not ended is detected by the client (RFC 9112,
    /// section 8).
    ///
    /// # Errors
    /// A sentence about output that is shorter than its head, or its chunks, announce.
    pub(crate) fn end(mut self, responder: &mut Responder<'_>) -> Result<(), &'static str> {
        if self.coding.decoder.is_some_and(|decoder| !decoder.is_done()) {
            return Err("output shorter than its chunks");
        }
        if let Some(Compressor { encoder, left, has_failed, .. }) = self.compressor {
            if left.is_some_and(|left| left > 0) {
                return Err("output shorter than its Content-Length");
            }
            let end = encoder.finish().ok().filter(|_| !has_failed);
            self.framed.queue(responder, &end.ok_or("unable to compress the output")?);
        }
        let is_short = self.framed.is_short();
        self.framed.end(responder);
        if is_short { Err("output shorter than its Content-Length") } else { Ok(()) }
    }
}
