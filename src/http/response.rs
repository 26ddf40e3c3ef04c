//! Responses: a status, the fields that frame it, and its content, sent in one piece.

use super::date::Date;
use super::reason;

/// A complete response. After it the connection is closed.
#[derive(Debug)]
pub struct Response<'a> {
    pub status: u16,
    pub content_type: &'a str,
    /// Further header fields, each line with its CR LF.
    pub fields: &'a str,
    pub content: &'a [u8],
    /// Making it took long enough for the clock to have moved.
    pub took_time: bool,
}

impl<'a> Response<'a> {
    /// An error for a person to read.
    pub fn error(status: u16, fields: &'a str, content: &'a [u8]) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", fields, content, took_time: false }
    }

    /// Appends the response, without its content when the request was `HEAD` (RFC 9110, section 9.3.2).
    ///
    /// Piece by piece rather than by a format: this runs in every child, and each page of code that it
    /// does not need is a page fault saved.
    pub fn write_to(&self, out: &mut Vec<u8>, date: &Date, is_head: bool) {
        // 204 and 304 have no content, and 204 no length of it (RFC 9110, section 8.6); 205 has the length 0.
        let has_content = !matches!(self.status, 204 | 205 | 304);
        out.extend_from_slice(b"HTTP/1.1 ");
        write_number(out, self.status.into());
        out.push(b' ');
        out.extend_from_slice(reason(self.status).as_bytes());
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(date.as_bytes());
        if has_content {
            out.extend_from_slice(b"\r\nContent-Type: ");
            out.extend_from_slice(self.content_type.as_bytes());
            out.extend_from_slice(b"\r\nContent-Length: ");
            write_number(out, self.content.len());
        }
        if self.status == 205 {
            out.extend_from_slice(b"\r\nContent-Length: 0");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.fields.as_bytes());
        out.extend_from_slice(b"Connection: close\r\n\r\n");
        if has_content && !is_head {
            out.extend_from_slice(self.content);
        }
    }
}

/// In decimal.
fn write_number(out: &mut Vec<u8>, mut number: usize) {
    let start = out.len();
    loop {
        out.push(b'0' + u8::try_from(number % 10).unwrap_or(0));
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: &Response<'_>, is_head: bool) -> String {
        let mut out = Vec::new();
        response.write_to(&mut out, &Date::now(), is_head);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_response_to_head_has_the_length_but_no_content() {
        let response = Response {
            status: 200,
            content_type: "text/plain",
            fields: "X: y\r\n",
            content: b"hello",
            took_time: false,
        };
        let full = text(&response, false);
        assert!(
            full.starts_with("HTTP/1.1 200 OK\r\nDate: ")
                && full.ends_with("\r\nConnection: close\r\n\r\nhello")
        );
        assert!(full.contains("\r\nX: y\r\n"));
        assert_eq!(text(&response, true), full.strip_suffix("hello").unwrap());
    }

    #[test]
    fn numbers_are_decimal() {
        let mut out = Vec::new();
        for number in [0, 7, 10, 1_234_567_890] {
            write_number(&mut out, number);
            out.push(b' ');
        }
        assert_eq!(out, b"0 7 10 1234567890 ");
    }

    #[test]
    fn no_content_means_none() {
        assert!(
            text(&Response::error(205, "", b"hello"), false)
                .ends_with("\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        );
        for status in [204, 304] {
            let text = text(&Response::error(status, "", b"hello"), false);
            assert!(text.ends_with("\r\n\r\n") && !text.contains("Content-Length"), "{text}");
        }
    }
}
