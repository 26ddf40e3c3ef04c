//! `lsbaws client`: becomes the load client, a program of its own.

#![forbid(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Name of the program.
const PROGRAM: &str = "lsbaws-client";

/// Where the package installs the program. A build has it beside the daemon.
const LIBEXEC: &str = "/usr/libexec/lsbaws";

/// Why the load client did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the load client is not installed: neither {} nor {} exists", beside.display(), installed.display())]
    Missing { beside: PathBuf, installed: PathBuf },
    #[error("unable to run the load client {}: {error}", path.display())]
    Exec { path: PathBuf, error: io::Error },
    #[error("unable to find the load client: {0}")]
    OwnPath(io::Error),
}

/// Replaces this process by the load client, with these arguments (execve(2)). Returns only on failure.
pub(crate) fn become_client(arguments: &[OsString]) -> Error {
    let beside = match env::current_exe() {
        Ok(program) => program.with_file_name(PROGRAM),
        Err(error) => return Error::OwnPath(error),
    };
    let installed = PathBuf::from(LIBEXEC).join(PROGRAM);
    for path in [&beside, &installed] {
        let error = Command::new(path).args(arguments).exec();
        if error.kind() != io::ErrorKind::NotFound {
            return Error::Exec { path: path.clone(), error };
        }
    }
    Error::Missing { beside, installed }
}
