//! The chunked coding (RFC 9112, section 7.1): finds the end of a body without keeping it.

/// The decoder, by what it expects next.
#[derive(Debug)]
pub(crate) enum ChunkedDecoder {
    /// The line with the size of a chunk. `in_extension` is set after the digits.
    Size {
        size: u64,
        digits: u8,
        in_extension: bool,
    },
    /// This many bytes of the chunk, including the CR LF after it.
    Data(u64),
    /// The trailer section. Holds the length of its current line so far, without CR.
    Trailer(u64),
    Complete,
}

impl ChunkedDecoder {
    pub(crate) fn new() -> Self {
        Self::Size { size: 0, digits: 0, in_extension: false }
    }

    /// Takes one byte. Returns `false` if the coding does not allow it here.
    pub(crate) fn push(&mut self, byte: u8) -> bool {
        *self = match *self {
            Self::Size { digits: 0, .. } if !byte.is_ascii_hexdigit() => return false,
            Self::Size { size: 0, .. } if byte == b'\n' => Self::Trailer(0),
            Self::Size { size, .. } if byte == b'\n' => Self::Data(size.saturating_add(2)),
            Self::Size { size, digits, in_extension } => match char::from(byte).to_digit(16) {
                Some(_) if digits == 16 && !in_extension => return false,
                Some(digit) if !in_extension => {
                    Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1, in_extension }
                }
                _ => Self::Size { size, digits, in_extension: true },
            },
            Self::Data(1) if byte == b'\n' => Self::new(),
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

    pub(crate) fn is_complete(&self) -> bool {
        matches!(self, Self::Complete)
    }
}
