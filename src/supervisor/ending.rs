//! How children are ended that do not end by themselves: terminated, and killed when their grace is over.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::children::{Child, Children};
use crate::outcome::TerminatedBy;
use crate::sys::{self, Exit, GRACE, Usage};

/// The bytes of each child, and when they were last seen to have moved.
pub type Movement = HashMap<Pid, (u64, Instant)>;

impl Child {
    /// Ends it by SIGTERM, or, what was told to end already, by SIGKILL.
    fn end(&mut self, pid: Pid, why: TerminatedBy, now: Instant) {
        let signal = if self.terminated_by.is_none() { Signal::SIGTERM } else { Signal::SIGKILL };
        self.terminated_by.get_or_insert(why);
        // Again, for as long as it is there: who hangs in the kernel dies late, and an intermediate is killed by
        // the name of its child, once that is known.
        self.due = Some(now + GRACE);
        self.signal(pid, signal);
    }

    /// Waits for it, and for nothing else, and ends it when it is due.
    pub(super) fn wait_for_end(&mut self, pid: Pid) -> io::Result<(Pid, Exit, Usage)> {
        let pidfd = sys::open_pidfd(pid.as_raw().unsigned_abs())?;
        loop {
            let timeout = self.due.map_or(PollTimeout::NONE, |due| sys::poll_timeout(due, Instant::now()));
            match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) if self.due.is_some_and(|due| Instant::now() >= due) => {
                    self.end(pid, TerminatedBy::Deadline, Instant::now());
                }
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return sys::wait_for(pid),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn signal(&self, pid: Pid, signal: Signal) {
        // An intermediate ends by itself at once, and its child is ended when it is adopted; killed now, it
        // could not name it. Unless it serves the connection itself.
        if !self.is_intermediate || self.slot.child() == Some(pid.as_raw()) {
            self.send(pid, signal);
        }
    }
}

impl Children {
    /// Ends those whose time is over.
    pub fn end_due(&mut self, now: Instant) {
        if self.next_due.is_none_or(|due| now < due) {
            return;
        }
        for (pid, child) in &mut self.by_pid {
            if child.due.is_some_and(|due| now >= due) {
                child.end(*pid, TerminatedBy::Deadline, now);
            }
        }
        self.next_due = self.by_pid.iter().filter_map(|(_, child)| child.due).min();
    }

    /// Terminates all whose bytes have not moved since then; with `None` all. Returns how many may go on.
    pub fn end_still(&mut self, movement: Option<(&Movement, Instant)>, now: Instant) -> usize {
        let is_moving = |pid: &Pid| {
            movement.is_some_and(|(movement, since)| movement.get(pid).is_some_and(|(_, at)| *at >= since))
        };
        let mut count = 0;
        for (pid, child) in self.by_pid.iter_mut().filter(|(_, child)| child.terminated_by.is_none()) {
            if is_moving(pid) {
                count += 1;
            } else {
                child.end(*pid, TerminatedBy::Drain, now);
            }
        }
        self.next_due = self.by_pid.iter().filter_map(|(_, child)| child.due).min();
        count
    }

    /// Brings up to date how many bytes of each child have moved, and when that has changed.
    pub fn note_movement(&self, movement: &mut Movement, now: Instant) {
        for (pid, child) in &self.by_pid {
            let bytes = child.slot.bytes();
            let (before, at) = movement.entry(*pid).or_insert((bytes, child.identity.accepted_at));
            if *before != bytes {
                (*before, *at) = (bytes, now);
            }
        }
    }

    /// Kills all, at once.
    pub fn kill_all(&mut self) {
        for (pid, child) in &mut self.by_pid {
            child.terminated_by.get_or_insert(TerminatedBy::Stop);
            child.signal(*pid, Signal::SIGKILL);
        }
    }
}
