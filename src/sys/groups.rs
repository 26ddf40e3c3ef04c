//! Which processes, and which process groups, are this process's own children.

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

/// Whether `pid` is a child of this process, running or not reaped yet (waitid(2), `WNOWAIT`).
pub(crate) fn is_own_child(pid: Pid) -> bool {
    has_child(Id::Pid(pid))
}

/// Whether a child of this process, running or not reaped yet, is in the process group (waitid(2), `WNOWAIT`).
pub(crate) fn is_own_group(group: Pid) -> bool {
    has_child(Id::PGid(group))
}

/// Reaps the children of this process that are in the process group and have exited. True: others of them still
/// run.
pub(crate) fn reap_group(group: Pid) -> bool {
    loop {
        match waitpid(Pid::from_raw(-group.as_raw()), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Err(Errno::ECHILD) => return false,
            _ => {} // one was reaped; of a real-time signal waitpid makes an error
        }
    }
}

fn has_child(id: Id<'_>) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(id, flags), Err(Errno::ECHILD))
}
