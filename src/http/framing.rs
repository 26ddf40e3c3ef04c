//! Where one request ends and the next begins (RFC 9112, sections 6 and 9.3).

use httparse::Header;

use super::failure::{Failure, refuse};
use super::fields::field;
use super::is_token;

/// How the content of a request is delimited (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    /// That many bytes; not 0.
    Length(u64),
    Chunked,
}

/// How the content is delimited. What two recipients could understand differently is refused, since it allows
/// request smuggling (RFC 9112, section 11.2).
///
/// # Errors
/// 400 or 501, with the sentence for the client.
pub(crate) fn find_framing(fields: &[Header<'_>], minor: u8) -> Result<Framing, Failure> {
    let mut codings = field(fields, "Transfer-Encoding");
    let mut lengths = field(fields, "Content-Length");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Framing::None),
        (Some(_), Some(_)) => refuse("both Transfer-Encoding and Content-Length"),
        (Some(_), None) if minor == 0 => refuse("HTTP/1.0 has no Transfer-Encoding"),
        (Some(_), None) if codings.next().is_some() => refuse("more than one Transfer-Encoding field"),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (Some(codings), None) => Err(refuse_codings(codings)),
        (None, Some(_)) if lengths.next().is_some() => refuse("more than one Content-Length field"),
        (None, Some(length)) => match parse_length(length) {
            Some(0) => Ok(Framing::None),
            Some(length) => Ok(Framing::Length(length)),
            None => refuse("invalid Content-Length"),
        },
    }
}

/// The status for transfer codings other than `chunked` alone. Unless `chunked` is the last one, the length of the content
/// is unknown: 400 (RFC 9112, section 6.3). Otherwise what precedes it is not supported: 501 (section 6.1).
fn refuse_codings(list: &[u8]) -> Failure {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings = list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    if !codings.next_back().is_some_and(is_chunked) {
        return Failure::Refused(400, "the last transfer coding is not 'chunked'");
    }
    if codings.clone().any(is_chunked) {
        return Failure::Refused(400, "the transfer coding 'chunked' is applied twice");
    }
    if codings.all(is_coding) {
        Failure::Refused(501, "unsupported transfer coding")
    } else {
        Failure::Refused(400, "invalid Transfer-Encoding")
    }
}

/// `token *( OWS ";" OWS token BWS "=" BWS token )` (RFC 9112, section 7), by its characters.
fn is_coding(coding: &[u8]) -> bool {
    coding.first().is_some_and(|&byte| is_token(byte))
        && coding.iter().all(|&byte| is_token(byte) || b";= \t".contains(&byte))
}

/// `1*DIGIT`, up to the largest size of a file.
pub(crate) fn parse_length(value: &[u8]) -> Option<u64> {
    let text =
        std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok().filter(|&length| i64::try_from(length).is_ok())
}

/// Whether the connection may stay open after the response (RFC 9112, section 9.3).
pub(crate) fn is_persistent(fields: &[Header<'_>], minor: u8) -> bool {
    let has = |option: &[u8]| {
        let mut options = field(fields, "Connection").flat_map(|value| value.split(|&byte| byte == b','));
        options.any(|found| found.trim_ascii().eq_ignore_ascii_case(option))
    };
    !has(b"close") && (minor > 0 || has(b"keep-alive"))
}

/// Whether the client waits for `100 Continue`. HTTP/1.0 has no expectations (RFC 9110, section 10.1.1).
///
/// # Errors
/// 417 for an expectation other than `100-continue`.
pub(crate) fn find_expectation(fields: &[Header<'_>], minor: u8) -> Result<bool, Failure> {
    let mut expectations = field(fields, "Expect").peekable();
    if minor == 0 || expectations.peek().is_none() {
        return Ok(false);
    }
    if expectations.all(|value| value.eq_ignore_ascii_case(b"100-continue")) {
        return Ok(true);
    }
    Err(Failure::Refused(417, "unsupported expectation"))
}

#[cfg(test)]
mod tests {
    use super::super::request::{new_field_room, parse};
    use super::*;

    fn parse_fields(version: &str, lines: &str) -> Result<(Framing, bool, bool), u16> {
        let head = format!("POST / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        let mut room = new_field_room();
        match parse(head.as_bytes(), &mut room) {
            Ok(request) => Ok((request.framing, request.keep_alive, request.expects_continue)),
            Err(Failure::Refused(status, _)) => Err(status),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn content_is_framed_in_one_way_or_refused() {
        for (lines, expected) in [
            ("", Ok(Framing::None)),
            ("Content-Length: 0\r\n", Ok(Framing::None)),
            ("Content-Length: 007\r\n", Ok(Framing::Length(7))),
            ("Transfer-Encoding: Chunked \r\n", Ok(Framing::Chunked)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Err(400)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(400)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(501)),
            ("Transfer-Encoding: a;b=c,d , CHUNKED\r\n", Err(501)),
            ("Transfer-Encoding: chunked, chunked\r\n", Err(400)),
            ("Transfer-Encoding: chunked, gzip\r\n", Err(400)),
            ("Transfer-Encoding: gzip, chunked,\r\n", Err(400)),
            ("Transfer-Encoding: , chunked\r\n", Err(400)),
            ("Transfer-Encoding: a(b, chunked\r\n", Err(400)),
            ("Transfer-Encoding: a;b=\"c, chunked\"\r\n", Err(400)),
            ("Transfer-Encoding: a;b=\"c, chunked\r\n", Err(400)),
            ("Transfer-Encoding: \x0bchunked\r\n", Err(400)),
            ("Transfer-Encoding:\r\n", Err(400)),
            ("Transfer-Encoding: gzip\r\n", Err(400)),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Err(400)),
            ("Content-Length: 5, 5\r\n", Err(400)),
            ("Content-Length: +5\r\n", Err(400)),
            ("Content-Length:\r\n", Err(400)),
            ("Content-Length: 9223372036854775808\r\n", Err(400)),
        ] {
            assert_eq!(parse_fields("1.1", lines).map(|(framing, ..)| framing), expected, "{lines:?}");
        }
        assert_eq!(parse_fields("1.0", "Transfer-Encoding: chunked\r\n"), Err(400));
    }

    #[test]
    fn connections_persist_by_version_and_option() {
        for (version, lines, expected) in [
            ("1.1", "", true),
            ("1.1", "Connection: x, CLOSE\r\n", false),
            ("1.1", "Connection: x\r\nConnection: close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            assert_eq!(
                parse_fields(version, lines).map(|(_, keep_alive, _)| keep_alive),
                Ok(expected),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn one_expectation_is_supported() {
        let expects = |version, lines| parse_fields(version, lines).map(|(.., expects)| expects);
        assert_eq!(expects("1.1", "Expect: 100-Continue\r\n"), Ok(true));
        assert_eq!(expects("1.1", "Expect: 100-continue, x\r\n"), Err(417));
        assert_eq!(expects("1.0", "Expect: x\r\n"), Ok(false));
    }
}
