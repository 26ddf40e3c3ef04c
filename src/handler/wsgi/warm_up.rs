//! Requests that the fork server makes itself before it forks: what an application makes when it is first called is then
//! made once, and all children share it.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::head::{self, ApplicationHead};
use crate::handler::variables::split_authority;
use crate::http::path::DecodedPath;
use crate::http::target;
use crate::runtime::{Call, Interruption, Runtime};
use serde::{Deserialize, Serialize};

/// How often each request is made. CPython adapts the code of a function to what it finds in its first calls, which writes to
/// the pages of that code.
const REPEATS: usize = 16;
/// A request that has taken that long, with its repetitions, is not repeated: the clients wait for it.
const REPEAT_TIME: Duration = Duration::from_secs(1);

/// The host, if the target names none.
const HOST: &str = "localhost";

/// A request for an application.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WarmUp {
    /// As it is configured.
    target: String,
    /// `host[:port]`
    authority: String,
    is_https: bool,
    script_name: String,
    path_info: Vec<u8>,
    query: String,
}

impl WarmUp {
    /// A request with the method GET: a path, or a URL of a host that the application requires. `route_path`: where the
    /// application is.
    ///
    /// # Errors
    /// What is wrong with the target, as a sentence.
    pub(crate) fn new(target: &str, route_path: &str) -> Result<Self, String> {
        let invalid = || format!("expected a path such as \"/\", or a URL, found {target:?}");
        let parts = target::split(target).filter(|parts| parts.path != "*").ok_or_else(invalid)?;
        let path = DecodedPath::new(parts.path).map_err(|_| invalid())?;
        let script_name = route_path.trim_end_matches('/');
        let path_info = path.strip_prefix(script_name.as_bytes()).filter(|rest| rest.starts_with(b"/"));
        let path_info = path_info.ok_or_else(|| {
            format!("expected a path below that of the route, {route_path:?}, found {target:?}")
        })?;
        Ok(Self {
            target: target.to_owned(),
            authority: parts.authority.unwrap_or(HOST).to_owned(),
            is_https: target.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:")),
            script_name: script_name.to_owned(),
            path_info: path_info.to_owned(),
            query: parts.query.unwrap_or_default().to_owned(),
        })
    }

    /// Makes the request. Its response is thrown away.
    ///
    /// # Errors
    /// It was not answered, or by an error: a warning.
    pub(super) fn run(&self, application: &str, runtime: &dyn Runtime) -> Result<(), String> {
        let fail = |reason: &str| format!("warm_up of {application} with {}: {reason}", self.target);
        let start = Instant::now();
        for repeat in 0..REPEATS {
            if repeat > 0 && start.elapsed() > REPEAT_TIME {
                break;
            }
            let mut call = Rehearsal { request: self, head: None, has_begun: false };
            runtime.answer(application, &mut call).map_err(|error| fail(&error))?;
            match call.head.as_ref().map_or(0, |head| head.status) {
                0 => return Err(fail("the application returned without a response")),
                status @ 400.. => return Err(fail(&format!("the application answered {status}"))),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A request that no client has sent.
struct Rehearsal<'a> {
    request: &'a WarmUp,
    head: Option<ApplicationHead>,
    has_begun: bool,
}

impl Call for Rehearsal<'_> {
    fn describe(&self, set: &mut dyn FnMut(&str, &[u8])) {
        let WarmUp { authority, is_https, script_name, path_info, query, .. } = self.request;
        let (host, port) = split_authority(authority);
        let (scheme, own_port) = if *is_https { ("https", "443") } else { ("http", "80") };
        let own_path = [script_name.as_bytes(), path_info].concat();
        let separator: &[u8] = if query.is_empty() { b"" } else { b"?" };
        set("REQUEST_METHOD", b"GET");
        set("SCRIPT_NAME", script_name.as_bytes());
        set("PATH_INFO", path_info);
        set("QUERY_STRING", query.as_bytes());
        set("REQUEST_URI", &[&own_path, separator, query.as_bytes()].concat());
        set("SERVER_PROTOCOL", b"HTTP/1.1");
        set("wsgi.url_scheme", scheme.as_bytes());
        if *is_https {
            set("HTTPS", b"on");
        }
        set("REMOTE_ADDR", b"127.0.0.1");
        set("HTTP_HOST", authority.as_bytes());
        set("SERVER_NAME", host.as_bytes());
        set("SERVER_PORT", if port.is_empty() { own_port } else { port }.as_bytes());
        set("HTTP_USER_AGENT", concat!("lsbaws/", env!("CARGO_PKG_VERSION"), " (warm_up)").as_bytes());
        set("HTTP_ACCEPT", b"*/*");
    }

    fn read(&mut self, _: &mut [u8]) -> Result<usize, Interruption> {
        Ok(0)
    }

    fn set_head(&mut self, status: &[u8], fields: &[(Vec<u8>, Vec<u8>)]) -> Result<(), String> {
        self.head = Some(head::check(status, fields)?);
        Ok(())
    }

    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn is_without_content(&self) -> bool {
        false
    }

    fn begin(&mut self, _: Option<u64>) -> Result<(), Interruption> {
        self.has_begun = true;
        Ok(())
    }

    fn send(&mut self, _: &[u8], _: bool) -> Result<(), Interruption> {
        self.begin(None)
    }

    fn send_file(&mut self, _: BorrowedFd<'_>, _: u64, _: u64) -> Result<(), Interruption> {
        self.begin(None)
    }

    fn end(&mut self) -> Result<(), Interruption> {
        self.begin(None)
    }

    fn is_interrupted(&self) -> bool {
        false
    }

    fn log_output(&self, line: &[u8]) {
        let _ = io::stderr().write_all(&[line, b"\n"].concat()); // nothing else could be done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_paths_of_the_route_or_urls() {
        let path_info = |target, path| WarmUp::new(target, path).ok().map(|warm_up| warm_up.path_info);
        assert_eq!(path_info("/", "/").as_deref(), Some(&b"/"[..]));
        assert_eq!(path_info("/shop/%C3%A4?q", "/shop").as_deref(), Some("/ä".as_bytes()));
        assert_eq!(path_info("https://example.org/shop/", "/shop/").as_deref(), Some(&b"/"[..]));
        for invalid in ["", "*", "shop", "/other", "/shopping", "/shop/%", "ftp://a/shop/"] {
            assert_eq!(path_info(invalid, "/shop"), None, "{invalid:?}");
        }
    }
}
