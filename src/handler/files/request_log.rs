//! What the journal gets about a file that cannot be read.

use std::io;

use crate::handler::exchange::Exchange;
use crate::journal::ChildLog;
use crate::outcome::Outcome;

/// The request that a file is read for, for the journal.
pub(super) struct RequestLog<'a> {
    journal: &'a ChildLog<'a>,
    target: &'a str,
}

impl<'a> RequestLog<'a> {
    pub(super) fn of<'c: 'a>(exchange: &Exchange<'a, 'c>) -> Self {
        Self { journal: exchange.journal, target: exchange.request.target }
    }

    /// The file cannot be read to the end that was announced.
    pub(super) fn fail(&self, error: &io::Error) -> Outcome {
        self.journal.log_system_error(Some(self.target), "read the file", error);
        Outcome::SystemError
    }
}
