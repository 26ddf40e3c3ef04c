//! The handler `respond`: one fixed answer on every path, for a first start, for tests and for health checks.

use std::time::{Duration, Instant};

use super::exchange::Exchange;
use crate::http::failure::Failure;
use crate::outcome::Outcome;

/// The answer, ready to be sent.
#[derive(Debug)]
pub struct Respond {
    pub status: u16,
    pub content_type: String,
    pub content: Vec<u8>,
    /// How long to wait before answering: makes concurrency visible.
    pub delay: Option<Duration>,
}

impl Respond {
    pub fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Outcome, Failure> {
        if !exchange.check_method(&["GET", "HEAD"])? {
            return Ok(Outcome::Served);
        }
        if let Some(delay) = self.delay {
            // The child has nothing else to do: sleeping is what was asked for.
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(exchange.stream.end().map_or(delay, |end| delay.min(end - Instant::now())));
            exchange.response.note_waited();
            if exchange.stream.end().is_some_and(|end| Instant::now() >= end) {
                return exchange.fail(504, "the connection has lasted too long", Outcome::HandlerError);
            }
        }
        let mut head = exchange.response.head(self.status);
        match self.status {
            204 | 304 => head.send_nothing()?,
            // RFC 9110, section 15.3.6: no content, but a length.
            205 => head.send(b"")?,
            _ => {
                head.field("Content-Type", &self.content_type);
                head.send(&self.content)?;
            }
        }
        Ok(Outcome::Served)
    }
}
