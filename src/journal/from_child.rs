//! What a child has to tell while it runs: how a program of its own fares. It has closed the parent's way to the
//! journal, and opens another one when there is something to say.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::{IS_JOURNAL, LIMIT_REFUSED, PROGRAM_FAILED, PROGRAM_OUTPUT, SYSTEM_REFUSED, socket, stderr};
use crate::capacity::Watch;
use crate::connection::Identity;
use crate::escape::{escape_for_journal, escape_for_line};

/// A child's program could not be started. To be called in the child.
pub fn log_program_failed(identity: &Identity, service: &str, program: &Path, error: &io::Error) {
    let wall = Watch::default().find_hit(error);
    let mut error = error.to_string();
    if error.starts_with("No such file")
        && let Some((interpreter, has_return)) = read_interpreter(program)
    {
        let end = if has_return { ", with a carriage return at its end," } else { "" };
        error = format!("the interpreter '{interpreter}' that its first line names{end} is missing: {error}");
    }
    if let Some(wall) = wall {
        error = format!("{error}: {wall}");
    }
    let sentence = format!("unable to run {}: ", escape_path(program));
    let more = [("LSBAWS_ERROR", &*error)];
    tell_from_child(false, identity, service, PROGRAM_FAILED, (&sentence, error.as_bytes()), &more);
}

/// What stands behind `#!`, in a script, and whether a carriage return ends it: that shows nowhere, and is meant by nobody.
fn read_interpreter(script: &Path) -> Option<(String, bool)> {
    use std::io::Read;
    let mut start = Vec::new();
    File::open(script).ok()?.take(200).read_to_end(&mut start).ok()?;
    let line = start.split(|&byte| byte == b'\n').next()?.strip_prefix(b"#!")?;
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    Some((text.escape_ascii().to_string(), text.len() < line.len()))
}

/// A limit of the service could not be set for the child. To be called in the child.
pub fn log_limit_refused(identity: &Identity, service: &str, key: &str, error: &str) {
    let sentence = format!("unable to set {key} of the service {service}: ");
    let more = [("LSBAWS_LIMIT", key), ("LSBAWS_ERROR", error)];
    tell_from_child(false, identity, service, LIMIT_REFUSED, (&sentence, error.as_bytes()), &more);
}

/// The system has refused something that a child needs, such as to read a file. To be called in the child.
pub fn log_system_refused(
    identity: &Identity,
    service: &str,
    target: Option<&str>,
    what: &str,
    error: &io::Error,
) {
    let error = error.to_string();
    let target = target.map(|target| ("LSBAWS_TARGET", target));
    let more: Vec<_> = target.into_iter().chain([("LSBAWS_ERROR", &*error)]).collect();
    let sentence = format!("unable to {what}: ");
    tell_from_child(false, identity, service, SYSTEM_REFUSED, (&sentence, error.as_bytes()), &more);
}

/// A program has not answered as it should. To be called in the child that runs it.
pub fn log_program_fault(identity: &Identity, service: &str, target: &str, program: &Path, why: &str) {
    let sentence = format!("{} has failed: ", escape_path(program));
    let more = [("LSBAWS_TARGET", target), ("LSBAWS_ERROR", why)];
    tell_from_child(false, identity, service, PROGRAM_FAILED, (&sentence, why.as_bytes()), &more);
}

/// A line that a program has written to its standard error. To be called in the child that runs it.
pub fn log_program_output(identity: &Identity, service: &str, target: &str, line: &[u8]) {
    tell_from_child(true, identity, service, PROGRAM_OUTPUT, ("", line), &[("LSBAWS_TARGET", target)]);
}

fn escape_path(path: &Path) -> String {
    escape_for_line(path.as_os_str().as_bytes())
}

/// Writes an entry without the parent's way to the log, which a child has closed. The message is in two parts:
/// ours, and what comes from elsewhere.
fn tell_from_child(
    is_info: bool,
    identity: &Identity,
    service: &str,
    message_id: &str,
    (sentence, text): (&str, &[u8]),
    more: &[(&str, &str)],
) {
    use libsystemd::logging::Priority;
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
        let priority = if is_info { Priority::Info } else { Priority::Error };
        let text = escape_for_journal(text);
        socket::send_once(priority, &format!("{peer}: {sentence}{text}"), &fields);
        return;
    }
    let level = if is_info { " INFO" } else { "ERROR" };
    let mut line = format!("{level} {peer}: {sentence}{}", escape_for_line(text));
    for (name, value) in &fields[1..] {
        let name = name.strip_prefix("LSBAWS_").unwrap_or(name).to_ascii_lowercase();
        line.push_str(&format!(" {name}={value:?}"));
    }
    line.push('\n');
    stderr::write_once(&line);
}
