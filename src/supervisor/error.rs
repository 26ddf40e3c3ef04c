//! Errors that end the daemon.

use std::io;

use crate::{confine, listen};

/// Why the daemon could not start, or had to give up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Listen(#[from] listen::Error),
    #[error("{0}")]
    NoService(String),
    #[error(transparent)]
    Confine(#[from] confine::Error),
    #[error("{0}")]
    ForkServer(String),
    #[error("{0}")]
    AccessLog(String),
    #[error("unable to {action}: {source}")]
    System { action: &'static str, source: io::Error },
}

impl Error {
    /// For `map_err`: names what was tried.
    pub(super) fn system<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { action, source: source.into() }
    }
}
