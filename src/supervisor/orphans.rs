//! Orphans: what a connection leaves behind. A child that starts programs is a subreaper, and so is a program that a child
//! has become: all that they have started, in whatever session, stays below them, and comes to the supervisor when they
//! exit. So every child of the supervisor that it does not know is an orphan of a connection that has ended.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::events::{Event, Events};
use crate::sys::{self, Escalation};

#[derive(Debug)]
struct Orphan {
    pid: Pid,
    pidfd: OwnedFd,
    /// None: it may live.
    escalation: Option<Escalation>,
}

/// Processes that connections have left behind.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    entries: Vec<Orphan>,
    /// /proc/thread-self/children (proc_pid_task(5)).
    list: Option<File>,
    /// No grace any more.
    is_killing: bool,
    reaped: u64,
}

impl Orphans {
    /// The children of this process that `is_known` does not accept and that are no orphans yet.
    ///
    /// # Errors
    /// The kernel gives no list of children.
    pub(crate) fn list_unknown(&mut self, is_known: impl Fn(Pid) -> bool) -> io::Result<Vec<Pid>> {
        if self.list.is_none() {
            self.list = Some(File::open("/proc/thread-self/children")?);
        }
        // One system call for some hundred children.
        let (mut bytes, mut length) = (vec![0; 4096], 0);
        while let Some(list) = &self.list
            && let count @ 1.. = list.read_at(&mut bytes[length..], length as u64)?
        {
            length += count;
            if length < bytes.len() {
                break;
            }
            bytes.resize(2 * length, 0);
        }
        let text = String::from_utf8_lossy(&bytes[..length]);
        let pids = text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw);
        Ok(pids.filter(|&pid| !self.contains(pid) && !is_known(pid)).collect())
    }

    fn contains(&self, pid: Pid) -> bool {
        self.entries.iter().any(|orphan| orphan.pid == pid)
    }

    /// Takes a child of this process as an orphan: terminates it, or lets it live. False: it has exited already.
    pub(crate) fn add(&mut self, pid: Pid, is_kept: bool, events: &Events, now: Instant) -> bool {
        if !matches!(sys::reap(pid), Ok(None)) {
            self.reaped += 1;
            return false;
        }
        // It is not reaped, so that the pid is its own.
        let Ok(pidfd) = sys::open_pidfd(pid.as_raw().unsigned_abs()) else { return true };
        if events.add(&pidfd, Event::Process(pid)).is_err() {
            return true; // found again at the next look
        }
        let mut escalation = (!is_kept || self.is_killing).then(|| Escalation::new(now));
        if let Some(escalation) = escalation.as_mut().filter(|_| self.is_killing) {
            escalation.kill(now);
        }
        self.entries.push(Orphan { pid, pidfd, escalation });
        self.refresh(now);
        true
    }

    /// Reaps the orphan if it has exited. What it has started may have come to the supervisor; true: that may live as well.
    pub(crate) fn reap(&mut self, pid: Pid) -> Option<bool> {
        let index = self.entries.iter().position(|orphan| orphan.pid == pid)?;
        if matches!(sys::reap(pid), Ok(None)) {
            return None;
        }
        self.reaped += 1;
        Some(self.entries.swap_remove(index).escalation.is_none())
    }

    /// Sends the signals that are due.
    pub(crate) fn refresh(&mut self, now: Instant) {
        for orphan in &mut self.entries {
            if let Some(signal) = orphan.escalation.as_mut().and_then(|at| at.take_signal(now)) {
                orphan.send(signal);
            }
        }
    }

    /// Kills all at once, and later ones without grace. Those that may live are spared.
    pub(crate) fn kill_all(&mut self, now: Instant) {
        self.is_killing = true;
        for escalation in self.entries.iter_mut().filter_map(|orphan| orphan.escalation.as_mut()) {
            escalation.kill(now);
        }
        self.refresh(now);
    }

    /// None is to be terminated.
    pub(crate) fn is_idle(&self) -> bool {
        self.entries.iter().all(|orphan| orphan.escalation.is_none())
    }

    /// Orphans that were reaped.
    pub(crate) fn count_reaped(&self) -> u64 {
        self.reaped
    }

    /// When the next signal is due.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        self.entries.iter().filter_map(|orphan| orphan.escalation).map(|at| at.due()).min()
    }
}

impl Orphan {
    fn send(&self, signal: Signal) {
        let _ = sys::send_signal(self.pidfd.as_fd(), signal); // it has exited already
    }
}
