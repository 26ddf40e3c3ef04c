//! The head of an application's response (PEP 3333, "The start_response() Callable").

use crate::http::fields::is_single;
use crate::http::framing::parse_length;
use crate::http::is_token;

/// Fields of the connection (PEP 3333, "Other HTTP Features"), which only a server may set.
const HOP_BY_HOP: [&str; 8] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// A checked head, without the fields that lsbaws sets itself: the length and the date.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ApplicationHead {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) length: Option<u64>,
}

/// Checks a head. Of fields that may stand once, the last counts.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(super) fn check(status: &[u8], fields: &[(Vec<u8>, Vec<u8>)]) -> Result<ApplicationHead, String> {
    let code = parse_status(status);
    let code = code.ok_or_else(|| {
        format!("expected a status such as '404 Not Found', found '{}'", status.escape_ascii())
    })?;
    let mut head = ApplicationHead { status: code, fields: Vec::with_capacity(fields.len()), length: None };
    for (name, value) in fields {
        let name = match std::str::from_utf8(name) {
            Ok(text) if !text.is_empty() && text.bytes().all(is_token) => text,
            _ => return Err(format!("expected the name of a header, found '{}'", name.escape_ascii())),
        };
        if value.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
            let value = value.escape_ascii();
            return Err(format!("the header {name} has a control character: '{value}'"));
        }
        let is = |other: &str| other.eq_ignore_ascii_case(name);
        if HOP_BY_HOP.iter().copied().any(is) {
            return Err(format!("the header {name} is of the connection, which only the server may set"));
        }
        let value = value.trim_ascii();
        if is("Content-Length") {
            let invalid = || format!("invalid Content-Length: '{}'", value.escape_ascii());
            let length = parse_length(value).ok_or_else(invalid)?;
            if head.length.replace(length).is_some_and(|other| other != length) {
                return Err("the headers Content-Length differ".into());
            }
        } else if !is("Date") {
            if is_single(name) {
                head.fields.retain(|(other, _)| !is(other));
            }
            head.fields.push((name.to_owned(), value.to_vec()));
        }
    }
    Ok(head)
}

/// `NNN reason`, without the informational statuses. The reason is optional, as in HTTP (RFC 9112, section 4).
fn parse_status(status: &[u8]) -> Option<u16> {
    let (digits, reason) = status.split_at_checked(3)?;
    let is_text = !reason.iter().any(u8::is_ascii_control);
    let is_alone = reason.is_empty() || reason.starts_with(b" ");
    let code = parse_length(digits)?.try_into().ok()?;
    (is_alone && is_text && (200..=999).contains(&code)).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_fields(fields: &[(&str, &str)]) -> Result<ApplicationHead, String> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        check(b"200 OK", &fields)
    }

    #[test]
    fn statuses_have_three_digits() {
        for (status, expected) in [
            ("200 OK", Some(200)),
            ("404", Some(404)),
            ("599 Odd one", Some(599)),
            ("100 Continue", None),
            ("200OK", None),
            ("20", None),
            ("+20 OK", None),
            ("200 OK\r\nX: y", None),
            ("", None),
        ] {
            assert_eq!(check(status.as_bytes(), &[]).ok().map(|head| head.status), expected, "{status:?}");
        }
    }

    #[test]
    fn fields_of_the_connection_and_split_values_are_refused() {
        for (name, value) in [
            ("Connection", "close"),
            ("transfer-encoding", "chunked"),
            ("X", "a\r\nB: c"),
            ("X", "a\nb"),
            ("X\r\nY", "a"),
            ("", "a"),
            ("X Y", "a"),
            ("Content-Length", "-1"),
        ] {
            assert!(check_fields(&[(name, value)]).is_err(), "{name:?}: {value:?}");
        }
        assert!(check_fields(&[("Content-Length", "3"), ("content-length", "4")]).is_err());
        assert!(check_fields(&[("Content-Length", "3"), ("content-length", "3")]).is_ok());
    }

    #[test]
    fn length_and_date_are_those_of_lsbaws() {
        let fields = [("Date", "now"), ("Content-Length", "5"), ("Set-Cookie", "a"), ("Set-Cookie", "b")];
        let head = check_fields(&[&fields[..], &[("Content-Type", "a/b"), ("content-type", "c/d")]].concat());
        let head = head.unwrap();
        let fields: Vec<_> = head.fields.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
        assert_eq!(fields, [("Set-Cookie", &b"a"[..]), ("Set-Cookie", b"b"), ("content-type", b"c/d")]);
        assert_eq!(head.length, Some(5));
    }
}
