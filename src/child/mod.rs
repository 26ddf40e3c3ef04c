//! The child: ordinary blocking code for exactly one connection. It starts as a copy of its fork server, sheds what is
//! the fork server's, serves, and its outcome becomes its exit code.

#![forbid(unsafe_code)]

mod agent;
pub(crate) mod in_place;
mod introduction;
mod program;
mod proxy;
mod report;
pub(crate) mod session;
pub(crate) mod supplies;
mod title;
pub(crate) mod work;

use std::io;
use std::os::fd::AsRawFd;
use std::panic;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::setsid;

use crate::confine;
use crate::journal::{self, ChildLog};
use crate::outcome::Outcome;
use crate::service::{Protocol, Service};
use crate::sys;
use work::Work;

/// Wakes a child that waits for a request: see [`Slot::ask_to_close`]. Its default disposition is to do nothing, so that
/// it harms no program.
///
/// [`Slot::ask_to_close`]: crate::scoreboard::Slot::ask_to_close
pub(crate) const WAKE_UP: Signal = Signal::SIGURG;

/// Sets the signals of a process whose children serve connections, which inherit them. Blocked are those that are meant for
/// the supervisor, and may go to all of its processes, like Ctrl-C in a terminal or `systemctl kill --signal=HUP`: the
/// children finish. SIGTERM terminates them. [`WAKE_UP`] interrupts a wait for a request, and nothing else.
///
/// # Errors
/// Those of sigprocmask(2).
pub(crate) fn prepare_signals() -> nix::Result<()> {
    sys::catch_signal(WAKE_UP);
    let blocked = [Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, WAKE_UP];
    let blocked: SigSet = blocked.into_iter().collect();
    blocked.thread_set_mask()
}

/// Makes a panic, in the supervisor as in a child, end the process with the exit code of a bug, after its message and
/// without running anything else. To be called once, at the start.
pub(crate) fn exit_on_panic() {
    panic::set_hook(Box::new(|info| {
        journal::print_panic(info);
        sys::exit_now(Outcome::Bug.code());
    }));
}

/// Body of a forked child. Returns the exit code.
pub(crate) fn run(work: &mut Work<'_>) -> u8 {
    if let Err(error) = shed_inheritance(work).and_then(|()| confine(work.service)) {
        work.journal().log_system_error(None, "shed what is the fork server's", &error);
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
    if service.proxy_protocol
        && let Err(outcome) = introduction::receive(work)
    {
        return outcome;
    }
    match &service.protocol {
        Protocol::Http(site) => session::serve(work, site),
        Protocol::Exec(program) => program::become_program(program, work),
        Protocol::AgentCheck(scope) => agent::answer(scope, work),
    }
}

/// What no fork server can do for its children: to separate them from each other where they start programs, and to let them
/// fork nothing where they do not.
fn confine(service: &Service) -> io::Result<()> {
    let confinement = &service.confinement;
    if confinement.core {
        prctl::set_dumpable(true)?;
    }
    match confinement.starts_programs {
        true => confine::separate(confinement),
        false if confinement.is_on => Ok(setrlimit(Resource::RLIMIT_NPROC, 0, 0)?),
        false => Ok(()),
    }
}

/// Leaves the session of the fork server, so that no other process can join the group of this one, and closes what is the
/// fork server's. A confined child that starts no programs stays in that session: it can join no group (setpgid(2) is denied
/// to it), and the kernel makes a scheduling group for each session (sched(7)), which takes time. SIGPIPE stays ignored, so that a write to a disconnected peer is an error and no
/// death; an exec'd program must reset it.
fn shed_inheritance(work: &Work<'_>) -> io::Result<()> {
    let confinement = &work.service.confinement;
    if confinement.starts_programs || !confinement.is_on {
        setsid()?;
    }
    if work.kit.runtime.is_some() {
        return Ok(()); // the fork server has closed its own: others are the application's
    }
    let uplink = work.kit.uplink.map(|uplink| uplink.as_raw_fd());
    let status = work.kit.status.map(|status| status.as_raw_fd());
    let reports = work.gate.channel().map(|reports| reports.as_raw_fd());
    let own = [Some(work.connection.socket.as_raw_fd()), work.kit.log, uplink, status, reports];
    let output = work.kit.program_output.map(|output| output.as_raw_fd());
    sys::close_all_but(own.into_iter().flatten().chain(output).chain(work.service.descriptors()))
}
