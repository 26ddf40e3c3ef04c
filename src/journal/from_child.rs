//! What a child has to tell while it runs: how a program of its own fares. It has closed the parent's way to the
//! journal, and opens another one when there is something to say.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::{IDENTIFIER, IS_JOURNAL, LIMIT_REFUSED, PROGRAM_FAILED, PROGRAM_OUTPUT};
use crate::connection::Identity;
use crate::walls::Watch;

/// A child's program could not be started. To be called in the child.
pub fn note_program_failed(identity: &Identity, service: &str, program: &Path, error: &io::Error) {
    let wall = Watch::default().find_hit(error);
    let mut error = error.to_string();
    if error.starts_with("No such file") && program.exists() {
        error = format!("the interpreter that its first line names is missing: {error}");
    }
    if let Some(wall) = wall {
        error = format!("{error}: {wall}");
    }
    let sentence = format!("{}: unable to run {}: {error}", identity.peer, program.display());
    tell_from_child(false, identity, service, PROGRAM_FAILED, &sentence, &[("LSBAWS_ERROR", &error)]);
}

/// A limit of the service could not be set for the child. To be called in the child.
pub fn note_limit_refused(identity: &Identity, service: &str, key: &str, error: &str) {
    let sentence = format!("{}: unable to set {key} of the service {service}: {error}", identity.peer);
    let more = [("LSBAWS_LIMIT", key), ("LSBAWS_ERROR", error)];
    tell_from_child(false, identity, service, LIMIT_REFUSED, &sentence, &more);
}

/// A program has not answered as it should. To be called in the child that runs it.
pub fn note_program_fault(identity: &Identity, service: &str, target: &str, program: &Path, why: &str) {
    let sentence = format!("{}: {} has failed: {why}", identity.peer, program.display());
    let more = [("LSBAWS_TARGET", target), ("LSBAWS_ERROR", why)];
    tell_from_child(false, identity, service, PROGRAM_FAILED, &sentence, &more);
}

/// A line that a program has written to its standard error. To be called in the child that runs it.
pub fn note_program_output(identity: &Identity, service: &str, target: &str, line: &str) {
    let sentence = format!("{}: {line}", identity.peer);
    tell_from_child(true, identity, service, PROGRAM_OUTPUT, &sentence, &[("LSBAWS_TARGET", target)]);
}

/// Writes an entry without the parent's socket to the journal, which a child has closed.
fn tell_from_child(
    is_info: bool,
    identity: &Identity,
    service: &str,
    message_id: &str,
    sentence: &str,
    more: &[(&str, &str)],
) {
    use libsystemd::logging::{Priority, journal_send};
    let (id, peer) = (identity.id.to_string(), identity.peer.to_string());
    let mut fields = vec![
        ("MESSAGE_ID", message_id),
        ("LSBAWS_CONNECTION", &id),
        ("LSBAWS_LISTENER", &*identity.listener),
        ("LSBAWS_SERVICE", service),
        ("LSBAWS_PEER", &peer),
    ];
    fields.extend(more);
    if IS_JOURNAL.load(Relaxed) {
        fields.push(("SYSLOG_IDENTIFIER", IDENTIFIER));
        let priority = if is_info { Priority::Info } else { Priority::Error };
        let _ = journal_send(priority, sentence, fields.into_iter()); // nobody left to tell
        return;
    }
    let mut line = format!("{} {sentence}", if is_info { " INFO" } else { "ERROR" });
    for (name, value) in &fields[1..] {
        let name = name.strip_prefix("LSBAWS_").unwrap_or(name).to_ascii_lowercase();
        line.push_str(&format!(" {name}={value:?}"));
    }
    line.push('\n');
    let _ = io::stderr().write_all(line.as_bytes()); // nobody left to tell
}
