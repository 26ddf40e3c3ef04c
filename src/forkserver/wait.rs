//! What a fork server waits for: orders, and changes of the files of its applications.

use std::os::fd::AsFd;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::ForkServer;
use super::changes::Changes;
use crate::handover::Report;
use crate::sys;

/// What a fork server waits for.
enum Awaited {
    /// An order, or the end of the channel.
    Order,
    /// Files of applications have changed.
    Change,
    None,
}

impl ForkServer {
    /// Watches the files of applications, if that is configured. They are served also where that is not possible.
    pub(super) fn watch_for_changes(&mut self) -> Result<(), String> {
        let Some(python) = self.service.python().filter(|python| python.watches) else { return Ok(()) };
        let (changes, warning) = match Changes::watch(&python.search) {
            Ok((changes, warning)) => (Some(changes), warning),
            Err(error) => (None, Some(format!("unable to watch for changes with inotify(7): {error}"))),
        };
        self.changes = changes;
        warning.map_or(Ok(()), |sentence| self.warn(&sentence))
    }

    /// Applications that cannot be loaded are loaded by another fork server when their files change.
    pub(super) fn wait_for_change(&mut self) -> Result<(), String> {
        while self.changes.is_some() {
            match self.wait_for_event() {
                Awaited::Order => break, // the supervisor has closed the channel
                Awaited::Change => return self.report(&Report::Changed),
                Awaited::None => {}
            }
        }
        Ok(())
    }

    /// Waits for an order, while threads of the runtime may run, or for a change. The supervisor learns of changes.
    pub(super) fn wait_for_order(&mut self) -> Result<(), String> {
        while self.runtime.is_some() {
            match self.wait_for_event() {
                Awaited::Order => break,
                Awaited::Change => self.report(&Report::Changed)?,
                Awaited::None => {}
            }
        }
        Ok(())
    }

    fn wait_for_event(&mut self) -> Awaited {
        let Self { channel, changes, runtime, .. } = self;
        let due = changes.as_ref().and_then(Changes::next_event);
        let timeout = due.map_or(PollTimeout::NONE, |due| sys::poll_timeout(due, Instant::now()));
        let watched = changes.as_ref().map(AsFd::as_fd);
        let mut fds: Vec<_> = [Some(channel.as_fd()), watched]
            .into_iter()
            .flatten()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let mut wait = || _ = poll(&mut fds, timeout); // interrupted: as if nothing had come
        match runtime {
            Some(runtime) => runtime.detach(&mut wait),
            None => wait(),
        }
        let has_order = fds[0].any().unwrap_or(false);
        match changes.as_mut().is_some_and(|changes| changes.take(Instant::now())) {
            true => Awaited::Change,
            false if has_order => Awaited::Order,
            false => Awaited::None,
        }
    }
}
