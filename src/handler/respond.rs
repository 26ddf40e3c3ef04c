//! The handler `respond`: the same response on every path, for a first start, tests and health checks.

use std::time::{Duration, Instant};

use super::exchange::Exchange;
use crate::http::failure::Failure;
use crate::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// The response.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Respond {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) content: Vec<u8>,
    /// Delay before the response, to test concurrency.
    pub(crate) delay: Option<Duration>,
}

impl Respond {
    /// # Errors
    /// The client has gone, or reads too slowly.
    pub(crate) fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Outcome, Failure> {
        if !exchange.check_method(&["GET", "HEAD"])? {
            return Ok(Outcome::Served);
        }
        if let Some(delay) = self.delay {
            #[expect(clippy::disallowed_methods, reason = "the child has nothing else to do")]
            std::thread::sleep(exchange.stream.end().map_or(delay, |end| delay.min(end - Instant::now())));
            exchange.response.set_waited();
            if exchange.stream.end().is_some_and(|end| Instant::now() >= end) {
                return exchange.fail(504, "the connection reached max_duration", Outcome::HandlerError);
            }
        }
        let mut head = exchange.response.head(self.status);
        match self.status {
            204 | 304 => head.send_nothing()?,
            // No content, but a length (RFC 9110, section 15.3.6).
            205 => head.send(b"")?,
            _ => {
                head.field("Content-Type", &self.content_type);
                head.send(&self.content)?;
            }
        }
        Ok(Outcome::Served)
    }
}
