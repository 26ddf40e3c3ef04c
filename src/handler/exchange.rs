//! One request and its response, as handlers see it.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::login::LastLogin;
use super::root::LookupError;
use crate::confine::Confinement;
use crate::connection::{Identity, Peer};
use crate::http::body::Body;
use crate::http::failure::Failure;
use crate::http::forwarded::Forwarded;
use crate::http::path::encode;
use crate::http::proxy_protocol::ProxyHeader;
use crate::http::request::Request;
use crate::http::response::Responder;
use crate::http::stream::Stream;
use crate::journal::ChildLog;
use crate::outcome::Outcome;
use crate::runtime::Runtime;
use crate::scoreboard::Slot;

/// What the client of a request sees: as the connection shows it, or as trusted proxies report. The host is that of the
/// request's authority.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientSide {
    /// The client.
    pub(crate) address: Peer,
    /// It speaks TLS with a proxy.
    pub(crate) is_https: bool,
    /// The port that it has connected to, if a proxy reports it, or the scheme by which it is known.
    pub(crate) port: Option<u16>,
    /// The address that it has connected to, if the PROXY protocol has it.
    pub(crate) local: Option<SocketAddr>,
}

impl ClientSide {
    /// That of a request without a proxy.
    pub(crate) fn new(address: Peer) -> Self {
        Self { address, is_https: false, port: None, local: None }
    }

    /// That of a connection whose header of the PROXY protocol names this client.
    pub(crate) fn of_connection(address: Peer, header: &ProxyHeader) -> Self {
        let local = header.addresses.map(|(_, local)| local);
        Self { address, is_https: header.is_tls, port: local.map(|local| local.port()), local }
    }

    /// Adds what the fields of a request report.
    pub(crate) fn add_forwarded(&mut self, fields: &Forwarded<'_>) {
        self.address = fields.client.unwrap_or(self.address);
        self.is_https = fields.is_https.unwrap_or(self.is_https);
        let default = fields.is_https.map(|is_https| if is_https { 443 } else { 80 });
        self.port = fields.port.or(default).or(self.port);
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }
}

/// How the programs of a service run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProgramTerms<'c> {
    pub(crate) confinement: &'c Confinement,
    /// What a program leaves when it exits runs on.
    pub(crate) keeps_leftovers: bool,
}

/// What all requests of a connection have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'c> {
    pub(crate) stream: &'c Stream<'c>,
    pub(crate) identity: &'c Identity,
    pub(crate) client: ClientSide,
    pub(crate) journal: &'c ChildLog<'c>,
    pub(crate) slot: Slot,
    pub(crate) programs: ProgramTerms<'c>,
    pub(crate) login: &'c LastLogin,
    /// The status of the daemon, as it was when the connection came, if a route of the service shows it.
    pub(crate) status: Option<BorrowedFd<'c>>,
    /// What has the applications of the service.
    pub(crate) runtime: Option<&'c dyn Runtime>,
}

/// One request and what is needed to answer it. What lives as long as the connection has the lifetime `'c`.
#[derive(Debug)]
pub(crate) struct Exchange<'r, 'c> {
    pub(crate) request: &'r Request<'r>,
    pub(crate) body: &'r mut Body<'c>,
    pub(crate) response: &'r mut Responder<'c>,
    pub(crate) stream: &'c Stream<'c>,
    pub(crate) identity: &'c Identity,
    pub(crate) client: ClientSide,
    pub(crate) journal: &'c ChildLog<'c>,
    pub(crate) slot: Slot,
    pub(crate) programs: ProgramTerms<'c>,
    pub(crate) login: &'c LastLogin,
    /// The user whose credentials were accepted for this request.
    pub(crate) user: Option<String>,
    /// See [`Setting`].
    pub(crate) status: Option<BorrowedFd<'c>>,
    pub(crate) runtime: Option<&'c dyn Runtime>,
    /// The path of the route, without a trailing `/`.
    pub(crate) route_path: &'c str,
    /// What follows the route's path in the request's path, without a leading `/`.
    pub(crate) rest: &'r [u8],
    /// An internal redirect has made this a `GET` without content; `body` is that of the original request.
    pub(crate) is_internal_redirect: bool,
    /// The path is the `fallback` of the route that the request belongs to.
    pub(crate) is_fallback: bool,
}

impl<'r, 'c> Exchange<'r, 'c> {
    /// An exchange that has no route yet.
    pub(crate) fn new(
        request: &'r Request<'r>,
        body: &'r mut Body<'c>,
        response: &'r mut Responder<'c>,
        setting: Setting<'c>,
    ) -> Self {
        let Setting { stream, identity, client, journal, slot, programs, login, status, runtime } = setting;
        Self {
            request,
            body,
            response,
            stream,
            identity,
            client,
            journal,
            slot,
            programs,
            login,
            user: None,
            status,
            runtime,
            route_path: "",
            rest: &[],
            is_internal_redirect: false,
            is_fallback: false,
        }
    }

    /// The same exchange for the request of an internal redirect.
    pub(crate) fn redirect<'s>(
        &'s mut self,
        request: &'s Request<'s>,
        as_get: bool,
        is_fallback: bool,
    ) -> Exchange<'s, 'c> {
        Exchange {
            request,
            body: &mut *self.body,
            response: &mut *self.response,
            user: self.user.clone(),
            route_path: "",
            rest: &[],
            is_internal_redirect: as_get,
            is_fallback,
            ..*self
        }
    }

    /// The client, for access lists.
    pub(crate) fn client_peer(&self) -> &Peer {
        &self.client.address
    }

    /// Sends an error response. An outcome other than `Served` closes the connection, since its record shows the last
    /// request only, and the response announces that (RFC 9112, section 9.6).
    pub(crate) fn fail(&mut self, status: u16, reason: &str, outcome: Outcome) -> Result<Outcome, Failure> {
        if outcome != Outcome::Served {
            self.response.close_after();
        }
        self.response.error(status, reason)?;
        Ok(outcome)
    }

    /// True if the method is one of `allowed`. Otherwise answers OPTIONS with them, and others with 405, or 501 for an
    /// unknown method.
    ///
    /// # Errors
    /// The client has gone, or reads too slowly.
    pub(crate) fn check_method(&mut self, allowed: &[&str]) -> Result<bool, Failure> {
        let method = self.request.method;
        if allowed.contains(&method) {
            return Ok(true);
        }
        let list = [allowed, &["OPTIONS"]].concat().join(", ");
        if method == "OPTIONS" {
            let mut head = self.response.head(204);
            head.field("Allow", &list);
            head.send_nothing()?;
        } else if METHODS.contains(&method) {
            self.response.error_with(405, &format!("expected {}", allowed.join(" or ")), "Allow", &list)?;
        } else {
            self.response.error(501, "unknown method")?;
        }
        Ok(false)
    }

    /// Logs a lookup that failed because of the file system, such as an I/O error, or because the fallback of a route is
    /// missing.
    pub(crate) fn log_lookup_error(&self, error: LookupError) {
        let target = self.request.target;
        match error {
            LookupError::Failed(errno) => {
                self.journal.log_system_error(Some(target), "open the file", &errno.into());
            }
            LookupError::NotFound if self.is_fallback => {
                let what = format!("open the fallback {}", encode(&self.request.path));
                self.journal.log_system_error(Some(target), &what, &Errno::ENOENT.into());
            }
            _ => {}
        }
    }
}

/// Known methods (RFC 9110, section 9.3, and RFC 5789).
const METHODS: [&str; 8] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"];
/// Methods that a handler may allow: all but TRACE, which can disclose credentials (RFC 9110, section 9.3.8).
pub(crate) const ALLOWED: &str = "GET, HEAD, OPTIONS, POST, PUT, DELETE, PATCH";

/// The result of a handler.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A response has been sent.
    Sent(Outcome),
    /// Nothing has been sent. Another target is answered instead.
    InternalRedirect(InternalRedirect),
}

/// Another target of the same site: a path with an optional query.
#[derive(Debug)]
pub(crate) struct InternalRedirect {
    /// Encoded.
    pub(crate) target: String,
    /// Answered as a `GET` without content. Otherwise the method and the content stay.
    pub(crate) as_get: bool,
    /// It is the `fallback` of a route. No other fallback takes its place.
    pub(crate) is_fallback: bool,
}
