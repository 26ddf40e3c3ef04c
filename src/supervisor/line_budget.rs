//! How many lines of the programs of a service are written in a second. More are counted.

use std::time::{Duration, Instant};

use crate::journal;

const LINES_MAX: u32 = 256;
const SECOND: Duration = Duration::from_secs(1);

/// The lines of one source.
#[derive(Debug)]
pub(crate) struct LineBudget {
    service: String,
    second: Instant,
    written: u32,
    suppressed: u64,
}

impl LineBudget {
    pub(crate) fn new(service: &str) -> Self {
        Self { service: service.to_owned(), second: Instant::now(), written: 0, suppressed: 0 }
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// Whether a line is to be written. Otherwise it is counted.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= SECOND {
            self.log_suppressed();
            (self.second, self.written) = (now, 0);
        }
        let is_left = self.written < LINES_MAX;
        match is_left {
            true => self.written += 1,
            false => self.suppressed += 1,
        }
        is_left
    }

    /// Writes how many lines were not written.
    pub(crate) fn log_suppressed(&mut self) {
        if self.suppressed > 0 {
            let sentence = format!("suppressed {} more lines of its programs", self.suppressed);
            journal::log_program_line(&self.service, sentence.as_bytes());
            self.suppressed = 0;
        }
    }
}
