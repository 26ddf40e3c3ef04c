//! What no fork server can do for its children.

use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::setsid;

use crate::confine;
use crate::journal::ChildLog;
use crate::outcome::Outcome;
use crate::service::Service;

/// Why a child cannot serve.
#[derive(Debug)]
pub(crate) enum Unprepared {
    System(io::Error),
    /// The limit with this key could not be set.
    Limit(&'static str, Errno),
}

impl Unprepared {
    /// Logs it for the connection of the child, whose outcome it is.
    #[cold]
    pub(crate) fn log(&self, journal: &ChildLog<'_>) -> Outcome {
        match self {
            Self::System(error) => {
                journal.log_system_error(None, "prepare the child", error);
                Outcome::SystemError
            }
            Self::Limit(key, errno) => {
                journal.log_limit_not_set(key, errno.desc());
                Outcome::ConfigError
            }
        }
    }
}

impl fmt::Display for Unprepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "unable to prepare the child: {error}"),
            Self::Limit(key, errno) => write!(f, "unable to set {key}: {}", errno.desc()),
        }
    }
}

/// Prepares this process, a child of the service, for what it serves.
///
/// # Errors
/// It must not serve then.
pub(crate) fn prepare(service: &Service) -> Result<(), Unprepared> {
    leave_session(service).and_then(|()| confine(service)).map_err(Unprepared::System)?;
    // Checked here: a call would touch another page of code, for services without limits.
    if service.rlimits.is_empty() { Ok(()) } else { apply_limits(service) }
}

/// Sets the limits of the service for this process.
///
/// # Errors
/// One cannot be set. It is no fault of the connection, and the next one will meet it as well.
#[cold]
#[inline(never)]
pub(crate) fn apply_limits(service: &Service) -> Result<(), Unprepared> {
    service.rlimits.apply().map_err(|(key, errno)| Unprepared::Limit(key, errno))
}

/// Leaves the session of the fork server, so that no other process can join the group of this one. A confined child that
/// starts no programs stays in that session: it can join no group (setpgid(2) is denied to it), and the kernel makes a
/// scheduling group for each session (sched(7)), which takes time.
fn leave_session(service: &Service) -> io::Result<()> {
    let confinement = &service.confinement;
    if confinement.starts_programs || !confinement.is_on {
        setsid()?;
    }
    Ok(())
}

/// Separates it from other children where they start programs, and lets it fork nothing where they do not.
fn confine(service: &Service) -> io::Result<()> {
    let confinement = &service.confinement;
    if confinement.core {
        prctl::set_dumpable(true)?;
    }
    match confinement.starts_programs {
        true => confine::separate(confinement),
        false if confinement.is_on => Ok(setrlimit(Resource::RLIMIT_NPROC, 0, 0)?),
        false => Ok(()),
    }
}
