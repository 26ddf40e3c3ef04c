//! The settings of the log, and the levels of its entries.

use serde::{Deserialize, Serialize};

/// What is written, and where: `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogSettings {
    pub(crate) target: Target,
    pub(crate) level: Level,
    /// Records of one kind that are written in a second; 0 is no limit.
    pub(crate) max_rate: u32,
    /// Lines on a terminal have all fields.
    pub(crate) verbose: bool,
    /// What entries on standard error look like.
    pub(crate) format: LineFormat,
}

/// What entries on standard error look like, unless a command fails before it has its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LineFormat {
    Text,
    /// An object for each entry.
    Json,
}

/// Where entries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Target {
    /// The journal, if standard error leads there; standard error otherwise.
    Auto,
    Journal,
    Stderr,
}

/// How important an entry is, and the least important entries that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    /// As the journal has it (syslog(3)).
    pub(super) fn priority(self) -> &'static str {
        match self {
            Self::Error => "3",
            Self::Warn => "4",
            Self::Info => "6",
            Self::Debug => "7",
        }
    }

    /// As objects have it.
    pub(super) fn lowercase_word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// As lines on standard error have it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }
}
