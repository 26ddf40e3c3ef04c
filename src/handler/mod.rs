//! Services: what a named listener leads to. It speaks HTTP, and then each request is routed to the handler
//! that answers it; or it is a program that the child becomes.

pub mod cgi;
pub mod exec;
pub mod files;
pub mod hello;
pub mod lookup;
pub mod redirect;

use std::cmp::Reverse;
use std::os::fd::RawFd;
use std::path::Path;
use std::time::Duration;

use crate::child::outcome::Outcome;
use crate::child::rlimits::Rlimits;
use crate::config::Limits;
use crate::connection::Identity;
use crate::http::body::Body;
use crate::http::request::{Failure, Request};
use crate::http::response::{FixedFields, Responder};
use crate::http::stream::Stream;
use crate::http::target;
use crate::journal;
use crate::scoreboard::Slot;
use crate::source::Guard;
use cgi::{Cgi, Programs};
use exec::Exec;
use files::Files;
use hello::Hello;
use redirect::Redirect;

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
            Protocol::Http(site) => Some(site.routes.get(route?)?.handler.name()),
            Protocol::Exec(_) => Some("exec"),
        }
    }

    /// Descriptors that a child of this service needs besides its connection.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> + Clone {
        let routes = match &self.protocol {
            Protocol::Http(site) => &site.routes[..],
            Protocol::Exec(_) => &[],
        };
        routes.iter().filter_map(|route| route.handler.descriptor())
    }
}

/// The routes of a service that speaks HTTP.
#[derive(Debug)]
pub struct Site {
    /// In the order in which they are asked.
    routes: Vec<Route>,
}

/// A part of a service's paths, and what answers there.
#[derive(Debug)]
pub struct Route {
    /// Only for requests to this host; `*.example.org` is every host below it.
    pub host: Option<String>,
    /// Decoded.
    pub path: String,
    /// Only for paths with a segment that ends like this, such as `.php`.
    pub extension: Option<String>,
    pub handler: Handler,
    /// Fields that are added to each response.
    pub fields: FixedFields,
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

impl Site {
    /// Longest path first; among equal ones those with an extension before those without (no other route
    /// shall send what one would run), an exact host before a wildcard before none. So the first route
    /// that fits is the closest.
    pub fn new(mut routes: Vec<Route>) -> Self {
        let host_rank = |route: &Route| match &route.host {
            Some(host) if host.starts_with("*.") => (1, usize::MAX - host.len()),
            Some(_) => (0, 0),
            None => (2, 0),
        };
        let extension_rank = |route: &Route| Reverse(route.extension.as_ref().map(String::len));
        routes
            .sort_by_cached_key(|route| (Reverse(route.path.len()), extension_rank(route), host_rank(route)));
        Self { routes }
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Routes a request and lets its handler answer.
    ///
    /// Fails when the connection does; a handler that fails says so by its outcome.
    pub fn answer<'c>(&'c self, exchange: &mut Exchange<'_, 'c>) -> Result<Outcome, Failure> {
        self.answer_within(exchange, DETOURS_MAX)
    }

    fn answer_within<'c>(
        &'c self,
        exchange: &mut Exchange<'_, 'c>,
        detours: u32,
    ) -> Result<Outcome, Failure> {
        let elsewhere = match self.route(exchange)? {
            Answer::Sent(outcome) => return Ok(outcome),
            Answer::Elsewhere(elsewhere) => elsewhere,
        };
        if detours == 0 {
            let why = "the request was sent from one place of the site to another too often";
            let (service, target) = (&exchange.service.name, exchange.request.target);
            journal::note_program_fault(
                exchange.identity,
                service,
                target,
                Path::new(&elsewhere.target),
                why,
            );
            return exchange.fail(508, why, Outcome::Handler);
        }
        let Some(request) = exchange.request.at(&elsewhere.target, elsewhere.as_get) else {
            return exchange.fail(502, "the program has named a target that is none", Outcome::Handler);
        };
        let mut inner = Exchange {
            request: &request,
            body: &mut *exchange.body,
            response: &mut *exchange.response,
            route_path: "",
            rest: &[],
            is_detour: exchange.is_detour || elsewhere.as_get,
            ..*exchange
        };
        self.answer_within(&mut inner, detours - 1)
    }

    fn route<'c>(&'c self, exchange: &mut Exchange<'_, 'c>) -> Result<Answer, Failure> {
        if exchange.request.path.as_ref() == b"*" {
            let mut head = exchange.response.head(200);
            head.field("Allow", ALLOWED);
            head.send(b"")?;
            return Ok(Answer::Sent(Outcome::Served));
        }
        let Some((index, route)) = self.find_route(exchange.request.authority, &exchange.request.path) else {
            exchange.response.error(404, "no route leads there")?;
            return Ok(Answer::Sent(Outcome::Served));
        };
        exchange.slot.note_route(index);
        exchange.response.set_fields(&route.fields);
        exchange.route_path = route.path.trim_end_matches('/');
        exchange.rest = {
            let rest = &exchange.request.path[exchange.route_path.len()..];
            rest.strip_prefix(b"/").unwrap_or(rest)
        };
        match &route.handler {
            Handler::Hello(hello) => hello.answer(exchange).map(Answer::Sent),
            Handler::Files(files) => match self.find_index_elsewhere(exchange, index, files) {
                Some(elsewhere) => Ok(Answer::Elsewhere(elsewhere)),
                None => files.answer(exchange).map(Answer::Sent),
            },
            Handler::Redirect(redirect) => redirect.answer(exchange).map(Answer::Sent),
            Handler::Cgi(cgi) => cgi.answer(exchange),
        }
    }

    /// The index of the directory that is asked for, where it is another route that answers it: `index.php`
    /// shall run, not be sent.
    fn find_index_elsewhere(
        &self,
        exchange: &Exchange<'_, '_>,
        own: usize,
        files: &Files,
    ) -> Option<Elsewhere> {
        let request = exchange.request;
        if !request.path.ends_with(b"/") || self.routes.len() == 1 {
            return None;
        }
        let is_there = |name: &&String| files.root.is_file(&[exchange.rest, name.as_bytes()].concat());
        let name = files.index.iter().find(is_there)?;
        let path = [&request.path, name.as_bytes()].concat();
        let (route, _) = self.find_route(request.authority, &path)?;
        let query = request.query.map_or_else(String::new, |query| format!("?{query}"));
        let target = target::encode_path(&path) + &query;
        (route != own).then_some(Elsewhere { target, as_get: false })
    }

    /// The route with the longest path that `path` is at or below, and its index.
    fn find_route(&self, authority: &str, path: &[u8]) -> Option<(usize, &Route)> {
        let fits = |route: &Route| {
            route.contains(path) && route.is_for_extension(path) && route.is_for_host(authority)
        };
        self.routes.iter().enumerate().find(|(_, route)| fits(route))
    }
}

impl Route {
    /// `/a` contains `/a` and `/a/b`, not `/ab`; `/a/` contains what is below it.
    fn contains(&self, path: &[u8]) -> bool {
        match path.strip_prefix(self.path.as_bytes()) {
            Some(rest) => self.path.ends_with('/') || rest.is_empty() || rest.starts_with(b"/"),
            None => false,
        }
    }

    fn is_for_extension(&self, path: &[u8]) -> bool {
        self.extension.as_ref().is_none_or(|extension| {
            path.split(|&byte| byte == b'/').any(|segment| segment.ends_with(extension.as_bytes()))
        })
    }

    fn is_for_host(&self, authority: &str) -> bool {
        let Some(own) = &self.host else { return true };
        // `example.org.` is the same host, spelled in full (RFC 1034, section 3.1).
        let host = target::host_of(authority);
        let host = host.strip_suffix('.').unwrap_or(host);
        match own.strip_prefix('*') {
            None => host.eq_ignore_ascii_case(own),
            Some(domain) => {
                let at = host.len().checked_sub(domain.len()).filter(|&at| at > 0);
                at.and_then(|at| host.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(domain))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: Option<&str>, path: &str) -> Route {
        let hello = Hello { status: 200, content_type: String::new(), content: Vec::new(), delay: None };
        Route {
            host: host.map(str::to_owned),
            path: path.into(),
            extension: None,
            handler: Handler::Hello(hello),
            fields: FixedFields::default(),
        }
    }

    #[test]
    fn the_longest_path_wins_and_segments_are_whole() {
        let site = Site::new(vec![route(None, "/"), route(None, "/a/"), route(None, "/a/b")]);
        let find = |path: &str| site.find_route("", path.as_bytes()).map(|(_, route)| route.path.as_str());
        assert_eq!(find("/a/b"), Some("/a/b"));
        assert_eq!(find("/a/b/c"), Some("/a/b"));
        assert_eq!(find("/a/bc"), Some("/a/"));
        assert_eq!(find("/a"), Some("/"));
        assert_eq!(find("*"), None);
    }

    #[test]
    fn an_extension_wins_among_equal_paths() {
        let php = Route { extension: Some(".php".into()), ..route(None, "/") };
        let site = Site::new(vec![route(Some("a"), "/"), php, route(None, "/static/")]);
        let find =
            |path: &str| site.find_route("a", path.as_bytes()).map(|(_, route)| route.extension.is_some());
        assert_eq!(find("/x.php"), Some(true));
        assert_eq!(find("/x.php/more"), Some(true));
        assert_eq!(find("/x.phps"), Some(false));
        assert_eq!(find("/static/x.php"), Some(false));
    }

    #[test]
    fn the_closest_host_wins_among_equal_paths() {
        let hosts = [None, Some("*.b"), Some("*.a.b"), Some("a.b")];
        let mut routes: Vec<_> = hosts.iter().map(|&host| route(host, "/")).collect();
        routes.push(route(None, "/longer/"));
        let site = Site::new(routes);
        let find = |host: &str| site.find_route(host, b"/").map(|(_, route)| route.host.as_deref());
        assert_eq!(find("A.b:80"), Some(Some("a.b")));
        assert_eq!(find("x.a.b"), Some(Some("*.a.b")));
        assert_eq!(find("c.b"), Some(Some("*.b")));
        assert_eq!(find("b"), Some(None));
        assert_eq!(find(".b"), Some(None));
        assert_eq!(find(""), Some(None));
        let (_, longer) = site.find_route("a.b", b"/longer/x").unwrap();
        assert_eq!(longer.path, "/longer/");
    }
}
