//! An object on one line (RFC 8259), for logs. Members without a value are left out.

#![forbid(unsafe_code)]

use std::fmt::{Display, Write};

use crate::escape::{escape_for_json, is_printable};

/// An object that is written to a string, member after member.
#[derive(Debug)]
pub(crate) struct Object<'o> {
    out: &'o mut String,
    separator: char,
}

impl<'o> Object<'o> {
    pub(crate) fn begin(out: &'o mut String) -> Self {
        Self { out, separator: '{' }
    }

    pub(crate) fn number(&mut self, name: &str, value: impl Display) {
        self.begin_member(name);
        let _ = write!(self.out, "{value}"); // into a String: never fails
    }

    /// Bytes of foreign origin, which need not be text: see [`escape_for_json`].
    pub(crate) fn text(&mut self, name: &str, text: &[u8]) {
        self.string(name, &escape_for_json(text));
    }

    /// What no terminal shows is written as an escape of JSON, so that the object is one line.
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
        let mut object = Object::begin(&mut out);
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
