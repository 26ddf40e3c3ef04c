//! How the values of a line look. Text of the client is escaped.

use std::time::SystemTime;

use super::line::AccessLine;
use crate::escape::escape_ascii;

/// The first line of a request.
pub(super) fn show_request(line: &AccessLine<'_>) -> String {
    let answered = line.answered;
    match answered.method {
        b"" => show_text(answered.target),
        method => format!("{} {} {}", show_word(method), escape_ascii(answered.target), line.protocol()),
    }
}

/// Text of a client that stands in quotes: `-` if there is none. It contains no quotes.
pub(super) fn show_text(text: &[u8]) -> String {
    if text.is_empty() { "-".into() } else { escape_ascii(text) }
}

/// Text of a client that stands without quotes: it contains no spaces.
pub(super) fn show_word(text: &[u8]) -> String {
    show_text(text).replace(' ', "\\x20")
}

/// The time of the Common Log Format, `26/Nov/2026:17:51:40 +0000`: UTC, as all times of the log.
pub(super) fn show_clf_time(time: SystemTime) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // 2026-11-26T17:51:40Z
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().unwrap_or(1);
    let month = MONTHS.get(month.wrapping_sub(1)).unwrap_or(&MONTHS[0]);
    format!("{}/{month}/{}:{} +0000", part(8, 10), part(0, 4), part(11, 19))
}
