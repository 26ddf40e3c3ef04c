//! Reads one response piece by piece, and decides whether it is valid HTTP and complete.

use crate::chunked::ChunkedDecoder;

/// Maximum length of the head in bytes. The body is not stored.
const MAX_HEAD: usize = 16 * 1024;

/// Result of a response, after its connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A complete response with this status.
    Complete(u16),
    /// Not HTTP, or longer than its Content-Length.
    Invalid,
    /// The connection ended before the response did.
    Truncated,
}

/// A response: takes bytes with [`Response::push`], and has a [`Response::verdict`].
#[derive(Debug)]
pub(crate) struct Response {
    status: u16,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The head, as far as it was received.
    Head(Vec<u8>),
    /// This many bytes of the body are missing.
    Counted(u64),
    Chunked(ChunkedDecoder),
    /// The end of the connection is the end of the body.
    UntilClose,
    Invalid,
}

impl Response {
    pub(crate) fn new() -> Self {
        Self { status: 0, state: State::Head(Vec::new()) }
    }

    /// Takes the next bytes of the connection.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Head(head) => {
                head.extend_from_slice(bytes);
                let head = std::mem::take(head);
                self.read_head(head);
            }
            State::Counted(left) => match left.checked_sub(bytes.len() as u64) {
                Some(rest) => *left = rest,
                None => self.state = State::Invalid,
            },
            State::Chunked(decoder) => {
                if !bytes.iter().all(|&byte| decoder.push(byte)) {
                    self.state = State::Invalid;
                }
            }
            State::UntilClose | State::Invalid => {}
        }
    }

    /// Parses the head if it is complete, and skips interim responses. The rest of `head` belongs to the body.
    fn read_head(&mut self, mut head: Vec<u8>) {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let mut response = httparse::Response::new(&mut fields);
            let length = match response.parse(&head) {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) if head.len() < MAX_HEAD => {
                    self.state = State::Head(head);
                    return;
                }
                Ok(httparse::Status::Partial) | Err(_) => {
                    self.state = State::Invalid;
                    return;
                }
            };
            self.status = response.code.unwrap_or_default();
            if self.status == 101 || !(100..200).contains(&self.status) {
                self.state = body_framing(self.status, response.headers);
                self.push(&head[length..]);
                return;
            }
            head.drain(..length);
        }
    }

    /// Whether the response is complete without the end of the connection.
    pub(crate) fn is_complete(&self) -> bool {
        match &self.state {
            State::Counted(left) => *left == 0,
            State::Chunked(decoder) => decoder.is_complete(),
            State::Head(_) | State::UntilClose | State::Invalid => false,
        }
    }

    /// Whether the response is invalid, whatever follows.
    pub(crate) fn is_invalid(&self) -> bool {
        matches!(self.state, State::Invalid)
    }

    /// The result after the end of the connection. `is_closed`: the server has closed it; there was no error.
    pub(crate) fn verdict(&self, is_closed: bool) -> Verdict {
        match self.state {
            State::Invalid => Verdict::Invalid,
            State::UntilClose if is_closed => Verdict::Complete(self.status),
            _ if self.is_complete() => Verdict::Complete(self.status),
            _ => Verdict::Truncated,
        }
    }
}

/// How the body of a response to GET ends (RFC 9112, section 6.3).
fn body_framing(status: u16, fields: &[httparse::Header<'_>]) -> State {
    if status == 204 || status == 304 {
        return State::Counted(0);
    }
    let values = |name: &'static str| {
        fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    };
    if let Some(codings) = values("Transfer-Encoding").next_back() {
        let last = codings.rsplit(|&byte| byte == b',').next().unwrap_or_default();
        return if last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            State::Chunked(ChunkedDecoder::new())
        } else {
            State::UntilClose
        };
    }
    let mut lengths = values("Content-Length").map(parse_length);
    match lengths.next() {
        None => State::UntilClose,
        Some(Some(first)) if lengths.all(|other| other == Some(first)) => State::Counted(first),
        Some(_) => State::Invalid,
    }
}

fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the bytes in pieces of `length`.
    fn read(bytes: &[u8], length: usize) -> Response {
        let mut response = Response::new();
        bytes.chunks(length).for_each(|piece| response.push(piece));
        response
    }

    /// The verdict, which must not depend on the length of the pieces.
    fn judge(text: &str, is_closed: bool) -> Verdict {
        let whole = read(text.as_bytes(), text.len().max(1)).verdict(is_closed);
        for length in [1, 2, 7] {
            assert_eq!(
                read(text.as_bytes(), length).verdict(is_closed),
                whole,
                "{text:?} in pieces of {length}"
            );
        }
        whole
    }

    #[test]
    fn complete_responses_have_their_status() {
        for (text, status) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello", 200),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nH", 200),
            ("HTTP/1.0 503\r\n\r\nBusy", 503),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\n!", 201),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n5;a=b\r\nHello\r\n0\r\n\r\n", 200),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", 200),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nzzz", 200),
        ] {
            assert_eq!(judge(text, true), Verdict::Complete(status), "{text:?}");
        }
    }

    #[test]
    fn responses_without_their_end_are_truncated() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nHello",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n0\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHel",
        ] {
            assert_eq!(judge(text, true), Verdict::Truncated, "{text:?}");
        }
    }

    #[test]
    fn anything_but_http_is_invalid() {
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "<html>Hello</html>",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello, World",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nHello",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nHello",
            "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nHello",
            "HTTP/1.1 204 No Content\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nHello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000001\r\n",
        ] {
            assert_eq!(judge(text, true), Verdict::Invalid, "{text:?}");
        }
    }

    #[test]
    fn only_a_close_ends_a_response_without_length() {
        let unframed = "HTTP/1.0 200 OK\r\n\r\nHello";
        assert_eq!(judge(unframed, true), Verdict::Complete(200));
        assert_eq!(judge(unframed, false), Verdict::Truncated);
        let framed = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello";
        assert_eq!(judge(framed, false), Verdict::Complete(200));
    }

    #[test]
    fn a_head_above_the_limit_is_invalid() {
        let mut response = Response::new();
        response.push(b"HTTP/1.1 200 OK\r\nA: ");
        while !response.is_invalid() {
            assert!(matches!(&response.state, State::Head(head) if head.len() < MAX_HEAD));
            response.push(&[b'x'; 1000]);
        }
        assert_eq!(response.verdict(true), Verdict::Invalid);
    }

    #[test]
    fn bodies_are_counted() {
        let mut response = Response::new();
        response.push(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        for _ in 0..1000 {
            assert!(!response.is_complete());
            response.push(&[b'x'; 1000]);
        }
        assert!(response.is_complete());
    }
}
