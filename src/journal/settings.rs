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
