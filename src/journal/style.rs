//! The style of all lines that this process writes to standard error.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::line::LineStyle;
use super::settings::{LineFormat, LogSettings};

/// How lines on standard error look: those of the log, and those that no log takes, such as a bug. Fork servers and children
/// have that of the supervisor.
static STYLE: Mutex<LineStyle> = Mutex::new(LineStyle::Stream);

/// What standard error was at the start.
static FOUND: OnceLock<LineStyle> = OnceLock::new();

/// Finds how lines on standard error look. To be called once at the start, while there is an environment.
pub(crate) fn find_style() {
    set_style(*FOUND.get_or_init(LineStyle::find));
}

/// Sets how lines on standard error look, in this process and in those that it forks.
pub(crate) fn set_style(style: LineStyle) {
    *STYLE.lock().unwrap_or_else(PoisonError::into_inner) = style;
}

/// How lines on standard error look.
pub(super) fn style() -> LineStyle {
    *STYLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How lines on standard error will look with these settings.
pub(crate) fn style_by(settings: LogSettings) -> LineStyle {
    match settings.format {
        LineFormat::Json => LineStyle::Json,
        LineFormat::Text => FOUND.get().copied().unwrap_or_else(style).with_verbose(settings.verbose),
    }
}
