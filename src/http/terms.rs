//! What responses depend on.

use super::error_content::ErrorTerms;

/// What the head of a response depends on in its request and connection.
#[derive(Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) is_head: bool,
    /// The request's version is HTTP/1.`minor`.
    pub(crate) minor: u8,
    /// The request and the limits allow another request afterwards.
    pub(crate) keep_alive: bool,
    pub(crate) errors: ErrorTerms<'a>,
}
