//! What a child writes about its connection: see [`Note`].

use super::entry::Entry;
use super::message_id::{LIMIT_NOT_SET, PROGRAM_FAILED, PROGRAM_OUTPUT, SYSTEM_ERROR};
use super::settings::Level;
use crate::connection::Identity;
use crate::uplink::{Note, NoteKind};

/// The entry of a note of a connection. `is_foreign`: another process has sent it, so that all of its sentence may be foreign.
pub(super) fn to_entry(note: Note<'_>, identity: &Identity, service: &str, is_foreign: bool) -> Entry {
    let (level, id) = match note.kind {
        NoteKind::Output => (Level::Info, PROGRAM_OUTPUT),
        NoteKind::ProgramFailed => (Level::Error, PROGRAM_FAILED),
        NoteKind::LimitNotSet => (Level::Error, LIMIT_NOT_SET),
        NoteKind::SystemError => (Level::Error, SYSTEM_ERROR),
    };
    let (own, quote) = match is_foreign {
        true => ("", [note.what.as_bytes(), note.text].concat()),
        false => (note.what, note.text.to_vec()),
    };
    let message = format_args!("{}: {own}", identity.describe_client());
    let is_set = |text: &&str| !text.is_empty();
    let error = (note.kind != NoteKind::Output).then(|| String::from_utf8_lossy(note.text));
    Entry::new(level, id, message)
        .quote(&quote)
        .connection(identity, service, None)
        .optional_text("LSBAWS_TARGET", Some(note.target).filter(is_set))
        .optional_text("LSBAWS_LIMIT", Some(note.limit).filter(is_set))
        .optional_text("LSBAWS_ERROR", error)
}
