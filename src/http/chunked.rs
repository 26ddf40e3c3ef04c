//! The chunked transfer coding (RFC 9112, section 7.1), decoded byte by byte, in pieces of any size. Lines end with
//! CR LF only, and extensions have the syntax of section 7.1.1: what follows it only in part may hide a line end.

use super::is_token;

/// Digits of one chunk size, leading zeros included.
const DIGITS_MAX: usize = 128;
/// Bytes of all chunk extensions and trailer fields of a content, which are checked and discarded. Without a limit
/// they could be many times as long as the content (RFC 9112, section 7.1.1).
const EXTRA_MAX: usize = 8192;

/// What the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first digit of a size.
    SizeStart,
    Size,
    /// The `;` of an extension, after spaces.
    Semicolon,
    Extension(Extension),
    /// The LF of a size line.
    SizeEnd,
    Data,
    /// The CR after a chunk's data.
    DataCr,
    /// The LF after a chunk's data.
    DataLf,
    /// The first byte of a trailer field, or the CR of the empty line at the end.
    LineStart,
    Name,
    Value,
    LineEnd,
    LastLf,
    Done,
}

/// What the next byte of an extension is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extension {
    /// The first byte of its name, or a space before it.
    Start,
    Name,
    /// `=` or `;`, after spaces.
    Equals,
    /// The first byte of its value, or a space before it.
    ValueStart,
    Value,
    Quoted,
    /// After a `\` in quotes.
    QuotedPair,
    QuotedEnd,
}

/// What a field value or a quoted string may contain, line ends and control bytes excluded.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// Decodes one content.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// Bytes of the current chunk that have not been decoded.
    left: u64,
    /// Digits of the current size.
    digits: usize,
    /// Bytes of extensions and trailer fields so far.
    extra: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::SizeStart, left: 0, digits: 0, extra: 0 }
    }
}

impl Decoder {
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes from `input` into `output` until one of them is used up or the content has ended. Returns the
    /// number of bytes read and written. Bytes after the end are not read.
    ///
    /// The error is a sentence for the client. Nothing can be decoded after an error.
    pub(crate) fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), &'static str> {
        let (mut taken, mut given) = (0, 0);
        while taken < input.len() && !self.is_done() {
            if self.state == State::Data {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let count = left.min(input.len() - taken).min(output.len() - given);
                if count == 0 {
                    break; // no room
                }
                output[given..given + count].copy_from_slice(&input[taken..taken + count]);
                taken += count;
                given += count;
                self.left -= count as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.step(input[taken])?;
                taken += 1;
            }
        }
        Ok((taken, given))
    }

    /// Decodes one byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, &'static str> {
        match (self.state, byte) {
            (State::SizeStart | State::Size, byte) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                self.left = self
                    .left
                    .checked_mul(16)
                    .map(|size| size + u64::from(digit))
                    .filter(|&size| i64::try_from(size).is_ok())
                    .ok_or("chunk size too large")?;
                self.digits += 1;
                if self.digits <= DIGITS_MAX { Ok(State::Size) } else { Err("chunk size too long") }
            }
            (State::Size, b'\r' | b';' | b' ' | b'\t') | (State::Semicolon, _) => self.end_part(byte),
            (State::Extension(part), _) => self.step_extension(part, byte),
            (State::SizeEnd, b'\n') => Ok(if self.left == 0 { State::LineStart } else { State::Data }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.digits = 0;
                Ok(State::SizeStart)
            }
            (State::LineStart, b'\r') => Ok(State::LastLf),
            (State::LineStart | State::Name, byte) if is_token(byte) => self.count_extra(State::Name),
            (State::Name, b':') => Ok(State::Value),
            (State::Value, b'\r') => Ok(State::LineEnd),
            (State::Value, _) if is_text(byte) => self.count_extra(State::Value),
            (State::LineEnd, b'\n') => Ok(State::LineStart),
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::DataCr | State::DataLf, _) => Err("a chunk is longer than its size"),
            (State::LineStart | State::Name | State::Value | State::LineEnd | State::LastLf, _) => {
                Err("malformed trailer field")
            }
            _ => Err("malformed chunk size"),
        }
    }

    fn step_extension(&mut self, part: Extension, byte: u8) -> Result<State, &'static str> {
        use Extension::*;
        let is_space = matches!(byte, b' ' | b'\t');
        let next = match part {
            Start | Name if is_token(byte) => Name,
            Start | ValueStart if is_space => part,
            Name | Equals if is_space => Equals,
            Name | Equals if byte == b'=' => ValueStart,
            Equals if byte == b';' => Start,
            ValueStart | Value if is_token(byte) => Value,
            ValueStart if byte == b'"' => Quoted,
            Quoted if byte == b'"' => QuotedEnd,
            Quoted if byte == b'\\' => QuotedPair,
            Quoted | QuotedPair if is_text(byte) => Quoted,
            Name | Value | QuotedEnd => return self.end_part(byte),
            _ => return Err("malformed chunk extension"),
        };
        self.count_extra(State::Extension(next))
    }

    /// Decodes the byte after a size, or after an extension: one that ends the line or begins an extension, or a space
    /// before that.
    fn end_part(&mut self, byte: u8) -> Result<State, &'static str> {
        match byte {
            b'\r' if self.state != State::Semicolon => Ok(State::SizeEnd),
            b';' => self.count_extra(State::Extension(Extension::Start)),
            b' ' | b'\t' => self.count_extra(State::Semicolon),
            _ => Err("malformed chunk extension"),
        }
    }

    fn count_extra(&mut self, next: State) -> Result<State, &'static str> {
        self.extra += 1;
        if self.extra <= EXTRA_MAX {
            Ok(next)
        } else {
            Err("chunk extensions or trailer fields are too long")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content, bytes read, and whether that is all, when decoded in pieces of `size`.
    fn decode(input: &[u8], size: usize) -> Result<(Vec<u8>, usize, bool), &'static str> {
        let mut decoder = Decoder::default();
        let (mut content, mut used) = (Vec::new(), 0);
        let mut room = [0; 3];
        for piece in input.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() && !decoder.is_done() {
                let (taken, given) = decoder.decode(rest, &mut room)?;
                content.extend_from_slice(&room[..given]);
                used += taken;
                rest = &rest[taken..];
            }
        }
        Ok((content, used, decoder.is_done()))
    }

    #[test]
    fn pieces_of_any_size_decode_to_the_same_content() {
        let input = b"5\r\nhello\r\n00c \t;a=\"b;\\\"\xff\" ; d = e\t;f\r\n, wide world\r\n0;x=\"\"\r\nA: b\r\nC:\r\n\r\nGET /";
        for size in 1..=input.len() {
            assert_eq!(
                decode(input, size),
                Ok((b"hello, wide world".to_vec(), input.len() - 5, true)),
                "{size}"
            );
        }
        assert_eq!(decode(b"0\r\n\r\n", 1), Ok((Vec::new(), 5, true)));
        assert_eq!(decode(b"3\r\nab", 1), Ok((b"ab".to_vec(), 5, false)));
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        for input in [
            &b"\r\n"[..],
            b"g\r\n",
            b"+5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"5 5\r\nhello\r\n",
            b"5\nhello\r\n",
            b"5\rhello\r\n",
            b"5;a\nhello\r\n",
            b"5;a\rb\r\nhello\r\n",
            b"5;\0\r\nhello\r\n",
            b"5;\r\nhello\r\n",
            b"5; \r\nhello\r\n",
            b"5;[\r\nhello\r\n",
            b"5;=a\r\nhello\r\n",
            b"5;a=\r\nhello\r\n",
            b"5;a= \r\nhello\r\n",
            b"5;a=b=c\r\nhello\r\n",
            b"5;a \r\nhello\r\n",
            b"5;a=b \r\nhello\r\n",
            b"5;a b\r\nhello\r\n",
            b"5;a;\r\nhello\r\n",
            b"5;a=\"\r\nhello\r\n",
            b"5;a=\"b\\\"\r\nhello\r\n",
            b"5;a=\"b\"c\r\nhello\r\n",
            b"5;a=\"\x7f\"\r\nhello\r\n",
            b"5;\xff\r\nhello\r\n",
            b"0;\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"8000000000000000\r\n",
            b"00000000000000000000000000000000010000000000000000\r\n",
            b"0\r\n\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\n A: b\r\n\r\n",
            b"0\r\nA : b\r\n\r\n",
            b"0\r\nA\r\n\r\n",
            b"0\r\n: b\r\n\r\n",
            b"0\r\nA: \0\r\n\r\n",
        ] {
            assert!(decode(input, 1).is_err(), "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn discarded_bytes_are_limited() {
        assert!(decode(&[b'0'; DIGITS_MAX + 1], 1).is_err());
        assert!(decode(&[b"1;".as_slice(), &[b'a'; EXTRA_MAX]].concat(), 7).is_err());
        assert!(decode(&[b"1".as_slice(), &[b' '; EXTRA_MAX + 1]].concat(), 7).is_err());
        assert!(decode(&b"1;a\r\nx\r\n".repeat(EXTRA_MAX), 7).is_err());
        assert!(decode(&b"1\r\nx\r\n".repeat(EXTRA_MAX), 7).is_ok());
        assert!(decode(&[b"0\r\n".as_slice(), &b"a: b\r\n".repeat(EXTRA_MAX)].concat(), 7).is_err());
    }
}
