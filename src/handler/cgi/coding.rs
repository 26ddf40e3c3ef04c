//! The content of a program's response: decoded if the program has encoded it for the connection, and framed again.

use crate::http::chunked::Decoder;
use crate::http::response::{Framed, Responder};

/// Output on its way from a program to the client.
#[derive(Debug)]
pub(crate) struct Decoded {
    framed: Framed,
    coding: Coding,
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
    pub(crate) fn new(framed: Framed, coding: Coding) -> Self {
        Self { framed, coding }
    }

    /// Queues the content in a piece of output.
    ///
    /// # Errors
    /// Those of [`Coding::decode`].
    pub(crate) fn queue(&mut self, responder: &mut Responder<'_>, output: &[u8]) -> Result<(), &'static str> {
        self.coding.decode(output, |content| self.framed.queue(responder, content))
    }

    /// Whether the client needs no further content.
    pub(crate) fn is_complete(&self) -> bool {
        self.framed.is_complete()
    }

    /// Why the output is longer than its head, or its chunks, announce.
    pub(crate) fn find_excess(&self) -> Option<&'static str> {
        match (self.coding.is_long, self.framed.is_long()) {
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
    pub(crate) fn end(self, responder: &mut Responder<'_>) -> Result<(), &'static str> {
        if self.coding.decoder.is_some_and(|decoder| !decoder.is_done()) {
            return Err("output shorter than its chunks");
        }
        let is_short = self.framed.is_short();
        self.framed.end(responder);
        if is_short { Err("output shorter than its Content-Length") } else { Ok(()) }
    }
}
