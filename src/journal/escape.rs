//! Text of somebody else's making, as it may stand in the log: bytes that shall not be there are `\xNN`, as in
//! what the scoreboard says of a request.

use std::fmt::{self, Write};

/// For a line of text, where it must neither leave its line nor pose as fields.
pub fn escape_for_line(bytes: &[u8]) -> String {
    escape(bytes, |c| is_printable(c) && c != '"' && c != '\\')
}

/// For a field of the journal, where only what would act on the reader's terminal matters.
pub fn escape_for_journal(bytes: &[u8]) -> String {
    escape(bytes, |c| is_printable(c) || c == '\t')
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

pub fn escape_char(out: &mut impl Write, c: char) -> fmt::Result {
    c.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(out, "\\x{byte:02x}"))
}

/// Whether a character shows as itself: no control, nor one that turns or joins what is around it, such as
/// U+202E.
pub fn is_printable(c: char) -> bool {
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
    fn what_programs_say_cannot_pose_as_fields_or_lines() {
        assert_eq!(escape_for_line(b"x outcome=\"served\"\n\\"), "x outcome=\\x22served\\x22\\x0a\\x5c");
        assert_eq!(escape_for_line("\u{202e}\u{9b}1m".as_bytes()), "\\xe2\\x80\\xae\\xc2\\x9b1m");
        assert_eq!(escape_for_line(b"caf\xc3\xa9 \xff"), "caf\u{e9} \\xff");
    }

    #[test]
    fn the_journal_keeps_text_as_it_came() {
        assert_eq!(escape_for_journal(b"\"a\\b\"\t\x1b[0m"), "\"a\\b\"\t\\x1b[0m");
    }
}
