//! The Landlock domains (landlock(7)): which files, sockets and processes can be reached.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::{Confinement, Error};

/// The newest version whose rights are all known here; of an older kernel the crate takes what it has.
const NEWEST: ABI = ABI::V10;

/// Everything below these may be executed, and read: an administrator has installed it.
pub(super) const SYSTEM: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store"];

/// What programs read in addition when `read` is set. /etc has the accounts, names and certificates that C libraries
/// look up, and its secrets have modes of their own; what /proc and /sys have of other processes is out of reach by the
/// domain itself.
const COMMON: [&str; 4] = ["/etc", "/proc", "/sys/devices/system/cpu", "/run/systemd/resolve"];

const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// Devices without data of other processes.
const DEVICES: [&str; 8] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
];

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
const RUN: BitFlags<AccessFs> = make_bitflags!(AccessFs::{Execute | ReadFile | ReadDir});
const USE_DEVICE: BitFlags<AccessFs> =
    make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | IoctlDev});
/// Everything but to execute, and to make device files.
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSock | MakeFifo | MakeSym
    | Refer
});

/// To make files without names in a directory (open(2), `O_TMPFILE`), and none that have one.
const SPOOL: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile});

/// Opens what the domain of a confinement has rules for. `None`: it has no domain.
pub(super) fn prepare(
    confinement: &Confinement,
    roots: &[BorrowedFd<'_>],
    pages: &[BorrowedFd<'_>],
) -> Result<Option<RulesetCreated>, Error> {
    if !confinement.is_on || !confinement.landlock {
        return Ok(None);
    }
    let make = Error::at::<RulesetError>("make the Landlock domain");
    let mut domain = Domain(create(confinement).map_err(make)?);
    for directory in pages {
        domain.add(directory, READ)?;
    }
    if confinement.starts_programs {
        domain.add_programs(confinement, roots)?;
    } else {
        for root in roots {
            domain.add(root, READ)?;
        }
        // Entries for the journal, if it is started again: a right since Linux 7.1.
        domain.add_if_present("/run/systemd/journal", AccessFs::ResolveUnix.into())?;
    }
    Ok(Some(domain.0))
}

fn create(confinement: &Confinement) -> Result<RulesetCreated, RulesetError> {
    let mut files = AccessFs::from_all(NEWEST);
    if confinement.starts_programs {
        // Programs use the sockets of databases and of syslog(3), on every kernel.
        files.remove(AccessFs::ResolveUnix);
    }
    let ruleset = Ruleset::default().handle_access(files)?.scope(Scope::from_all(NEWEST))?;
    if confinement.starts_programs && confinement.network {
        return ruleset.create();
    }
    ruleset.handle_access(AccessNet::from_all(NEWEST))?.create()
}

/// A domain in the making.
struct Domain(RulesetCreated);

impl Domain {
    fn add_programs(&mut self, confinement: &Confinement, roots: &[BorrowedFd<'_>]) -> Result<(), Error> {
        for root in roots {
            self.add(root, RUN)?;
        }
        for path in SYSTEM {
            self.add_if_present(path, RUN)?;
        }
        for path in &confinement.execute {
            self.add_path(path, RUN, "execute")?;
        }
        match &confinement.read {
            None => self.add_path(Path::new("/"), READ, "read")?,
            Some(paths) => {
                for path in COMMON {
                    self.add_if_present(path, READ)?;
                }
                for path in paths {
                    self.add_path(path, READ, "read")?;
                }
            }
        }
        for path in TEMPORARY {
            self.add_if_present(path, WRITE)?;
        }
        for path in &confinement.writable {
            self.add_path(path, WRITE, "writable")?;
        }
        for path in confinement.spool.iter().filter(|path| !TEMPORARY.iter().any(|own| path.starts_with(own)))
        {
            self.add_path(path, SPOOL, "spool_directory")?;
        }
        for path in DEVICES {
            self.add_if_present(path, USE_DEVICE)?;
        }
        Ok(())
    }

    /// `key`: that of `[service.NAME.confine]` which permits the path.
    fn add_path(&mut self, path: &Path, access: BitFlags<AccessFs>, key: &'static str) -> Result<(), Error> {
        let opened = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        let opened = opened.map_err(|errno| {
            let error = Error::at(format!("open {}", path.display()))(errno.desc());
            Error { key: Some(key), ..error }
        });
        self.add(opened?, access)
    }

    /// A system need not have each of the usual directories, nor let this user find them.
    fn add_if_present(&mut self, path: &str, access: BitFlags<AccessFs>) -> Result<(), Error> {
        PathFd::new(path).map_or(Ok(()), |path| self.add(path, access))
    }

    fn add(&mut self, fd: impl AsFd, access: BitFlags<AccessFs>) -> Result<(), Error> {
        // Rights of directories are an error for a file.
        let is_directory =
            nix::sys::stat::fstat(fd.as_fd()).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR);
        let access = if is_directory { access } else { access & AccessFs::from_file(NEWEST) };
        (&mut self.0)
            .add_rule(PathBeneath::new(fd, access))
            .map(drop)
            .map_err(Error::at("add a rule to the Landlock domain"))
    }
}

/// A domain within that of the fork server, of one child or one program: processes outside it can be neither traced nor
/// signalled, and their abstract sockets not reached. It costs some microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer {
    is_on: bool,
}

impl Layer {
    pub(crate) fn new(confinement: &Confinement) -> Self {
        Self { is_on: confinement.is_on && confinement.landlock && confinement.starts_programs }
    }

    /// Makes this process the first one of a new domain.
    ///
    /// # Errors
    /// Those of landlock_restrict_self(2); E2BIG when it is nested too deeply.
    pub(crate) fn enter(self) -> io::Result<()> {
        if self.is_on { enter().map_err(io::Error::other) } else { Ok(()) }
    }
}

fn enter() -> Result<(), RulesetError> {
    enter_with(Ruleset::default().scope(Scope::from_all(NEWEST))?)
}

/// Enters a domain that denies no file: it grants everywhere what it handles. Without scopes, which came with ABI 6, a domain
/// must handle something; and every domain denies to move and to link files between directories unless it grants that.
pub(super) fn enter_with(ruleset: Ruleset) -> Result<(), RulesetError> {
    let harmless = AccessFs::MakeBlock | AccessFs::Refer;
    let mut domain = ruleset.handle_access(harmless)?.create()?;
    if let Ok(everything) = PathFd::new("/") {
        domain = domain.add_rule(PathBeneath::new(everything, harmless))?;
    }
    domain.restrict_self()?;
    Ok(())
}
