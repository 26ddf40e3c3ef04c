//! Which program answers a request: the first file along the path, below the root.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::handler::root::{FileKind, LookupError, Root, is_hidden};
use serde::{Deserialize, Serialize};

/// The programs of a route.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Programs {
    /// One program for all paths.
    One { program: PathBuf, document_root: Option<PathBuf> },
    /// The files below a directory, run directly or by an interpreter.
    Below {
        path: PathBuf,
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
    /// The file that the path names: the program, or the script for the interpreter.
    pub(crate) file: PathBuf,
    /// The decoded path up to the file.
    pub(crate) name: Vec<u8>,
    /// The rest of the decoded path: empty, or begins with `/`.
    pub(crate) path_info: Vec<u8>,
    pub(crate) document_root: Option<PathBuf>,
}

impl Programs {
    /// Finds the program for a path at or below `route_path`.
    pub(crate) fn find(&self, route_path: &str, path: &[u8]) -> Result<Script, LookupError> {
        let below = &path[route_path.len()..];
        match self {
            Self::One { program, document_root } => {
                let path_info = below.to_vec();
                Ok(Script {
                    program: program.clone(),
                    file: program.clone(),
                    name: route_path.as_bytes().to_vec(),
                    path_info,
                    document_root: document_root.clone(),
                })
            }
            Self::Below { path: directory, root, interpreter, extension } => {
                let rest = below.strip_prefix(b"/").unwrap_or(below);
                let length = find_file(root, rest)?;
                // The route of `.php` takes `/upload.gif/x.php`, but `upload.gif` is no program.
                let suffix = extension.as_deref().unwrap_or_default();
                if !rest[..length].ends_with(suffix.as_bytes()) {
                    return Err(LookupError::NotFound);
                }
                let file = directory.join(OsStr::from_bytes(&rest[..length]));
                Ok(Script {
                    program: interpreter.clone().unwrap_or_else(|| file.clone()),
                    file,
                    name: [route_path.as_bytes(), b"/", &rest[..length]].concat(),
                    path_info: rest[length..].to_vec(),
                    document_root: Some(directory.clone()),
                })
            }
        }
    }
}

/// The length of the shortest prefix of `path` that is a regular file.
fn find_file(root: &Root, path: &[u8]) -> Result<usize, LookupError> {
    let mut end = 0;
    for segment in path.split(|&byte| byte == b'/') {
        end += segment.len();
        if segment.is_empty() || is_hidden(segment) {
            return Err(LookupError::NotFound);
        }
        match root.examine(&path[..end])?.kind {
            FileKind::File => return Ok(end),
            FileKind::Directory => end += 1,
        }
    }
    Err(LookupError::NotFound)
}
