//! What the processes of a service can reach: nothing but what its routes need. A fork server confines itself once, and
//! its children inherit that; docs/security.md has the reasons.
//!
//! [`domain`] has the files and the network (Landlock), [`filter`] the system calls (seccomp): [`allowed`] in services
//! that start no programs, [`denied`] in those that do.

#![forbid(unsafe_code)]

mod allowed;
mod calls;
mod denied;
mod describe;
mod domain;
mod executable;
mod filter;
mod gaps;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, getegid, geteuid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

pub(crate) use domain::Layer;
pub(crate) use gaps::{Gap, find_gaps};

use crate::sys;

/// What the processes of one service are confined to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// False with `confine = false`. `core` and `user` count in either case.
    pub(crate) is_on: bool,
    pub(crate) landlock: bool,
    pub(crate) seccomp: bool,
    /// Whether its children start programs: `cgi` and `exec`.
    pub(crate) starts_programs: bool,
    /// The directories of the routes, for messages; [`apply`] gets them as descriptors.
    pub(crate) roots: Vec<PathBuf>,
    /// The directories of the error pages, likewise.
    pub(crate) pages: Vec<PathBuf>,
    /// What programs may run in addition to what lies in roots and system directories: the programs and interpreters of
    /// the routes, files or directories.
    pub(crate) execute: Vec<PathBuf>,
    /// The only files that programs read, in addition to roots, programs and system directories. All files if not set.
    pub(crate) read: Option<Vec<PathBuf>>,
    /// Where programs write, in addition to the directories for temporary files.
    pub(crate) writable: Vec<PathBuf>,
    /// Where children store content, in files without names.
    pub(crate) spool: Vec<PathBuf>,
    /// Whether programs reach the network.
    pub(crate) network: bool,
    /// Whether a process may leave a core file.
    pub(crate) core: bool,
    pub(crate) user: Option<User>,
}

/// The user that the processes of a service run as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    /// As configured: a name, or a number.
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
}

/// Why a process could not be confined.
#[derive(Debug, thiserror::Error)]
#[error("unable to {step}: {reason}")]
pub(crate) struct Error {
    step: String,
    reason: String,
    /// The key of `[service.NAME.confine]` that has the path which cannot be opened.
    key: Option<&'static str>,
}

impl Error {
    /// Names the step that failed.
    fn at<E: Display>(step: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |reason| Self { step: step.into(), reason: reason.to_string(), key: None }
    }

    /// The sentence, with the key of the service that it is about.
    pub(crate) fn describe(&self, service: &str) -> String {
        match self.key {
            // The domain executes the programs of the routes, and reads their document roots, by the same rules.
            Some(key @ ("execute" | "read")) => {
                format!("{self} (service.{service}.confine.{key}, or a path of its routes)")
            }
            Some(key) => format!("{self} (service.{service}.confine.{key})"),
            None => self.to_string(),
        }
    }
}

/// Confines this process, and all that it forks from now on. `roots`: the directories of the routes; `pages`:
/// those of the error pages, in which programs run nothing; `lock`: the only file that children may lock; `connection`: the number of the
/// descriptor of each connection.
///
/// # Errors
/// A step that the kernel has and refuses. What it does not have is in the result.
pub(crate) fn apply(
    confinement: &Confinement,
    roots: &[BorrowedFd<'_>],
    pages: &[BorrowedFd<'_>],
    lock: Option<BorrowedFd<'_>>,
    connection: RawFd,
) -> Result<Vec<Gap>, Error> {
    let Confinement { is_on, user, core, .. } = confinement;
    if !core {
        setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(Error::at("set the limit of core files"))?;
    }
    // Opened by the user that has started the daemon: another one must not need to find them.
    let domain = domain::prepare(confinement, roots, pages)?;
    if *is_on || user.is_some() {
        sys::empty_bounding_set();
    }
    if let Some(user) = user {
        user.switch()?;
    }
    if *is_on || user.is_some() {
        sys::drop_capabilities().map_err(Error::at("drop the capabilities"))?;
    }
    // A change of the user has set it to what /proc/sys/fs/suid_dumpable has.
    prctl::set_dumpable(false).map_err(Error::at("forbid to trace this process"))?;
    if !is_on {
        return Ok(Vec::new());
    }
    prctl::set_no_new_privs().map_err(Error::at("set no_new_privs"))?;
    let gaps = find_gaps(confinement);
    if let Some(domain) = domain {
        domain.restrict_self().map_err(Error::at("enter the Landlock domain"))?;
    }
    if confinement.seccomp {
        filter::install(confinement, lock, connection)
            .map_err(Error::at("install the filter of system calls"))?;
    }
    Ok(gaps)
}

/// Separates this process from its siblings: see [`Layer`]. For a child that starts programs, and once more for each
/// program.
///
/// # Errors
/// Those of landlock_restrict_self(2).
pub(crate) fn separate(confinement: &Confinement) -> io::Result<()> {
    Layer::new(confinement).enter()
}

impl User {
    /// Makes this process run as the user (setresuid(2)).
    fn switch(&self) -> Result<(), Error> {
        if self.is_current() {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<_> = self.groups.iter().copied().map(Gid::from_raw).collect();
        let switch = || {
            setgroups(&groups)?;
            setresgid(gid, gid, gid)?;
            setresuid(uid, uid, uid)
        };
        switch().map_err(Error::at(format!("become the user {uid}")))
    }

    /// Whether this process runs as the user already. A process that may switch always switches, for the sake of the
    /// supplementary groups.
    pub(crate) fn is_current(&self) -> bool {
        let uid = geteuid();
        !uid.is_root() && uid.as_raw() == self.uid && getegid().as_raw() == self.gid
    }
}
