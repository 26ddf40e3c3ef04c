//! `[log]`

use super::keywords::keywords;
use super::scalar::{Flag, Integer};
use super::table::{keys, table};
use crate::journal::{self, Level, Target};

keys! {
    /// `[log]`
    LogKeys {
        target: Target = Target::Auto,
        level: Level = Level::Info,
        max_rate: Integer<0, 1_000_000> = Integer::new(1000),
        verbose: Flag = Flag(false),
    }
}

table!(LogKeys);

keywords!(Target { Auto = "auto", Journal = "journal", Stderr = "stderr" });
keywords!(Level { Error = "error", Warn = "warn", Info = "info", Debug = "debug" });

impl LogKeys {
    pub(super) fn build(&self) -> journal::LogSettings {
        let LogKeys { target, level, max_rate, verbose } = self;
        let max_rate = max_rate.get();
        journal::LogSettings { target: *target, level: *level, max_rate, verbose: verbose.0 }
    }
}
