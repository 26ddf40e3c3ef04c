//! Processes that a program leaves when it exits. This process is a subreaper, so that they become its children, in
//! whatever session they are.

use std::fs;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::sys;

/// The children of this process that run, but for the program itself: they are not reaped, so that no other process has
/// their pids. Reaps those that have exited.
///
/// None where the kernel gives no list of them (proc_tid_children(5)): then they come to the supervisor, which terminates
/// them.
pub(crate) fn list_children(program: Option<Pid>) -> Vec<Pid> {
    if !has_children() {
        return Vec::new(); // the usual case, without a look into /proc
    }
    let text = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    let pids = text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw);
    pids.filter(|&pid| Some(pid) != program && matches!(sys::reap(pid), Ok(None))).collect()
}

/// Whether this process has a child, running or not reaped yet.
fn has_children() -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, flags) != Err(Errno::ECHILD)
}
