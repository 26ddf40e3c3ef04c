//! Which program answers a request: a script is looked for along the path, below the root and nowhere else.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::handler::root::{FileKind, LookupError, Root, is_hidden};

/// Where programs are.
#[derive(Debug)]
pub(crate) enum Programs {
    /// One for all paths of the route.
    One { program: PathBuf, document_root: Option<PathBuf> },
    /// The files below a directory; run as they are, or by an interpreter.
    Below {
        path: PathBuf,
        root: Root,
        interpreter: Option<PathBuf>,
        /// Only files whose names end like this are programs: those of the route.
        extension: Option<String>,
    },
}

/// A program that was found, and the part of the path that names it.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) program: PathBuf,
    /// What the request's path leads to: the program itself, or what its interpreter is to run.
    pub(crate) file: PathBuf,
    /// Decoded path of the program, from the root of the site.
    pub(crate) name: Vec<u8>,
    /// Decoded rest of the path; empty or begins with `/`.
    pub(crate) path_info: Vec<u8>,
    pub(crate) document_root: Option<PathBuf>,
}

impl Programs {
    /// Finds the program for a path, which is at or below `route_path`.
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
                // `/upload.gif/x.php` is on the route of `.php`, and the upload is no program.
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

/// The length of the shortest beginning of `path` that is a regular file.
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
