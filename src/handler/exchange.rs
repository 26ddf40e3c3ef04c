//! One request on its way to its response: what every handler works on.

use super::root::LookupError;
use crate::connection::Identity;
use crate::http::body::Body;
use crate::http::failure::Failure;
use crate::http::request::Request;
use crate::http::response::Responder;
use crate::http::stream::Stream;
use crate::journal;
use crate::outcome::Outcome;
use crate::scoreboard::Slot;

/// One request and what it takes to answer it. What lives as long as the connection has the lifetime `'c`.
#[derive(Debug)]
pub struct Exchange<'r, 'c> {
    pub request: &'r Request<'r>,
    pub body: &'r mut Body<'c>,
    pub response: &'r mut Responder<'c>,
    pub stream: &'c Stream<'c>,
    pub identity: &'c Identity,
    pub service: &'c str,
    pub slot: Slot,
    /// The path of the route that was taken, without a `/` at its end, and what of the request's path is
    /// below it, without a `/` at its beginning.
    pub route_path: &'c str,
    pub rest: &'r [u8],
    /// The request was sent here from redirect on the site, as `GET`: the content was not meant for who answers now.
    pub is_internal_redirect: bool,
}

impl Exchange<'_, '_> {
    /// Answers that it has failed. What is not the client's doing ends the connection, since the record tells of the
    /// last request only; and the response says so (RFC 9112, section 9.6).
    pub fn fail(&mut self, status: u16, why: &str, outcome: Outcome) -> Result<Outcome, Failure> {
        if outcome != Outcome::Served {
            self.response.close_after();
        }
        self.response.error(status, why)?;
        Ok(outcome)
    }

    /// Answers 405, or 501 for a method that nobody knows, unless the request's is one of `allowed`. True: it
    /// is.
    pub fn check_method(&mut self, allowed: &[&str]) -> Result<bool, Failure> {
        let method = self.request.method;
        if allowed.contains(&method) {
            return Ok(true);
        }
        if METHODS.contains(&method) {
            let (why, list) = (format!("expected {}", allowed.join(" or ")), allowed.join(", "));
            self.response.error_with(405, &why, "Allow", &list)?;
        } else {
            self.response.error(501, "unknown method")?;
        }
        Ok(false)
    }

    /// Logs a lookup that failed for a reason other than an absent file: a disk or a file system in trouble.
    pub fn log_lookup_error(&self, error: LookupError) {
        if let LookupError::Failed(errno) = error {
            let what = "look for the file";
            let target = Some(self.request.target);
            journal::log_system_refused(self.identity, self.service, target, what, &errno.into());
        }
    }
}

/// Methods that are known (RFC 9110, section 9.3, and RFC 5789).
const METHODS: [&str; 8] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"];
/// Those that a site may take: all but TRACE, which nobody needs and which shows what a browser's scripts shall not see.
pub const ALLOWED: &str = "GET, HEAD, OPTIONS, POST, PUT, DELETE, PATCH";

/// What has become of a request.
#[derive(Debug)]
pub enum Answer {
    /// A response is sent.
    Sent(Outcome),
    /// Nothing is sent: this target, a path of this site and perhaps a query, shall be answered instead.
    InternalRedirect(InternalRedirect),
}

/// Another target to answer.
#[derive(Debug)]
pub struct InternalRedirect {
    /// Encoded.
    pub target: String,
    /// As if it had been asked for by `GET`, without content. Else the method stays, and who answers has the
    /// content.
    pub as_get: bool,
}
