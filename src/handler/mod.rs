//! Services: what a named listener leads to. It speaks HTTP, and then each request is routed to the handler
//! that answers it; or it is a program that the child becomes.

pub mod cgi;
pub mod exec;
pub mod files;
pub mod hello;
pub mod lookup;
pub mod redirect;
pub mod site;

use std::os::fd::RawFd;
use std::time::Duration;

use crate::child::outcome::Outcome;
use crate::child::rlimits::Rlimits;
use crate::config::Limits;
use crate::connection::Identity;
use crate::http::body::Body;
use crate::http::request::{Failure, Request};
use crate::http::response::Responder;
use crate::http::stream::Stream;
use crate::scoreboard::Slot;
use crate::source::Guard;
use cgi::{Cgi, Programs};
use exec::Exec;
use files::Files;
use hello::Hello;
use redirect::Redirect;
use site::Site;

/// What a named listener leads to.
#[derive(Debug)]
pub struct Service {
    pub name: String,
    pub protocol: Protocol,
    pub max_connections: Option<usize>,
    pub max_connections_per_source: Option<u32>,
    pub guard: Guard,
    /// What somebody is told who is refused and does not speak HTTP.
    pub refusal: String,
    /// The longest that one of its connections may last.
    pub max_duration: Option<Duration>,
    /// Of each child.
    pub rlimits: Rlimits,
    /// There are any.
    pub is_limited: bool,
}

/// What is spoken on the connections of a service.
#[derive(Debug)]
pub enum Protocol {
    Http(Site),
    Exec(Exec),
}

impl Service {
    /// The name of what answers, for records: a handler, by the number of its route, or `exec`.
    pub fn handler_name(&self, route: Option<usize>) -> Option<&'static str> {
        match &self.protocol {
            Protocol::Http(site) => Some(site.routes().get(route?)?.handler.name()),
            Protocol::Exec(_) => Some("exec"),
        }
    }

    /// Descriptors that a child of this service needs besides its connection.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> + Clone {
        let routes = match &self.protocol {
            Protocol::Http(site) => site.routes(),
            Protocol::Exec(_) => &[],
        };
        routes.iter().filter_map(|route| route.handler.descriptor())
    }
}

#[derive(Debug)]
pub enum Handler {
    Hello(Hello),
    Files(Box<Files>),
    Redirect(Redirect),
    Cgi(Cgi),
}

impl Handler {
    /// The directory below which it looks for what is asked.
    fn descriptor(&self) -> Option<RawFd> {
        match self {
            Self::Cgi(Cgi { programs: Programs::Below { root, .. }, .. }) => Some(root.raw_fd()),
            Self::Files(files) => Some(files.root.raw_fd()),
            Self::Hello(_) | Self::Redirect(_) | Self::Cgi(_) => None,
        }
    }

    /// Its name in the configuration and in records.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Files(_) => "files",
            Self::Redirect(_) => "redirect",
            Self::Cgi(_) => "cgi",
        }
    }
}

/// One request and what it takes to answer it. What lives as long as the connection has the lifetime `'c`.
#[derive(Debug)]
pub struct Exchange<'r, 'c> {
    pub request: &'r Request<'r>,
    pub body: &'r mut Body<'c>,
    pub response: &'r mut Responder<'c>,
    pub stream: &'c Stream<'c>,
    pub identity: &'c Identity,
    pub service: &'c Service,
    pub slot: &'static Slot,
    pub limits: &'c Limits,
    /// The path of the route that was taken, without a `/` at its end, and what of the request's path is
    /// below it, without a `/` at its beginning.
    pub route_path: &'c str,
    pub rest: &'r [u8],
    /// The request was sent here from elsewhere on the site, as `GET`: the content was not meant for who answers now.
    pub is_detour: bool,
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
}

/// Methods that are known (RFC 9110, section 9.3, and RFC 5789).
const METHODS: [&str; 8] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"];
/// Those that a site may take: all but TRACE, which nobody needs and which shows what a browser's scripts shall not see.
const ALLOWED: &str = "GET, HEAD, OPTIONS, POST, PUT, DELETE, PATCH";

/// What has become of a request.
#[derive(Debug)]
pub enum Answer {
    /// A response is sent.
    Sent(Outcome),
    /// Nothing is sent: this target, a path of this site and perhaps a query, shall be answered instead.
    Elsewhere(Elsewhere),
}

/// Another target to answer.
#[derive(Debug)]
pub struct Elsewhere {
    /// Encoded.
    pub target: String,
    /// As if it had been asked for by `GET`, without content. Else the method stays, and who answers has the
    /// content.
    pub as_get: bool,
}

/// How often one request may be sent elsewhere within a site: a loop ends there.
const DETOURS_MAX: u32 = 5;

impl Exchange<'_, '_> {
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
}
