//! The head of a CGI response (RFC 3875, section 6): fields up to an empty line. Lines end with LF or CR LF.

use crate::http::framing::parse_length;
use crate::http::is_token;

/// Bytes of a program's head, at most.
pub(crate) const HEAD_MAX: usize = 64 * 1024;

/// What a program's head requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// A response with content (sections 6.2.1, 6.2.3 and 6.2.4).
    Document {
        status: u16,
        /// Without those that lsbaws sets itself: the framing, the date, and fields of the connection.
        fields: Vec<(&'a str, &'a [u8])>,
        /// The length of the content, if the program sent it.
        length: Option<u64>,
    },
    /// The response of this path on the same site (section 6.2.2).
    InternalRedirect(&'a str),
}

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
    match lines.filter(|line| !line.is_empty()).find(|line| split_field(line).is_none()) {
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

/// Parses a complete head. The error is for the journal.
pub(crate) fn parse(head: &[u8]) -> Result<Reply<'_>, String> {
    let (mut status, mut location, mut content_type, mut length) = (None, None, false, None);
    let mut fields = Vec::new();
    for line in head.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let (name, value) =
            split_field(line).ok_or_else(|| format!("invalid header line: {}", quote(line)))?;
        match name.to_ascii_lowercase().as_str() {
            "status" if status.is_some() => return Err("more than one Status".into()),
            "status" => {
                let invalid = || format!("invalid Status: {}", quote(value));
                status = Some(parse_status(value).ok_or_else(invalid)?);
            }
            "content-length" if length.is_some() => {
                return Err("more than one Content-Length".into());
            }
            "content-length" => {
                let invalid = || format!("invalid Content-Length: {}", quote(value));
                length = Some(parse_length(value).ok_or_else(invalid)?);
            }
            "location" if location.is_some() => return Err("more than one Location".into()),
            "location" => {
                location = Some(value);
                fields.push((name, value));
            }
            // The fields of the connection and of the framing are set by lsbaws.
            "connection" | "keep-alive" | "transfer-encoding" | "te" | "trailer" | "upgrade" | "date" => {}
            other => {
                content_type |= other == "content-type";
                fields.push((name, value));
            }
        }
    }
    if status.is_none() && location.is_none() && !content_type {
        return Err("the response has no Content-Type, Location or Status".into());
    }
    if let (None, Some(path)) = (status, location.filter(|value| is_local(value))) {
        return std::str::from_utf8(path)
            .map(Reply::InternalRedirect)
            .map_err(|_| format!("invalid Location: {}", quote(path)));
    }
    let status = status.unwrap_or(if location.is_some() { 302 } else { 200 });
    Ok(Reply::Document { status, fields, length })
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
            Reply::InternalRedirect(_) => 0,
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
        let Reply::Document { status, fields, length } = parse(head).unwrap() else { panic!() };
        assert_eq!((status, length), (404, Some(5)));
        assert_eq!(fields, [("Content-type", &b"text/html"[..]), ("X-A", b"b")]);
    }

    #[test]
    fn locations_are_internal_or_external() {
        assert_eq!(parse(b"Location: /a?b\n\n"), Ok(Reply::InternalRedirect("/a?b")));
        assert_eq!(status("Location: //host/a\n\n"), Ok(302));
        assert_eq!(status("Location: https://host/a\n\n"), Ok(302));
        assert_eq!(status("Status: 303\nLocation: /a\n\n"), Ok(303));
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
            "Status: 200\nStatus: 200\n\n",
            "Status: 200\nContent-Length: x\n\n",
            "Status: 200\nContent-Length: 1\nContent-Length: 1\n\n",
            "Location: /\u{e9}\nLocation: /\n\n",
        ] {
            assert!(parse(head.as_bytes()).is_err(), "{head:?}");
        }
    }
}
