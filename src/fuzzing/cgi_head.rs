//! The head of a CGI program's response: its fields are valid, and none of them is one that lsbaws sets itself.

use crate::handler::cgi::head::{Field, Reply, find_end, parse};
use crate::http::fields::is_single;
use crate::http::is_token;

const OWN_FIELDS: [&str; 9] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "status",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Checks one input.
pub fn check(bytes: &[u8]) {
    let Some(length) = find_end(bytes) else { return };
    // Bytes after the head do not matter, and none of the head may be missing.
    assert_eq!(find_end(&bytes[..length]), Some(length));
    assert_eq!(find_end(&bytes[..length - 1]), None);

    match parse(&bytes[..length]) {
        Err(why) => assert!(!why.is_empty()),
        Ok(Reply::InternalRedirect { target, fields }) => {
            assert!(target.starts_with(b"/") && !target.starts_with(b"//"));
            assert!(!target.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t'));
            check_fields(&fields);
        }
        Ok(Reply::Document { status, fields, length, is_chunked }) => {
            assert!((200..=999).contains(&status));
            assert!(length.is_none() || !is_chunked);
            check_fields(&fields);
            let again = render(status, &fields, length, is_chunked);
            assert_eq!(find_end(&again), Some(again.len()));
            assert_eq!(parse(&again), Ok(Reply::Document { status, fields, length, is_chunked }));
        }
    }
}

fn check_fields(fields: &[Field<'_>]) {
    for (at, (name, value)) in fields.iter().enumerate() {
        assert!(!name.is_empty() && name.bytes().all(is_token));
        assert!(!value.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t'));
        assert!(!OWN_FIELDS.contains(&name.to_ascii_lowercase().as_str()), "{name}");
        let is_repeated = fields[..at].iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        assert!(!(is_repeated && is_single(name)), "{name}");
    }
}

fn render(status: u16, fields: &[Field<'_>], length: Option<u64>, is_chunked: bool) -> Vec<u8> {
    let mut head = format!("Status: {status} Reason\n").into_bytes();
    if is_chunked {
        head.extend(b"Transfer-Encoding: chunked\n");
    }
    head.extend(length.map_or(String::new(), |length| format!("CONTENT-LENGTH:{length}\r\n")).bytes());
    for (name, value) in fields {
        head.extend([name.as_bytes(), b":", value, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head
}
