//! Which program answers a request: the first file along the path, below the root.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::handler::root::{FileKind, LookupError, OpenFile, Root, is_hidden};
use crate::http::path::DecodedPath;
use serde::{Deserialize, Serialize};

/// The programs of a route.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Programs {
    /// One program for all paths.
    One { program: PathBuf, document_root: Option<PathBuf> },
    /// The files below a directory, run directly or by an interpreter.
    Below {
        root: Root,
        interpreter: Option<PathBuf>,
        /// Only files with this ending are programs: that of the route.
        extension: Option<String>,
    },
}

/// The program for a request, and the parts of the path.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) program: PathBuf,
    /// What the program sees as its own name, instead of its path.
    pub(crate) argv0: Option<OsString>,
    /// The file that the path names: the program, or the script for the interpreter.
    pub(crate) file: PathBuf,
    /// What the lookup has found below a root.
    pub(crate) found: Option<Found>,
    /// The decoded path up to the file.
    pub(crate) name: Vec<u8>,
    /// The rest of the decoded path: empty, or begins with `/`.
    pub(crate) path_info: Vec<u8>,
    pub(crate) document_root: Option<PathBuf>,
}

/// A file below a root, and the directory that its path names: whatever is renamed from now on, these are what runs.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: OpenFile,
    pub(crate) directory: OwnedFd,
}

impl Script {
    /// Whether an interpreter of the configuration runs the file.
    pub(crate) fn is_interpreted(&self) -> bool {
        self.program != self.file
    }
}

impl Programs {
    /// Finds the program for a path at or below `route_path`.
    pub(crate) fn find(&self, route_path: &str, path: &DecodedPath<'_>) -> Result<Script, LookupError> {
        let below = &path[route_path.len()..];
        match self {
            Self::One { program, document_root } => {
                let path_info = below.to_vec();
                Ok(Script {
                    program: program.clone(),
                    argv0: None,
                    file: program.clone(),
                    found: None,
                    name: route_path.as_bytes().to_vec(),
                    path_info,
                    document_root: document_root.clone(),
                })
            }
            Self::Below { root, interpreter, extension } => {
                let rest = below.strip_prefix(b"/").unwrap_or(below);
                let (length, found) = find_file(root, rest)?;
                // The route of `.php` takes `/upload.gif/x.php`, but `upload.gif` is no program.
                let suffix = extension.as_deref().unwrap_or_default();
                let is_name = !path.has_encoded_slash(path.len() - rest.len() + length);
                if !is_name || !rest[..length].ends_with(suffix.as_bytes()) {
                    return Err(LookupError::NotFound);
                }
                let directory = root.path_to(&rest[..length], &found.file.metadata);
                let file = directory.join(OsStr::from_bytes(&rest[..length]));
                Ok(Script {
                    program: interpreter.clone().unwrap_or_else(|| file.clone()),
                    argv0: None,
                    file,
                    found: Some(found),
                    name: [route_path.as_bytes(), b"/", &rest[..length]].concat(),
                    path_info: rest[length..].to_vec(),
                    document_root: Some(directory.into_owned()),
                })
            }
        }
    }
}

/// The shortest prefix of `path` that is a regular file: its length, and the file.
fn find_file(root: &Root, path: &[u8]) -> Result<(usize, Found), LookupError> {
    let (mut end, mut directory) = (0, None);
    for segment in path.split(|&byte| byte == b'/') {
        end += segment.len();
        if segment.is_empty() || is_hidden(segment) {
            return Err(LookupError::NotFound);
        }
        let file = root.pin(&path[..end])?;
        if file.metadata.kind == FileKind::Directory {
            (end, directory) = (end + 1, Some(file.fd));
            continue;
        }
        let directory = match directory {
            Some(directory) => directory,
            None => root.as_fd().try_clone_to_owned().map_err(|_| LookupError::Shortage)?,
        };
        return Ok((end, Found { file, directory }));
    }
    Err(LookupError::NotFound)
}
