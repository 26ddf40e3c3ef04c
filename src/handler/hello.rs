//! The handler `hello`: one fixed answer on every path, for a first start, for tests and for health checks.

use std::time::Duration;

use crate::http::response::Response;

/// The answer, ready to be sent.
#[derive(Debug)]
pub struct Hello {
    pub status: u16,
    pub content_type: String,
    /// Further header fields, each line with its CR LF.
    pub fields: String,
    pub content: Vec<u8>,
    /// How long to wait before answering: makes concurrency visible.
    pub delay: Option<Duration>,
}

impl Hello {
    pub fn answer(&self) -> Response<'_> {
        if let Some(delay) = self.delay {
            // The child has nothing else to do: sleeping is what was asked for.
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(delay);
        }
        Response {
            status: self.status,
            content_type: &self.content_type,
            fields: &self.fields,
            content: &self.content,
            took_time: self.delay.is_some(),
        }
    }
}
