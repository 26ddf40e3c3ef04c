//! The head of a request: read within its limits, parsed by `httparse`, checked.

use std::mem::MaybeUninit;
use std::time::Instant;

use httparse::Header;

use super::failure::{Failure, refuse};
use super::fields::field;
use super::framing::{self, Framing};
use super::is_token;
use super::path::DecodedPath;
use super::stream::Stream;
use super::target::{self, RequestTarget};

/// Header fields of one request. Browsers send about 20.
pub(crate) const FIELDS_MAX: usize = 100;

/// Room for what a request borrows besides its head, owned by the caller while it uses the request.
#[derive(Debug)]
pub(crate) struct FieldRoom<'a> {
    fields: [MaybeUninit<Header<'a>>; FIELDS_MAX],
    /// The head, if it is parsed in another spelling than the client's: see [`respell`].
    head: Vec<u8>,
}

/// Empty room.
pub(crate) const fn new_field_room<'a>() -> FieldRoom<'a> {
    FieldRoom { fields: [const { MaybeUninit::uninit() }; FIELDS_MAX], head: Vec::new() }
}

/// A request's head, checked.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// As sent, also after an internal redirect, except that bytes above 0x7F are escaped.
    pub(crate) target: &'a str,
    /// Begins with `/`, or is `*`.
    pub(crate) path: DecodedPath<'a>,
    /// What follows the `?` of the target that is answered, as sent.
    pub(crate) query: Option<&'a str>,
    /// `host[:port]` of an absolute-form target, else of the field Host. May be empty.
    pub(crate) authority: &'a str,
    /// The version is HTTP/1.`minor`.
    pub(crate) minor: u8,
    pub(crate) fields: &'a [Header<'a>],
    /// The id that a proxy has given to it, or to its connection.
    pub(crate) id: Option<&'a str>,
    /// The trace that it belongs to, as a proxy reports.
    pub(crate) trace_id: Option<&'a str>,
    pub(crate) framing: Framing,
    /// The client allows further requests on the connection.
    pub(crate) keep_alive: bool,
    /// The client waits for `100 Continue` before it sends content (RFC 9110, section 10.1.1).
    pub(crate) expects_continue: bool,
}

impl<'a> Request<'a> {
    /// The same request, answered as one for another target, a path with an optional query; with `as_get` by `GET` and without
    /// content. `None` for an invalid target.
    pub(crate) fn at<'b>(&'b self, target: &'b str, as_get: bool) -> Option<Request<'b>> {
        let RequestTarget { authority: None, path: raw_path, query } = target::split(target)? else {
            return None;
        };
        let path = DecodedPath::new(raw_path).ok().filter(|path| path.starts_with(b"/"))?;
        let method = match (as_get, self.method) {
            (true, "HEAD") => "HEAD",
            (true, _) => "GET",
            (false, method) => method,
        };
        let framing = if as_get { Framing::None } else { self.framing };
        Some(Request { method, path, query, framing, ..*self })
    }

    /// The values of all fields with this name.
    pub(crate) fn field(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        field(self.fields, name)
    }
}

/// Reads until the end of a head and returns its length. `filled` is the number of bytes in the buffer, before and
/// afterwards, also after an error. Some may belong to the content or to the next request.
pub(crate) fn read_head(
    stream: &Stream<'_>,
    buffer: &mut [u8],
    filled: &mut usize,
    deadline: Instant,
) -> Result<usize, Failure> {
    let mut scanner = HeadScanner::default();
    loop {
        if scanner.scanned == 0 {
            check_first_byte(&buffer[..*filled])?;
        }
        // Before receiving: a pipelined request may already be complete.
        if let Some(length) = scanner.find_end(&buffer[..*filled])? {
            return Ok(length);
        }
        // A client of another protocol may wait for an answer to its first line, and send no more.
        if scanner.lines == 1 && !names_version(&buffer[..scanner.line_start]) {
            return refuse("malformed request line");
        }
        if *filled == buffer.len() {
            return Err(match scanner.lines {
                0 if is_method(&buffer[scanner.line_start..]) => Failure::Refused(501, "method too long"),
                0 => Failure::Refused(414, "request line too long"),
                _ => Failure::Refused(431, "request head too large"),
            });
        }
        let count = stream.receive(&mut buffer[*filled..], deadline)?;
        if count == 0 {
            // Empty lines are no request: some clients send one after content.
            if buffer[..*filled].iter().all(|byte| b"\r\n".contains(byte)) {
                *filled = 0;
                return Err(Failure::Silent);
            }
            return Err(Failure::Refused(400, "the request ended before its head"));
        }
        *filled += count;
    }
}

/// Whether the bytes can all be of one method.
fn is_method(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token(byte))
}

/// The type of a TLS record that begins a handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Checks that the first byte after empty lines can begin a method.
fn check_first_byte(bytes: &[u8]) -> Result<(), Failure> {
    match bytes.iter().find(|byte| !b"\r\n".contains(byte)) {
        Some(&TLS_HANDSHAKE) => Err(Failure::Foreign("TLS handshake on a plain HTTP port")),
        Some(&byte) if !is_token(byte) => refuse("the first byte begins no HTTP request"),
        _ => Ok(()),
    }
}

/// Finds the empty line that ends the head of a request. Reads each byte once, however small the pieces.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    scanned: usize,
    line_start: usize,
    /// Lines that are not empty.
    lines: usize,
}

impl HeadScanner {
    /// The length of the head, once it is complete. `bytes` begin with those of the last call. A line that ends
    /// with a bare LF is refused: a proxy may see another end of the head (RFC 9112, section 2.2).
    ///
    /// # Errors
    /// 400 for a line that ends with LF alone.
    pub(crate) fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        for position in self.scanned..bytes.len() {
            if bytes[position] != b'\n' {
                continue;
            }
            if position == 0 || bytes[position - 1] != b'\r' {
                return Err(Failure::Refused(400, "a line ends with LF instead of CR LF"));
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

/// Runs the initialization of the parser in the supervisor, so that children inherit its result: its detection of CPU
/// features costs more, in a virtual machine, than the rest of a connection.
pub(crate) fn warm_up() {
    let mut room = new_field_room();
    let _ = parse(b"GET /warm-up HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n", &mut room);
}

/// Parses and checks a complete head.
///
/// # Errors
/// The status and the sentence for the client, as [`Failure::Refused`].
pub(crate) fn parse<'a>(head: &'a [u8], room: &'a mut FieldRoom<'a>) -> Result<Request<'a>, Failure> {
    let FieldRoom { fields: room, head: respelled } = room;
    let head = match respell(head) {
        Some(head) => {
            *respelled = head;
            respelled
        }
        None => head,
    };
    let mut parsed = httparse::Request::new(&mut []);
    match httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, head, room) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return refuse("incomplete request head"),
        Err(httparse::Error::Version) if names_version(head) => {
            return Err(Failure::Refused(505, "unsupported HTTP version"));
        }
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Failure::Refused(431, "too many header fields"));
        }
        Err(httparse::Error::HeaderName) => return refuse("invalid name of a header field"),
        Err(httparse::Error::HeaderValue) => return refuse("invalid value of a header field"),
        Err(_) => return refuse("malformed request line"),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return refuse("malformed request line");
    };
    let fields: &'a [Header<'a>] = parsed.headers;
    if method == "CONNECT" {
        return Err(Failure::Refused(501, "CONNECT is not supported"));
    }
    let host = check_host(fields, minor)?;
    let Some(RequestTarget { authority, path: raw_path, query }) = target::split(target) else {
        return refuse("the request target is neither a path nor an http or https URL");
    };
    if authority.is_some_and(|authority| !target::is_authority(authority.as_bytes())) {
        return refuse("invalid authority in the request target");
    }
    if raw_path == "*" && method != "OPTIONS" {
        return refuse("the target * is valid for OPTIONS only");
    }
    let path = DecodedPath::new(raw_path).map_err(|reason| Failure::Refused(400, reason))?;
    Ok(Request {
        id: None,
        trace_id: None,
        method,
        target,
        path,
        query,
        // The authority of the target takes precedence over Host (RFC 9112, section 3.2.2).
        authority: authority.unwrap_or(host),
        minor,
        fields,
        framing: framing::find_framing(fields, minor)?,
        keep_alive: framing::is_persistent(fields, minor),
        expects_continue: framing::find_expectation(fields, minor)?,
    })
}

/// The head with another request line, where the parser refuses one for no fault: bytes above 0x7F in the target are
/// escaped, which clients should have done (RFC 3986, section 2.1), and a version HTTP/1.x above 1 becomes HTTP/1.1, as
/// which it is answered (RFC 9110, section 2.5). `None`: the head is fine as it is, or wrong anyway.
fn respell(head: &[u8]) -> Option<Vec<u8>> {
    let start = head.iter().position(|byte| !b"\r\n".contains(byte))?;
    let end = start + head[start..].iter().position(|&byte| byte == b'\r')?;
    let line = &head[start..end];
    let is_newer = matches!(line.last_chunk(), Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9']));
    if line.is_ascii() && !is_newer {
        return None;
    }
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let target = target::escape_beyond_ascii(target);
    let version = if is_newer && version.len() == b"HTTP/1.1".len() { b"HTTP/1.1" } else { version };
    let line = [method, target.as_bytes(), version].join(&b' ');
    Some([&head[..start], &line, &head[end..]].concat())
}

/// Whether the request line ends with an `HTTP-version` (RFC 9112, section 2.3).
fn names_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r' || byte == b'\n').find(|line| !line.is_empty());
    let version = line.and_then(|line| line.splitn(3, |&byte| byte == b' ').nth(2));
    let digits = version.and_then(|version| version.strip_prefix(b"HTTP/"));
    matches!(digits, Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// HTTP/1.1 requires exactly one Host, HTTP/1.0 allows one (RFC 9112, section 3.2).
fn check_host<'a>(fields: &'a [Header<'a>], minor: u8) -> Result<&'a str, Failure> {
    let mut hosts = field(fields, "Host");
    match (hosts.next(), hosts.next()) {
        (None, _) if minor == 0 => Ok(""),
        (None, _) => refuse("missing Host field"),
        (Some(_), Some(_)) => refuse("more than one Host field"),
        (Some(host), None) => match std::str::from_utf8(host) {
            Ok(text) if target::is_authority(host) => Ok(text),
            _ => refuse("invalid Host field"),
        },
    }
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
    fn heads_are_accepted_or_refused_with_a_status() {
        let cases = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("GET / HTTP/1.0\r\n\r\n", 200),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: a:80\r\n\r\n", 200),
            ("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", 200),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: %61\r\n\r\n", 200),
            ("GET / HTTP/1.1\r\nHost: %2F\r\n\r\n", 400),
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 200),
            ("GET / HTTP/1.9\r\n\r\n", 400),
            ("GET / x HTTP/1.2\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.2 \r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.2\rHost: a\r\n\r\n", 400),
            ("\rGET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("GET \u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\u{e9}\rx HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\u{e9} / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.\u{e9}\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n", 400),
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
    fn the_authority_of_the_target_takes_precedence() {
        let mut room = new_field_room();
        let request = parse(b"GET http://a:1/b%20c?d HTTP/1.1\r\nHost: e\r\n\r\n", &mut room).unwrap();
        assert_eq!((request.authority, &request.path[..], request.query), ("a:1", &b"/b c"[..], Some("d")));
    }

    #[test]
    fn another_spelling_has_the_same_parts() {
        let mut room = new_field_room();
        let head = b"\r\nGET /\xc3\xa9/\xff?\xe9 HTTP/1.3\r\nHost: e\r\nA: \xe9 HTTP/1.2\r\n\r\n";
        let request = parse(head, &mut room).unwrap();
        assert_eq!((request.target, request.query, request.minor), ("/%C3%A9/%FF?%E9", Some("%E9"), 1));
        assert_eq!(&request.path[..], b"/\xc3\xa9/\xff");
        assert_eq!(request.field("A").collect::<Vec<_>>(), [b"\xe9 HTTP/1.2"]);
    }

    #[test]
    fn the_end_is_found_in_pieces_of_any_size() {
        let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nmore";
        let mut scanner = HeadScanner::default();
        let ends: Vec<_> = (1..=bytes.len())
            .map_while(|n| scanner.find_end(&bytes[..n]).unwrap().map_or(Some(0), Some))
            .collect();
        assert_eq!(ends.iter().position(|&end| end > 0), Some(bytes.len() - 5));
        assert_eq!(HeadScanner::default().find_end(bytes).unwrap(), Some(bytes.len() - 4));
        assert_eq!(HeadScanner::default().find_end(b"GET\r\n\r\r\n"), Ok(None));
        assert!(HeadScanner::default().find_end(b"GET / HTTP/1.1\n").is_err());
        assert!(HeadScanner::default().find_end(b"\n").is_err());
    }
}
