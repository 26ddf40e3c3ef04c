//! `[log]`

use super::keywords::keywords;
use super::scalar::Integer;
use super::table::{keys, table};
use crate::journal::{self, Level, Target};

keys! {
    /// `[log]`
    LogKeys {
        target: Target = Target::Auto,
        level: Level = Level::Info,
        max_rate: Integer<0, 1_000_000> = Integer::new(1000),
    }
}

table!(LogKeys);

keywords!(Target { Auto = "auto", Journal = "journal", Stderr = "stderr" });
keywords!(Level { Error = "error", Warn = "warn", Info = "info", Debug = "debug" });

impl LogKeys {
    pub(super) fn build(&self) -> journal::LogSettings {
        journal::LogSettings { target: self.target, level: self.level, max_rate: self.max_rate.get() }
    }
}
