//! The child: ordinary blocking code for exactly one connection. It starts as a copy of the parent,
//! sheds what is the parent's, serves, and its outcome becomes its exit code.

#![forbid(unsafe_code)]

pub mod program;
pub mod session;
pub mod spare;
pub mod work;

use std::os::fd::AsRawFd;
use std::panic;

use nix::sys::signal::{SigSet, Signal};

use crate::connection::Connection;
use crate::journal;
use crate::outcome::Outcome;
use crate::service::{Protocol, Service};
use crate::sys;
use work::Work;

/// Blocked in a child: what is meant for the parent, and may go to all of its processes, like Ctrl-C in a terminal or
/// `systemctl kill --signal=HUP`. So the children finish; SIGTERM ends them.
pub fn signal_mask() -> SigSet {
    [Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1].into_iter().collect()
}

/// Makes a panic, in the parent as in a child, end the process with the exit code of a bug, after its message
/// and without running anything else. To be called once, at the start.
pub fn end_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        report(info);
        sys::exit_now(Outcome::Bug.code());
    }));
}

/// What a forked child does with its life. Returns the exit code.
pub fn run(work: &mut Work<'_>) -> u8 {
    if let Err(error) = shed_inheritance(work) {
        let (identity, service) = (&work.connection.identity, &work.service.name);
        journal::log_system_refused(identity, service, None, "close what is the parent's", &error);
        return Outcome::SystemError.code();
    }
    // Looked at here: a call would touch another page of code, for services that limit nothing.
    if !work.service.rlimits.is_empty()
        && let Err(outcome) = limit(work.connection, work.service)
    {
        return outcome.code();
    }
    serve(work).code()
}

/// Takes the limits of the service upon this process. That they are refused is told here: it is no fault of the
/// connection, and the next one will fare no better.
#[cold]
#[inline(never)]
pub fn limit(connection: &Connection, service: &Service) -> Result<(), Outcome> {
    service.rlimits.apply().map_err(|(key, errno)| {
        journal::log_limit_refused(&connection.identity, &service.name, key, errno.desc());
        Outcome::ConfigError
    })
}

/// Serves the connection in this process: the one path of every way in.
pub fn serve(work: &mut Work<'_>) -> Outcome {
    let service = work.service;
    match &service.protocol {
        Protocol::Http(site) => session::serve(work, site),
        Protocol::Exec(exec) => program::become_program(exec, work.connection, &service.name, work.kit.slot),
    }
}

/// Gives up what is the parent's: its descriptors, its blocked signals, what systemd told it. SIGPIPE stays
/// ignored, so that a write to a peer that is gone is an error and no death; an exec'd program must reset it.
fn shed_inheritance(work: &Work<'_>) -> std::io::Result<()> {
    let own = [Some(work.connection.socket.as_raw_fd()), work.kit.drain_fd()];
    sys::close_all_but(own.into_iter().flatten().chain(work.service.descriptors()))?;
    work.kit.mask.thread_set_mask()?;
    Ok(())
}
