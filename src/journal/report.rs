//! Why a command failed. [`report_failure`] writes the one entry that is tracing-journald's: a daemon that cannot start has no
//! connection that could wait.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};
use std::time::{Duration, Instant, SystemTime};

use tracing_subscriber::prelude::*;

use super::entry::{Entry, IDENTIFIER};
use super::line::{LineStyle, count_columns, wrap};
use super::settings::Level;
use super::socket::JournalSocket;
use super::style::style;
use crate::escape::remove_error_numbers;
use crate::sys;

/// How long [`report_failure`] waits for the journal.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes these sentences, one a line, to standard error. `is_daemon`: they are read among lines of the log.
pub(crate) fn print_failure(sentences: &str, is_daemon: bool) {
    let (style, mut out) = (style(), String::new());
    for sentence in remove_error_numbers(sentences.to_owned()).lines() {
        let line = format!("{IDENTIFIER}: {sentence}");
        let _ = match style {
            LineStyle::Journal => writeln!(out, "<{}>{line}", Level::Error.priority()),
            LineStyle::Stream | LineStyle::Json if is_daemon => {
                let entry = Entry::without_id(Level::Error, sentence);
                entry.encode_as_line(style, SystemTime::now(), usize::MAX, &mut out);
                Ok(())
            }
            LineStyle::Stream | LineStyle::Json => writeln!(out, "{line}"),
            LineStyle::Terminal { .. } => writeln!(out, "{}", wrap(&line, 0, 0, count_columns())),
        }; // into a String: never fails
    }
    let _ = io::stderr().write_all(out.as_bytes()); // a closed terminal
}

/// Writes a bug of this program to standard error. Uses no log, which the panic may have left in any state.
pub(crate) fn print_panic(panic: impl Display) {
    let style = style();
    let room = if style == LineStyle::Json { usize::MAX } else { count_columns() };
    let line = describe_panic(style, panic, SystemTime::now(), room);
    let _ = io::stderr().write_all(line.as_bytes()); // a closed terminal
}

/// A panic on one line: the standard library writes its place and its message on two.
fn describe_panic(style: LineStyle, panic: impl Display, time: SystemTime, room: usize) -> String {
    let words = panic.to_string().replace('\n', " ");
    let mut line = String::new();
    let entry = Entry::without_id(Level::Error, format_args!("bug in lsbaws: {words}"));
    entry.encode_as_line(style, time, room, &mut line);
    line
}

/// Writes to the journal why the daemon cannot start, if standard error is the connection. Needs no [`super::open`]. Gives up
/// if the journal does not accept it within a second.
pub(crate) fn report_failure(sentence: &str) {
    let deadline = Instant::now() + REPORT_TIMEOUT;
    let Ok(mut socket) = JournalSocket::open() else { return };
    // The layer sends a datagram when it is created, and one for the entry. Both would wait for room.
    let mut has_room = || socket.connect().is_ok() && sys::wait_writable(socket.as_arc(), deadline);
    if has_room()
        && let Ok(layer) = tracing_journald::Layer::new()
        && has_room()
    {
        let layer = layer.with_field_prefix(None).with_syslog_identifier(IDENTIFIER.into());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || tracing::error!("{sentence}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_is_one_line_with_its_time() {
        let describe =
            |style| describe_panic(style, "panicked at src/x.rs:1:2:\nwhy", SystemTime::UNIX_EPOCH, 80);
        let words = "bug in lsbaws: panicked at src/x.rs:1:2: why\n";
        assert_eq!(describe(LineStyle::Stream), format!("1970-01-01T00:00:00.000Z ERROR {words}"));
        assert_eq!(describe(LineStyle::Journal), format!("<3>ERROR {words}"));
        let terminal = LineStyle::Terminal { is_colored: false, is_verbose: false };
        assert_eq!(describe(terminal), format!("00:00:00Z error: {words}"));
    }
}
