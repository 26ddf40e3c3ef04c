//! Numbers of a report for a person.

use std::time::{Duration, SystemTime};

/// Three digits and a unit.
pub(crate) fn show_size(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut number, mut unit) = (bytes, 0);
    while number >= 1000.0 && unit + 1 < units.len() {
        (number, unit) = (number / 1024.0, unit + 1);
    }
    let digits = if unit == 0 || number >= 100.0 { 0 } else { 1 };
    format!("{number:.digits$} {}", units[unit])
}

/// Whole seconds: the two largest units, such as `2h 3m`.
pub(crate) fn show_seconds(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.floor()).unwrap_or_default().as_secs();
    let parts = [(whole / 86_400, "d"), (whole / 3600 % 24, "h"), (whole / 60 % 60, "m"), (whole % 60, "s")];
    let first = parts.iter().position(|(number, _)| *number > 0).unwrap_or(3);
    let shown = parts.iter().skip(first).take(2).map(|(number, unit)| format!("{number}{unit}"));
    shown.collect::<Vec<_>>().join(" ")
}

/// A duration in seconds, with three digits, such as `8.1 ms` or `11.4 s`.
pub(crate) fn show_duration(seconds: f64) -> String {
    if seconds < 0.9995 {
        let digits = if seconds < 0.09995 { 1 } else { 0 };
        format!("{:.digits$} ms", seconds * 1000.0)
    } else if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else {
        show_seconds(seconds.round())
    }
}

/// A time in seconds since the epoch, such as `2026-11-26T18:00:00Z`.
pub(crate) fn show_time(seconds: f64) -> String {
    // A year of four digits.
    let since = Duration::try_from_secs_f64(seconds.clamp(0.0, 253_402_300_799.0)).unwrap_or_default();
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}

/// In each second.
pub(crate) fn show_rate(rate: f64) -> String {
    let digits = if rate >= 99.95 { 0 } else { 1 };
    format!("{rate:.digits$}")
}

/// With a comma before each three digits.
pub(crate) fn show_count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let sizes = [0.0, 999.4, 1000.0, 1_500_000.0, 2e12].map(show_size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 KiB", "1.4 MiB", "1.8 TiB"]);
        let times = [0.9, 59.0, 60.0, 3725.0, 90_061.0, f64::MAX].map(show_seconds);
        assert_eq!(times, ["0s", "59s", "1m 0s", "1h 2m", "1d 1h", "0s"]);
        let durations = [0.0, 0.0081, 0.25, 0.9996, 11.4396, 99.94, 99.96, 3725.0].map(show_duration);
        let expected = ["0.0 ms", "8.1 ms", "250 ms", "1.0 s", "11.4 s", "99.9 s", "1m 40s", "1h 2m"];
        assert_eq!(durations, expected);
        assert_eq!([0, 999, 1000, 1_234_567].map(show_count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(show_time(784_111_777.9), "1994-11-06T08:49:37Z");
        assert_eq!([0.04, 99.9, 99.96, 12345.6].map(show_rate), ["0.0", "99.9", "100", "12346"]);
    }
}
