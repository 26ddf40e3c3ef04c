//! Why a request gets no response, or only a part of one.

use super::stream::Interrupted;

/// Why a request could not be read or answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client has closed the connection without a request, as browsers do with connections that they open in
    /// advance.
    Silent,
    /// The client has reset the connection, or the network has failed.
    Gone,
    /// The deadline has passed.
    TimedOut,
    /// The client does not speak HTTP, and could not read a response: a sentence for the record.
    Foreign(&'static str),
    /// The request is invalid: the status of the response, and a sentence for the client.
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

/// Fails with 400.
pub(crate) fn refuse<T>(sentence: &'static str) -> Result<T, Failure> {
    Err(Failure::Refused(400, sentence))
}
