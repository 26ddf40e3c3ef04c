//! Services: what a named listener leads to. A service routes a request to the handler that answers it.

pub mod hello;

use crate::http::request::Request;
use crate::http::response::Response;
use crate::scoreboard::Slot;
use hello::Hello;

/// What a named listener leads to.
#[derive(Debug)]
pub struct Service {
    pub name: String,
    /// Longest path first.
    pub routes: Vec<Route>,
}

/// A part of a service's paths, and what answers there.
#[derive(Debug)]
pub struct Route {
    pub path: String,
    pub handler: Handler,
}

#[derive(Debug)]
pub enum Handler {
    Hello(Hello),
}

impl Handler {
    /// Its name in the configuration and in records.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
        }
    }
}

/// Methods that are known, and that no handler here takes (RFC 9110, section 9.3, and RFC 5789).
const OTHER_METHODS: [&str; 7] = ["OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"];

impl Service {
    /// Routes a request and lets its handler answer.
    pub fn answer(&self, request: &Request<'_>, slot: &Slot) -> Response<'_> {
        let Some((index, route)) = self.find_route(request.path.as_bytes()) else {
            return Response::error(404, "", b"404 Not Found: no route leads there\n");
        };
        slot.note_route(index);
        match &route.handler {
            Handler::Hello(hello) if request.method == "GET" || request.method == "HEAD" => hello.answer(),
            Handler::Hello(_) if OTHER_METHODS.contains(&request.method) => {
                let content = b"405 Method Not Allowed: expected GET or HEAD\n";
                Response::error(405, "Allow: GET, HEAD\r\n", content)
            }
            Handler::Hello(_) => Response::error(501, "", b"501 Not Implemented: unknown method\n"),
        }
    }

    /// The route with the longest path that `path` is at or below, and its index.
    fn find_route(&self, path: &[u8]) -> Option<(usize, &Route)> {
        self.routes.iter().enumerate().find(|(_, route)| route.contains(path))
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Route {
        let hello = Hello {
            status: 200,
            content_type: String::new(),
            fields: String::new(),
            content: Vec::new(),
            delay: None,
        };
        Route { path: path.into(), handler: Handler::Hello(hello) }
    }

    #[test]
    fn the_longest_path_wins_and_segments_are_whole() {
        let service = Service { name: "web".into(), routes: vec![route("/a/b"), route("/a/"), route("/")] };
        let find = |path: &str| service.find_route(path.as_bytes()).map(|(index, _)| index);
        assert_eq!(find("/a/b"), Some(0));
        assert_eq!(find("/a/b/c"), Some(0));
        assert_eq!(find("/a/bc"), Some(1));
        assert_eq!(find("/a"), Some(2));
        assert_eq!(find("*"), None);
    }
}
