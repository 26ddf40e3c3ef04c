//! Escapes text of foreign origin for a log: each byte that may not appear there becomes `\xNN`.

#![forbid(unsafe_code)]

use std::fmt::{self, Write};

/// For a field of a record: printable ASCII without quotes and backslashes, so that it cannot pose as another line
/// or field.
pub(crate) fn escape_ascii(bytes: &[u8]) -> String {
    escape(bytes, |c| is_plain(c) && c.is_ascii())
}

/// For a message on one line: it can neither end the line nor pose as a field.
pub(crate) fn escape_for_line(bytes: &[u8]) -> String {
    escape(bytes, is_plain)
}

/// For a message in the journal: it cannot control the terminal of its reader.
pub(crate) fn escape_for_journal(bytes: &[u8]) -> String {
    escape(bytes, |c| is_printable(c) || c == '\t')
}

/// For a text of a JSON object: printable characters without backslashes, so that the escapes can be reversed.
pub(crate) fn escape_for_json(bytes: &[u8]) -> String {
    escape(bytes, |c| is_printable(c) && c != '\\')
}

/// Leaves out the numbers that Rust adds to the words of an error of the system, such as ` (os error 2)`.
pub(crate) fn remove_error_numbers(mut text: String) -> String {
    const START: &str = " (os error ";
    let mut from = 0;
    while let Some(at) = text[from..].find(START) {
        let start = from + at;
        let rest = text[start + START.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
        from = start;
        match rest.strip_prefix(')').map(str::len) {
            Some(left) => text.replace_range(start..text.len() - left, ""),
            None => from += START.len(),
        }
    }
    text
}

fn escape(bytes: &[u8], may_stay: impl Fn(char) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if may_stay(c) {
                text.push(c);
            } else {
                let _ = escape_char(&mut text, c); // into a String: never fails
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}"); // into a String: never fails
        }
    }
    text
}

/// Writes each byte of a character as `\xNN`.
pub(crate) fn escape_char(out: &mut impl Write, c: char) -> fmt::Result {
    c.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(out, "\\x{byte:02x}"))
}

fn is_plain(c: char) -> bool {
    is_printable(c) && c != '"' && c != '\\'
}

/// Whether a terminal shows this character and nothing else changes: not a control character, and not one that
/// reorders or joins its neighbours, such as U+202E.
pub(crate) fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        c => c.escape_debug().len() == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_pose_as_fields_or_lines() {
        assert_eq!(escape_for_line(b"x outcome=\"served\"\n\\"), "x outcome=\\x22served\\x22\\x0a\\x5c");
        assert_eq!(escape_for_line("\u{202e}\u{9b}1m".as_bytes()), "\\xe2\\x80\\xae\\xc2\\x9b1m");
        assert_eq!(escape_for_line(b"caf\xc3\xa9 \xff"), "caf\u{e9} \\xff");
        assert_eq!(escape_ascii(b"caf\xc3\xa9 \xff\""), "caf\\xc3\\xa9 \\xff\\x22");
    }

    #[test]
    fn journal_keeps_quotes_and_backslashes() {
        assert_eq!(escape_for_json(b"\"a\\xff\xff\t"), "\"a\\x5cxff\\xff\\x09");
        assert_eq!(escape_for_journal(b"\"a\\b\"\t\x1b[0m"), "\"a\\b\"\t\\x1b[0m");
    }

    #[test]
    fn words_of_errors_stay_without_their_numbers() {
        let error = std::io::Error::from_raw_os_error(libc::ENOENT);
        let shown = remove_error_numbers(format!("a: {error}; b: {error}"));
        assert_eq!(shown, "a: No such file or directory; b: No such file or directory");
        for text in ["", " (os error ", " (os error x)", " (os error 2"] {
            assert_eq!(remove_error_numbers(text.to_owned()), text);
        }
    }
}
