//! Which program answers a request: a script is looked for along the path, below the root and nowhere else.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstat};

/// Where programs are.
#[derive(Debug)]
pub enum Programs {
    /// One for all paths of the route.
    One { program: PathBuf, document_root: Option<PathBuf> },
    /// The files below a directory; run as they are, or by an interpreter.
    Below { root: PathBuf, directory: OwnedFd, interpreter: Option<PathBuf> },
}

/// A program that was found, and the part of the path that names it.
#[derive(Debug)]
pub struct Script {
    pub program: PathBuf,
    /// What the request's path leads to: the program itself, or what its interpreter is to run.
    pub file: PathBuf,
    /// Decoded path of the program, from the root of the site.
    pub name: Vec<u8>,
    /// Decoded rest of the path; empty or begins with `/`.
    pub path_info: Vec<u8>,
    pub document_root: Option<PathBuf>,
}

impl Programs {
    /// Finds the program for a path: `route_path` and below it `rest`. `None` where there is none.
    pub fn find(&self, route_path: &str, rest: &[u8]) -> io::Result<Option<Script>> {
        match self {
            Self::One { program, document_root } => {
                let path_info = if rest.is_empty() { Vec::new() } else { [b"/", rest].concat() };
                Ok(Some(Script {
                    program: program.clone(),
                    file: program.clone(),
                    name: route_path.as_bytes().to_vec(),
                    path_info,
                    document_root: document_root.clone(),
                }))
            }
            Self::Below { root, directory, interpreter } => {
                let Some(length) = find_file(directory, rest)? else { return Ok(None) };
                let file = root.join(OsStr::from_bytes(&rest[..length]));
                Ok(Some(Script {
                    program: interpreter.clone().unwrap_or_else(|| file.clone()),
                    file,
                    name: [route_path.as_bytes(), b"/", &rest[..length]].concat(),
                    path_info: rest[length..].to_vec(),
                    document_root: Some(root.clone()),
                }))
            }
        }
    }
}

/// The length of the shortest beginning of `path` that is a regular file. Names that begin with a dot are nobody's business.
fn find_file(directory: &OwnedFd, path: &[u8]) -> io::Result<Option<usize>> {
    let mut start = 0;
    for segment in path.split(|&byte| byte == b'/') {
        let end = start + segment.len();
        if segment.is_empty() || segment.starts_with(b".") {
            return Ok(None);
        }
        match kind_of(directory, Path::new(OsStr::from_bytes(&path[..end]))) {
            Ok(SFlag::S_IFREG) => return Ok(Some(end)),
            Ok(SFlag::S_IFDIR) => start = end + 1,
            Ok(_) => return Ok(None),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV | Errno::ENAMETOOLONG) => {
                return Ok(None);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(None)
}

/// The type of a file below `directory` (openat2(2), which cannot leave it).
fn kind_of(directory: &OwnedFd, path: &Path) -> nix::Result<SFlag> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = loop {
        match openat2(directory, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {} // something was renamed meanwhile
            result => break result?,
        }
    };
    let mode = fstat(file.as_fd())?.st_mode;
    Ok(SFlag::from_bits_truncate(mode) & SFlag::S_IFMT)
}
