//! Addresses that lsbaws can bind itself.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// A socket in the file system.
    Path(PathBuf),
    /// A socket in Linux's abstract namespace, by its name without the leading NUL (unix(7)).
    Abstract(String),
}

/// `sun_path` holds 108 bytes, one of which ends or begins the name (unix(7)).
pub(crate) const UNIX_NAME_MAX: usize = 107;

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

/// The access mode of a Unix socket (chmod(1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode(pub(crate) u32);
