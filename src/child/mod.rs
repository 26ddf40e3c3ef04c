//! The child: ordinary blocking code for exactly one connection. It starts as a copy of its fork server, sheds what is
//! the fork server's, serves, and its outcome becomes its exit code.

#![forbid(unsafe_code)]

mod agent;
pub(crate) mod in_place;
mod introduction;
mod preparation;
mod program;
mod proxy;
mod report;
pub(crate) mod session;
pub(crate) mod supplies;
mod title;
pub(crate) mod work;

use std::os::fd::AsRawFd;
use std::panic;

use nix::sys::signal::{SigSet, Signal};

use crate::journal;
use crate::outcome::Outcome;
use crate::service::Protocol;
use crate::sys;
pub(crate) use preparation::{Unprepared, apply_limits, prepare};
use work::Work;

/// Wakes a child that waits for its client: see [`Slot::ask_to_close`]. Its default disposition is to do nothing, so that
/// it harms no program.
///
/// [`Slot::ask_to_close`]: crate::scoreboard::Slot::ask_to_close
pub(crate) const WAKE_UP: Signal = Signal::SIGURG;

/// These are meant for the supervisor, and may go to all of its processes, like Ctrl-C in a terminal or
/// `systemctl kill --signal=HUP`: the children finish.
const SUPERVISOR_SIGNALS: [Signal; 4] = [Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

/// Sets the signals of a process whose children serve connections, which inherit them. SIGTERM terminates them. [`WAKE_UP`]
/// interrupts a wait for the client, and nothing else. Those of the supervisor are blocked; where the code of an application
/// runs, they do nothing: so it may handle each signal, and the programs that it starts get a mask and dispositions as from
/// any other parent.
///
/// # Errors
/// Those of sigprocmask(2).
pub(crate) fn prepare_signals(has_applications: bool) -> nix::Result<()> {
    if has_applications {
        sys::catch_in_first_thread(WAKE_UP);
        SUPERVISOR_SIGNALS.into_iter().for_each(sys::catch_signal);
        return SigSet::empty().thread_set_mask();
    }
    sys::catch_signal(WAKE_UP);
    let blocked: SigSet = SUPERVISOR_SIGNALS.into_iter().chain([WAKE_UP]).collect();
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
    // One with a runtime was prepared before code of an application ran in it, and keeps what that has opened.
    if work.kit.runtime.is_none()
        && let Err(error) = close_inheritance(work).and_then(|()| prepare(work.service))
    {
        return error.log(&work.journal()).code();
    }
    serve(work).code()
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

/// Closes what is the fork server's. SIGPIPE stays ignored, so that a write to a disconnected peer is an error and no death;
/// an exec'd program must reset it.
fn close_inheritance(work: &Work<'_>) -> Result<(), Unprepared> {
    let uplink = work.kit.uplink.map(|uplink| uplink.as_raw_fd());
    let status = work.kit.status.map(|status| status.as_raw_fd());
    let reports = work.gate.channel().map(|reports| reports.as_raw_fd());
    let own = [Some(work.connection.socket.as_raw_fd()), work.kit.log, uplink, status, reports];
    let output = work.kit.program_output.map(|output| output.as_raw_fd());
    sys::close_all_but(own.into_iter().flatten().chain(output).chain(work.service.descriptors()))
        .map_err(Unprepared::System)
}
