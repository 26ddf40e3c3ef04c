//! The path of a target, decoded and normalized once. Routes, lookups and programs use the same path, so that no
//! spelling of it is routed as one path and served as another.

use std::borrow::Cow;
use std::ops::Deref;

/// The bytes of a path: without escapes, adjacent slashes, and segments `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecodedPath<'a> {
    bytes: Cow<'a, [u8]>,
    /// Where the client sent `%2F`: positions in `bytes`, ascending. For routes and programs these are slashes like
    /// others, but a part of a file's name that no file can have.
    encoded_slashes: Vec<usize>,
}

impl Deref for DecodedPath<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<'a> DecodedPath<'a> {
    /// Decodes a path (RFC 3986, section 2.1) that begins with `/` or is `*`, merges adjacent slashes, and removes the
    /// segments `.` and `..` (section 5.2.4).
    ///
    /// # Errors
    /// What other software may understand differently, as a sentence for the client: a `%` without two hexadecimal
    /// digits, NUL, and a segment `.` or `..` that begins, ends, or removes a segment, at an encoded slash.
    pub(crate) fn new(path: &'a str) -> Result<Self, &'static str> {
        let bytes = path.as_bytes();
        let is_doubtful = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
        if bytes.contains(&b'%') || bytes.windows(2).any(is_doubtful) {
            return normalize(bytes);
        }
        Ok(Self { bytes: Cow::Borrowed(bytes), encoded_slashes: Vec::new() })
    }

    /// Whether an encoded slash is among the first `end` bytes.
    pub(crate) fn has_encoded_slash(&self, end: usize) -> bool {
        self.encoded_slashes.first().is_some_and(|&at| at < end)
    }

    /// The bytes from `start` on, for a target or a link: see [`encode`]. Encoded slashes stay encoded.
    pub(crate) fn encode_from(&self, start: usize) -> String {
        let mut encoded = String::with_capacity(self.len());
        for (at, &byte) in self.iter().enumerate().skip(start) {
            match byte {
                b'/' if self.encoded_slashes.binary_search(&at).is_ok() => escape(&mut encoded, byte),
                byte => push_encoded(&mut encoded, byte),
            }
        }
        encoded
    }
}

/// Not inlined, so that the common path, which is normal, has less code.
#[inline(never)]
fn normalize(path: &[u8]) -> Result<DecodedPath<'static>, &'static str> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut encoded_slashes = Vec::new();
    let mut rest = path.iter();
    while let Some(&byte) = rest.next() {
        let is_escape = byte == b'%';
        match if is_escape { unescape(&mut rest).ok_or("the path has an invalid escape")? } else { byte } {
            0 => return Err("the path has an encoded NUL"),
            b'/' => {
                remove_dots(&mut decoded, &encoded_slashes, is_escape)?;
                if decoded.last() != Some(&b'/') {
                    decoded.push(b'/');
                }
                let at = decoded.len() - 1;
                if is_escape && encoded_slashes.last() != Some(&at) {
                    encoded_slashes.push(at);
                }
            }
            byte => decoded.push(byte),
        }
    }
    remove_dots(&mut decoded, &encoded_slashes, false)?;
    Ok(DecodedPath { bytes: Cow::Owned(decoded), encoded_slashes })
}

/// Removes the last segment if it is `.`, and if it is `..`, also the one before it, if there is one.
///
/// `ends_encoded`: an encoded slash follows. Some software decodes that before it removes segments, and some after:
/// then it sees other segments.
fn remove_dots(
    decoded: &mut Vec<u8>,
    encoded_slashes: &[usize],
    ends_encoded: bool,
) -> Result<(), &'static str> {
    let start = find_last_segment(decoded);
    let end = match &decoded[start..] {
        b"." => start,
        b".." => find_last_segment(&decoded[..start.saturating_sub(1)]),
        _ => return Ok(()),
    };
    let end = end.max(1).min(start); // the first slash stays
    if ends_encoded || encoded_slashes.last().is_some_and(|&at| at + 1 >= end) {
        return Err("the path has a segment . or .. next to an encoded slash");
    }
    decoded.truncate(end);
    Ok(())
}

/// Where the last segment begins, after its slash.
fn find_last_segment(path: &[u8]) -> usize {
    path.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1)
}

/// The byte of an escape, whose `%` has been read.
pub(super) fn unescape<'a>(rest: &mut impl Iterator<Item = &'a u8>) -> Option<u8> {
    Some(hex_digit(*rest.next()?)? * 16 + hex_digit(*rest.next()?)?)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Encodes a decoded path for a target or a link: the bytes of `pchar` (RFC 3986, section 3.3) and slashes stay,
/// every other byte becomes `%XX`.
pub(crate) fn encode(path: &[u8]) -> String {
    let mut encoded = String::with_capacity(path.len());
    path.iter().for_each(|&byte| push_encoded(&mut encoded, byte));
    encoded
}

fn push_encoded(encoded: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte) {
        encoded.push(char::from(byte));
    } else {
        escape(encoded, byte);
    }
}

/// Adds `%XX`.
pub(super) fn escape(encoded: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    encoded.push('%');
    encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
    encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once_and_normalized() {
        for (path, expected) in [
            ("*", &b"*"[..]),
            ("/", b"/"),
            ("/a/b", b"/a/b"),
            ("/%61%2e%c3%A9", b"/a.\xc3\xa9"),
            ("//a///b//", b"/a/b/"),
            ("/%25%32%66", b"/%2f"),
            ("/%252e%252e/a", b"/%2e%2e/a"),
            ("/...", b"/..."),
            ("/a..b/..c/d../.e", b"/a..b/..c/d../.e"),
            // RFC 3986, section 5.2.4.
            ("/a/b/c/./../../g", b"/a/g"),
            ("/mid/content=5/../6", b"/mid/6"),
            ("/.", b"/"),
            ("/..", b"/"),
            ("/./", b"/"),
            ("/a/.", b"/a/"),
            ("/a/./", b"/a/"),
            ("/a/..", b"/"),
            ("/a/b/..", b"/a/"),
            ("/a/b/../", b"/a/"),
            ("/../../a", b"/a"),
            ("/a/../../../b", b"/b"),
            ("/%2e%2E/b", b"/b"),
            ("/a/.%2e/%2e/b", b"/b"),
            ("/.//..//a", b"/a"),
            // Slashes are merged before, as lighttpd, nginx and Apache do.
            ("/a//../b", b"/b"),
            ("/\\..\\a", b"/\\..\\a"),
            // Encoded slashes.
            ("/a%2Fb", b"/a/b"),
            ("/a%2F%2f/b", b"/a/b"),
            ("/%2Fa", b"/a"),
            ("/a%2F", b"/a/"),
            ("/a%2Fb/c/../d/./e", b"/a/b/d/e"),
            ("/..a%2Fb..", b"/..a/b.."),
        ] {
            assert_eq!(DecodedPath::new(path).as_deref(), Ok(expected), "{path:?}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for (path, part) in [
            ("/%", "escape"),
            ("/%4", "escape"),
            ("/%zz", "escape"),
            ("/%+1", "escape"),
            ("/a/../%", "escape"),
            ("/%00", "NUL"),
            ("/..%2Fa", "encoded slash"),
            ("/a/..%2Fb", "encoded slash"),
            ("/a%2F..", "encoded slash"),
            ("/a%2f%2E%2e/b", "encoded slash"),
            ("/a%2F../b", "encoded slash"),
            ("/a%2F/../b", "encoded slash"),
            ("/%2F..", "encoded slash"),
            ("/.%2Fa", "encoded slash"),
            ("/a%2F.", "encoded slash"),
            // Is `/a/` or `/` left?
            ("/a%2Fb/..", "encoded slash"),
            ("/a/%2Fb/../c", "encoded slash"),
        ] {
            let error = DecodedPath::new(path).unwrap_err();
            assert!(error.contains(part), "{path:?}: {error}");
        }
    }

    #[test]
    fn encoded_slashes_keep_their_places() {
        for (path, places, encoded) in [
            ("/a%2Fb/c", &[2][..], "/a%2Fb/c"),
            ("/%2Fb%2f", &[0, 2], "%2Fb%2F"),
            ("/x/../a/%2F/b", &[2], "/a%2Fb"),
            ("/a/b", &[], "/a/b"),
        ] {
            let decoded = DecodedPath::new(path).unwrap();
            assert_eq!(decoded.encoded_slashes, places, "{path:?}");
            assert_eq!(decoded.encode_from(0), encoded, "{path:?}");
        }
        let decoded = DecodedPath::new("/a%2Fb").unwrap();
        assert!(!decoded.has_encoded_slash(2) && decoded.has_encoded_slash(3));
        assert_eq!(decoded.encode_from(2), "%2Fb");
    }

    #[test]
    fn encoded_paths_decode_to_the_original() {
        let every: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
        let path = [b"/".as_slice(), &every].concat();
        assert_eq!(DecodedPath::new(&encode(&path)).as_deref(), Ok(&path[..]));
        assert_eq!(encode(b"/a b?#%\xff"), "/a%20b%3F%23%25%FF");
    }
}
