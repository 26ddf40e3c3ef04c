//! Children that have not reported. A child reports first of all, and is in the session of its fork server until then. One that
//! dies before, or does not run, would keep its connection waiting.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getsid};

use super::child::Child;
use super::connections::Connections;
use super::fork_servers::SPARE_PAUSE;
use crate::journal;
use crate::sys::{self, Exit};

/// A connection that is younger than this is handed over again at once when its child has died.
const AT_ONCE: Duration = Duration::from_secs(1);

impl Connections {
    /// Hands connections over again whose process has not started for a while: where the child has died, or the fork server
    /// does not run, which is killed.
    pub(super) fn hand_over_late(&mut self, now: Instant) {
        let Some(late) = self.children.find_late(now) else { return };
        self.reap_unreported(&late.servers, now);
        if !late.stalled.is_empty() {
            self.launcher.fork_servers.kill_stalled(&late.stalled);
            self.kill_unreported(&late.stalled, now);
        }
    }

    fn reap_unreported(&mut self, servers: &[u32], now: Instant) {
        let mut dead = self.list_unreported(servers);
        dead.retain(|(pid, _)| has_exited(*pid));
        // What they have reported before they died is here, so that those that are unknown now have not.
        for (pid, server) in self.list_again(dead, servers, now) {
            if let Some(child) = self.children.take_forked(pid, server) {
                self.replace_dead(child, pid, now);
            } else if !self.children.awaits_fork(server)
                && self.launcher.fork_servers.get(server).is_some_and(|server| server.awaits_spare())
            {
                let _ = sys::reap(pid);
                self.with_server(server, |server| server.lose_order(now + SPARE_PAUSE));
            }
        }
    }

    /// Hands a connection over again whose child has died before it took it. When that goes on, the connection waits, and is
    /// refused in the end.
    fn replace_dead(&mut self, child: Child, pid: Pid, now: Instant) {
        let exit = match sys::reap(pid) {
            Ok(Some((exit, _))) => exit,
            _ => Exit::Unknown,
        };
        let reason = format!("its child {exit} before it took the connection");
        journal::log_service_warning(&child.service().name, &format!("{}: {reason}", child.identity().peer));
        if now.saturating_duration_since(child.identity().accepted_at) < AT_ONCE {
            return self.start_again(child, now);
        }
        self.launcher.release(child.slot(), false);
        if let Some((connection, service)) = child.into_connection() {
            self.defer(connection, service, io::Error::other(reason), now);
        }
    }

    /// Kills the children of these fork servers that have not reported, and do not: stopped ones, which keep the channel
    /// open.
    pub(super) fn kill_unreported(&mut self, servers: &[u32], now: Instant) {
        let unreported = self.list_unreported(servers);
        for (pid, _) in self.list_again(unreported, servers, now) {
            let _ = kill(pid, Signal::SIGKILL); // not reaped, so that the pid is its own
        }
    }

    /// The unknown children of this process that are in the session of one of these fork servers, each with that.
    fn list_unreported(&mut self, servers: &[u32]) -> Vec<(Pid, u32)> {
        let mut unknown = self.orphans.list_children().unwrap_or_default();
        self.retain_unknown(&mut unknown);
        let fork_servers = &self.launcher.fork_servers;
        let sessions: Vec<_> = servers
            .iter()
            .filter_map(|&id| fork_servers.get(id))
            .map(|server| (server.pid, server.id))
            .collect();
        let find_server = |pid: Pid| {
            let session = getsid(Some(pid)).ok()?;
            sessions.iter().find(|(own, _)| *own == session).map(|&(_, id)| (pid, id))
        };
        unknown.into_iter().filter_map(find_server).collect()
    }

    /// Those of `unreported` that are still unknown when every report is read, and whose fork server is still known: the
    /// children of others may be reaped by then.
    fn list_again(&mut self, unreported: Vec<(Pid, u32)>, servers: &[u32], now: Instant) -> Vec<(Pid, u32)> {
        if unreported.is_empty() {
            return unreported;
        }
        servers.iter().for_each(|&server| self.receive_reports(server, now));
        let mut pids: Vec<_> = unreported.iter().map(|&(pid, _)| pid).collect();
        self.retain_unknown(&mut pids);
        let fork_servers = &self.launcher.fork_servers;
        let is_left = |(pid, server): &(Pid, u32)| pids.contains(pid) && fork_servers.get(*server).is_some();
        unreported.into_iter().filter(is_left).collect()
    }
}

/// Whether this is a child of this process, which is not reaped.
pub(super) fn is_child(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    pid.as_raw() > 0 && waitid(Id::Pid(pid), flags).is_ok()
}

/// Whether a child of this process has exited. It is not reaped.
fn has_exited(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(waitid(Id::Pid(pid), flags), Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)))
}

/// The same also before it can be reaped: the kernel has closed its descriptors by then.
pub(super) fn is_ending(pid: Pid) -> bool {
    is_exiting(pid).unwrap_or(false) || has_exited(pid)
}

/// The bit of the flags of a process that is about to exit (include/linux/sched.h), which proc_pid_stat(5) shows.
const PF_EXITING: u32 = 4;

fn is_exiting(pid: Pid) -> Option<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?; // from the state on, the third one; the flags are the ninth
    let flags: u32 = fields.split(' ').nth(6)?.parse().ok()?;
    Some(flags & PF_EXITING != 0)
}
