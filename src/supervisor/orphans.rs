//! What children leave behind: processes of a program whose child is gone, or that a program has started and not
//! waited for. They come to the daemon, which is a subreaper, and it ends them by process group: SIGTERM, and
//! after some grace SIGKILL.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// Process groups that are being ended.
#[derive(Debug)]
pub struct Orphans {
    groups: Vec<(Pid, Instant)>,
    grace: Duration,
}

impl Orphans {
    pub fn new() -> Self {
        Self { groups: Vec::new(), grace: GRACE }
    }

    /// Asks what is left of a group to end. Only if one of our children is in it: its number may come from a slot,
    /// which may say anything. False: nobody is left, but perhaps some who have ended.
    pub fn end(&mut self, group: Pid, now: Instant) -> bool {
        let is_left = reap(group);
        if is_left {
            let _ = killpg(group, Signal::SIGTERM); // gone meanwhile: as wanted
            self.groups.push((group, now + self.grace));
        }
        is_left
    }

    /// Kills the groups whose grace is over, and forgets those that are gone.
    pub fn refresh(&mut self, now: Instant) {
        self.groups.retain(|&(group, until)| {
            let goes_on = is_ours(group);
            if goes_on && now >= until {
                let _ = killpg(group, Signal::SIGKILL);
            }
            goes_on
        });
    }

    /// From now on there is no grace.
    pub fn kill_all(&mut self, now: Instant) {
        self.grace = Duration::ZERO;
        for (_, until) in &mut self.groups {
            *until = now;
        }
        self.refresh(now);
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// When the grace of a group ends. Those that were killed already announce their end by SIGCHLD.
    pub fn next_event(&self, now: Instant) -> Option<Instant> {
        self.groups.iter().map(|&(_, until)| until).filter(|&until| until > now).min()
    }
}

/// Reaps those of a group who have ended. True: others go on.
fn reap(group: Pid) -> bool {
    loop {
        match waitpid(Pid::from_raw(-group.as_raw()), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Err(Errno::ECHILD) => return false,
            _ => {}
        }
    }
}

/// Whether a child of this process, dead or alive, is in that group.
fn is_ours(group: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::PGid(group), flags), Err(Errno::ECHILD))
}
