//! Access lines: a line for each request that was answered. A child reports its request; the supervisor adds what it knows
//! of the connection, and formats the line: so nothing that a client or a child sends can be another line.

#![forbid(unsafe_code)]

mod format;
mod json;
mod line;
mod own;
mod show;
mod template;
pub(crate) mod writer;

use std::path::PathBuf;

pub(crate) use format::Format;
pub(crate) use line::AccessLine;
pub(crate) use own::{check_file, describe_failure, open_own, write_own};
pub(crate) use template::Template;

/// Which lines are written, and where: `[log.access]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    pub(crate) format: Format,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Journal,
    Stderr,
    /// Appended to this file.
    File(PathBuf),
}
