//! The processes of a daemon: fork servers and children.

use std::fs;

use nix::unistd::{Pid, getsid};

use super::{Server, wait_until};

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

    /// Waits until the only child sleeps in the `delay` of its route, and returns its PID. (The kernel has no event for
    /// that.)
    pub fn wait_delayed_child(&self) -> Pid {
        let mut pid = 0;
        wait_until("the only child sleeps", || {
            let [child] = self.children()[..] else { return false };
            pid = child;
            fs::read_to_string(format!("/proc/{child}/wchan")).is_ok_and(|at| at.contains("nanosleep"))
        });
        Pid::from_raw(pid)
    }
}

/// A fork server leads the session of its spares, and has the scoreboard open.
fn is_fork_server(pid: i32) -> bool {
    let is_leader = getsid(Some(Pid::from_raw(pid))).is_ok_and(|session| session.as_raw() == pid);
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut links = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    is_leader && links.any(|link| link.to_string_lossy().contains("lsbaws-scoreboard"))
}
