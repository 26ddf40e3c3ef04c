//! Reads one answer as it comes, keeping its head only: is it HTTP, and is it whole?

/// Longest head of an answer that is kept. Its body is counted, never kept.
const MAX_HEAD: usize = 16 * 1024;

/// What a connection's answer was, once the connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A whole answer with this status.
    Answered(u16),
    /// Not HTTP, or more than its own Content-Length.
    Wrong,
    /// The connection ended before the answer did.
    Short,
}

/// One answer, fed by [`Answer::push`] and judged by [`Answer::verdict`].
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The head so far.
    Head(Vec<u8>),
    /// Bytes of the body that are still to come.
    Counted(u64),
    Chunked(Chunks),
    /// The end of the connection is the end of the body.
    UntilEnd,
    Wrong,
}

impl Answer {
    pub(super) fn new() -> Self {
        Self { status: 0, state: State::Head(Vec::new()) }
    }

    /// Takes the next bytes of the connection.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Head(head) => {
                head.extend_from_slice(bytes);
                let head = std::mem::take(head);
                self.read_head(head);
            }
            State::Counted(left) => match left.checked_sub(bytes.len() as u64) {
                Some(rest) => *left = rest,
                None => self.state = State::Wrong,
            },
            State::Chunked(chunks) => {
                if !bytes.iter().all(|&byte| chunks.push(byte)) {
                    self.state = State::Wrong;
                }
            }
            State::UntilEnd | State::Wrong => {}
        }
    }

    /// Parses the head if it is all there, past any interim answer; what follows it is the body's.
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
                    self.state = State::Wrong;
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

    /// Whether the answer says by itself that it is whole, before the connection's end.
    pub(super) fn is_complete(&self) -> bool {
        match &self.state {
            State::Counted(left) => *left == 0,
            State::Chunked(chunks) => chunks.are_complete(),
            State::Head(_) | State::UntilEnd | State::Wrong => false,
        }
    }

    /// Whether nothing that may follow can make this an answer.
    pub(super) fn is_wrong(&self) -> bool {
        matches!(self.state, State::Wrong)
    }

    /// The judgement once the connection has ended: by the server's close (`closed`), or by an error.
    pub(super) fn verdict(&self, closed: bool) -> Verdict {
        match self.state {
            State::Wrong => Verdict::Wrong,
            State::UntilEnd if closed => Verdict::Answered(self.status),
            _ if self.is_complete() => Verdict::Answered(self.status),
            _ => Verdict::Short,
        }
    }
}

/// How the body of an answer to GET ends (RFC 9112, section 6.3).
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
            State::Chunked(Chunks::Size { size: 0, digits: 0, rest: false })
        } else {
            State::UntilEnd
        };
    }
    let mut lengths = values("Content-Length").map(parse_length);
    match lengths.next() {
        None => State::UntilEnd,
        Some(Some(first)) if lengths.all(|other| other == Some(first)) => State::Counted(first),
        Some(_) => State::Wrong,
    }
}

fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// How far a chunked body has come (RFC 9112, section 7.1).
#[derive(Debug)]
enum Chunks {
    /// In the line with a chunk's size; `rest` is set after the digits.
    Size {
        size: u64,
        digits: u8,
        rest: bool,
    },
    /// Bytes of the chunk that are still to come, with the CR LF after it.
    Data(u64),
    /// After the last chunk; the length of the line so far, without CR.
    Trailer(u64),
    Complete,
}

impl Chunks {
    /// Takes one byte; `false` when it cannot be there.
    fn push(&mut self, byte: u8) -> bool {
        *self = match *self {
            Self::Size { digits: 0, .. } if !byte.is_ascii_hexdigit() => return false,
            Self::Size { size: 0, .. } if byte == b'\n' => Self::Trailer(0),
            Self::Size { size, .. } if byte == b'\n' => Self::Data(size.saturating_add(2)),
            Self::Size { size, digits, rest } => match char::from(byte).to_digit(16) {
                Some(_) if digits == 16 && !rest => return false,
                Some(digit) if !rest => {
                    Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1, rest }
                }
                _ => Self::Size { size, digits, rest: true },
            },
            Self::Data(1) if byte == b'\n' => Self::Size { size: 0, digits: 0, rest: false },
            Self::Data(2) if byte == b'\r' => Self::Data(1),
            Self::Data(1 | 2) => return false,
            Self::Data(left) => Self::Data(left - 1),
            Self::Trailer(0) if byte == b'\n' => Self::Complete,
            Self::Trailer(_) if byte == b'\n' => Self::Trailer(0),
            Self::Trailer(length) if byte == b'\r' => Self::Trailer(length),
            Self::Trailer(length) => Self::Trailer(length.saturating_add(1)),
            Self::Complete => return false,
        };
        true
    }

    fn are_complete(&self) -> bool {
        matches!(self, Self::Complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in pieces of `step`.
    fn read(bytes: &[u8], step: usize) -> Answer {
        let mut answer = Answer::new();
        bytes.chunks(step).for_each(|piece| answer.push(piece));
        answer
    }

    /// The verdict must not depend on how the bytes were cut.
    fn judge(text: &str, closed: bool) -> Verdict {
        let whole = read(text.as_bytes(), text.len().max(1)).verdict(closed);
        for step in [1, 2, 7] {
            assert_eq!(read(text.as_bytes(), step).verdict(closed), whole, "{text:?} by {step}");
        }
        whole
    }

    #[test]
    fn whole_answers_have_their_status() {
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
            assert_eq!(judge(text, true), Verdict::Answered(status), "{text:?}");
        }
    }

    #[test]
    fn answers_that_break_off_are_short() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nHello",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n0\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHel",
        ] {
            assert_eq!(judge(text, true), Verdict::Short, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_http_is_wrong() {
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
            assert_eq!(judge(text, true), Verdict::Wrong, "{text:?}");
        }
    }

    #[test]
    fn only_a_close_ends_an_answer_without_length() {
        let unframed = "HTTP/1.0 200 OK\r\n\r\nHello";
        assert_eq!(judge(unframed, true), Verdict::Answered(200));
        assert_eq!(judge(unframed, false), Verdict::Short);
        let framed = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello";
        assert_eq!(judge(framed, false), Verdict::Answered(200));
    }

    #[test]
    fn a_head_without_end_is_wrong_at_the_limit() {
        let mut answer = Answer::new();
        answer.push(b"HTTP/1.1 200 OK\r\nA: ");
        while !answer.is_wrong() {
            assert!(matches!(&answer.state, State::Head(head) if head.len() < MAX_HEAD));
            answer.push(&[b'x'; 1000]);
        }
        assert_eq!(answer.verdict(true), Verdict::Wrong);
    }

    #[test]
    fn bodies_are_counted_not_kept() {
        let mut answer = Answer::new();
        answer.push(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        for _ in 0..1000 {
            assert!(!answer.is_complete());
            answer.push(&[b'x'; 1000]);
        }
        assert!(answer.is_complete());
    }
}
