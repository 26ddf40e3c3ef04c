//! The limits of one connection, from `[limits]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits of requests, and of the time that a client may take.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Requests on one connection.
    pub(crate) max_requests: u64,
    /// Total time from the accept, or from the first byte of a later request, to the end of the head.
    pub(crate) head_timeout: Duration,
    /// How long a client may take to send content: see [`super::budget::TimeBudget`].
    pub(crate) body_timeout: Duration,
    /// The same for the content of one request as a whole; never less.
    pub(crate) body_timeout_max: Duration,
    /// How long a client may take to read a response, in the same way.
    pub(crate) write_timeout: Duration,
    /// The same for one response as a whole; never less.
    pub(crate) write_timeout_max: Duration,
    /// Between a response and the first byte of the next request.
    pub(crate) keepalive_timeout: Duration,
    /// Bytes per second that refill a time budget.
    pub(crate) min_rate: u64,
    /// The same while others wait for the place of the client; never less.
    pub(crate) min_rate_when_full: u64,
    /// Bytes of a request's head.
    pub(crate) max_head_size: usize,
    /// Bytes of a request's content.
    pub(crate) max_body_size: u64,
}
