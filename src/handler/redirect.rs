//! The handler `redirect`: sends the client to another URL (RFC 9110, section 15.4).

use super::exchange::Exchange;
use crate::http::failure::Failure;
use crate::http::target;
use crate::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// Replaced by the host of the request.
const HOST: &str = "{host}";
/// Replaced by the scheme of the request, as a trusted proxy names it.
const SCHEME: &str = "{scheme}";

/// The target and the status.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub(crate) status: u16,
    /// A URL or an absolute path.
    pub(crate) to: String,
    /// Appends the part of the request's path below the route's, and the query.
    pub(crate) keep_path: bool,
}

impl Redirect {
    /// # Errors
    /// The client has gone, or reads too slowly.
    pub(crate) fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Outcome, Failure> {
        let host = target::host_of(exchange.request.authority);
        if host.is_empty() && self.to.contains(HOST) {
            exchange.response.error(400, "the redirect needs a host, and the request has none")?;
            return Ok(Outcome::Served);
        }
        let mut location = self.to.replace(HOST, host).replace(SCHEME, exchange.client.scheme());
        if self.keep_path {
            // Encoded from the decoded path, so that no byte of the client's is copied into the field unchecked.
            let path = &exchange.request.path;
            let rest = path.encode_from(path.len() - exchange.rest.len());
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
        head.field("Location", &location).field("Content-Type", "text/plain; charset=utf-8").no_sniff();
        head.send(format!("{location}\n").as_bytes())?;
        Ok(Outcome::Served)
    }
}
