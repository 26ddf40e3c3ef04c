//! The child: ordinary blocking code for exactly one connection. It starts as a copy of the supervisor, sheds what is
//! the supervisor's, serves, and its outcome becomes its exit code.

#![forbid(unsafe_code)]

pub(crate) mod in_place;
mod program;
pub(crate) mod session;
pub(crate) mod spare;
pub(crate) mod supplies;
pub(crate) mod work;

use std::io;
use std::os::fd::AsRawFd;
use std::panic;

use nix::sys::signal::{SigSet, Signal};

use crate::journal::ChildLog;
use crate::outcome::Outcome;
use crate::service::{Protocol, Service};
use crate::sys;
use work::Work;

/// The signals that a child blocks: those that are meant for the supervisor, and may go to all of its processes, like
/// Ctrl-C in a terminal or `systemctl kill --signal=HUP`. So the children finish; SIGTERM terminates them.
fn signal_mask() -> SigSet {
    [Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1].into_iter().collect()
}

/// Makes a panic, in the supervisor as in a child, end the process with the exit code of a bug, after its message and
/// without running anything else. To be called once, at the start.
pub(crate) fn exit_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        report(info);
        sys::exit_now(Outcome::Bug.code());
    }));
}

/// Body of a forked child. Returns the exit code.
pub(crate) fn run(work: &mut Work<'_>) -> u8 {
    if let Err(error) = shed_inheritance(work) {
        work.journal().log_system_error(None, "close the supervisor's descriptors", &error);
        return Outcome::SystemError.code();
    }
    // Checked here: a call would touch another page of code, for services without limits.
    if !work.service.rlimits.is_empty()
        && let Err(outcome) = apply_limits(work.service, &work.journal())
    {
        return outcome.code();
    }
    serve(work).code()
}

/// Sets the limits of the service for this process. The child logs a failure itself: it is no fault of the connection,
/// and the next one will meet it as well.
///
/// # Errors
/// [`Outcome::ConfigError`], after it is logged.
#[cold]
#[inline(never)]
pub(crate) fn apply_limits(service: &Service, journal: &ChildLog<'_>) -> Result<(), Outcome> {
    service.rlimits.apply().map_err(|(key, errno)| {
        journal.log_limit_not_set(key, errno.desc());
        Outcome::ConfigError
    })
}

/// Serves the connection in this process: the one path of every way in.
fn serve(work: &mut Work<'_>) -> Outcome {
    let service = work.service;
    match &service.protocol {
        Protocol::Http(site) => session::serve(work, site),
        Protocol::Exec(program) => program::become_program(program, work),
    }
}

/// Gives up what is the supervisor's: its descriptors and its blocked signals. SIGPIPE stays ignored, so that a write
/// to a disconnected peer is an error and no death; an exec'd program must reset it.
fn shed_inheritance(work: &Work<'_>) -> io::Result<()> {
    let own = [Some(work.connection.socket.as_raw_fd()), work.kit.drain_fd()];
    sys::close_all_but(own.into_iter().flatten().chain(work.service.descriptors()))?;
    work.kit.mask.thread_set_mask()?;
    Ok(())
}
