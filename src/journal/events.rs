//! The messages of the daemon itself, each with its MESSAGE_ID and its fields.

use std::fmt::{self, Display};
use std::io;
use std::time::Duration;

use super::entry::Entry;
use super::global::with_log;
use super::message_id::*;
use super::note::to_entry;
use super::settings::Level;
use crate::capacity::{SystemLimit, Warning};
use crate::connection::{Identity, Peer};
use crate::scoreboard::{Phase, Snapshot};
use crate::source::Source;
use crate::uplink::Note;

/// Writes a message, or counts it.
#[expect(clippy::needless_pass_by_value, reason = "an entry is written once")]
fn log(entry: Entry) {
    with_log(|log| log.message(&entry));
}

/// Every listener is armed.
pub(crate) fn log_ready(listeners: &str) {
    log(Entry::new(Level::Info, READY, format_args!("serving on {listeners}")));
}

/// The same for what the command line names to serve, at these URLs. All of them matter to the user of a terminal.
pub(crate) fn log_serving(subject: &str, urls: &[String], note: Option<&str>) {
    let note = note.map_or_else(String::new, |note| format!(" ({note})"));
    let message = format_args!("serving {subject} on {}{note}", urls.join(", "));
    log(Entry::new(Level::Info, READY, message).whole());
}

/// The daemon stops when its connections have finished, or after `timeout`.
pub(crate) fn log_draining(children: usize, timeout: Duration) {
    let timeout = humantime::format_duration(timeout);
    let message = match children {
        0 => "stopping: no connections to wait for".to_owned(),
        1 => format!("stopping: waiting up to {timeout} for 1 connection to finish"),
        _ => format!("stopping: waiting up to {timeout} for {children} connections to finish"),
    };
    log(Entry::new(Level::Info, DRAINING, message));
}

/// A drain was requested, or its end. Balancers learn of it by their checks.
pub(crate) fn log_drain_requested(must_drain: bool, caller: &Peer) {
    let entry = match must_drain {
        true => Entry::new(
            Level::Info,
            DRAIN_ANNOUNCED,
            "draining, as requested: health checks fail, connections are still served",
        ),
        false => Entry::new(Level::Info, DRAIN_ENDED, "serving again, as requested"),
    };
    log(entry.field("LSBAWS_PEER", caller));
}

/// The daemon stops after this time, in which it serves as before. Balancers learn of it by their checks.
pub(crate) fn log_stop_announced(lead: Duration) {
    let lead = Duration::from_secs(lead.as_secs() + u64::from(lead.subsec_nanos() > 0)); // not of nanoseconds
    let lead = humantime::format_duration(lead);
    let message = format_args!(
        "stopping in {lead}: health checks fail, connections are still served (process.drain_lead)"
    );
    log(Entry::new(Level::Info, DRAIN_ANNOUNCED, message));
}

pub(crate) fn log_stopped(connections: u64) {
    let word = if connections == 1 { "connection" } else { "connections" };
    log(Entry::new(Level::Info, STOPPED, format_args!("stopped after {connections} {word}")));
}

/// The limit that an error comes from, as a part of a sentence.
struct LimitSuffix<'a>(Option<&'a SystemLimit>);

impl Display for LimitSuffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |limit| write!(f, ": {limit}"))
    }
}

/// accept(2) failed at this listener.
pub(crate) fn log_accept_exhausted(listener: &str, error: &io::Error, limit: Option<&SystemLimit>) {
    let suffix = LimitSuffix(limit);
    let message = format_args!(
        "unable to accept: {error}{suffix}; listener paused for 1s or until a child exits; connections queue in the backlog"
    );
    let entry = Entry::new(Level::Error, ACCEPT_EXHAUSTED, message).text("LSBAWS_LISTENER", listener);
    log(entry.text("LSBAWS_ERROR", error).system_limit(limit));
}

/// Why a fork server has exited.
#[derive(Debug)]
pub(crate) struct ForkServerFailure<'a> {
    pub(crate) service: &'a str,
    /// The end of a sentence about the service.
    pub(crate) sentence: &'a str,
    /// Further lines: a traceback.
    pub(crate) details: &'a str,
    /// How often it has happened since the last entry.
    pub(crate) repeated: u32,
    pub(crate) next: NextStart,
}

/// When a fork server is started again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NextStart {
    After(Duration),
    /// When the files of its applications change.
    OnChange,
}

/// A fork server has exited that was not to.
pub(crate) fn log_fork_server_ended(failure: &ForkServerFailure<'_>) {
    let ForkServerFailure { service, sentence, details, repeated, next } = failure;
    let often = if *repeated > 0 { format!(" ({repeated} more times)") } else { String::new() };
    let again = match next {
        NextStart::After(Duration::ZERO) => "starting it again".to_owned(),
        NextStart::After(pause) => format!("starting it again in {}", humantime::format_duration(*pause)),
        NextStart::OnChange => "trying again when a file changes".to_owned(),
    };
    let message = format_args!("service {service}: {sentence}{often}; {again}");
    let entry = Entry::new(Level::Error, FORK_SERVER_ENDED, message).text("LSBAWS_SERVICE", service);
    log(entry.text("LSBAWS_ERROR", sentence).details(details));
}

/// A fork server has started after some that could not.
pub(crate) fn log_started_again(service: &str, failures: u32) {
    let count = if failures == 1 { "a failure".to_owned() } else { format!("{failures} failures") };
    let message = format_args!("service {service}: its fork server has started after {count}");
    log(Entry::new(Level::Info, SHORTAGE_OVER, message).text("LSBAWS_SERVICE", service));
}

/// A program that a child of the service has become wrote a line to its standard error.
pub(crate) fn log_program_line(service: &str, line: &[u8]) {
    let entry = Entry::new(Level::Info, PROGRAM_OUTPUT, format_args!("{service}: ")).quote(line);
    log(entry.text("LSBAWS_SERVICE", service));
}

/// Writes what a child has sent about its connection.
pub(crate) fn log_note(identity: &Identity, service: &str, note: Note<'_>) {
    log(to_entry(note, identity, service, true));
}

/// The kernel cannot do a part of the confinement of a service.
pub(crate) fn log_not_confined(service: &str, gap: &str) {
    let message = format_args!("service {service}: {gap}");
    log(Entry::new(Level::Warn, NOT_CONFINED, message).text("LSBAWS_SERVICE", service));
}

/// fork(2) failed for a connection.
pub(crate) fn log_fork_exhausted(error: &io::Error, limit: Option<&SystemLimit>) {
    let suffix = LimitSuffix(limit);
    let message = format_args!("unable to fork: {error}{suffix}; the connection is kept and retried");
    let entry = Entry::new(Level::Error, FORK_EXHAUSTED, message);
    log(entry.text("LSBAWS_ERROR", error).system_limit(limit));
}

/// accept(2) or fork(2), which is `call`, succeeds again.
pub(crate) fn log_shortage_over(call: &str, failures: u64) {
    let message = format_args!("{call} succeeds again after {failures} failures");
    log(Entry::new(Level::Info, SHORTAGE_OVER, message));
}

/// A limit of the system is lower than the configuration needs.
pub(crate) fn log_system_limit_low(warning: &Warning) {
    let entry = Entry::new(Level::Warn, SYSTEM_LIMIT_LOW, &warning.sentence);
    log(entry.system_limit(warning.limit.as_ref()));
}

/// A socket that was handed in is not served: a sentence about it, and the reason.
pub(crate) fn log_socket_not_served(listener: &str, sentence: &str, problem: &str) {
    let entry = Entry::new(Level::Error, SOCKET_NOT_SERVED, sentence).text("LSBAWS_LISTENER", listener);
    log(entry.text("LSBAWS_ERROR", problem));
}

/// No listener leads to a service.
pub(crate) fn log_service_unreached(service: &str, sentence: &str) {
    log(Entry::new(Level::Warn, SERVICE_UNREACHED, sentence).text("LSBAWS_SERVICE", service));
}

/// Anything else that an administrator should know, and that does not end the daemon.
pub(crate) fn log_warning(message: &str) {
    log(Entry::without_id(Level::Warn, message));
}

/// The configuration was read again, and applies to all further connections.
pub(crate) fn log_reloaded(listeners: &str) {
    let message = format_args!("configuration reloaded, serving on {listeners}");
    log(Entry::new(Level::Info, RELOADED, message));
}

/// The new configuration is invalid. `details`: further lines.
pub(crate) fn log_reload_failed(error: &str, details: &str) {
    let message = format_args!("reload failed, keeping the running configuration: {error}");
    log(Entry::new(Level::Error, RELOAD_FAILED, message).text("LSBAWS_ERROR", error).details(details));
}

/// The applications of a service are loaded again, since their files have changed.
pub(crate) fn log_applications_reloaded(service: &str) {
    let message = format_args!("service {service}: application reloaded");
    log(Entry::new(Level::Info, RELOADED, message).text("LSBAWS_SERVICE", service));
}

/// They cannot be loaded again. `details`: a traceback.
pub(crate) fn log_applications_not_reloaded(service: &str, error: &str, details: &str) {
    let message = format_args!("service {service}: reload failed, keeping the running application: {error}");
    let entry = Entry::new(Level::Error, RELOAD_FAILED, message).text("LSBAWS_SERVICE", service);
    log(entry.text("LSBAWS_ERROR", error).details(details));
}

/// A child that was to wait for a connection cannot. `details`: a traceback.
pub(crate) fn log_spare_failed(service: &str, error: &str, details: &str) {
    let message = format_args!("service {service}: {error}, in a spare child; retrying every second");
    log(Entry::without_id(Level::Error, message).text("LSBAWS_SERVICE", service).details(details));
}

/// Anything else that an administrator should know of a service.
pub(crate) fn log_service_warning(service: &str, sentence: &str) {
    log_warning(&format!("service {service}: {sentence}"));
}

/// What an administrator has changed cannot be used.
pub(crate) fn log_service_error(service: &str, sentence: &str) {
    log(Entry::without_id(Level::Error, format_args!("service {service}: {sentence}")));
}

/// The path of a root leads to another directory now, which is opened for all further connections.
pub(crate) fn log_root_moved(path: impl Display, service: &str) {
    let message = format_args!("service {service}: root {path} leads to another directory now, serving that");
    log(Entry::without_id(Level::Info, message));
}

/// A file of users has changed, and is read again.
pub(crate) fn log_users_read(path: impl Display, service: &str) {
    let message = format_args!("service {service}: users of {path} read again");
    log(Entry::without_id(Level::Info, message));
}

/// No connection came for so long that the daemon exits.
pub(crate) fn log_idle(timeout: Duration) {
    let timeout = humantime::format_duration(timeout);
    let message = format_args!("idle for {timeout}, exiting; the next connection starts lsbaws again");
    log(Entry::new(Level::Info, IDLE, message));
}

/// A line of the answer to SIGUSR1.
pub(crate) fn log_status(message: &str) {
    log(Entry::new(Level::Info, STATUS, message));
}

/// A connection that is being served.
#[derive(Debug)]
pub(crate) struct OpenConnection<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) service: &'a str,
    pub(crate) pid: i32,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) sentence: &'a str,
}

/// What a connection is doing now: a line of the answer to SIGUSR1.
pub(crate) fn log_open_connection(open: &OpenConnection<'_>) {
    let OpenConnection { identity, service, pid, snapshot, sentence } = open;
    let entry = Entry::new(Level::Info, STATUS, format_args!("status: {sentence}"));
    let entry = entry.connection(identity, service, None).field("LSBAWS_PID", pid);
    log(entry.snapshot(snapshot, snapshot.phase == Phase::Program));
}

/// Connections of a source are refused for a while, after so many of them failed.
pub(crate) fn log_penalized(source: Source, failures: u32, time: Duration) {
    let time = humantime::format_duration(time);
    let message = format_args!(
        "refusing {source} for {time} after {failures} failed connections (limits.penalty_after)"
    );
    log(Entry::new(Level::Warn, SOURCE_PENALIZED, message).field("LSBAWS_SOURCE", source));
}
