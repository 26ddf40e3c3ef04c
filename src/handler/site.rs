//! The routes of an HTTP service, and which of them takes a request.

use std::cmp::Reverse;
use std::path::Path;

use super::Handler;
use super::access::Access;
use super::error_pages::ServicePages;
use super::exchange::{ALLOWED, Answer, Exchange, InternalRedirect};
use super::files::Files;
use super::login::LoginLimit;
use crate::http::error_content::ErrorTerms;
use crate::http::failure::Failure;
use crate::http::fields::FixedFields;
use crate::http::path;
use crate::http::target;
use crate::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// Internal redirects of one request.
const REDIRECTS_MAX: u32 = 5;

/// The routes of an HTTP service.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Site {
    /// The first that fits takes the request.
    routes: Vec<Route>,
    /// Added to responses of no route.
    fields: FixedFields,
    error_pages: ServicePages,
    /// `None`: no route requires a user.
    login_limit: Option<LoginLimit>,
}

/// Which requests a handler answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Route {
    /// Takes only requests to this host; `*.example.org` is every host below that domain.
    pub(crate) host: Option<String>,
    /// Decoded. Takes only paths at or below this one.
    pub(crate) path: String,
    /// Takes only paths that have a segment with this ending, such as `.php`.
    pub(crate) extension: Option<String>,
    /// `None`: every client may use it.
    pub(crate) access: Option<Box<Access>>,
    pub(crate) handler: Handler,
    /// Added to each response, those of the service included.
    pub(crate) fields: FixedFields,
}

impl Site {
    /// Sorts the routes from the most to the least specific: longest path first; for the same path, routes with an
    /// extension first (so that no other route sends the source of a program), then exact hosts, wildcards, no host.
    pub(crate) fn new(mut routes: Vec<Route>, fields: FixedFields, error_pages: ServicePages) -> Self {
        let host_rank = |route: &Route| match &route.host {
            Some(host) if host.starts_with("*.") => (1, usize::MAX - host.len()),
            Some(_) => (0, 0),
            None => (2, 0),
        };
        let extension_rank = |route: &Route| Reverse(route.extension.as_ref().map(String::len));
        routes
            .sort_by_cached_key(|route| (Reverse(route.path.len()), extension_rank(route), host_rank(route)));
        Self { routes, fields, error_pages, login_limit: None }
    }

    pub(crate) fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Limits how many passwords are verified at the same time, which routes with authentication require.
    pub(crate) fn with_login_limit(self, limit: LoginLimit) -> Self {
        Self { login_limit: Some(limit), ..self }
    }

    pub(crate) fn login_limit(&self) -> Option<&LoginLimit> {
        self.login_limit.as_ref()
    }

    /// The fields of every response.
    pub(crate) fn fields(&self) -> &FixedFields {
        &self.fields
    }

    /// What is wrong with the `fallback` of a route for this host, as a sentence: it must be a file, and a program must be run.
    ///
    /// # Errors
    /// The sentence.
    pub(crate) fn check_fallback(&self, host: &str, target: &str) -> Result<(), String> {
        let path = target.as_bytes();
        let Some((_, route)) = self.find_route(host, path) else {
            return Err(format!("no route takes the path {target:?}"));
        };
        let rest = &path[route.path.trim_end_matches('/').len()..];
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        match &route.handler {
            Handler::Files(_) if is_program(target) => Err(format!(
                "{target:?} would be sent as a file and not run; add a route with handler = \"cgi\" and the extension of the \
                 program"
            )),
            handler if handler.root().is_some_and(|root| !root.is_file(rest)) => {
                Err(format!("no such file: {target:?}"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn error_pages(&self) -> &ServicePages {
        &self.error_pages
    }

    /// For a request without a route.
    pub(crate) fn error_terms(&self) -> ErrorTerms<'_> {
        let service = (!self.error_pages.0.is_empty()).then_some(&self.error_pages as _);
        ErrorTerms { service, ..ErrorTerms::default() }
    }

    /// Lets the handler of the request's route answer, and follows its internal redirects.
    ///
    /// Fails when the connection does. The failure of a handler is an outcome.
    pub(crate) fn answer<'c>(&'c self, exchange: &mut Exchange<'_, 'c>) -> Result<Outcome, Failure> {
        let mut answer = self.dispatch(exchange)?;
        let mut as_get = false;
        for _ in 0..REDIRECTS_MAX {
            let redirect = match answer {
                Answer::Sent(outcome) => return Ok(outcome),
                Answer::InternalRedirect(redirect) => redirect,
            };
            as_get |= redirect.as_get;
            let Some(request) = exchange.request.at(&redirect.target, as_get) else {
                return exchange.fail(502, "the program returned an invalid Location", Outcome::HandlerError);
            };
            answer = self.dispatch(&mut exchange.redirect(&request, as_get, redirect.is_fallback))?;
        }
        match answer {
            Answer::Sent(outcome) => Ok(outcome),
            Answer::InternalRedirect(redirect) => refuse_redirect(exchange, &redirect),
        }
    }

    fn dispatch<'c>(&'c self, exchange: &mut Exchange<'_, 'c>) -> Result<Answer, Failure> {
        if *exchange.request.path == *b"*" {
            let mut head = exchange.response.head(200);
            head.field("Allow", ALLOWED);
            head.send(b"")?;
            return Ok(Answer::Sent(Outcome::Served));
        }
        let Some((index, route)) = self.find_route(exchange.request.authority, &exchange.request.path) else {
            exchange.response.error(404, "no route matches this path")?;
            return Ok(Answer::Sent(Outcome::Served));
        };
        exchange.slot.set_route(index);
        exchange.response.set_fields(&route.fields);
        exchange.response.set_error_pages(route.handler.error_pages());
        exchange.route_path = route.path.trim_end_matches('/');
        exchange.rest = {
            let rest = &exchange.request.path[exchange.route_path.len()..];
            rest.strip_prefix(b"/").unwrap_or(rest)
        };
        if let Some(access) = &route.access
            && let Some(outcome) = access.refuse(exchange, self.login_limit())?
        {
            return Ok(Answer::Sent(outcome));
        }
        match &route.handler {
            Handler::Respond(respond) => respond.answer(exchange).map(Answer::Sent),
            Handler::Files(files) => match self.find_index_on_other_route(exchange, index, files) {
                Some(redirect) => Ok(Answer::InternalRedirect(redirect)),
                None => files.answer(exchange),
            },
            Handler::Redirect(redirect) => redirect.answer(exchange).map(Answer::Sent),
            Handler::Cgi(cgi) => cgi.answer(exchange),
            Handler::Status(status) => status.answer(exchange).map(Answer::Sent),
            Handler::Health(check) => check.answer(exchange).map(Answer::Sent),
            Handler::Wsgi(wsgi) => wsgi.answer(exchange).map(Answer::Sent),
            #[cfg(feature = "attacks")]
            Handler::Probe(probe) => probe.answer(exchange).map(Answer::Sent),
        }
    }

    /// The index of the requested directory, if another route answers it: `index.php` is run, not sent.
    fn find_index_on_other_route(
        &self,
        exchange: &Exchange<'_, '_>,
        own: usize,
        files: &Files,
    ) -> Option<InternalRedirect> {
        let request = exchange.request;
        let path = &request.path;
        if !path.ends_with(b"/") || self.routes.len() == 1 || path.has_encoded_slash(path.len()) {
            return None;
        }
        let exists = |name: &&String| files.root.is_file(&[exchange.rest, name.as_bytes()].concat());
        let name = files.index.iter().find(exists)?;
        let path = [path, name.as_bytes()].concat();
        let (route, _) = self.find_route(request.authority, &path)?;
        let query = request.query.map_or_else(String::new, |query| format!("?{query}"));
        let target = path::encode(&path) + &query;
        (route != own).then_some(InternalRedirect { target, as_get: false, is_fallback: false })
    }

    /// The most specific route for a request, and its index.
    fn find_route(&self, authority: &str, path: &[u8]) -> Option<(usize, &Route)> {
        let fits = |route: &Route| {
            route.contains(path) && route.is_for_extension(path) && route.is_for_host(authority)
        };
        self.routes.iter().enumerate().find(|(_, route)| fits(route))
    }
}

/// Whether a path names a program that no site sends as a file.
fn is_program(path: &str) -> bool {
    [".php", ".cgi", ".fcgi", ".pl", ".py", ".rb"].iter().any(|ending| path.ends_with(ending))
}

/// Ends a loop of internal redirects.
fn refuse_redirect(exchange: &mut Exchange<'_, '_>, redirect: &InternalRedirect) -> Result<Outcome, Failure> {
    let (reason, target) = ("too many internal redirects", exchange.request.target);
    exchange.journal.log_program_fault(target, Path::new(&redirect.target), reason);
    exchange.fail(508, reason, Outcome::HandlerError)
}

impl Route {
    /// `/a` contains `/a` and `/a/b`, not `/ab`; `/a/` contains what is below it.
    pub(crate) fn contains(&self, path: &[u8]) -> bool {
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
        // `example.org.` is the same host, fully qualified (RFC 1034, section 3.1).
        let host = target::decode_host(target::host_of(authority));
        let host = host.strip_suffix(b".").unwrap_or(&host);
        match own.strip_prefix('*') {
            None => host.eq_ignore_ascii_case(own.as_bytes()),
            Some(domain) => {
                let at = host.len().checked_sub(domain.len()).filter(|&at| at > 0);
                at.is_some_and(|at| host[at..].eq_ignore_ascii_case(domain.as_bytes()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::respond::Respond;

    fn route(host: Option<&str>, path: &str) -> Route {
        let respond = Respond { status: 200, content_type: String::new(), content: Vec::new(), delay: None };
        Route {
            host: host.map(str::to_owned),
            path: path.into(),
            extension: None,
            access: None,
            handler: Handler::Respond(respond),
            fields: FixedFields::default(),
        }
    }

    fn make_site(routes: Vec<Route>) -> Site {
        Site::new(routes, FixedFields::default(), ServicePages::default())
    }

    #[test]
    fn the_longest_path_wins_and_segments_are_whole() {
        let site = make_site(vec![route(None, "/"), route(None, "/a/"), route(None, "/a/b")]);
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
        let site = make_site(vec![route(Some("a"), "/"), php, route(None, "/static/")]);
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
        let site = make_site(routes);
        let find = |host: &str| site.find_route(host, b"/").map(|(_, route)| route.host.as_deref());
        assert_eq!(find("A.b:80"), Some(Some("a.b")));
        assert_eq!(find("x.a.b"), Some(Some("*.a.b")));
        assert_eq!(find("c.b"), Some(Some("*.b")));
        assert_eq!(find("b"), Some(None));
        assert_eq!(find(".b"), Some(None));
        assert_eq!(find("%41.b:80"), Some(Some("a.b")));
        assert_eq!(find("a%2Eb."), Some(Some("a.b")));
        assert_eq!(find("x.%61%2e%62"), Some(Some("*.a.b")));
        assert_eq!(find(""), Some(None));
        let (_, longer) = site.find_route("a.b", b"/longer/x").unwrap();
        assert_eq!(longer.path, "/longer/");
    }
}
