//! From a fork to the first byte of the connection.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::ForkServer;
use super::changes::Changes;
use crate::child::work::Work;
use crate::child::{self, Unprepared};
use crate::clients::Gate;
use crate::connection::{Connection, Identity};
use crate::handover::{Handover, Report, Supplements};
use crate::journal::ChildLog;
use crate::outcome::Outcome;
use crate::runtime::{LoadError, Runtime};
use crate::scoreboard::Slot;
use crate::sys;

/// A connection that has been handed over.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) handover: Handover<'a>,
    pub(super) connection: OwnedFd,
    pub(super) supplements: Supplements<OwnedFd>,
}

impl ForkServer {
    /// Keeps the name of the listener for the child of the next connection. A fork server that allocated it for each would
    /// copy pages for each.
    pub(super) fn keep_name(&mut self, listener: &str) {
        if self.listener.as_deref() != Some(listener) {
            self.listener = Some(listener.into());
        }
    }

    /// Serves the connection, after [`Self::keep_name`]. Body of a child: returns the exit code.
    pub(super) fn start(&mut self, start: Start<'_>) -> u8 {
        let Start { handover: Handover { id, peer, accepted_at, slot, .. }, connection, supplements } = start;
        // First of all: the supervisor may hand the connection over again if the fork server dies before this report.
        let reported = self.channel.report(&Report::Started { slot });
        // A supervisor that was killed hands nothing over again: then the connection has this process alone.
        if reported.is_err() && Pid::parent() == self.supervisor {
            return Outcome::SystemError.code();
        }
        // Taken and not cloned: to count would write to its page.
        let listener = self.listener.take().unwrap_or_default();
        let identity = Identity::new(id, peer, listener, sys::instant_of(accepted_at));
        let Ok(slot) = Slot::map(self.scoreboard.as_fd(), slot) else { return Outcome::SystemError.code() };
        self.close_own();
        let Some(runtime) = self.runtime else {
            return self.serve_connection(identity, connection, &supplements, slot);
        };
        if let Err(error) = self.prepare_child(runtime) {
            return error.log(&ChildLog::new(&identity, &self.service.name, Some(slot))).code();
        }
        let mut connection = Some((identity, connection, supplements));
        runtime.detach(&mut || {
            if let Some((identity, connection, supplements)) = connection.take() {
                // Here, since a thread of the application may keep the runtime from this one.
                sys::exit_now(self.serve_connection(identity, connection, &supplements, slot));
            }
        });
        Outcome::Bug.code()
    }

    /// Serves the connection. Returns the exit code.
    fn serve_connection(
        &mut self,
        identity: Identity,
        socket: OwnedFd,
        supplements: &Supplements<OwnedFd>,
        slot: Slot,
    ) -> u8 {
        let connection = Connection { socket, identity };
        let Supplements { status, reports } = supplements;
        let output = self.program_output.as_ref().map(AsFd::as_fd);
        let kit = self.supplies.kit(slot, output, status.as_ref().map(AsFd::as_fd));
        let gate = reports.as_ref().map_or(Gate::Closed, |reports| Gate::Supervisor(reports.as_fd()));
        let code = child::run(&mut Work::new(&connection, &self.service, kit, gate));
        drop(connection.socket); // the client need not wait for the rest
        mem::forget(connection.identity); // to give up the name would write to its page
        code
    }

    /// Prepares a child for the code of an application, once: before that can start threads, which would have another
    /// confinement.
    fn prepare_child(&mut self, runtime: &dyn Runtime) -> Result<(), Unprepared> {
        if !mem::replace(&mut self.is_prepared, true) {
            child::prepare(&self.service)?;
            let _ = runtime.after_fork_in_child(); // its requests fail
        }
        Ok(())
    }

    /// Prepares a spare in the same way.
    ///
    /// # Errors
    /// It cannot serve a connection.
    pub(super) fn prepare_spare(&mut self, runtime: &dyn Runtime) -> Result<(), LoadError> {
        self.is_prepared = true;
        child::prepare(&self.service).map_err(|error| LoadError::from(error.to_string()))?;
        runtime.after_fork_in_child()
    }

    /// A child of a runtime gives up the descriptors of the fork server. (Others close all but their own.)
    fn close_own(&self) {
        if self.runtime.is_some() {
            let own = [self.channel.as_fd(), self.scoreboard.as_fd()].map(|fd| fd.as_raw_fd());
            let watched = self.changes.as_ref().map(Changes::descriptor);
            let _ = sys::close_each(own.into_iter().chain(watched)); // cannot fail
        }
    }
}

/// Waits until the kernel has given this process another parent: `parent` is about to exit.
pub(super) fn wait_for_adoption(parent: Pid) -> io::Result<()> {
    let Ok(pidfd) = sys::open_pidfd(parent.as_raw().unsigned_abs()) else {
        return Ok(()); // it has been reaped
    };
    poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
    Ok(())
}
