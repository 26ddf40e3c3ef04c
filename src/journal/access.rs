//! Access lines in the log. They are neither records nor messages: no level and no rate suppresses them.

use super::entry::Entry;
use super::global::with_log;
use super::log::Log;
use super::message_id::ACCESS;
use super::settings::Level;
use crate::connection::Identity;
use crate::escape::escape_ascii;
use crate::uplink::Answered;

/// An access line, and what its fields are made of.
#[derive(Debug)]
pub(crate) struct AccessEntry<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) service: &'a str,
    /// The address of the client.
    pub(crate) client: &'a str,
    pub(crate) scheme: &'a str,
    pub(crate) protocol: &'a str,
    pub(crate) answered: &'a Answered<'a>,
    /// Text of foreign origin is escaped in it.
    pub(crate) line: &'a str,
}

/// Sends an access line to the journal, wherever other entries go, or counts it.
pub(crate) fn log_access(access: &AccessEntry<'_>) {
    let AccessEntry { identity, service, answered, .. } = access;
    let text = |bytes: &[u8]| Some(escape_ascii(bytes)).filter(|text| !text.is_empty());
    let entry = Entry::new(Level::Info, ACCESS, access.line)
        .connection(identity, service, None)
        .optional_text("LSBAWS_CLIENT", identity.named_client().is_none().then_some(access.client))
        .text("LSBAWS_SCHEME", access.scheme)
        // A name that was only claimed is in the line.
        .optional_text("LSBAWS_USER", text(answered.user).filter(|_| answered.status != 401))
        .optional_text("LSBAWS_HOST", text(answered.host))
        .optional_text("LSBAWS_METHOD", text(answered.method))
        .optional_text("LSBAWS_TARGET", text(answered.target))
        .optional_text("LSBAWS_PROTOCOL", text(access.protocol.as_bytes()))
        .field("LSBAWS_STATUS", answered.status)
        .field("LSBAWS_CONTENT_BYTES", answered.content)
        .field("LSBAWS_DURATION_USEC", answered.duration)
        .optional_text("LSBAWS_REQUEST_ID", text(answered.id))
        .optional_text("LSBAWS_TRACE_ID", text(answered.trace_id))
        .optional_text("LSBAWS_REFERER", text(answered.referer))
        .optional_text("LSBAWS_USER_AGENT", text(answered.agent));
    with_log(|log| log.access_entry(&entry));
}

/// Writes an access line to standard error, wherever other entries go, or counts it.
pub(crate) fn print_access(line: &str) {
    with_log(|log| log.access_line(line));
}

/// Bytes of the longest access line that standard error takes as a whole.
pub(crate) fn access_room() -> usize {
    with_log(Log::access_room).unwrap_or(usize::MAX)
}

/// Counts access lines that were lost elsewhere.
pub(crate) fn add_lost_lines(count: u64) {
    if count > 0 {
        with_log(|log| log.add_lost_lines(count));
    }
}
