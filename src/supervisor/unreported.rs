//! Children that have not reported. A child reports first of all, and is in the session of its fork server until then. One that
//! dies before, or does not run, would keep its connection waiting.

use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getsid};

use super::connections::Connections;
use super::fork_servers::SPARE_PAUSE;
use crate::sys;

impl Connections {
    /// Looks after connections whose process has not started for a while. A child that has died is reaped, and its
    /// connection is handed over again. A fork server that does not run is killed.
    pub(super) fn help_late(&mut self, now: Instant) {
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
                let _ = sys::reap(pid); // it has exited
                self.start_again(child, now);
            } else if self.launcher.fork_servers.get(server).is_some_and(|server| server.awaits_spare()) {
                let _ = sys::reap(pid);
                self.with_server(server, |server| server.lose_order(now + SPARE_PAUSE));
            }
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

    /// Those of `unreported` that are still unknown when every report is read.
    fn list_again(&mut self, unreported: Vec<(Pid, u32)>, servers: &[u32], now: Instant) -> Vec<(Pid, u32)> {
        if unreported.is_empty() {
            return unreported;
        }
        servers.iter().for_each(|&server| self.receive_reports(server, now));
        let mut pids: Vec<_> = unreported.iter().map(|&(pid, _)| pid).collect();
        self.retain_unknown(&mut pids);
        unreported.into_iter().filter(|(pid, _)| pids.contains(pid)).collect()
    }
}

/// Whether a child of this process has exited. It is not reaped.
fn has_exited(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(waitid(Id::Pid(pid), flags), Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)))
}
