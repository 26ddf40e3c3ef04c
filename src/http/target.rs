//! The target of a request (RFC 9112, section 3.2). Its path is decoded once, and routing and lookup use the same
//! decoded path, so that no spelling of it bypasses a route.

use std::borrow::Cow;

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

/// Splits a target. `None` for any other form.
pub(crate) fn split(target: &str) -> Option<RequestTarget<'_>> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return None;
    }
    let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let (authority, rest) = match scheme {
        Some(scheme) => {
            let rest = &target[scheme.len()..];
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

/// Decodes a path (RFC 3986, section 2.1) and merges adjacent slashes.
///
/// `None` for what other software may understand differently: a `%` without two hexadecimal digits, NUL, an encoded
/// slash, and the segments `.` and `..`, which clients remove before they send a request (RFC 3986, section 5.2.4).
pub(crate) fn decode_path(path: &str) -> Option<Cow<'_, [u8]>> {
    let bytes = path.as_bytes();
    let decoded = if bytes.contains(&b'%') || bytes.windows(2).any(|pair| pair == b"//") {
        let mut decoded = Vec::with_capacity(bytes.len());
        let mut rest = bytes.iter();
        while let Some(&byte) = rest.next() {
            match byte {
                b'%' => {
                    let (high, low) = (hex_digit(*rest.next()?)?, hex_digit(*rest.next()?)?);
                    match high * 16 + low {
                        0 | b'/' => return None,
                        byte => decoded.push(byte),
                    }
                }
                b'/' if decoded.last() == Some(&b'/') => {}
                byte => decoded.push(byte),
            }
        }
        Cow::Owned(decoded)
    } else {
        Cow::Borrowed(bytes)
    };
    let is_dots = |segment: &[u8]| segment == b"." || segment == b"..";
    if decoded.split(|&byte| byte == b'/').any(is_dots) { None } else { Some(decoded) }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Encodes a decoded path for a target or a link: the bytes of `pchar` (RFC 3986, section 3.3) and slashes stay,
/// every other byte becomes `%XX`.
pub(crate) fn encode_path(path: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    encoded
}

/// The host of an authority, without its port.
pub(crate) fn host_of(authority: &str) -> &str {
    let end = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    &authority[..end]
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
            ("https://h/", None),
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
    fn paths_are_decoded_once() {
        let decode = |path| decode_path(path).map(Cow::into_owned);
        for (path, expected) in [
            ("/a/b", &b"/a/b"[..]),
            ("/%61%2e%c3%A9", b"/a.\xc3\xa9"),
            ("//a///b//", b"/a/b/"),
            ("/%25%32%66", b"/%2f"),
            ("/...", b"/..."),
            ("/a..b", b"/a..b"),
        ] {
            assert_eq!(decode(path).as_deref(), Some(expected), "{path:?}");
        }
        for path in [
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/%00",
            "/%2F",
            "/.",
            "/..",
            "/a/../b",
            "/%2e%2E/b",
            "/a/%2e",
            "/.//",
        ] {
            assert_eq!(decode(path), None, "{path:?}");
        }
    }

    #[test]
    fn encoded_paths_decode_to_the_original() {
        let every: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
        let path = [b"/".as_slice(), &every].concat();
        assert_eq!(decode_path(&encode_path(&path)).as_deref(), Some(&path[..]));
        assert_eq!(encode_path(b"/a b?#%\xff"), "/a%20b%3F%23%25%FF");
    }

    #[test]
    fn hosts_have_no_ports() {
        for (authority, host) in
            [("a.b", "a.b"), ("a:80", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")]
        {
            assert_eq!(host_of(authority), host);
        }
    }
}
