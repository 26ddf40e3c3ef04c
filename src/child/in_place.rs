//! A connection that this very process serves, as its own supervisor and child: the model `iterative`, and a single
//! connection that was handed in.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{kill, killpg};
use nix::unistd::Pid;

use super::introduction;
use super::work::Work;
use crate::connection::IdleWatch;
use crate::journal;
use crate::outcome::{Outcome, TerminatedBy};
use crate::service::Protocol;
use crate::sys::{self, Escalation, Exit, Usage};

/// How the process ended that served a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) pid: Pid,
    pub(crate) exit: Exit,
    pub(crate) usage: Usage,
    pub(crate) terminated_by: Option<TerminatedBy>,
}

impl End {
    /// The outcome of a process that is to end with the connection.
    pub(crate) fn outcome(&self, protocol: &Protocol) -> Outcome {
        match (self.exit, protocol) {
            (Exit::Exited(0), _) => Outcome::Served,
            (Exit::Exited(code), Protocol::Http(_) | Protocol::AgentCheck(_)) => {
                Outcome::from_code(code).unwrap_or(Outcome::Bug)
            }
            _ => Outcome::HandlerError,
        }
    }
}

/// Serves the connection to its end. A program gets a child of its own: a process that became the program could not
/// write the record.
pub(crate) fn serve(work: &mut Work<'_>) -> End {
    match work.service.protocol {
        Protocol::Http(_) | Protocol::AgentCheck(_) => {
            let before = sys::own_usage();
            let outcome = super::serve(work);
            let usage = sys::own_usage().since(before);
            End { pid: Pid::this(), exit: Exit::Exited(outcome.code()), usage, terminated_by: None }
        }
        Protocol::Exec(_) => serve_program(work).unwrap_or_else(|error| {
            let client = work.connection.identity.describe_client();
            journal::log_warning(&format!("{client}: unable to run its program: {error}"));
            let exit = Exit::Exited(Outcome::SystemError.code());
            End { pid: Pid::this(), exit, usage: Usage::default(), terminated_by: None }
        }),
    }
}

/// Runs the program. The header of a proxy is read before the fork, since what it says decides here.
fn serve_program(work: &mut Work<'_>) -> io::Result<End> {
    if work.service.proxy_protocol
        && let Err(outcome) = introduction::receive(work)
    {
        let (exit, usage) = (Exit::Exited(outcome.code()), Usage::default());
        return Ok(End { pid: Pid::this(), exit, usage, terminated_by: None });
    }
    run_program(work)
}

/// Forks a child that becomes the program, waits for it, and terminates it when the connection lasts too long.
fn run_program(work: &mut Work<'_>) -> io::Result<End> {
    let mut escalation = work.service.deadline(&work.connection.identity).map(Escalation::new);
    let (mut why, mut terminated_by) = (TerminatedBy::Deadline, None);
    let pid = sys::fork_child(|| super::run(work))?;
    let pidfd = sys::open_pidfd(pid.as_raw().unsigned_abs())?;
    let mut idle = work.service.idle_timeout.and_then(|timeout| {
        let socket = work.connection.socket.try_clone().ok()?;
        IdleWatch::new(socket, timeout, Instant::now())
    });
    loop {
        let due = escalation.map(|escalation| escalation.due());
        let due = due.into_iter().chain(idle.as_ref().map(IdleWatch::next_look)).min();
        let timeout = due.map_or(PollTimeout::NONE, |due| sys::poll_timeout(due, Instant::now()));
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => {
                let (pid, exit, usage) = sys::wait_for(pid)?;
                return Ok(End { pid, exit, usage, terminated_by });
            }
            Err(errno) => return Err(errno.into()),
        }
        let now = Instant::now();
        if idle.take_if(|idle| idle.is_over(now)).is_some() {
            (escalation, why) = (Some(Escalation::new(now)), TerminatedBy::Idle);
        }
        if let Some(signal) = escalation.as_mut().and_then(|escalation| escalation.take_signal(now)) {
            terminated_by.get_or_insert(why);
            let _ = killpg(pid, signal).or_else(|_| kill(pid, signal)); // it has exited meanwhile
        }
    }
}
