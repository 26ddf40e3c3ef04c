//! How entries become lines on standard error. Times are UTC: a static program has no safe way to the local time zone, and
//! lines of several hosts sort by their first column.

use std::env;
use std::fmt::{Display, Write};
use std::io::{self, IsTerminal};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::settings::Level;

/// The width of a terminal that reports none, and the least width that is used.
const COLUMNS: usize = 80;
const COLUMNS_MIN: usize = 20;
/// What is left of a message on a terminal that is narrower than its time and label.
const MESSAGE_MIN: usize = 10;
/// What is left of a request: its method, and the beginning of its target.
const REQUEST_MIN: usize = 9;
/// Stands for what is left out.
const MARK: &str = "...";

/// What reads standard error, and so how lines look. Children have it from the supervisor, since fork servers have no
/// environment to find it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LineStyle {
    /// journald, which has the time itself, and takes `<N>` for the priority (sd-daemon(3)).
    Journal,
    /// A file or another program: time, level, message and fields.
    Stream,
    /// A terminal: time and message within its width. `is_verbose`: as for a file.
    Terminal { is_colored: bool, is_verbose: bool },
    /// A collector of logs: an object a line.
    Json,
}

/// Where entries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Destination {
    Journal,
    Stderr,
}

impl LineStyle {
    /// Finds what standard error is. Reads the environment, which fork servers lack, and the supervisor wipes.
    pub(super) fn find() -> Self {
        if libsystemd::logging::connected_to_journal() {
            Self::Journal
        } else if io::stderr().is_terminal() {
            Self::Terminal { is_colored: wants_color(), is_verbose: false }
        } else {
            Self::Stream
        }
    }

    /// The same with the key `log.verbose`.
    pub(super) fn with_verbose(self, is_verbose: bool) -> Self {
        match self {
            Self::Terminal { is_colored, .. } => Self::Terminal { is_colored, is_verbose },
            other => other,
        }
    }

    /// Whether lines are for the eye: without fields.
    pub(super) fn is_short(self) -> bool {
        matches!(self, Self::Terminal { is_verbose: false, .. })
    }

    /// Appends what is before the message and the fields.
    pub(super) fn begin_line(self, level: Level, time: SystemTime, out: &mut String) {
        let word = level.word();
        let time = humantime::format_rfc3339_millis(time);
        let _ = match self {
            Self::Journal => write!(out, "<{}>{word:>5} ", level.priority()),
            _ => write!(
                out,
                "{} {} ",
                self.paint(DIM, time),
                self.paint(level.color(), format_args!("{word:>5}"))
            ),
        }; // into a String: never fails
    }

    /// Appends a further line of an entry, which no line that begins an entry looks like.
    pub(super) fn continue_entry(self, level: Level, text: &str, out: &mut String) {
        let _ = match self {
            Self::Journal => writeln!(out, "<{}>      {text}", level.priority()),
            _ => writeln!(out, "    {text}"),
        }; // into a String: never fails
    }

    /// Appends a message as a line for the eye. `is_whole`: it is not shortened, but continues on further rows.
    pub(super) fn write_short(
        self,
        (level, time): (Level, SystemTime),
        message: &str,
        is_whole: bool,
        columns: usize,
        out: &mut String,
    ) {
        let time = humantime::format_rfc3339_seconds(time).to_string();
        let time = time.get(11..).unwrap_or_default();
        let (indent, label) = (time.len() + 1, level.label());
        // The label is no part of what is broken or shortened: it has a color.
        let start = indent + label.len();
        let text = match is_whole {
            true => wrap(message, start, indent, columns),
            false => shorten(message, columns.saturating_sub(start).max(MESSAGE_MIN)),
        };
        let (time, label) = (self.paint(DIM, time), self.paint(level.color(), label));
        let _ = writeln!(out, "{time} {label}{text}"); // into a String: never fails
    }

    /// A text in a color, if there is one and lines have colors.
    fn paint(self, color: &str, text: impl Display) -> String {
        match self {
            Self::Terminal { is_colored: true, .. } if !color.is_empty() => format!("{color}{text}{PLAIN}"),
            _ => text.to_string(),
        }
    }
}

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

impl Level {
    /// Before a message on a terminal.
    fn label(self) -> &'static str {
        match self {
            Self::Error => "error: ",
            Self::Warn => "warning: ",
            Self::Info => "",
            Self::Debug => "debug: ",
        }
    }

    /// ECMA-48, 8.3.117.
    fn color(self) -> &'static str {
        match self {
            Self::Error => "\x1b[1;31m",
            Self::Warn => "\x1b[1;33m",
            Self::Info => "",
            Self::Debug => DIM,
        }
    }
}

/// Whether the terminal has colors and its user wants them (no-color.org).
fn wants_color() -> bool {
    let is_set = |name| env::var_os(name).filter(|value| !value.is_empty());
    is_set("NO_COLOR").is_none() && is_set("TERM").is_some_and(|terminal| terminal != "dumb")
}

/// The width of the terminal that standard error is.
pub(super) fn count_columns() -> usize {
    let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col.into());
    if columns < COLUMNS_MIN { COLUMNS } else { columns }
}

/// How many columns a terminal needs for a text: at most so many.
fn width(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// No character before the Hangul Jamo is wider than one column (Unicode, EastAsianWidth.txt).
fn width_of(c: char) -> usize {
    if c < '\u{1100}' { 1 } else { 2 }
}

/// Leaves out the middle of a text that is too wide. Of a record, the beginning of the request stays, and of what follows it
/// as many parts as fit: the status first.
fn shorten(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns - MARK.len();
    let Some(at) = text.rfind(" -> ") else {
        let tail: String = take(text.chars().rev(), room / 2).chars().rev().collect();
        return format!("{}{MARK}{tail}", take(text.chars(), room - width(&tail)));
    };
    let (head, rest) = text.split_at(at);
    let (client, request) = head.split_at(head.find(": ").map_or(0, |at| at + 2));
    let needed = width(request).min(REQUEST_MIN);
    let tail = take_parts(rest, room.saturating_sub(width(client) + needed));
    match room.checked_sub(width(client) + width(tail)) {
        Some(left) if left >= needed => format!("{client}{}{MARK}{tail}", take(request.chars(), left)),
        // The client has a long address.
        _ => {
            let tail = take_parts(rest, room.saturating_sub(needed));
            format!("{MARK}{}{tail}", take(request.chars(), room.saturating_sub(width(tail))))
        }
    }
}

/// The parts of a sentence, which end at a comma or before a parenthesis, that fit: at least the first one.
fn take_parts(text: &str, columns: usize) -> &str {
    let ends =
        text.match_indices([',', '(']).map(|(at, end)| if end == "(" { at.saturating_sub(1) } else { at });
    let (mut end, mut is_first) = (0, true);
    for at in ends.chain([text.len()]) {
        if !is_first && width(&text[..at]) > columns {
            break;
        }
        (end, is_first) = (at, false);
    }
    &text[..end]
}

/// The first characters that fit.
fn take(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut used = 0;
    chars
        .take_while(|&c| {
            used += width_of(c);
            used <= columns
        })
        .collect()
}

/// Breaks a text between words into rows that end at this column. The first row begins at column `start`, the others after an
/// indent. A longer word stays whole, so that it can be copied.
pub(super) fn wrap(text: &str, start: usize, indent: usize, columns: usize) -> String {
    let (mut out, mut column) = (String::with_capacity(text.len() + 64), start);
    for (number, word) in text.split(' ').enumerate() {
        let (needs, is_first) = (width(word), number == 0);
        if !is_first && column + 1 + needs > columns {
            let _ = write!(out, "\n{:indent$}", ""); // into a String: never fails
            column = indent;
        } else if !is_first {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += needs;
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const AT: SystemTime = SystemTime::UNIX_EPOCH;

    fn short(level: Level, message: &str, is_whole: bool, is_colored: bool) -> String {
        let (style, mut out) = (LineStyle::Terminal { is_colored, is_verbose: false }, String::new());
        style.write_short((level, AT + Duration::from_secs(3_661)), message, is_whole, 40, &mut out);
        out
    }

    #[test]
    fn lines_begin_with_what_their_reader_lacks() {
        let begin = |style: LineStyle| {
            let mut out = String::new();
            style.begin_line(Level::Warn, AT + Duration::from_micros(1_600), &mut out);
            out
        };
        assert_eq!(begin(LineStyle::Journal), "<4> WARN ");
        assert_eq!(begin(LineStyle::Stream), "1970-01-01T00:00:00.001Z  WARN ");
        let terminal = |is_colored| LineStyle::Terminal { is_colored, is_verbose: true };
        assert_eq!(begin(terminal(false)), "1970-01-01T00:00:00.001Z  WARN ");
        let colored = "\x1b[2m1970-01-01T00:00:00.001Z\x1b[0m \x1b[1;33m WARN\x1b[0m ";
        assert_eq!(begin(terminal(true)), colored);
    }

    #[test]
    fn short_line_loses_its_middle() {
        assert_eq!(short(Level::Info, "a: GET / -> 200", false, false), "01:01:01Z a: GET / -> 200\n");
        let text = format!("a: GET /{} -> 200, served", "x".repeat(99));
        assert_eq!(short(Level::Info, &text, false, false), "01:01:01Z a: GET /xxxx... -> 200, served\n");
        let text = format!("a: GET /{} -> 400, client error while reading", "x".repeat(99));
        assert_eq!(short(Level::Info, &text, false, false), "01:01:01Z a: GET /xxxxxxxxxxxx... -> 400\n");
        let text = "127.0.0.1:51620: GET /nope?q=1 -> 404, served, after 8.080 ms";
        assert_eq!(short(Level::Info, text, false, false), "01:01:01Z ...GET /nope?q= -> 404, served\n");
        let text = format!("[2001:db8::1]:51620: GET /{} -> 404", "x".repeat(40));
        assert_eq!(short(Level::Info, &text, false, false), "01:01:01Z ...GET /xxxxxxxxxxxxxxx -> 404\n");
        // Each of these is two columns wide.
        let line = short(Level::Warn, &"\u{6f22}".repeat(40), false, false);
        assert_eq!(
            line,
            "01:01:01Z warning: \u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}...\u{6f22}\u{6f22}\u{6f22}\u{6f22}\n"
        );
    }

    #[test]
    fn whole_message_continues_on_further_rows() {
        let text = format!("one two three four five six seven /{}", "x".repeat(40));
        let rows = format!(
            "01:01:01Z error: one two three four five\n{0}six seven\n{0}/{1}\n",
            " ".repeat(10),
            "x".repeat(40)
        );
        assert_eq!(short(Level::Error, &text, true, false), rows);
        let colored = "\x1b[2m01:01:01Z\x1b[0m \x1b[1;31merror: \x1b[0mone\n";
        assert_eq!(short(Level::Error, "one", true, true), colored);
    }

    #[test]
    fn colors_do_not_change_the_text() {
        let plain = |text: &str| {
            [DIM, PLAIN, "\x1b[1;31m", "\x1b[1;33m"]
                .iter()
                .fold(text.to_owned(), |text, code| text.replace(code, ""))
        };
        let (long, words) = (format!("/{} is no folder", "x".repeat(40)), "one two three ".repeat(9));
        for level in [Level::Error, Level::Warn, Level::Info, Level::Debug] {
            for (message, is_whole, columns) in [&long, &words]
                .into_iter()
                .flat_map(|text| [(text, true, 40), (text, false, 40), (text, false, 20)])
            {
                let [colored, without] = [true, false].map(|is_colored| {
                    let (style, mut out) =
                        (LineStyle::Terminal { is_colored, is_verbose: false }, String::new());
                    style.write_short((level, AT), message, is_whole, columns, &mut out);
                    out
                });
                assert_eq!(plain(&colored), without);
                assert!(
                    !is_whole || message.split_whitespace().all(|word| without.contains(word)),
                    "{without}"
                );
            }
        }
        let line = short(Level::Error, &long, true, true);
        assert!(
            line.contains(&format!("\x1b[1;31merror: {PLAIN}/x")) && line.ends_with(" is no folder\n"),
            "{line}"
        );
        // A level without a color resets none.
        assert_eq!(short(Level::Info, "one", true, true), format!("{DIM}01:01:01Z{PLAIN} one\n"));
    }
}
