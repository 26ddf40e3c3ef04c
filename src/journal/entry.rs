//! One entry of the log: a message and its fields, and the two ways to encode it.

use std::borrow::Cow;
use std::fmt::{Display, Write};
use std::time::SystemTime;

use super::line::LineStyle;
use super::settings::Level;
use crate::capacity::SystemLimit;
use crate::connection::Identity;
use crate::escape::{escape_char, escape_for_journal, escape_for_line, is_printable, remove_error_numbers};
use crate::json::{self, Object};
use crate::scoreboard::Snapshot;

/// What `journalctl -t` filters by.
pub(super) const IDENTIFIER: &str = "lsbaws";

const MESSAGE_ID: &str = "MESSAGE_ID";

/// A message and its fields, in the order in which they were added.
#[derive(Debug)]
pub(super) struct Entry {
    level: Level,
    message: String,
    /// The end of the message, if it is of foreign origin: each encoding escapes it by its own rules.
    quote: Vec<u8>,
    /// Further lines, of foreign origin.
    details: String,
    fields: Vec<Field>,
    /// The values of all fields, one after another.
    values: String,
    /// A terminal shows all of the message, at any level.
    is_whole: bool,
}

#[derive(Debug, Clone, Copy)]
struct Field {
    name: &'static str,
    /// Where the value ends.
    end: usize,
    /// Free text, which a line shows in quotes.
    is_text: bool,
}

impl Entry {
    pub(super) fn new(level: Level, message_id: &'static str, message: impl Display) -> Self {
        Self::without_id(level, message).field(MESSAGE_ID, message_id)
    }

    /// An entry without a MESSAGE_ID.
    pub(super) fn without_id(level: Level, message: impl Display) -> Self {
        let (values, fields) = (String::with_capacity(512), Vec::with_capacity(32));
        let message = remove_error_numbers(message.to_string());
        let (quote, details) = (Vec::new(), String::new());
        Self { level, message, quote, details, fields, values, is_whole: false }
    }

    /// Does not shorten the message for a terminal.
    pub(super) fn whole(self) -> Self {
        Self { is_whole: true, ..self }
    }

    /// Ends the message with foreign text.
    pub(super) fn quote(mut self, text: &[u8]) -> Self {
        self.quote = text.to_vec();
        self
    }

    /// Adds lines to the message.
    pub(super) fn details(mut self, lines: &str) -> Self {
        self.details = lines.to_owned();
        self
    }

    /// Adds a field with a number, or a word without spaces.
    pub(super) fn field(self, name: &'static str, value: impl Display) -> Self {
        self.add(name, value, false)
    }

    /// Adds a field with free text.
    pub(super) fn text(self, name: &'static str, text: impl Display) -> Self {
        self.add(name, text, true)
    }

    /// Adds a field, as [`Entry::field`], if there is a value.
    pub(super) fn optional(self, name: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// Adds a field, as [`Entry::text`], if there is a text.
    pub(super) fn optional_text(self, name: &'static str, text: Option<impl Display>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    fn add(mut self, name: &'static str, value: impl Display, is_text: bool) -> Self {
        // Into a String: never fails.
        let _ = match name {
            "LSBAWS_ERROR" => self.values.write_str(&remove_error_numbers(value.to_string())),
            _ => write!(self.values, "{value}"),
        };
        self.fields.push(Field { name, end: self.values.len(), is_text });
        self
    }

    /// Adds the fields that identify a connection.
    pub(super) fn connection(self, identity: &Identity, service: &str, handler: Option<&str>) -> Self {
        self.field("LSBAWS_CONNECTION", identity.id)
            .text("LSBAWS_LISTENER", &identity.listener)
            .text("LSBAWS_SERVICE", service)
            .optional_text("LSBAWS_HANDLER", handler)
            .field("LSBAWS_PEER", identity.peer)
            .optional("LSBAWS_CLIENT", identity.named_client().and_then(|client| client.ip()))
    }

    /// Adds what a child has written to its slot. lsbaws does not count what a program receives and sends.
    pub(super) fn snapshot(self, snapshot: &Snapshot, is_program: bool) -> Self {
        let count = |number: u64| (!is_program).then_some(number);
        self.optional("LSBAWS_REQUESTS", count(snapshot.requests))
            .optional("LSBAWS_BYTES_IN", count(snapshot.bytes_in))
            .optional("LSBAWS_BYTES_OUT", count(snapshot.bytes_out))
            .optional_text("LSBAWS_METHOD", snapshot.method.as_ref())
            .optional_text("LSBAWS_TARGET", snapshot.target.as_ref())
            .optional("LSBAWS_STATUS", snapshot.status)
            .optional_text("LSBAWS_USER", snapshot.user.as_ref())
            .optional_text("LSBAWS_REQUEST_ID", snapshot.request_id.as_ref())
            .optional_text("LSBAWS_TRACE_ID", snapshot.trace_id.as_ref())
            .text("LSBAWS_PHASE", snapshot.phase)
    }

    /// Adds the limit of the system that was reached, or is too low.
    pub(super) fn system_limit(self, limit: Option<&SystemLimit>) -> Self {
        self.optional_text("LSBAWS_SYSTEM_LIMIT", limit.map(SystemLimit::name))
            .optional("LSBAWS_SYSTEM_LIMIT_MAX", limit.map(SystemLimit::max))
            .optional("LSBAWS_SYSTEM_LIMIT_USED", limit.map(SystemLimit::used))
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Appends the entry as the journal reads it (systemd's "Native Journal Protocol").
    pub(super) fn encode_for_journal(&self, out: &mut Vec<u8>) {
        push_field(out, "SYSLOG_IDENTIFIER", IDENTIFIER.as_bytes());
        push_field(out, "PRIORITY", self.level.priority().as_bytes());
        push_field(out, "MESSAGE", self.message_for_journal().as_bytes());
        for (field, value) in self.fields() {
            push_field(out, field.name, value.as_bytes());
        }
    }

    fn message_for_journal(&self) -> Cow<'_, str> {
        if self.quote.is_empty() && self.details.is_empty() {
            return Cow::Borrowed(&self.message);
        }
        let mut message = format!("{}{}", self.message, escape_for_journal(&self.quote));
        for line in self.details.lines() {
            message.push('\n');
            message.push_str(&escape_for_journal(line.as_bytes()));
        }
        message.into()
    }

    /// Appends the entry as an object on one line: its time, its level, and what the journal has, under the same names and as
    /// strings, as `journalctl --output=json` shows it. Of a line of more than `room` bytes, long values lose their middle.
    fn encode_as_object(&self, time: SystemTime, room: usize, out: &mut String) {
        json::write_within(room, out, |value_max, out| self.write_object(time, value_max, out));
    }

    fn write_object(&self, time: SystemTime, value_max: usize, out: &mut String) {
        let mut object = Object::begin(out, value_max);
        object.string("time", &humantime::format_rfc3339_millis(time).to_string());
        object.string("level", self.level.lowercase_word());
        object.string("SYSLOG_IDENTIFIER", IDENTIFIER);
        object.string("PRIORITY", self.level.priority());
        object.value("MESSAGE", &self.message_for_journal());
        for (field, value) in self.fields() {
            object.value(field.name, value);
        }
        object.end();
        out.push('\n');
    }

    /// Appends the entry as one line: level, message, and the fields as `name=value`. Nothing in it ends the line,
    /// and no foreign text poses as a field. Details follow as lines of their own, which are indented. For the eye, without
    /// the fields, and within `room` columns; but a warning or an error is whole, since an administrator must know all of it.
    /// Or as an object of at most `room` bytes.
    pub(super) fn encode_as_line(&self, style: LineStyle, time: SystemTime, room: usize, out: &mut String) {
        if style == LineStyle::Json {
            return self.encode_as_object(time, room, out);
        }
        if style.is_short() {
            let is_whole = self.is_whole || self.level <= Level::Warn;
            style.write_short((self.level, time), &self.message_for_line(), is_whole, room, out);
        } else {
            style.begin_line(self.level, time, out);
            let _ = self.write_line(out); // into a String: never fails
        }
        for line in self.details.lines() {
            style.continue_entry(self.level, &escape_for_journal(line.as_bytes()), out);
        }
    }

    fn message_for_line(&self) -> String {
        let mut text = String::with_capacity(self.message.len() + self.quote.len());
        for c in self.message.chars() {
            // Into a String: never fails.
            let _ = if is_printable(c) { text.write_char(c) } else { escape_char(&mut text, c) };
        }
        text.push_str(&escape_for_line(&self.quote));
        text
    }

    fn write_line(&self, out: &mut String) -> std::fmt::Result {
        out.push_str(&self.message_for_line());
        for (field, value) in self.fields().filter(|(field, _)| field.name != MESSAGE_ID) {
            let name = field.name.strip_prefix("LSBAWS_").unwrap_or(field.name);
            out.push(' ');
            out.extend(name.chars().map(|c| c.to_ascii_lowercase()));
            out.push('=');
            if field.is_text { write!(out, "{value:?}")? } else { out.push_str(value) }
        }
        out.push('\n');
        Ok(())
    }

    fn fields(&self) -> impl Iterator<Item = (&Field, &str)> {
        let mut start = 0;
        self.fields.iter().map(move |field| {
            let value = &self.values[start..field.end];
            start = field.end;
            (field, value)
        })
    }
}

/// `NAME=value` and a newline; a value that has a newline follows its name and its length.
fn push_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry::new(Level::Warn, "0123", "a \"b\"\n: ")
            .quote(b"c=\"d\"\n\xff")
            .field("LSBAWS_PID", 7)
            .text("LSBAWS_ERROR", "one\ntwo \"three\"")
            .optional("LSBAWS_STATUS", None::<u16>)
            .optional_text("LSBAWS_REASON", Some("why"))
    }

    #[test]
    fn line_ends_once_and_quotes_text() {
        let mut line = String::new();
        entry().encode_as_line(LineStyle::Stream, SystemTime::UNIX_EPOCH, usize::MAX, &mut line);
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z  WARN a \"b\"\\x0a: c=\\x22d\\x22\\x0a\\xff pid=7 error=\"one\\ntwo \\\"three\\\"\" reason=\"why\"\n"
        );
    }

    fn encode_as_object(entry: &Entry, room: usize) -> serde_json::Value {
        let mut line = String::new();
        entry.encode_as_line(LineStyle::Json, SystemTime::UNIX_EPOCH, room, &mut line);
        assert!(line.len() <= room && line.ends_with("}\n") && line.lines().count() == 1, "{line}");
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn object_has_what_the_journal_has() {
        let expected = serde_json::json!({
            "time": "1970-01-01T00:00:00.000Z", "level": "warn", "SYSLOG_IDENTIFIER": "lsbaws", "PRIORITY": "4",
            "MESSAGE": "a \"b\"\n: c=\"d\"\\x0a\\xff\nTraceback:\n  é", "MESSAGE_ID": "0123", "LSBAWS_PID": "7",
            "LSBAWS_ERROR": "one\ntwo \"three\"", "LSBAWS_REASON": "why",
        });
        assert_eq!(encode_as_object(&entry().details("Traceback:\n  é\n"), usize::MAX), expected);
    }

    #[test]
    fn long_object_loses_the_middle_of_values() {
        for text in ["x", "é", "\u{1b}"] {
            let details = format!("first\n{}\nlast", text.repeat(9000));
            let object =
                encode_as_object(&entry().details(&details).text("LSBAWS_TARGET", text.repeat(9000)), 4096);
            let message = object["MESSAGE"].as_str().unwrap();
            assert!(
                message.starts_with("a \"b\"\n") && message.contains("...") && message.ends_with("\nlast"),
                "{message}"
            );
            assert_eq!(object["LSBAWS_PID"], "7");
        }
    }

    #[test]
    fn journal_gets_lengths_before_values_with_newlines() {
        let mut bytes = Vec::new();
        entry().encode_for_journal(&mut bytes);
        let mut expected = b"SYSLOG_IDENTIFIER=lsbaws\nPRIORITY=4\nMESSAGE\n".to_vec();
        let message = b"a \"b\"\n: c=\"d\"\\x0a\\xff";
        expected.extend((message.len() as u64).to_le_bytes());
        expected.extend(message);
        expected
            .extend(b"\nMESSAGE_ID=0123\nLSBAWS_PID=7\nLSBAWS_ERROR\n\x0f\0\0\0\0\0\0\0one\ntwo \"three\"\n");
        expected.extend(b"LSBAWS_REASON=why\n");
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&expected));
    }
}
