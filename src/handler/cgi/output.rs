//! The standard error of a program: lines for the journal, up to a limit.

use crate::handler::exchange::Exchange;

/// Bytes of a line. A longer one is split.
const LINE_MAX: usize = 2048;
/// Bytes that are logged for one request; the rest is counted.
const TOTAL_MAX: usize = 64 * 1024;
/// Lines that are logged for one request. Each is an entry of the journal.
const LINES_MAX: usize = 256;

/// Collects lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    /// Bytes and lines that were logged.
    bytes: usize,
    lines: usize,
    dropped: usize,
}

impl Lines {
    /// Logs the complete lines.
    pub(crate) fn add(&mut self, bytes: &[u8], exchange: &Exchange<'_, '_>) {
        for &byte in bytes {
            if byte == b'\n' || self.line.len() == LINE_MAX {
                self.flush(exchange);
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
    }

    /// Logs the last line, and how much was dropped.
    pub(crate) fn finish(&mut self, exchange: &Exchange<'_, '_>) {
        self.flush(exchange);
        if self.dropped > 0 {
            let sentence = format!("({} more bytes of standard error dropped)", self.dropped);
            log_line(exchange, sentence.as_bytes());
        }
    }

    fn flush(&mut self, exchange: &Exchange<'_, '_>) {
        let line = std::mem::take(&mut self.line);
        if self.bytes + line.len() > TOTAL_MAX || self.lines == LINES_MAX {
            self.dropped += line.len();
        } else if !line.is_empty() {
            self.bytes += line.len();
            self.lines += 1;
            log_line(exchange, &line);
        }
    }
}

fn log_line(exchange: &Exchange<'_, '_>, line: &[u8]) {
    exchange.journal.log_program_output(exchange.request.target, line);
}
