//! A line as an object (RFC 8259). Members without a value are left out.

use super::line::AccessLine;
use crate::json::{self, Object};

/// Appends an object. One of more than `room` bytes loses the middle of long values.
pub(super) fn write(line: &AccessLine<'_>, room: usize, out: &mut String) {
    json::write_within(room, out, |value_max, out| write_object(line, value_max, out));
}

fn write_object(line: &AccessLine<'_>, value_max: usize, out: &mut String) {
    let answered = line.answered;
    let mut object = Object::begin(out, value_max);
    object.string("time", &humantime::format_rfc3339_millis(line.started()).to_string());
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
    object.text("request_id", answered.id);
    object.text("trace_id", answered.trace_id);
    object.text("connection", line.identity.id.to_string().as_bytes());
    object.end();
}
