//! Validators of a representation, and the preconditions of requests (RFC 9110, sections 8.8 and 13).

use std::time::{Duration, SystemTime};

use httpdate::{HttpDate, parse_http_date};

use crate::handler::root::Metadata;
use crate::http::date::LAST_SECOND;
use crate::http::request::Request;

/// Seconds after a change in which another change may get the same time: the resolution of coarse file systems.
const SETTLING: i64 = 2;

/// The validators of one state of a file.
#[derive(Debug)]
pub(crate) struct Validators {
    /// `opaque-tag`, without the prefix of a weak tag.
    tag: String,
    /// The file may change, or may have changed, without a change of the tag.
    is_weak: bool,
    /// Seconds since the epoch.
    modified: u64,
}

/// The result of the preconditions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Proceed,
    /// 304: the client has this state.
    NotModified,
    /// 412.
    Failed,
}

impl Validators {
    /// The validators of a file. `now` is the time in the field Date, in seconds since the epoch.
    ///
    /// The tag consists of time, size and inode. The inode distinguishes files of the same size where all files
    /// have the same time, as from reproducible builds; so hosts with copies of a file have different tags.
    pub(crate) fn new(metadata: &Metadata, now: u64) -> Self {
        let mut tag = String::with_capacity(64);
        let parts = [
            metadata.seconds.cast_unsigned(),
            metadata.nanoseconds.cast_unsigned(),
            metadata.size,
            metadata.inode,
        ];
        for (separator, part) in ['"', '-', '-', '-'].into_iter().zip(parts) {
            tag.push(separator);
            push_hexadecimal(&mut tag, part);
        }
        tag.push('"');
        let now = i64::try_from(now.min(LAST_SECOND)).unwrap_or(i64::MAX);
        // Not after the Date of the response (RFC 9110, section 8.8.2.1).
        let modified = u64::try_from(metadata.seconds.min(now)).unwrap_or(0);
        Self { tag, is_weak: metadata.seconds > now - SETTLING, modified }
    }

    /// Makes the tag that of a content coding, which is another representation (RFC 9110, section 8.8.3.3).
    pub(crate) fn add_coding(&mut self, name: &str) {
        self.tag.pop(); // the quote
        self.tag.extend(["-", name, "\""]);
    }

    /// The value of the field ETag.
    pub(crate) fn entity_tag(&self) -> String {
        if self.is_weak { ["W/", &self.tag].concat() } else { self.tag.clone() }
    }

    /// The value of the field Last-Modified.
    pub(crate) fn last_modified(&self) -> String {
        HttpDate::from(SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified)).to_string()
    }

    /// Whether a list of tags, or `*`, matches this representation. Weak tags do not match in a strong comparison
    /// (RFC 9110, section 8.8.3.2).
    fn is_listed<'a>(&self, mut values: impl Iterator<Item = &'a [u8]>, strongly: bool) -> bool {
        values.any(|value| {
            value.trim_ascii() == b"*"
                || Tags(value).any(|tag| {
                    tag.opaque == self.tag.as_bytes() && !(strongly && (tag.is_weak || self.is_weak))
                })
        })
    }
}

fn push_hexadecimal(text: &mut String, number: u64) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        text.extend(char::from_digit((number >> (4 * place) & 15) as u32, 16));
    }
}

/// Evaluates the preconditions of GET and HEAD in the order of RFC 9110, section 13.2.2, steps 1 to 4.
pub(crate) fn check(request: &Request<'_>, own: &Validators) -> Verdict {
    if has(request, "If-Match") {
        if !own.is_listed(request.field("If-Match"), true) {
            return Verdict::Failed;
        }
    } else if find_date(request, "If-Unmodified-Since").is_some_and(|date| own.modified > date) {
        return Verdict::Failed;
    }
    if has(request, "If-None-Match") {
        if own.is_listed(request.field("If-None-Match"), false) {
            return Verdict::NotModified;
        }
    } else if find_date(request, "If-Modified-Since").is_some_and(|date| own.modified <= date) {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Step 5: whether If-Range allows a partial response (RFC 9110, section 13.1.5). Validators must be strong.
pub(crate) fn allows_ranges(request: &Request<'_>, own: &Validators) -> bool {
    let mut values = request.field("If-Range");
    let (Some(value), None) = (values.next(), values.next()) else { return !has(request, "If-Range") };
    if own.is_weak {
        return false;
    }
    let mut tags = Tags(value);
    match tags.next() {
        Some(tag) => tags.next().is_none() && !tag.is_weak && tag.opaque == own.tag.as_bytes(),
        None => parse_date(value) == Some(own.modified),
    }
}

fn has(request: &Request<'_>, name: &str) -> bool {
    request.field(name).next().is_some()
}

/// The date of a field that occurs once and is valid; others are ignored (RFC 9110, sections 13.1.3 and 13.1.4).
fn find_date(request: &Request<'_>, name: &str) -> Option<u64> {
    let mut values = request.field(name);
    values.next().filter(|_| values.next().is_none()).and_then(parse_date)
}

/// A date in one of the three forms of RFC 9110, section 5.6.7, in seconds since the epoch.
fn parse_date(value: &[u8]) -> Option<u64> {
    let date = parse_http_date(std::str::from_utf8(value).ok()?.trim()).ok()?;
    date.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// The entity tags of a list (RFC 9110, section 8.8.3), up to the first error.
struct Tags<'a>(&'a [u8]);

struct Tag<'a> {
    /// With its quotes.
    opaque: &'a [u8],
    is_weak: bool,
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let start = self.0.iter().position(|byte| !b" \t,".contains(byte))?;
        let rest = &self.0[start..];
        let (opaque, is_weak) = rest.strip_prefix(b"W/").map_or((rest, false), |opaque| (opaque, true));
        // A tag may contain a comma, but no quote.
        let length = match opaque.split_first() {
            Some((b'"', inside)) => inside.iter().position(|&byte| byte == b'"').map(|end| end + 2),
            _ => None,
        };
        let (opaque, rest) = length.map_or((&b""[..], &b""[..]), |length| opaque.split_at(length));
        self.0 = rest;
        length.map(|_| Tag { opaque, is_weak })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::root::FileKind;
    use crate::http::request::{new_field_room, parse};

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const MODIFIED: i64 = 784_111_777;
    const TAG: &str = "\"2ebc98a1-7-64-5\"";

    fn validators(seconds: i64, now: i64) -> Validators {
        let metadata =
            Metadata { kind: FileKind::File, size: 100, device: 1, inode: 5, seconds, nanoseconds: 7 };
        Validators::new(&metadata, now.try_into().unwrap())
    }

    fn with_request<T>(fields: &str, check: impl FnOnce(&Request<'_>) -> T) -> T {
        let head =
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields.replace('|', "\r\n").replace("TAG", TAG));
        let mut room = new_field_room();
        check(&parse(head.as_bytes(), &mut room).unwrap())
    }

    #[test]
    fn preconditions_are_evaluated_in_the_order_of_the_rfc() {
        use Verdict::{Failed, NotModified, Proceed};
        let (same, before, after) =
            ["37", "36", "38"].map(|s| format!("Sun, 06 Nov 1994 08:49:{s} GMT")).into();
        let cases = [
            ("", Proceed),
            ("If-Match: TAG|", Proceed),
            ("If-Match: *|", Proceed),
            ("If-Match: \"other\", TAG|", Proceed),
            ("If-Match: \"other\"|If-Match: TAG|", Proceed),
            ("If-Match: \"other\"|", Failed),
            ("If-Match: W/TAG|", Failed),
            ("If-Match: nonsense|", Failed),
            ("If-Match: |", Failed),
            ("If-Unmodified-Since: SAME|", Proceed),
            ("If-Unmodified-Since: AFTER|", Proceed),
            ("If-Unmodified-Since: BEFORE|", Failed),
            ("If-Unmodified-Since: Sunday, 06-Nov-94 08:49:36 GMT|", Failed),
            ("If-Unmodified-Since: Sun Nov  6 08:49:36 1994|", Failed),
            ("If-Unmodified-Since: nonsense|", Proceed),
            ("If-Unmodified-Since: BEFORE|If-Unmodified-Since: BEFORE|", Proceed),
            // If-Match overrides If-Unmodified-Since.
            ("If-Match: TAG|If-Unmodified-Since: BEFORE|", Proceed),
            ("If-None-Match: TAG|", NotModified),
            ("If-None-Match: W/TAG|", NotModified),
            ("If-None-Match: *|", NotModified),
            ("If-None-Match: \"a,b\" ,,W/\"c\",TAG|", NotModified),
            ("If-None-Match: \"a, TAG|", Proceed),
            ("If-None-Match: \"other\"|", Proceed),
            ("If-None-Match: TAGx, \"\"|", NotModified),
            ("If-None-Match: *, TAG|", Proceed),
            ("If-Modified-Since: SAME|", NotModified),
            ("If-Modified-Since: AFTER|", NotModified),
            ("If-Modified-Since: BEFORE|", Proceed),
            ("If-Modified-Since: 784111777|", Proceed),
            ("If-Modified-Since: SAME|If-Modified-Since: SAME|", Proceed),
            // If-None-Match overrides If-Modified-Since.
            ("If-None-Match: \"other\"|If-Modified-Since: SAME|", Proceed),
            // 412 has precedence.
            ("If-None-Match: TAG|If-Match: \"other\"|", Failed),
            ("If-Modified-Since: SAME|If-Unmodified-Since: BEFORE|", Failed),
            ("If-Match: TAG|If-None-Match: TAG|", NotModified),
        ];
        let own = validators(MODIFIED, MODIFIED + 1000);
        for (fields, expected) in cases {
            let dated = [("SAME", &same), ("BEFORE", &before), ("AFTER", &after)]
                .iter()
                .fold(fields.to_owned(), |text, (word, date): &(&str, &String)| text.replace(word, date));
            assert_eq!(with_request(&dated, |request| check(request, &own)), expected, "{fields}");
        }
        // A weak tag is valid for caches only.
        let fresh = validators(MODIFIED, MODIFIED);
        assert_eq!(with_request("If-Match: TAG|", |request| check(request, &fresh)), Failed);
        assert_eq!(with_request("If-None-Match: TAG|", |request| check(request, &fresh)), NotModified);
    }

    #[test]
    fn ranges_require_the_same_state() {
        let settled = validators(MODIFIED, MODIFIED + 2);
        let fresh = validators(MODIFIED, MODIFIED + 1);
        for (fields, expected) in [
            ("", true),
            ("If-Range: TAG|", true),
            ("If-Range: W/TAG|", false),
            ("If-Range: \"other\"|", false),
            ("If-Range: TAG, TAG|", false),
            ("If-Range: TAG|If-Range: TAG|", false),
            ("If-Range: *|", false),
            ("If-Range: Sun, 06 Nov 1994 08:49:37 GMT|", true),
            ("If-Range: Sun, 06 Nov 1994 08:49:38 GMT|", false),
            ("If-Range: Sun, 06 Nov 1994 08:49:36 GMT|", false),
            ("If-Range: nonsense|", false),
        ] {
            assert_eq!(
                with_request(fields, |request| allows_ranges(request, &settled)),
                expected,
                "{fields}"
            );
            let without = fields.is_empty();
            assert_eq!(with_request(fields, |request| allows_ranges(request, &fresh)), without, "{fields}");
        }
    }

    #[test]
    fn tags_are_weak_while_the_file_is_fresh() {
        assert_eq!(validators(MODIFIED, MODIFIED + 2).entity_tag(), TAG);
        for now in [MODIFIED + 1, MODIFIED, MODIFIED - 100] {
            assert_eq!(validators(MODIFIED, now).entity_tag(), format!("W/{TAG}"));
        }
        assert_eq!(validators(0, 9).entity_tag(), "\"0-7-64-5\"");
        assert_eq!(validators(-1, 9).entity_tag(), "\"ffffffffffffffff-7-64-5\"");
    }

    #[test]
    fn last_modified_is_never_in_the_future() {
        let date = |seconds, now| validators(seconds, now).last_modified();
        assert_eq!(date(MODIFIED, MODIFIED + 9), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(MODIFIED + 9, MODIFIED), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(-5, MODIFIED), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(i64::MAX, i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(date(i64::MIN, 0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
