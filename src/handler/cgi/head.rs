//! The head of a CGI response (RFC 3875, section 6): fields up to an empty line. Lines end with LF or CR LF.

use crate::http::fields::is_single;
use crate::http::framing::parse_length;
use crate::http::is_token;

/// Bytes of a program's head, at most.
pub(crate) const HEAD_MAX: usize = 64 * 1024;

/// The name and the value of a field.
pub(crate) type Field<'a> = (&'a str, &'a [u8]);

/// What a program's head requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// A response with content (sections 6.2.1, 6.2.3 and 6.2.4).
    Document {
        status: u16,
        /// Without those that lsbaws sets itself: the framing, the date, and fields of the connection.
        fields: Vec<Field<'a>>,
        /// The length of the content, if the program sent it.
        length: Option<u64>,
        /// The content is in the chunked transfer coding.
        is_chunked: bool,
    },
    /// The response of this path on the same site (section 6.2.2), with the fields that do not describe content.
    InternalRedirect { target: &'a [u8], fields: Vec<Field<'a>> },
}

/// Fields that describe the content beside them (RFC 9110, sections 8 and 14; RFC 9530). A redirect has none.
const OF_CONTENT: [&str; 12] = [
    "accept-ranges",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "location",
    "repr-digest",
];

/// Finds the empty line that ends a head. Reads each byte once, however small the pieces.
#[derive(Debug, Default)]
pub(crate) struct HeadLines {
    line_start: usize,
    scanned: usize,
}

impl HeadLines {
    /// The length of the head, its empty line included, once it is complete. `bytes` begin with those of the last
    /// call.
    pub(crate) fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, _) in bytes.iter().enumerate().skip(self.scanned).filter(|(_, byte)| **byte == b'\n') {
            if matches!(&bytes[self.line_start..at], b"" | b"\r") {
                return Some(at + 1);
            }
            self.line_start = at + 1;
        }
        self.scanned = bytes.len();
        None
    }
}

/// The length of the head that `bytes` begin with, if it is complete.
#[cfg(any(test, fuzzing))]
pub(crate) fn find_end(bytes: &[u8]) -> Option<usize> {
    HeadLines::default().find_end(bytes)
}

/// Why output that ended before its head is invalid, for the journal.
pub(crate) fn describe_incomplete(bytes: &[u8]) -> String {
    let lines = bytes.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let lines = lines.enumerate().filter(|(at, line)| *at > 0 || parse_status_line(line).is_none());
    let mut lines = lines.map(|(_, line)| line).filter(|line| !line.is_empty());
    match lines.find(|line| split_field(line).is_none()) {
        Some(line) => format!("invalid header line: {}", quote(line)),
        None => "no empty line after the header fields".into(),
    }
}

/// Output of a program, shortened for a message.
fn quote(bytes: &[u8]) -> String {
    const SHOWN: usize = 60;
    let dots = if bytes.len() > SHOWN { "..." } else { "" };
    format!("'{}{dots}'", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}

/// Parses a complete head. Of fields that may stand once, the last counts. The error is for the journal.
pub(crate) fn parse(head: &[u8]) -> Result<Reply<'_>, String> {
    let (mut status, mut location, mut content_type, mut length) = (None, None, false, None);
    let (mut fields, mut is_chunked) = (Vec::<Field<'_>>::new(), false);
    for (at, line) in head.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        if let (0, Some(of_line)) = (at, parse_status_line(line)) {
            status = Some(of_line);
            continue;
        }
        let (name, value) =
            split_field(line).ok_or_else(|| format!("invalid header line: {}", quote(line)))?;
        match name.to_ascii_lowercase().as_str() {
            "status" => {
                let invalid = || format!("invalid Status: {}", quote(value));
                status = Some(parse_status(value).ok_or_else(invalid)?);
            }
            "content-length" => {
                let invalid = || format!("invalid Content-Length: {}", quote(value));
                length = Some(parse_length(value).ok_or_else(invalid)?);
            }
            "transfer-encoding" if is_chunked || !value.eq_ignore_ascii_case(b"chunked") => {
                return Err(format!("unsupported Transfer-Encoding: {}", quote(value)));
            }
            "transfer-encoding" => is_chunked = true,
            // The fields of the connection are set by lsbaws.
            "connection" | "keep-alive" | "te" | "trailer" | "upgrade" | "date" => {}
            lower => {
                content_type |= lower == "content-type";
                if lower == "location" {
                    location = Some(value);
                }
                match fields.iter_mut().find(|(other, _)| other.eq_ignore_ascii_case(name) && is_single(name))
                {
                    Some(earlier) => *earlier = (name, value),
                    None => fields.push((name, value)),
                }
            }
        }
    }
    if status.is_none() && location.is_none() && !content_type {
        return Err("the response has no Content-Type, Location or Status".into());
    }
    if is_chunked && length.is_some() {
        return Err("both Transfer-Encoding and Content-Length".into());
    }
    if let (None, Some(target)) = (status, location.filter(|value| is_local(value))) {
        fields.retain(|(name, _)| !OF_CONTENT.iter().any(|other| other.eq_ignore_ascii_case(name)));
        return Ok(Reply::InternalRedirect { target, fields });
    }
    let status = status.unwrap_or(if location.is_some() { 302 } else { 200 });
    Ok(Reply::Document { status, fields, length, is_chunked })
}

/// Whether a location is a path. One that begins with `//` is a URL of another host.
fn is_local(location: &[u8]) -> bool {
    location.starts_with(b"/") && !location.starts_with(b"//")
}

fn split_field(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_name = !name.is_empty() && name.iter().all(|&byte| is_token(byte));
    let is_value = !value.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t');
    if !is_name || !is_value {
        return None;
    }
    Some((std::str::from_utf8(name).ok()?, value))
}

/// The status of a line such as `HTTP/1.1 200 OK`, which some programs send first.
fn parse_status_line(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/")?;
    let space = rest.iter().position(|&byte| byte == b' ')?;
    let is_version = space > 0 && rest[..space].iter().all(|&byte| byte.is_ascii_digit() || byte == b'.');
    let is_text = !rest.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t');
    if is_version && is_text { parse_status(&rest[space + 1..]) } else { None }
}

/// `NNN` or `NNN reason`, without the informational statuses.
fn parse_status(value: &[u8]) -> Option<u16> {
    let (digits, rest) = value.split_at_checked(3)?;
    let is_alone = rest.is_empty() || rest.starts_with(b" ");
    let status: u16 = parse_length(digits)?.try_into().ok()?;
    (is_alone && (200..=999).contains(&status)).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> Result<u16, String> {
        parse(head.as_bytes()).map(|reply| match reply {
            Reply::Document { status, .. } => status,
            Reply::InternalRedirect { .. } => 0,
        })
    }

    #[test]
    fn heads_end_at_the_first_empty_line() {
        for (bytes, end) in [
            (&b"A: b\r\n\r\nrest"[..], Some(8)),
            (b"A: b\n\nrest", Some(6)),
            (b"A: b\r\n\n\n", Some(7)),
            (b"\nA: b", Some(1)),
            (b"A: b\n", None),
            (b"", None),
        ] {
            assert_eq!(find_end(bytes), end, "{bytes:?}");
            let mut lines = HeadLines::default();
            let in_pieces = (0..=bytes.len()).find_map(|length| lines.find_end(&bytes[..length]));
            assert_eq!(in_pieces, end, "{bytes:?}");
        }
    }

    #[test]
    fn fields_of_the_connection_are_dropped() {
        let head = b"Content-type: text/html\nSTATUS: 404 Not here\nX-A:\tb\nDate: now\nConnection: x\nContent-Length: 5\n\n";
        let Reply::Document { status, fields, length, is_chunked } = parse(head).unwrap() else { panic!() };
        assert_eq!((status, length, is_chunked), (404, Some(5), false));
        assert_eq!(fields, [("Content-type", &b"text/html"[..]), ("X-A", b"b")]);
    }

    #[test]
    fn locations_are_internal_or_external() {
        let redirect = |target: &'static [u8], fields| Ok(Reply::InternalRedirect { target, fields });
        assert_eq!(parse(b"Location: /a?b\n\n"), redirect(b"/a?b", vec![]));
        let head = b"Set-Cookie: a\nContent-Type: a/b\nLocation: /a\nETag: c\nContent-Security-Policy: d\nSET-COOKIE: e\n\n";
        let fields = [("Set-Cookie", "a"), ("Content-Security-Policy", "d"), ("SET-COOKIE", "e")];
        assert_eq!(
            parse(head),
            redirect(b"/a", fields.map(|(name, value)| (name, value.as_bytes())).to_vec())
        );
        assert_eq!(status("Location: //host/a\n\n"), Ok(302));
        assert_eq!(status("Location: https://host/a\n\n"), Ok(302));
        assert_eq!(status("Status: 303\nLocation: /a\n\n"), Ok(303));
    }

    #[test]
    fn of_single_fields_the_last_counts() {
        let head = b"Status: 404\nETag: a\nVary: b\nContent-Length: 1\ncontent-type: c/d\nVARY: e\nEtag: f\n\
            Content-Length: 2\nStatus: 403\nContent-Type: g/h\n\n";
        let fields = [("Etag", "f"), ("Vary", "b"), ("Content-Type", "g/h"), ("VARY", "e")];
        let fields = fields.map(|(name, value)| (name, value.as_bytes())).to_vec();
        let expected = Reply::Document { status: 403, fields, length: Some(2), is_chunked: false };
        assert_eq!(parse(head), Ok(expected));
        assert_eq!(status("Location: /a\nLocation: https://host/\n\n"), Ok(302));
    }

    #[test]
    fn first_line_may_be_that_of_a_response() {
        for (head, expected) in [
            ("HTTP/1.1 404 Not here\r\nX: y\r\n\r\n", Some(404)),
            ("HTTP/1.0 200\n\n", Some(200)),
            ("HTTP/2 303 See Other\nLocation: /a\n\n", Some(303)),
            ("HTTP/1.1 200 OK\nStatus: 404\n\n", Some(404)),
            ("X: y\nHTTP/1.1 200 OK\n\n", None),
            ("HTTP/1.1 100 Continue\n\n", None),
            ("HTTP/1.1 2000 OK\n\n", None),
            ("HTTP/1.1\n\n", None),
            ("HTTP/ 200\n\n", None),
            ("HTTP/1.1 200 O\rK\n\n", None),
        ] {
            assert_eq!(status(head).ok(), expected, "{head:?}");
        }
        assert_eq!(describe_incomplete(b"HTTP/1.1 200 OK\nA: b\n"), "no empty line after the header fields");
    }

    #[test]
    fn chunked_is_the_only_transfer_coding() {
        for (head, expected) in [
            ("Status: 200\nTransfer-Encoding: Chunked\n\n", Ok(true)),
            ("Status: 200\n\n", Ok(false)),
            ("Status: 200\nTransfer-Encoding: gzip, chunked\n\n", Err(())),
            ("Status: 200\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n", Err(())),
            ("Status: 200\nTransfer-Encoding:\n\n", Err(())),
            ("Status: 200\nTransfer-Encoding: chunked\nContent-Length: 1\n\n", Err(())),
        ] {
            let is_coded = |reply| matches!(reply, Reply::Document { is_chunked: true, .. });
            assert_eq!(parse(head.as_bytes()).map(is_coded).map_err(drop), expected, "{head:?}");
        }
    }

    #[test]
    fn errors_quote_the_output() {
        assert_eq!(describe_incomplete(b"hello world\n"), "invalid header line: 'hello world'");
        assert_eq!(describe_incomplete(b"A: b\nC: d\n"), "no empty line after the header fields");
        assert_eq!(parse(b"A: b\nno\x1bthing\n\n"), Err("invalid header line: 'no\\x1bthing'".into()));
        let long = format!("Status: {}\n\n", "9".repeat(100));
        let expected = format!("invalid Status: '{}...'", "9".repeat(60));
        assert_eq!(parse(long.as_bytes()), Err(expected));
    }

    #[test]
    fn invalid_heads_are_refused() {
        for head in [
            "\n",
            "X: y\n\n",
            "nonsense\n\n",
            ": a\n\n",
            "A b: c\n\n",
            "Content-Type : a\n\n",
            "Content-Type: a\0\n\n",
            "Content-Type: a\rX: b\n\n",
            " Content-Type: a\n\n",
            "Status: 20\n\n",
            "Status: 2000\n\n",
            "Status: 100\n\n",
            "Status: +20\n\n",
            "Status: 200\nContent-Length: x\n\n",
        ] {
            assert!(parse(head.as_bytes()).is_err(), "{head:?}");
        }
    }
}
