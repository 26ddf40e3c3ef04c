//! The head of a request: one that is accepted has only one meaning, also for an intermediary, and keeps it when it is
//! written again.

use crate::http::failure::Failure;
use crate::http::framing::Framing;
use crate::http::path::DecodedPath;
use crate::http::request::{HeadScanner, Request, new_field_room, parse};
use crate::http::{is_token, target};

/// Checks one input.
pub fn check(bytes: &[u8]) {
    let whole = HeadScanner::default().find_end(bytes);
    assert_eq!(find_end_in_pieces(bytes), whole);
    let Ok(Some(length)) = whole else { return };
    let head = &bytes[..length];
    assert!(head.ends_with(b"\r\n\r\n"));

    let mut room = new_field_room();
    let request = match parse(head, &mut room) {
        Ok(request) => request,
        Err(Failure::Refused(400 | 417 | 431 | 501 | 505, why)) if !why.is_empty() => return,
        Err(failure) => panic!("{failure:?}"),
    };
    check_parts(&request);
    check_framing(&request);
    check_options(&request);

    let again = render(&request);
    let mut room = new_field_room();
    let second = parse(&again, &mut room).expect("an accepted head is accepted when it is rendered again");
    assert_eq!(summarize(&second), summarize(&request));
    assert_eq!(HeadScanner::default().find_end(&again), Ok(Some(again.len())));
}

/// Byte by byte, as a slow client sends.
fn find_end_in_pieces(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    let mut scanner = HeadScanner::default();
    for end in 0..=bytes.len() {
        if let Some(length) = scanner.find_end(&bytes[..end])? {
            assert_eq!(length, end);
            return Ok(Some(length));
        }
    }
    Ok(None)
}

fn check_parts(request: &Request<'_>) {
    assert!(!request.method.is_empty() && request.method.bytes().all(is_token));
    assert!(request.minor <= 1);
    assert!(request.target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
    assert!(request.path.starts_with(b"/") || *request.path == *b"*" && request.method == "OPTIONS");
    let raw_path = target::split(request.target).map_or("", |target| target.path);
    assert_eq!(DecodedPath::new(raw_path).as_ref(), Ok(&request.path));
    assert!(request.authority.bytes().all(|byte| byte.is_ascii_graphic() && !b"@/?#\"<>\\".contains(&byte)));
    for field in request.fields {
        assert!(!field.name.is_empty() && field.name.bytes().all(is_token));
        assert!(field.value.iter().all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f));
    }
}

/// RFC 9112, sections 3.2, 6.1 and 6.3.
fn check_framing(request: &Request<'_>) {
    let lengths: Vec<_> = request.field("content-length").collect();
    let codings: Vec<_> = request.field("transfer-encoding").collect();
    match (lengths[..].as_ref(), &codings[..], request.framing) {
        ([], [], Framing::None) => {}
        ([value], [], framing) => {
            let zeros = value.iter().take_while(|&&byte| byte == b'0').count();
            let expected = match framing {
                Framing::None => String::new(),
                Framing::Length(length) => length.to_string(),
                Framing::Chunked => panic!("chunked by a length"),
            };
            assert!(!value.is_empty());
            assert_eq!(&value[zeros..], expected.as_bytes());
        }
        ([], [coding], Framing::Chunked) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            assert_eq!(request.minor, 1);
        }
        other => panic!("{other:?}"),
    }
    let hosts = request.field("host").count();
    assert!(hosts == 1 || hosts == 0 && request.minor == 0);
}

/// RFC 9112, section 9.3, and RFC 9110, section 10.1.1.
fn check_options(request: &Request<'_>) {
    let mut options = request.field("connection").flat_map(|value| value.split(|&byte| byte == b','));
    let closes = options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
    assert!(!closes || !request.keep_alive);
    assert!(closes || request.minor == 0 || request.keep_alive);
    assert!(!request.expects_continue || request.minor == 1 && request.field("expect").count() > 0);
}

fn render(request: &Request<'_>) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.{}\r\n", request.method, request.target, request.minor).into_bytes();
    for field in request.fields {
        head.extend([field.name.as_bytes(), b":", field.value, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head
}

fn summarize(request: &Request<'_>) -> String {
    format!("{request:?}")
}
