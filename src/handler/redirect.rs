//! The handler `redirect`: sends the client redirect (RFC 9110, section 15.4).

use super::exchange::Exchange;
use crate::http::failure::Failure;
use crate::http::target;
use crate::outcome::Outcome;

/// Stands in the configured target for the host that was asked.
const HOST: &str = "{host}";

/// Where to, and by which status.
#[derive(Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// A URL or an absolute path.
    pub to: String,
    /// What lies below the route's path in the request is appended, and the query.
    pub keep_path: bool,
}

impl Redirect {
    pub fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Outcome, Failure> {
        // Encoded anew from what was decoded: no byte of the client's gets into the field as it came.
        let host = target::host_of(exchange.request.authority);
        if host.is_empty() && self.to.contains(HOST) {
            exchange.response.error(400, "the request names no host to redirect to")?;
            return Ok(Outcome::Served);
        }
        let mut location = self.to.replace(HOST, host);
        if self.keep_path {
            let rest = target::encode_path(exchange.rest);
            if !rest.is_empty() && !location.ends_with('/') {
                location.push('/');
            }
            location.push_str(&rest);
            if let Some(query) = exchange.request.query {
                location.push(if location.contains('?') { '&' } else { '?' });
                location.push_str(query);
            }
        }
        let mut head = exchange.response.head(self.status);
        head.field("Location", &location).field("Content-Type", "text/plain; charset=utf-8");
        head.send(format!("{location}\n").as_bytes())?;
        Ok(Outcome::Served)
    }
}
