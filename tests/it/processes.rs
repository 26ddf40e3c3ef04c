//! The processes of a daemon: fork servers and children.

use std::fs;
use std::net::SocketAddr;

use nix::unistd::Pid;

use super::{Server, wait_until};

/// The flag of a process that was forked and has executed no program (linux/sched.h).
const PF_FORKNOEXEC: u32 = 0x40;

impl Server {
    /// The PIDs of the children that serve, or wait for, connections, zombies too.
    pub fn children(&self) -> Vec<i32> {
        let mut pids = self.processes();
        pids.retain(|&pid| !is_fork_server(pid));
        pids
    }

    /// The PIDs of the fork servers.
    pub fn fork_servers(&self) -> Vec<i32> {
        let mut pids = self.processes();
        pids.retain(|&pid| is_fork_server(pid));
        pids
    }

    /// The PIDs of all processes whose parent is the daemon, zombies too.
    fn processes(&self) -> Vec<i32> {
        let pid = self.pid();
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Waits until the only child has read its request and sleeps in the `delay` of its route. Returns its PID.
    pub fn wait_delayed_child(&self) -> Pid {
        let mut pid = 0;
        wait_until("the only child sleeps", || {
            let [child] = self.children()[..] else { return false };
            pid = child;
            self.has_read_all() && is_asleep(child)
        });
        Pid::from_raw(pid)
    }

    /// Waits until all children have read what was sent to them, and sleep. (The kernel has no event for that.)
    pub fn wait_idle_children(&self) {
        wait_until("the children are idle", || {
            self.has_read_all() && self.children().into_iter().all(is_asleep)
        });
    }

    /// Whether everything has been read that clients sent. What is not acknowledged at the first look may not have been
    /// there to read at the second.
    fn has_read_all(&self) -> bool {
        (0..2).all(|_| queues_are_empty(self.address()))
    }
}

/// A fork server was executed, and its children were not.
fn is_fork_server(pid: i32) -> bool {
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let Some(state) = read_state(pid) else { return false };
    let flags: u32 = state.split(' ').nth(6).unwrap().parse().unwrap();
    let is_title =
        command.starts_with("lsbaws\0fork-server\0") || command.starts_with("lsbaws: fork-server ");
    is_title && flags & PF_FORKNOEXEC == 0
}

fn is_asleep(pid: i32) -> bool {
    read_state(pid).is_some_and(|state| state.starts_with('S'))
}

/// The state of a process and what follows it in /proc/PID/stat (proc_pid_stat(5)). All users may read it.
fn read_state(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ").map(|(_, state)| state.to_owned())
}

/// Whether neither end of any connection to `address` has bytes that are not acknowledged or not read (proc_net(5)).
fn queues_are_empty(address: SocketAddr) -> bool {
    const ESTABLISHED: &str = "01";
    let port = format!(":{:04X}", address.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).all(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_ours = fields[1].ends_with(&port) || fields[2].ends_with(&port);
        !is_ours || fields[3] != ESTABLISHED || fields[4] == "00000000:00000000"
    })
}
