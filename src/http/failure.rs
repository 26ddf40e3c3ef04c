//! Why a request is not answered, or not to its end.

use super::stream::Interrupted;

/// Why there is no request to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The peer has closed the connection without asking for anything, as browsers do with those that they
    /// open ahead of need.
    Silent,
    /// The peer has reset the connection, or the network lost it.
    Gone,
    /// The deadline passed before the head was complete.
    TimedOut,
    /// The request is not one: the status that says so, and a sentence for the person at the other end.
    Refused(u16, &'static str),
}

impl From<Interrupted> for Failure {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::TimedOut => Self::TimedOut,
            Interrupted::Gone(_) => Self::Gone,
        }
    }
}

/// A malformed request.
pub fn refuse<T>(sentence: &'static str) -> Result<T, Failure> {
    Err(Failure::Refused(400, sentence))
}
