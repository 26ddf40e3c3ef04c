//! A line as an object (RFC 8259). Members without a value are left out.

use std::fmt::Write;

use super::line::AccessLine;
use crate::escape::escape_for_json;

/// Appends an object.
pub(super) fn write(line: &AccessLine<'_>, out: &mut String) {
    let answered = line.answered;
    let mut object = Object { out, separator: '{' };
    object.text("time", humantime::format_rfc3339_millis(line.started()).to_string().as_bytes());
    object.text("client", line.client().as_bytes());
    object.text("peer", line.identity.peer.to_string().as_bytes());
    object.text("user", answered.user);
    object.text("scheme", line.scheme.as_bytes());
    object.text("host", answered.host);
    object.text("method", answered.method);
    object.text("target", answered.target);
    object.text("protocol", line.protocol().as_bytes());
    object.number("status", answered.status);
    object.number("bytes", answered.content);
    object.number("duration", format_args!("{:.6}", line.duration().as_secs_f64()));
    object.text("referer", answered.referer);
    object.text("user_agent", answered.agent);
    object.text("reason", answered.reason);
    object.text("service", line.service.as_bytes());
    object.text("listener", line.identity.listener.as_bytes());
    object.text("connection", line.identity.id.to_string().as_bytes());
    out.push('}');
}

struct Object<'o> {
    out: &'o mut String,
    separator: char,
}

impl Object<'_> {
    fn begin(&mut self, name: &str) {
        let _ = write!(self.out, "{}\"{name}\":", self.separator); // into a String: never fails
        self.separator = ',';
    }

    fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        self.begin(name);
        let _ = write!(self.out, "{value}"); // into a String: never fails
    }

    fn text(&mut self, name: &str, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        self.begin(name);
        self.out.push('"');
        // Printable characters, in which a quote and a backslash have a meaning to JSON.
        for c in escape_for_json(text).chars() {
            match c {
                '"' | '\\' => self.out.extend(['\\', c]),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}
