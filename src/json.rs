//! An object on one line (RFC 8259), for logs. Members without a value are left out.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::{Display, Write};

use crate::escape::{escape_for_json, is_printable};

/// What is left of each value if an object is too long, and what stands for the rest.
const VALUE_MIN: usize = 16;
const MARK: &str = "...";

/// Appends an object within `room` bytes. `write` appends one, of whose values no more than so many bytes are left.
pub(crate) fn write_within(room: usize, out: &mut String, write: impl Fn(usize, &mut String)) {
    let (start, mut value_max) = (out.len(), usize::MAX);
    loop {
        write(value_max, out);
        if out.len() - start <= room || value_max <= VALUE_MIN {
            return;
        }
        out.truncate(start);
        value_max = value_max.min(room) / 2;
    }
}

/// Leaves out the middle of a text of more than so many bytes.
fn cut_middle(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text.into();
    }
    let half = max.saturating_sub(MARK.len()) / 2;
    let (start, end) = (text.floor_char_boundary(half), text.ceil_char_boundary(text.len() - half));
    format!("{}{MARK}{}", &text[..start], &text[end..]).into()
}

/// An object that is written to a string, member after member.
#[derive(Debug)]
pub(crate) struct Object<'o> {
    out: &'o mut String,
    separator: char,
    value_max: usize,
}

impl<'o> Object<'o> {
    /// `value_max`: bytes that are left of a value, but for those of [`Self::string`].
    pub(crate) fn begin(out: &'o mut String, value_max: usize) -> Self {
        Self { out, separator: '{', value_max }
    }

    pub(crate) fn number(&mut self, name: &str, value: impl Display) {
        self.begin_member(name);
        let _ = write!(self.out, "{value}"); // into a String: never fails
    }

    /// Bytes of foreign origin, which need not be text: see [`escape_for_json`].
    pub(crate) fn text(&mut self, name: &str, text: &[u8]) {
        self.value(name, &escape_for_json(text));
    }

    /// A text that may be long.
    pub(crate) fn value(&mut self, name: &str, text: &str) {
        self.string(name, &cut_middle(text, self.value_max));
    }

    /// A text that is short, and stays whole. What no terminal shows is written as an escape of JSON, so that the object is one line.
    pub(crate) fn string(&mut self, name: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        self.begin_member(name);
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.out.extend(['\\', c]),
                '\n' => self.out.push_str("\\n"),
                c if is_printable(c) => self.out.push(c),
                c => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.out, "\\u{unit:04x}"); // into a String: never fails
                    }
                }
            }
        }
        self.out.push('"');
    }

    /// Ends the object, which has a member.
    pub(crate) fn end(self) {
        self.out.push('}');
    }

    fn begin_member(&mut self, name: &str) {
        let _ = write!(self.out, "{}\"{name}\":", self.separator); // into a String: never fails
        self.separator = ',';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_is_one_line_that_parses_back() {
        let text = "a \"b\" \\x0a\n\t\x1b[0m\u{9b} \u{202e} caf\u{e9} \u{e0001}";
        let mut out = String::new();
        let mut object = Object::begin(&mut out, usize::MAX);
        object.string("string", text);
        object.string("empty", "");
        object.text("text", b"a\\\xff");
        object.number("number", 7);
        object.end();
        assert!(out.chars().all(is_printable), "{out}");
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value, serde_json::json!({ "string": text, "text": "a\\x5c\\xff", "number": 7 }));
    }
}
