//! The head of a request: read within its limits, parsed by `httparse`, checked.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::time::Instant;

use httparse::Header;

use super::failure::{Failure, refuse};
use super::fields::field;
use super::framing::{self, Framing};
use super::stream::Stream;
use super::target::{self, Target};

/// Header fields of one request. More is no request that a person's program sends.
pub const FIELDS_MAX: usize = 100;

/// Room for the fields of one request, which the caller keeps while it uses the request.
pub type FieldRoom<'a> = [MaybeUninit<Header<'a>>; FIELDS_MAX];

/// Empty room.
pub const fn new_field_room<'a>() -> FieldRoom<'a> {
    [const { MaybeUninit::uninit() }; FIELDS_MAX]
}

/// A request's head, checked.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// As it was sent.
    pub target: &'a str,
    /// The path that is meant: see [`target::decode_path`]. Begins with `/`, or is `*`.
    pub path: Cow<'a, [u8]>,
    /// What follows the `?` of the target, as it was sent.
    pub query: Option<&'a str>,
    /// `host[:port]`, of an absolute-form target or else of the field Host; may be empty.
    pub authority: &'a str,
    /// The version is HTTP/1.`minor`.
    pub minor: u8,
    pub fields: &'a [Header<'a>],
    pub framing: Framing,
    /// The client lets the connection go on after this request.
    pub keep_alive: bool,
    /// The client sends its content only when told to (RFC 9110, section 10.1.1).
    pub expects_continue: bool,
}

impl<'a> Request<'a> {
    /// The same request for another target of this site, by `GET` and without content if `as_get`. `None`
    /// when that is no path with perhaps a query.
    pub fn at<'b>(&'b self, target: &'b str, as_get: bool) -> Option<Request<'b>> {
        let Target { authority: None, path: raw_path, query } = target::split(target)? else { return None };
        let path = target::decode_path(raw_path).filter(|path| path.starts_with(b"/"))?;
        let method = match (as_get, self.method) {
            (true, "HEAD") => "HEAD",
            (true, _) => "GET",
            (false, method) => method,
        };
        let framing = if as_get { Framing::None } else { self.framing };
        Some(Request { method, target, path, query, framing, ..*self })
    }

    /// The values of all fields of that name.
    pub fn field(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        field(self.fields, name)
    }
}

/// Reads until the end of a head and returns its length. `filled` counts all bytes that are in the buffer,
/// before and after, also when it fails: some may lie behind the head.
pub fn read_head(
    stream: &Stream<'_>,
    buffer: &mut [u8],
    filled: &mut usize,
    deadline: Instant,
) -> Result<usize, Failure> {
    let mut scanner = Scanner::default();
    loop {
        // Some may be there already, behind the request before.
        if let Some(length) = scanner.find_end(&buffer[..*filled])? {
            return Ok(length);
        }
        if *filled == buffer.len() {
            return Err(match scanner.lines {
                0 => Failure::Refused(414, "the request line is too long"),
                _ => Failure::Refused(431, "the head of the request is too large"),
            });
        }
        let count = stream.receive(&mut buffer[*filled..], deadline)?;
        if count == 0 {
            // Who has only shut the sending side still reads. Empty lines ask for nothing: some clients send
            // one after content.
            if buffer[..*filled].iter().all(|byte| b"\r\n".contains(byte)) {
                *filled = 0;
                return Err(Failure::Silent);
            }
            return Err(Failure::Refused(400, "the request ends before its head does"));
        }
        *filled += count;
    }
}

/// Finds the empty line that ends a head. Each byte is looked at once, however small the pieces.
#[derive(Debug, Default)]
pub struct Scanner {
    scanned: usize,
    line_start: usize,
    /// Lines that are not empty.
    lines: usize,
}

impl Scanner {
    /// The length of the head, once it is complete. A line that ends with a bare LF is refused: whoever
    /// stands between may see another end than we do (RFC 9112, section 2.2).
    pub fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        for position in self.scanned..bytes.len() {
            if bytes[position] != b'\n' {
                continue;
            }
            if position == 0 || bytes[position - 1] != b'\r' {
                return Err(Failure::Refused(400, "a line ends with LF alone, where CR LF is expected"));
            }
            // Empty lines before the request line are skipped (RFC 9112, section 2.2).
            let is_empty = position - self.line_start == 1;
            if is_empty && self.lines > 0 {
                return Ok(Some(position + 1));
            }
            self.lines += usize::from(!is_empty);
            self.line_start = position + 1;
        }
        self.scanned = bytes.len();
        Ok(None)
    }
}

/// Does once, in the supervisor, what is done once in a process: above all finding out what the CPU can do,
/// which in a virtual machine costs more than all the rest of a connection. Children inherit the result.
pub fn warm_up() {
    let mut room = new_field_room();
    let _ = parse(b"GET /warm-up HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n", &mut room);
}

/// Parses and checks a complete head.
pub fn parse<'a>(head: &'a [u8], room: &'a mut FieldRoom<'a>) -> Result<Request<'a>, Failure> {
    let mut parsed = httparse::Request::new(&mut []);
    match httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, head, room) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return refuse("the head of the request is not complete"),
        Err(httparse::Error::Version) if names_version(head) => {
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
    let fields: &'a [Header<'a>] = parsed.headers;
    if method == "CONNECT" {
        return Err(Failure::Refused(501, "CONNECT is for proxies, and this is none"));
    }
    let host = check_host(fields, minor)?;
    let Some(Target { authority, path: raw_path, query }) = target::split(target) else {
        return refuse("the target of the request is neither a path nor an http URL");
    };
    if authority.is_some_and(|authority| !is_host(authority.as_bytes())) {
        return refuse("the target of the request has an invalid authority");
    }
    if raw_path == "*" && method != "OPTIONS" {
        return refuse("the target * is for OPTIONS alone");
    }
    let Some(path) = target::decode_path(raw_path) else {
        return refuse("the path has an invalid escape, an encoded slash, or a segment . or ..");
    };
    Ok(Request {
        method,
        target,
        path,
        query,
        // RFC 9112, section 3.2.2: the target's authority counts, whatever Host says.
        authority: authority.unwrap_or(host),
        minor,
        fields,
        framing: framing::find_framing(fields, minor)?,
        keep_alive: framing::is_persistent(fields, minor),
        expects_continue: framing::find_expectation(fields, minor)?,
    })
}

/// The request line ends with an `HTTP-version` (RFC 9112, section 2.3), whichever that is.
fn names_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r' || byte == b'\n').find(|line| !line.is_empty());
    let word = line.and_then(|line| line.splitn(3, |&byte| byte == b' ').nth(2));
    let digits = word.and_then(|word| word.strip_prefix(b"HTTP/"));
    matches!(digits, Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// RFC 9112, section 3.2: exactly one Host in HTTP/1.1, at most one ever.
fn check_host<'a>(fields: &'a [Header<'a>], minor: u8) -> Result<&'a str, Failure> {
    let mut hosts = field(fields, "Host");
    match (hosts.next(), hosts.next()) {
        (None, _) if minor == 0 => Ok(""),
        (None, _) => refuse("the field Host is missing"),
        (Some(_), Some(_)) => refuse("the field Host is there more than once"),
        (Some(host), None) => match std::str::from_utf8(host) {
            Ok(text) if is_host(host) => Ok(text),
            _ => refuse("the field Host is not a host"),
        },
    }
}

/// `uri-host [":" port]` (RFC 9110, section 7.2), as far as its bytes go; may be empty. Without escapes:
/// nobody sends a host with one, and routes would not know it.
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|&byte| byte == b':' || byte == b']') {
        Some(at) if value[at] == b':' => (&value[..at], &value[at + 1..]),
        _ => (value, &b""[..]),
    };
    let literal = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let (inside, is_literal) = (literal.unwrap_or(host), literal.is_some());
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte);
    port.iter().all(u8::is_ascii_digit)
        && inside.iter().all(|byte| is_name(byte) || is_literal && *byte == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> u16 {
        let mut room = new_field_room();
        match parse(head.as_bytes(), &mut room) {
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
            ("GET / HTTP/1.1\r\nHost: %61\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("\r\nGET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/11.1\r\nHost: a\r\n\r\n", 400),
            ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ];
        for (head, expected) in cases {
            assert_eq!(status(head), expected, "{head:?}");
        }
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_MAX));
        assert_eq!(status(&many), 431);
    }

    #[test]
    fn the_authority_of_the_target_counts() {
        let mut room = new_field_room();
        let request = parse(b"GET http://a:1/b%20c?d HTTP/1.1\r\nHost: e\r\n\r\n", &mut room).unwrap();
        assert_eq!((request.authority, &request.path[..], request.query), ("a:1", &b"/b c"[..], Some("d")));
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
        assert_eq!(Scanner::default().find_end(b"GET\r\n\r\r\n"), Ok(None));
        assert!(Scanner::default().find_end(b"GET / HTTP/1.1\n").is_err());
        assert!(Scanner::default().find_end(b"\n").is_err());
    }
}
