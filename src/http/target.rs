//! The target of a request (RFC 9112, section 3.2), and hosts (RFC 3986, section 3.2.2).

use std::borrow::Cow;

use super::path;

/// The parts of an origin-form, absolute-form or asterisk-form target, as sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestTarget<'a> {
    /// `host[:port]` of an absolute-form target.
    pub(crate) authority: Option<&'a str>,
    /// Begins with `/`, or is `*`.
    pub(crate) path: &'a str,
    /// What follows the first `?`.
    pub(crate) query: Option<&'a str>,
}

/// The schemes of an absolute-form target. A proxy in front may speak TLS, and name its own.
const SCHEMES: [&str; 2] = ["http://", "https://"];

/// What follows the scheme of an absolute-form target.
fn strip_scheme(target: &str) -> Option<&str> {
    SCHEMES.iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// The origin form of a valid target (RFC 9112, section 3.2.1): its path and query, as sent.
pub(crate) fn to_origin_form(target: &str) -> Cow<'_, str> {
    let Some(rest) = strip_scheme(target) else { return target.into() };
    match rest.find(['/', '?']) {
        Some(at) if rest[at..].starts_with('/') => rest[at..].into(),
        Some(at) => ["/", &rest[at..]].concat().into(),
        None => "/".into(),
    }
}

/// Splits a target. `None` for any other form.
pub(crate) fn split(target: &str) -> Option<RequestTarget<'_>> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return None;
    }
    let (authority, rest) = match strip_scheme(target) {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            if end == 0 {
                return None; // no authority
            }
            (Some(&rest[..end]), &rest[end..])
        }
        None if target == "*" || target.starts_with('/') => (None, target),
        None => return None,
    };
    // By bytes: the searchers of str are on other pages of code, which every child would fault in.
    let (path, query) = match rest.bytes().position(|byte| byte == b'?') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    Some(RequestTarget { authority, path: if path.is_empty() { "/" } else { path }, query })
}

/// A target with every byte above 0x7F escaped. Some clients leave that to the server.
pub(crate) fn escape_beyond_ascii(target: &[u8]) -> String {
    let mut escaped = String::with_capacity(target.len());
    for &byte in target {
        match byte {
            0..=0x7f => escaped.push(char::from(byte)),
            byte => path::escape(&mut escaped, byte),
        }
    }
    escaped
}

/// The host of an authority, without its port.
pub(crate) fn host_of(authority: &str) -> &str {
    let end = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    &authority[..end]
}

/// The bytes of a name in which letters or other bytes may be escaped: `%61` is the host `a` (RFC 3986, section 6.2.2.2).
pub(crate) fn decode_host(host: &str) -> Cow<'_, [u8]> {
    if !host.contains('%') {
        return Cow::Borrowed(host.as_bytes());
    }
    let (mut decoded, mut rest) = (Vec::with_capacity(host.len()), host.as_bytes().iter());
    while let Some(&byte) = rest.next() {
        let is_escape = byte == b'%';
        decoded.extend(if is_escape { path::unescape(&mut rest) } else { Some(byte) });
    }
    Cow::Owned(decoded)
}

/// `uri-host [":" port]` (RFC 9110, section 7.2), by its characters; may be empty. An escape stands for a character of a
/// name or for a byte above 0x7F: a decoded delimiter could be understood as the end of the host.
pub(crate) fn is_authority(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|&byte| byte == b':' || byte == b']') {
        Some(at) if value[at] == b':' => (&value[..at], &value[at + 1..]),
        _ => (value, &b""[..]),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    if !port.iter().all(u8::is_ascii_digit) {
        return false;
    }
    if let Some(literal) = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        return literal.iter().all(|&byte| is_name(byte) || byte == b':');
    }
    let mut rest = host.iter();
    while let Some(&byte) = rest.next() {
        let is_valid = match byte {
            b'%' => path::unescape(&mut rest).is_some_and(|byte| is_name(byte) || !byte.is_ascii()),
            byte => is_name(byte),
        };
        if !is_valid {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_split() {
        let parts = |target| split(target).map(|target| (target.authority, target.path, target.query));
        for (target, expected) in [
            ("/", Some((None, "/", None))),
            ("/a?b=/c?d", Some((None, "/a", Some("b=/c?d")))),
            ("/a?", Some((None, "/a", Some("")))),
            ("http://h", Some((Some("h"), "/", None))),
            ("HTTP://h:1?b", Some((Some("h:1"), "/", Some("b")))),
            ("http://h/a?b", Some((Some("h"), "/a", Some("b")))),
            ("*", Some((None, "*", None))),
            ("http://", None),
            ("http:///a", None),
            ("https://h/a", Some((Some("h"), "/a", None))),
            ("httpsx://h/", None),
            ("h:80", None),
            ("/a#b", None),
            ("/a b", None),
            ("/\u{e9}", None),
            ("", None),
        ] {
            assert_eq!(parts(target), expected, "{target:?}");
        }
    }

    #[test]
    fn origin_form_is_the_path_and_query_as_sent() {
        for (target, expected) in [
            ("/%61//b/?c=%zz", "/%61//b/?c=%zz"),
            ("*", "*"),
            ("http://h", "/"),
            ("http://h/", "/"),
            ("HTTP://h:1/a?b", "/a?b"),
            ("https://h?b=/c", "/?b=/c"),
            ("/?http://h/a", "/?http://h/a"),
        ] {
            assert_eq!(to_origin_form(target), expected, "{target}");
        }
    }

    #[test]
    fn hosts_have_no_ports() {
        for (authority, host) in
            [("a.b", "a.b"), ("a:80", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")]
        {
            assert_eq!(host_of(authority), host);
        }
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for (authority, is_valid) in [
            ("", true),
            ("a-b.c:80", true),
            ("a:", true),
            ("[::1]:80", true),
            ("%61", true),
            ("%C3%a9.b", true),
            ("a%2Eb:1", true),
            ("a:b", false),
            ("a:1:2", false),
            ("[::1", false),
            ("[::1]a", false),
            ("[%61]", false),
            ("a b", false),
            ("a@b", false),
            ("%", false),
            ("%6", false),
            ("%6g", false),
            ("%2F", false),
            ("%40", false),
            ("%3A", false),
            ("%25", false),
            ("%00", false),
            ("%20", false),
        ] {
            assert_eq!(is_authority(authority.as_bytes()), is_valid, "{authority:?}");
        }
        assert_eq!(&*decode_host("%61.B%c3"), b"a.B\xc3");
    }

    #[test]
    fn bytes_beyond_ascii_are_escaped() {
        assert_eq!(escape_beyond_ascii(b"/caf\xc3\xa9?\xff%20\x7f"), "/caf%C3%A9?%FF%20\x7f");
    }
}
