//! Services: what a named listener leads to. It speaks HTTP, and then each request is routed to the handler that answers it;
//! or it is a program that the child becomes.

pub mod exec;
pub mod hello;
pub mod redirect;

use std::os::fd::RawFd;

use crate::child::outcome::Outcome;
use crate::config::Limits;
use crate::connection::Identity;
use crate::http::body::Body;
use crate::http::request::{Failure, Request};
use crate::http::response::{FixedFields, Responder};
use crate::http::stream::Stream;
use crate::http::target;
use crate::scoreboard::Slot;
use exec::Exec;
use hello::Hello;
use redirect::Redirect;

/// What a named listener leads to.
#[derive(Debug)]
pub struct Service {
    pub name: String,
    pub protocol: Protocol,
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
    pub fn descriptors(&self) -> Vec<RawFd> {
        Vec::new()
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
    pub handler: Handler,
    /// Fields that are added to each response.
    pub fields: FixedFields,
}

#[derive(Debug)]
pub enum Handler {
    Hello(Hello),
    Redirect(Redirect),
}

impl Handler {
    /// Its name in the configuration and in records.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Redirect(_) => "redirect",
        }
    }
}

/// One request and what it takes to answer it.
#[derive(Debug)]
pub struct Exchange<'a> {
    pub request: &'a Request<'a>,
    pub body: Body<'a>,
    pub response: Responder<'a>,
    pub stream: &'a Stream<'a>,
    pub identity: &'a Identity,
    pub service: &'a Service,
    pub slot: &'static Slot,
    pub limits: &'a Limits,
    /// The path of the route that was taken, without a `/` at its end, and what of the request's path is below it,
    /// without a `/` at its beginning.
    pub route_path: &'a str,
    pub rest: &'a [u8],
}

/// Methods that are known (RFC 9110, section 9.3, and RFC 5789).
const METHODS: [&str; 8] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"];

impl Exchange<'_> {
    /// Answers 405, or 501 for a method that nobody knows, unless the request's is one of `allowed`. True: it is.
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
    /// Longest path first, and among equal ones an exact host before a wildcard before none, so that the first route that fits is
    /// the closest.
    pub fn new(mut routes: Vec<Route>) -> Self {
        let host_rank = |route: &Route| match &route.host {
            Some(host) if host.starts_with("*.") => (1, usize::MAX - host.len()),
            Some(_) => (0, 0),
            None => (2, 0),
        };
        routes.sort_by_cached_key(|route| (std::cmp::Reverse(route.path.len()), host_rank(route)));
        Self { routes }
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Routes a request and lets its handler answer.
    ///
    /// Fails when the connection does; a handler that fails says so by its outcome.
    pub fn answer<'a>(&'a self, exchange: &mut Exchange<'a>) -> Result<Outcome, Failure> {
        if exchange.request.path.as_ref() == b"*" {
            let mut head = exchange.response.head(200);
            head.field("Allow", METHODS[..7].join(", "));
            head.send(b"")?;
            return Ok(Outcome::Served);
        }
        let Some((index, route)) = self.find_route(exchange.request.authority, &exchange.request.path) else {
            exchange.response.error(404, "no route leads there")?;
            return Ok(Outcome::Served);
        };
        exchange.slot.note_route(index);
        exchange.response.set_fields(&route.fields);
        exchange.route_path = route.path.trim_end_matches('/');
        exchange.rest = {
            let rest = &exchange.request.path[exchange.route_path.len()..];
            rest.strip_prefix(b"/").unwrap_or(rest)
        };
        match &route.handler {
            Handler::Hello(hello) => hello.answer(exchange),
            Handler::Redirect(redirect) => redirect.answer(exchange),
        }
    }

    /// The route with the longest path that `path` is at or below, and its index.
    fn find_route(&self, authority: &str, path: &[u8]) -> Option<(usize, &Route)> {
        let fits = |route: &Route| route.contains(path) && route.is_for_host(target::host_of(authority));
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

    fn is_for_host(&self, host: &str) -> bool {
        match &self.host {
            None => true,
            Some(own) => match own.strip_prefix('*') {
                Some(domain) => {
                    let at = host.len().checked_sub(domain.len());
                    let end = at.filter(|&at| at > 0).and_then(|at| host.get(at..));
                    end.is_some_and(|end| end.eq_ignore_ascii_case(domain))
                }
                None => host.eq_ignore_ascii_case(own),
            },
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
