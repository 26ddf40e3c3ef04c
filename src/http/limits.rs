//! What one connection may cost, by `[limits]`.

use std::time::Duration;

/// Limits of requests, and of waiting for the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Requests on one connection.
    pub(crate) max_requests: u64,
    /// From the accept, or the first byte of a later request, to the end of the request's head, in total.
    pub(crate) head_timeout: Duration,
    /// The most that a client may let the child wait for content: see [`super::stream::TimeBudget`].
    pub(crate) body_timeout: Duration,
    /// The same for a client that reads a response.
    pub(crate) write_timeout: Duration,
    /// Between a response and the first byte of the next request.
    pub(crate) keepalive_timeout: Duration,
    /// Bytes per second that refill a time budget.
    pub(crate) min_rate: u64,
    /// Bytes of a request's head.
    pub(crate) max_head_size: usize,
    /// Bytes of a request's content.
    pub(crate) max_body_size: u64,
}
