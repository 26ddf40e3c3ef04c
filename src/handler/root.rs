//! Finds files below a root that no path can leave: one openat2(2) for each lookup, so that nothing can
//! change between a check and its use.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::outcome::Outcome;

/// openat2(2) fails with EAGAIN when a file was renamed while a symbolic link with `..` was followed, and
/// with EINTR on some network file systems. Both pass.
const ATTEMPTS: usize = 8;

/// A directory that is served, opened once.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    resolve: ResolveFlag,
}

/// Why there is nothing to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupError {
    /// Nothing is there, or it is outside the root, or of a kind that is not served.
    NotFound,
    /// The file's permissions exclude us.
    Forbidden,
    /// The system is short of descriptors or memory.
    Shortage,
    /// The file system failed.
    Failed(Errno),
}

impl From<Errno> for LookupError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EACCES | Errno::EPERM => Self::Forbidden,
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN | Errno::EINTR => Self::Shortage,
            // No such name, or none that the file system can have.
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::EINVAL | Errno::EILSEQ => {
                Self::NotFound
            }
            // A symbolic link that leads out, or that is not followed.
            Errno::EXDEV | Errno::ELOOP => Self::NotFound,
            // A socket, or a device without its driver; a file that another host has removed.
            Errno::ENXIO | Errno::ENODEV | Errno::ESTALE => Self::NotFound,
            errno => Self::Failed(errno),
        }
    }
}

impl LookupError {
    /// The status that says so, a sentence for the client, and what that makes of the request.
    pub fn describe(self) -> (u16, &'static str, Outcome) {
        match self {
            Self::NotFound => (404, "there is no such file", Outcome::Served),
            Self::Forbidden => (403, "the file may not be read", Outcome::Served),
            Self::Shortage => (503, "the system is short of descriptors or memory", Outcome::SystemError),
            Self::Failed(_) => (500, "the file cannot be read", Outcome::SystemError),
        }
    }
}

/// What can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
}

/// What fstat(2) says of a file or directory.
#[derive(Debug, Clone, Copy)]
pub struct Metadata {
    pub kind: Kind,
    /// In bytes.
    pub size: u64,
    pub inode: u64,
    /// Last modified: seconds since the epoch, and nanoseconds.
    pub seconds: i64,
    pub nanoseconds: i64,
}

impl Metadata {
    /// `None` for what is neither a regular file nor a directory.
    pub fn new(stat: &FileStat) -> Option<Self> {
        let kind = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFDIR => Kind::Directory,
            _ => return None,
        };
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let (seconds, nanoseconds) = (stat.st_mtime, stat.st_mtime_nsec);
        Some(Self { kind, size, inode: stat.st_ino, seconds, nanoseconds })
    }
}

/// An open file or directory.
#[derive(Debug)]
pub struct Node {
    pub fd: OwnedFd,
    pub metadata: Metadata,
}

impl Root {
    /// Opens a directory, and looks whether this user can find files in it.
    ///
    /// Fails as open(2) and openat2(2) do; the latter is there since Linux 5.6.
    pub fn open(path: &Path, follow_symlinks: bool) -> nix::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        if !follow_symlinks {
            resolve |= ResolveFlag::RESOLVE_NO_SYMLINKS;
        }
        let root = Self { directory: open(path, flags, Mode::empty())?, resolve };
        root.resolve(b".", OFlag::O_PATH)?;
        Ok(root)
    }

    /// The descriptor that children have to keep.
    pub fn raw_fd(&self) -> RawFd {
        self.directory.as_raw_fd()
    }

    /// Opens a file or directory for reading. `path` is relative to the root, and empty for the root itself.
    pub fn find(&self, path: &[u8]) -> Result<Node, LookupError> {
        // Not blocking: a FIFO without a writer would hold the child. Regular files are not affected.
        self.find_by(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
    }

    /// Looks at a file or directory without opening it for reading.
    pub fn examine(&self, path: &[u8]) -> Result<Metadata, LookupError> {
        Ok(self.find_by(path, OFlag::O_PATH)?.metadata)
    }

    /// There is a regular file, which need not be readable.
    pub fn is_file(&self, path: &[u8]) -> bool {
        self.examine(path).is_ok_and(|metadata| metadata.kind == Kind::File)
    }

    /// The same as [`Root::find`], for regular files alone.
    pub fn find_file(&self, path: &[u8]) -> Result<Node, LookupError> {
        self.find(path).and_then(|node| match node.metadata.kind {
            Kind::File => Ok(node),
            Kind::Directory => Err(LookupError::NotFound),
        })
    }

    fn find_by(&self, path: &[u8], flags: OFlag) -> Result<Node, LookupError> {
        let fd = self.resolve(if path.is_empty() { b"." } else { path }, flags)?;
        let metadata = Metadata::new(&fstat(&fd)?).ok_or(LookupError::NotFound)?;
        Ok(Node { fd, metadata })
    }

    fn resolve(&self, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(self.resolve);
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

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a segment of the path is not to be served: its name begins with a dot, as those of `.git` or
/// `.htpasswd` do. `.well-known` is there to be asked for (RFC 8615).
pub fn is_hidden(path: &[u8]) -> bool {
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
    fn nothing_outside_the_root_and_nothing_but_files_is_found() {
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
        let _socket = std::os::unix::net::UnixListener::bind(at("root/socket")).unwrap();
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
        assert_eq!(root.find(b"").unwrap().metadata.kind, Kind::Directory);
        assert_eq!(root.find(b"sub/").unwrap().metadata.kind, Kind::Directory);
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
    fn each_failure_has_its_meaning() {
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
