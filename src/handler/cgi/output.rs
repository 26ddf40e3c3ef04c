//! What a program writes to its standard error: lines for the journal, within a bound.

use crate::handler::exchange::Exchange;
use crate::journal;

/// A longer line is cut into several.
const LINE_MAX: usize = 2048;
/// Bytes of one request's program that are passed on; the rest is counted.
const TOTAL_MAX: usize = 64 * 1024;
/// The same in lines: each is an entry of the journal.
const LINES_MAX: usize = 256;

/// Collects lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    passed: usize,
    lines: usize,
    dropped: usize,
}

impl Lines {
    /// Passes the lines that are complete on to the journal.
    pub(crate) fn add(&mut self, bytes: &[u8], exchange: &Exchange<'_, '_>) {
        for &byte in bytes {
            if byte == b'\n' || self.line.len() == LINE_MAX {
                self.pass(exchange);
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
    }

    /// Passes on what is left.
    pub(crate) fn finish(&mut self, exchange: &Exchange<'_, '_>) {
        self.pass(exchange);
        if self.dropped > 0 {
            let sentence = format!("({} more bytes of its standard error were dropped)", self.dropped);
            tell(exchange, sentence.as_bytes());
        }
    }

    fn pass(&mut self, exchange: &Exchange<'_, '_>) {
        let line = std::mem::take(&mut self.line);
        if self.passed + line.len() > TOTAL_MAX || self.lines == LINES_MAX {
            self.dropped += line.len();
        } else if !line.is_empty() {
            self.passed += line.len();
            self.lines += 1;
            tell(exchange, &line);
        }
    }
}

fn tell(exchange: &Exchange<'_, '_>, line: &[u8]) {
    journal::log_program_output(exchange.identity, exchange.service, exchange.request.target, line);
}
