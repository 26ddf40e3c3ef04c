//! The formats of a line.

use std::fmt::Write;

use super::json;
use super::line::AccessLine;
use super::show::{show_clf_time, show_request, show_text, show_word};
use super::template::Template;

/// How lines look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// The Combined Log Format of Apache.
    Combined,
    /// An object for each line.
    Json,
    Template(Template),
}

impl Format {
    /// Appends a line without its end. All text of the client is escaped. An object stays within `room` bytes.
    pub(crate) fn write(&self, line: &AccessLine<'_>, room: usize, out: &mut String) {
        match self {
            Self::Combined => write_combined(line, out),
            Self::Json => json::write(line, room, out),
            Self::Template(template) => template.write(line, out),
        }
    }
}

fn write_combined(line: &AccessLine<'_>, out: &mut String) {
    let answered = line.answered;
    let _ = write!(
        out,
        "{} - {} [{}] \"{}\" {} {} \"{}\" \"{}\"",
        line.client(),
        show_word(answered.user),
        show_clf_time(line.started()),
        show_request(line),
        answered.status,
        answered.content,
        show_text(answered.referer),
        show_text(answered.agent),
    ); // into a String: never fails
}
