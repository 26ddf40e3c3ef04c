//! The head of a request: read within its limits, parsed by `httparse`, checked.

use std::mem::MaybeUninit;
use std::time::Instant;

use super::is_token;
use super::stream::{Interrupted, Stream};

/// Header fields of one request. More is no request that a person's program sends.
const FIELDS_MAX: usize = 100;

/// A request's head, as far as handlers need it.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    pub method: &'a str,
    /// As it was sent.
    pub target: &'a str,
    /// The target's path, without authority and query.
    pub path: &'a str,
    /// Content follows, or may follow, the head.
    pub has_content: bool,
}

/// Why there is no request to answer.
#[derive(Debug)]
pub enum Failure {
    /// The peer closed or reset the connection.
    Gone,
    /// The deadline passed before the head was complete.
    TimedOut,
    /// The request is not one: the status that says so, and a sentence for the person at the other end.
    Refused(u16, &'static str),
}

impl From<Interrupted> for Failure {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::TimedOut => Self::TimedOut,
            Interrupted::Gone(_) => Self::Gone,
        }
    }
}

/// Reads until the end of a head and returns its length. `filled` counts all bytes that were read, also
/// when it fails: some may lie behind the head.
pub fn read_head(
    stream: &Stream<'_>,
    buffer: &mut [u8],
    filled: &mut usize,
    deadline: Instant,
) -> Result<usize, Failure> {
    let mut scanner = Scanner::default();
    loop {
        if *filled == buffer.len() {
            return Err(match scanner.lines {
                0 => Failure::Refused(414, "the request line is too long"),
                _ => Failure::Refused(431, "the head of the request is too large"),
            });
        }
        let count = stream.receive(&mut buffer[*filled..], deadline)?;
        if count == 0 {
            // Who has only shut the sending side still reads.
            return Err(match *filled {
                0 => Failure::Gone,
                _ => Failure::Refused(400, "the request ends before its head does"),
            });
        }
        *filled += count;
        if let Some(length) = scanner.find_end(&buffer[..*filled])? {
            return Ok(length);
        }
    }
}

/// Finds the empty line that ends a head. Each byte is looked at once, however small the pieces.
#[derive(Debug, Default)]
struct Scanner {
    scanned: usize,
    /// Bytes since the last line end, without CR.
    line_length: usize,
    lines: usize,
}

impl Scanner {
    /// The length of the head, once it is complete. A line that ends with a bare LF is refused: whoever
    /// stands between may see another end than we do (RFC 9112, section 2.2).
    fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        for position in self.scanned..bytes.len() {
            if bytes[position] != b'\n' {
                self.line_length += usize::from(bytes[position] != b'\r');
                continue;
            }
            if position == 0 || bytes[position - 1] != b'\r' {
                return Err(Failure::Refused(400, "a line ends with LF alone, where CR LF is expected"));
            }
            // Empty lines before the request line are skipped (RFC 9112, section 2.2).
            if self.line_length == 0 && self.lines > 0 {
                return Ok(Some(position + 1));
            }
            self.lines += usize::from(self.line_length > 0);
            self.line_length = 0;
        }
        self.scanned = bytes.len();
        Ok(None)
    }
}

/// Parses and checks a complete head.
pub fn parse(head: &[u8]) -> Result<Request<'_>, Failure> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let refuse = |sentence| Err(Failure::Refused(400, sentence));
    match httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, head, &mut fields)
    {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return refuse("the head of the request is not complete"),
        Err(httparse::Error::Version) => {
            return Err(Failure::Refused(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"));
        }
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Failure::Refused(431, "the request has too many header fields"));
        }
        Err(httparse::Error::HeaderName) => return refuse("a header field has an invalid name"),
        Err(httparse::Error::HeaderValue) => return refuse("a header field has an invalid value"),
        Err(_) => return refuse("the request line is malformed"),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return refuse("the request line is malformed");
    };
    let field = |name: &'static str| {
        parsed
            .headers
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    };
    // RFC 9112, section 3.2: exactly one Host in HTTP/1.1, at most one ever.
    match (field("Host").count(), minor) {
        (1, _) | (0, 0) => {}
        (0, _) => return refuse("the field Host is missing"),
        _ => return refuse("the field Host is there more than once"),
    }
    if !field("Host").all(is_host) {
        return refuse("the field Host is not a host");
    }
    let Some(path) = find_path(target) else {
        return refuse("the target of the request is neither a path nor an http URL");
    };
    let has_content =
        field("Transfer-Encoding").next().is_some() || field("Content-Length").any(|value| value != b"0");
    Ok(Request { method, target, path, has_content })
}

/// `uri-host [":" port]` (RFC 9110, section 7.2) as far as its bytes go; may be empty.
fn is_host(value: &[u8]) -> bool {
    value.iter().all(|&byte| is_token(byte) || b":[](),;=".contains(&byte))
}

/// The path of an origin-form, absolute-form or asterisk-form target (RFC 9112, section 3.2).
fn find_path(target: &str) -> Option<&str> {
    let position = |text: &str, found: fn(u8) -> bool| text.bytes().position(found);
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return None;
    }
    let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let path = match scheme {
        Some(scheme) => {
            let rest = &target[scheme.len()..];
            match position(rest, |byte| byte == b'/' || byte == b'?') {
                Some(0) => return None, // no authority
                None if rest.is_empty() => return None,
                Some(at) if rest.as_bytes()[at] == b'/' => &rest[at..],
                _ => "/",
            }
        }
        None if target == "*" || target.starts_with('/') => target,
        None => return None,
    };
    Some(&path[..position(path, |byte| byte == b'?').unwrap_or(path.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> u16 {
        match parse(head.as_bytes()) {
            Ok(_) => 200,
            Err(Failure::Refused(status, _)) => status,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn heads_that_are_requests_and_heads_that_are_not() {
        let cases = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("GET / HTTP/1.0\r\n\r\n", 200),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: a:80\r\n\r\n", 200),
            ("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", 200),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ];
        for (head, expected) in cases {
            assert_eq!(status(head), expected, "{head:?}");
        }
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_MAX));
        assert_eq!(status(&many), 431);
    }

    #[test]
    fn paths_come_without_authority_and_query() {
        for (target, path) in [
            ("/", Some("/")),
            ("/a?b=/c", Some("/a")),
            ("http://h", Some("/")),
            ("HTTP://h?b", Some("/")),
            ("http://h/a?b", Some("/a")),
            ("*", Some("*")),
            ("http://", None),
            ("ftp://h/", None),
            ("/a#b", None),
        ] {
            assert_eq!(find_path(target), path, "{target:?}");
        }
    }

    #[test]
    fn content_is_seen_by_its_fields() {
        let has_content = |field: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
            parse(head.as_bytes()).unwrap().has_content
        };
        assert!(has_content("Content-Length: 5") && has_content("Transfer-Encoding: chunked"));
        assert!(!has_content("Content-Length: 0") && !has_content("X: y"));
    }

    #[test]
    fn the_end_is_found_in_pieces_of_any_size() {
        let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nmore";
        let mut scanner = Scanner::default();
        let ends: Vec<_> = (1..=bytes.len())
            .map_while(|n| scanner.find_end(&bytes[..n]).unwrap().map_or(Some(0), Some))
            .collect();
        assert_eq!(ends.iter().position(|&end| end > 0), Some(bytes.len() - 5));
        assert_eq!(Scanner::default().find_end(bytes).unwrap(), Some(bytes.len() - 4));
        assert!(Scanner::default().find_end(b"GET / HTTP/1.1\n").is_err());
        assert!(Scanner::default().find_end(b"\n").is_err());
    }
}
