//! What the builders of the tables share.

use super::values::Text;

/// A key below the table at hand, and what is wrong with its value.
pub(super) type Wrong = (String, String);

pub(super) fn wrong<T>(key: &str, problem: impl Into<String>) -> Result<T, Wrong> {
    Err((key.into(), problem.into()))
}

/// What `fill_in` has set.
pub(super) fn take<T>(value: &mut Option<T>) -> T {
    value.take().unwrap_or_else(|| unreachable!("keys with a default have been filled in"))
}

pub(super) fn take_text(value: &mut Option<Text>) -> String {
    take(value).0
}

pub(super) fn is_field_value(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t')
}
