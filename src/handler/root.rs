//! Finds files below a root directory that no path can leave: one openat2(2) for each lookup, so that nothing can
//! change between a check and its use.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, stat};
use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::sys;

/// openat2(2) fails with EAGAIN when a file is renamed while it follows a symbolic link with `..`, and with EINTR on
/// some network file systems. Both errors are temporary.
const ATTEMPTS: usize = 8;

/// A directory with the files to serve. What is looked up in it is in the open directory, wherever its path leads by then.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Root {
    /// As configured.
    path: PathBuf,
    #[serde(with = "sys::by_number")]
    directory: OwnedFd,
    follow_symlinks: bool,
}

/// Why a file was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// It does not exist, is outside the root, or is neither a regular file nor a directory.
    NotFound,
    /// The daemon has no permission.
    Forbidden,
    /// Too few descriptors or too little memory.
    Shortage,
    /// The file system failed.
    Failed(Errno),
}

impl From<Errno> for LookupError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EACCES | Errno::EPERM => Self::Forbidden,
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN | Errno::EINTR => Self::Shortage,
            // No such name, or one that the file system cannot have.
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::EINVAL | Errno::EILSEQ => {
                Self::NotFound
            }
            // A symbolic link that leads outside the root, or that is not followed.
            Errno::EXDEV | Errno::ELOOP => Self::NotFound,
            // A socket, a device without a driver, or a file that another host has removed.
            Errno::ENXIO | Errno::ENODEV | Errno::ESTALE => Self::NotFound,
            errno => Self::Failed(errno),
        }
    }
}

impl LookupError {
    /// The status, a sentence for the client, and the outcome of the request.
    pub(crate) fn describe(self) -> (u16, &'static str, Outcome) {
        match self {
            Self::NotFound => (404, "no such file", Outcome::Served),
            Self::Forbidden => (403, "no permission to read the file", Outcome::Served),
            Self::Shortage => {
                (503, "the server has too few descriptors or too little memory", Outcome::SystemError)
            }
            Self::Failed(_) => (500, "unable to read the file", Outcome::SystemError),
        }
    }
}

/// The types of files that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    File,
    Directory,
}

/// Metadata of a file or directory (fstat(2)).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metadata {
    pub(crate) kind: FileKind,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Last modified: seconds since the epoch, and nanoseconds.
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: i64,
}

impl Metadata {
    /// `None` for anything but a regular file or a directory.
    pub(crate) fn new(stat: &FileStat) -> Option<Self> {
        let kind = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => FileKind::File,
            SFlag::S_IFDIR => FileKind::Directory,
            _ => return None,
        };
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let (seconds, nanoseconds) = (stat.st_mtime, stat.st_mtime_nsec);
        Some(Self { kind, size, device: stat.st_dev, inode: stat.st_ino, seconds, nanoseconds })
    }

    /// Whether `path` leads to this very file or directory now.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        stat(path).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (self.device, self.inode))
    }
}

/// An open file or directory.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) fd: OwnedFd,
    pub(crate) metadata: Metadata,
}

impl Root {
    /// Opens a directory, and checks that this user can find files in it.
    ///
    /// Fails as open(2) and openat2(2) do. openat2 requires Linux 5.6.
    pub(crate) fn open(path: &Path, follow_symlinks: bool) -> nix::Result<Self> {
        let root = Self { path: path.to_owned(), directory: open_directory(path)?, follow_symlinks };
        root.resolve(b".", OFlag::O_PATH)?;
        Ok(root)
    }

    /// As configured.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path leads to another directory than the open one.
    ///
    /// # Errors
    /// Those of stat(2): ENOENT when it leads nowhere.
    pub(crate) fn has_moved(&self) -> nix::Result<bool> {
        let (open, named) = (fstat(&self.directory)?, stat(&self.path)?);
        Ok((open.st_dev, open.st_ino) != (named.st_dev, named.st_ino))
    }

    /// Opens the directory that the path leads to now, in place of the open one: its descriptor keeps its number.
    ///
    /// # Errors
    /// Those of open(2). The directory stays as it was.
    pub(crate) fn reopen(&self) -> nix::Result<()> {
        sys::replace_fd(self.directory.as_fd(), open_directory(&self.path)?)
    }

    /// The path of the root below which `path` leads to what was found there: the configured one or, where that leads to
    /// another directory by now, the one that the open directory has.
    pub(crate) fn path_to(&self, path: &[u8], found: &Metadata) -> Cow<'_, Path> {
        let leads_there = |root: &Path| found.is_at(&root.join(OsStr::from_bytes(path)));
        if leads_there(&self.path) {
            return Cow::Borrowed(&self.path);
        }
        let own = fs::read_link(format!("/proc/self/fd/{}", self.directory.as_raw_fd())).ok();
        own.filter(|own| leads_there(own)).map_or(Cow::Borrowed(&self.path), Cow::Owned)
    }

    /// Opens a file or directory for reading. `path` is relative to the root, and empty for the root itself.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub(crate) fn find(&self, path: &[u8]) -> Result<OpenFile, LookupError> {
        // Non-blocking, since the open of a FIFO waits for a writer. It does not affect regular files.
        self.find_by(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
    }

    /// Opens a file or directory that need not be readable, as a place in the file system (`O_PATH` in open(2)).
    ///
    /// # Errors
    /// See [`LookupError`].
    pub(crate) fn pin(&self, path: &[u8]) -> Result<OpenFile, LookupError> {
        self.find_by(path, OFlag::O_PATH)
    }

    /// The metadata of a file or directory, which need not be readable.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub(crate) fn examine(&self, path: &[u8]) -> Result<Metadata, LookupError> {
        Ok(self.pin(path)?.metadata)
    }

    /// Whether `path` is a regular file, which need not be readable.
    pub(crate) fn is_file(&self, path: &[u8]) -> bool {
        self.examine(path).is_ok_and(|metadata| metadata.kind == FileKind::File)
    }

    /// Like [`Root::find`], but for regular files only.
    ///
    /// # Errors
    /// See [`LookupError`]; a directory is `NotFound`.
    pub(crate) fn find_file(&self, path: &[u8]) -> Result<OpenFile, LookupError> {
        self.find(path).and_then(|node| match node.metadata.kind {
            FileKind::File => Ok(node),
            FileKind::Directory => Err(LookupError::NotFound),
        })
    }

    fn find_by(&self, path: &[u8], flags: OFlag) -> Result<OpenFile, LookupError> {
        let fd = self.resolve(if path.is_empty() { b"." } else { path }, flags)?;
        let metadata = Metadata::new(&fstat(&fd)?).ok_or(LookupError::NotFound)?;
        Ok(OpenFile { fd, metadata })
    }

    fn resolve(&self, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        let mut beneath = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        beneath.set(ResolveFlag::RESOLVE_NO_SYMLINKS, !self.follow_symlinks);
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(beneath);
        let mut result = Err(Errno::EAGAIN);
        for _ in 0..ATTEMPTS {
            result = openat2(&self.directory, path, how);
            if !matches!(result, Err(Errno::EAGAIN | Errno::EINTR)) {
                break;
            }
        }
        result
    }
}

fn open_directory(path: &Path) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// The directory itself, which children keep open.
impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a segment of the path begins with a dot, as in `.git` or `.htpasswd`. Such files are not served, but for
/// `.well-known` (RFC 8615).
pub(crate) fn is_hidden(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|segment| segment.starts_with(b".") && segment != b".well-known")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_files_below_the_root_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("root/sub")).unwrap();
        fs::write(at("secret"), "").unwrap();
        fs::write(at("root/file"), "four").unwrap();
        symlink("../secret", at("root/out")).unwrap();
        symlink(at("secret"), at("root/absolute")).unwrap();
        symlink("../file", at("root/sub/inside")).unwrap();
        symlink("loop", at("root/loop")).unwrap();
        symlink("/proc/self/root", at("root/magic")).unwrap();
        symlink("/dev/zero", at("root/zero")).unwrap();
        // Not by bind(2), which limits the length of the path.
        let (socket, mode) = (nix::sys::stat::SFlag::S_IFSOCK, nix::sys::stat::Mode::S_IRWXU);
        nix::sys::stat::mknod(&at("root/socket"), socket, mode, 0).unwrap();
        let root = Root::open(&at("root"), true).unwrap();
        let size = |path: &str| root.find_file(path.as_bytes()).map(|node| node.metadata.size);
        assert_eq!(size("file"), Ok(4));
        assert_eq!(size("sub/inside"), Ok(4));
        let long = "x".repeat(5000);
        for path in [
            "",
            ".",
            "sub",
            "../secret",
            "sub/../../secret",
            "/etc/passwd",
            "out",
            "absolute",
            "loop",
            "magic/etc/passwd",
            "zero",
            "socket",
            "file/",
            "file/x",
            "nothing",
            &long,
        ] {
            assert_eq!(size(path), Err(LookupError::NotFound), "{path}");
        }
        assert_eq!(root.find(b"").unwrap().metadata.kind, FileKind::Directory);
        assert_eq!(root.find(b"sub/").unwrap().metadata.kind, FileKind::Directory);
        let strict = Root::open(&at("root"), false).unwrap();
        assert_eq!(strict.find_file(b"file").unwrap().metadata.size, 4);
        assert_eq!(strict.find_file(b"sub/inside").unwrap_err(), LookupError::NotFound);
    }

    #[test]
    fn names_are_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let every: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
        for name in every.chunks(85) {
            fs::write(folder.path().join(OsStr::from_bytes(name)), name).unwrap();
        }
        let root = Root::open(folder.path(), true).unwrap();
        for name in every.chunks(85) {
            assert_eq!(root.find_file(name).unwrap().metadata.size, name.len() as u64);
        }
    }

    #[test]
    fn names_that_begin_with_a_dot_are_hidden() {
        for path in [".git", "a/.git/config", ".", "a/.b", "..", ".well-known/.x", ".well-knownx", "..."] {
            assert!(is_hidden(path.as_bytes()), "{path}");
        }
        for path in ["", "a", "a.b", "a/b.", ".well-known/acme", "a/"] {
            assert!(!is_hidden(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn errors_are_classified() {
        for (errno, missing) in [
            (Errno::EACCES, LookupError::Forbidden),
            (Errno::EMFILE, LookupError::Shortage),
            (Errno::ENFILE, LookupError::Shortage),
            (Errno::ENOMEM, LookupError::Shortage),
            (Errno::EXDEV, LookupError::NotFound),
            (Errno::ENAMETOOLONG, LookupError::NotFound),
            (Errno::ENOENT, LookupError::NotFound),
            (Errno::ENXIO, LookupError::NotFound),
            (Errno::EIO, LookupError::Failed(Errno::EIO)),
            (Errno::ETIMEDOUT, LookupError::Failed(Errno::ETIMEDOUT)),
        ] {
            assert_eq!(LookupError::from(errno), missing, "{errno}");
        }
    }
}
