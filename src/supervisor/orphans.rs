//! Orphans: what a connection leaves behind. A child that starts programs is a subreaper, and so is a program that a child
//! has become: all that they have started, in whatever session, stays below them, and comes to the supervisor when they
//! exit. So every child of the supervisor that it does not know is an orphan of a connection that has ended.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::events::{Event, Events};
use crate::sys::{self, Escalation, GRACE};

#[derive(Debug)]
struct Orphan {
    pid: Pid,
    pidfd: OwnedFd,
    /// None: it may live.
    escalation: Option<Escalation>,
}

/// What was found to be left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It had exited, and is reaped.
    Exited,
    /// It runs, and is being terminated.
    Ending,
    /// It runs, and may live.
    Kept,
}

/// More children than this are listed at intervals only.
const MANY: usize = 1000;
/// proc_pid_task(5)
const LIST: &str = "/proc/thread-self/children";
const WALK_INTERVAL: Duration = Duration::from_millis(100);

/// Processes that connections have left behind.
#[derive(Debug)]
pub(crate) struct Orphans {
    entries: Vec<Orphan>,
    /// [`LIST`].
    list: Option<File>,
    /// A walk was put off, until then.
    has_to_walk: bool,
    next_walk: Instant,
    /// No grace any more.
    is_killing: bool,
    /// When to wait for them no longer: a process can fork faster than its copies are killed.
    given_up_at: Option<Instant>,
    reaped: u64,
}

impl Orphans {
    pub(crate) fn new() -> Self {
        let (entries, next_walk) = (Vec::new(), Instant::now());
        Self {
            entries,
            list: None,
            has_to_walk: false,
            next_walk,
            is_killing: false,
            given_up_at: None,
            reaped: 0,
        }
    }

    /// Whether the children of this process may be listed now. With many children that takes a millisecond, so it is done
    /// at intervals then: see [`Self::is_walk_due`].
    pub(crate) fn begin_walk(&mut self, children: usize, now: Instant) -> bool {
        if children > MANY && now < self.next_walk {
            self.has_to_walk = true;
            return false;
        }
        (self.has_to_walk, self.next_walk) = (false, now + WALK_INTERVAL);
        true
    }

    /// A walk that was put off is due.
    pub(crate) fn is_walk_due(&self, now: Instant) -> bool {
        self.has_to_walk && now >= self.next_walk
    }

    /// Opens the list of children, so that no walk needs a descriptor when they are short.
    pub(crate) fn open_list(&mut self) {
        self.list = File::open(LIST).ok();
    }

    /// The children of this process.
    ///
    /// # Errors
    /// The kernel gives no list of children.
    pub(crate) fn list_children(&mut self) -> io::Result<Vec<Pid>> {
        if self.list.is_none() {
            self.list = Some(File::open(LIST)?);
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
        Ok(pids.collect())
    }

    pub(crate) fn pids(&self) -> impl Iterator<Item = Pid> {
        self.entries.iter().map(|orphan| orphan.pid)
    }

    /// Takes a child of this process as an orphan: terminates it, or lets it live. Reaps it if it has exited.
    pub(crate) fn add(&mut self, pid: Pid, is_kept: bool, events: &Events, now: Instant) -> Found {
        if !matches!(sys::reap(pid), Ok(None)) {
            self.reaped += 1;
            return Found::Exited;
        }
        let found = if is_kept { Found::Kept } else { Found::Ending };
        // It is not reaped, so that the pid is its own.
        let watch = |pidfd: OwnedFd| events.add_process(&pidfd, Event::Process(pid)).map(|()| pidfd);
        let Ok(pidfd) = sys::open_pidfd(pid.as_raw().unsigned_abs()).and_then(watch) else {
            // No descriptor for it: it is found again at the next walk, and reaped there.
            if !is_kept {
                let _ = kill(pid, Signal::SIGKILL); // it has exited already
                self.put_off_walk(now);
            }
            return found;
        };
        let mut escalation = (!is_kept || self.is_killing).then(|| Escalation::new(now));
        if let Some(escalation) = escalation.as_mut().filter(|_| self.is_killing) {
            escalation.kill(now);
        }
        self.entries.push(Orphan { pid, pidfd, escalation });
        self.refresh(now);
        found
    }

    pub(crate) fn contains(&self, pid: Pid) -> bool {
        self.pids().any(|own| own == pid)
    }

    /// Reaps the orphan if it has exited: what it has started is the supervisor's now. False: it cannot be reaped yet.
    pub(crate) fn reap(&mut self, pid: Pid) -> bool {
        if matches!(sys::reap(pid), Ok(None)) {
            return false;
        }
        self.entries.retain(|orphan| orphan.pid != pid);
        self.reaped += 1;
        true
    }

    /// Lists the children of this process again, soon.
    pub(crate) fn put_off_walk(&mut self, now: Instant) {
        (self.has_to_walk, self.next_walk) = (true, now + WALK_INTERVAL);
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
        self.given_up_at.get_or_insert(now + 2 * GRACE);
        for escalation in self.entries.iter_mut().filter_map(|orphan| orphan.escalation.as_mut()) {
            escalation.kill(now);
        }
        self.refresh(now);
    }

    /// None is to be terminated, or to be looked for.
    pub(crate) fn is_idle(&self) -> bool {
        !self.has_to_walk && self.entries.iter().all(|orphan| orphan.escalation.is_none())
    }

    /// None is to be terminated, or they have had all their time.
    pub(crate) fn are_over(&self, now: Instant) -> bool {
        self.is_idle() || self.given_up_at.is_some_and(|at| now >= at)
    }

    /// Orphans that were reaped.
    pub(crate) fn count_reaped(&self) -> u64 {
        self.reaped
    }

    /// When the next signal is due.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        let signals = self.entries.iter().filter_map(|orphan| orphan.escalation).map(|at| at.due());
        signals.chain(self.has_to_walk.then_some(self.next_walk)).chain(self.given_up_at).min()
    }
}

impl Orphan {
    fn send(&self, signal: Signal) {
        let _ = sys::send_signal(self.pidfd.as_fd(), signal); // it has exited already
    }
}
