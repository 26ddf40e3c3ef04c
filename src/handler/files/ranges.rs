//! The field Range (RFC 9110, section 14): which bytes of a representation a client requests.

use std::ops::Range;

/// With more ranges in one request the whole is sent (RFC 9110, section 17.15).
const RANGES_MAX: usize = 16;

/// What to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Everything: no ranges were requested, or invalid ones.
    Whole,
    /// These parts, which do not touch, in the order of the request; never empty.
    Parts(Vec<Range<u64>>),
    /// No requested byte exists.
    Unsatisfiable,
}

/// What a field value selects of `size` bytes.
///
/// An unknown unit, a malformed value, too many ranges, and ranges that together are longer than the whole select the
/// whole (RFC 9110, section 14.2). So does each range of an empty file: programs that resume a download ask for one, and
/// Content-Range cannot express it.
pub(crate) fn select(value: &[u8], size: u64) -> Selection {
    if size == 0 {
        return Selection::Whole;
    }
    match parse(value, size) {
        None => Selection::Whole,
        Some(ranges) if ranges.is_empty() => Selection::Unsatisfiable,
        Some(ranges) if count_bytes(&ranges) > size => Selection::Whole,
        Some(ranges) => Selection::Parts(coalesce(ranges)),
    }
}

/// The sum of the lengths.
fn count_bytes(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().fold(0, |sum: u64, range| sum.saturating_add(range.end - range.start))
}

/// The satisfiable ranges. `None` unless there are 1 to [`RANGES_MAX`] ranges, all of them valid.
fn parse(value: &[u8], size: u64) -> Option<Vec<Range<u64>>> {
    let text = std::str::from_utf8(value).ok()?;
    let (unit, set) = text.split_once('=')?;
    if !unit.trim_ascii().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = Vec::new();
    let mut count = 0;
    for spec in set.split(',').map(str::trim_ascii).filter(|spec| !spec.is_empty()) {
        count += 1;
        if count > RANGES_MAX {
            return None;
        }
        let (first, last) = spec.split_once('-')?;
        let (first, last) = (parse_number(first)?, parse_number(last)?);
        let range = match (first, last) {
            (None, None) => return None,
            (Some(first), Some(last)) if first > last => return None,
            (Some(first), last) => first..last.unwrap_or(u64::MAX).saturating_add(1).min(size),
            // A suffix longer than the file selects all of it (RFC 9110, section 14.1.2).
            (None, Some(suffix)) => size.saturating_sub(suffix)..size,
        };
        if range.start < size {
            ranges.push(range);
        }
    }
    if count == 0 { None } else { Some(ranges) }
}

/// `Some(None)`: no number. A number that is too large becomes the largest.
fn parse_number(digits: &str) -> Option<Option<u64>> {
    match digits {
        "" => Some(None),
        _ if !digits.bytes().all(|byte| byte.is_ascii_digit()) => None,
        _ => Some(Some(digits.parse().unwrap_or(u64::MAX))),
    }
}

/// Merges ranges that overlap or touch, in the place of the first of them.
fn coalesce(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut parts: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let mut merged = range;
        let mut place = parts.len();
        // The merged range may touch further ones.
        while let Some(at) =
            parts.iter().position(|part| part.start <= merged.end && merged.start <= part.end)
        {
            let part = parts.remove(at);
            merged = merged.start.min(part.start)..merged.end.max(part.end);
            place = place.min(at);
        }
        parts.insert(place, merged);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts as in a request.
    fn show(selection: &Selection) -> String {
        match selection {
            Selection::Whole => "whole".into(),
            Selection::Unsatisfiable => "none".into(),
            Selection::Parts(parts) => {
                let parts = parts.iter().map(|part| format!("{}-{}", part.start, part.end - 1));
                parts.collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[test]
    fn ranges_select_what_the_rfc_says() {
        let cases = [
            // RFC 9110, section 14.1.2, of a representation of 10000 bytes.
            ("bytes=0-499", "0-499"),
            ("bytes=500-999", "500-999"),
            ("bytes=-500", "9500-9999"),
            ("bytes=9500-", "9500-9999"),
            ("bytes=0-0,-1", "0-0, 9999-9999"),
            ("bytes= 0-0, -1", "0-0, 9999-9999"),
            ("bytes= 0-999, 4500-5499, -1000", "0-999, 4500-5499, 9000-9999"),
            ("bytes=500-600,601-999", "500-999"),
            ("bytes=500-700,601-999", "500-999"),
            // Past the end.
            ("bytes=9999-99999999999999999999999", "9999-9999"),
            ("bytes=0-18446744073709551615", "0-9999"),
            ("bytes=-20000", "0-9999"),
            ("bytes=10000-", "none"),
            ("bytes=99999999999999999999999-", "none"),
            ("bytes=-0", "none"),
            ("bytes=10000-,-0", "none"),
            ("bytes=10000-,5-5", "5-5"),
            // Separate parts keep the order of the request.
            ("bytes=5-5,0-0", "5-5, 0-0"),
            ("bytes=9-9,0-1,5-5,2-4", "9-9, 0-5"),
            ("BYTES=1-1,,", "1-1"),
            // Invalid, or another unit.
            ("bytes=", "whole"),
            ("bytes=,", "whole"),
            ("bytes", "whole"),
            ("bytes=-", "whole"),
            ("bytes=5-4", "whole"),
            ("bytes=5-4,0-0", "whole"),
            ("bytes=0-0;1-1", "whole"),
            ("bytes=+1-2", "whole"),
            ("bytes=0x1-2", "whole"),
            ("bytes=1 - 2", "whole"),
            ("bytes=--1", "whole"),
            ("items=0-1", "whole"),
            ("", "whole"),
            // Longer than the whole.
            ("bytes=0-,1-", "whole"),
            ("bytes=0-,0-0", "whole"),
        ];
        for (value, expected) in cases {
            assert_eq!(show(&select(value.as_bytes(), 10000)), expected, "{value}");
        }
        assert_eq!(select(b"bytes=\xff-1", 10000), Selection::Whole);
    }

    #[test]
    fn an_empty_file_is_sent_whole() {
        for value in ["bytes=0-", "bytes=0-0", "bytes=5-", "bytes=-0", "bytes=-5", "bytes=0-,1-"] {
            assert_eq!(select(value.as_bytes(), 0), Selection::Whole, "{value}");
        }
    }

    #[test]
    fn the_number_of_ranges_is_limited() {
        let value = |count: u64| {
            let specs: Vec<_> = (0..count).map(|n| format!("{0}-{0}", n * 2)).collect();
            format!("bytes={}", specs.join(","))
        };
        let Selection::Parts(parts) = select(value(16).as_bytes(), 1000) else { panic!() };
        assert_eq!(parts.len(), 16);
        assert_eq!(select(value(17).as_bytes(), 1000), Selection::Whole);
    }

    #[test]
    fn parts_never_touch() {
        // Every set of three ranges over seven bytes, against the bytes that it names.
        let ends: Vec<Range<u64>> = (0..7).flat_map(|a| (a + 1..=7).map(move |b| a..b)).collect();
        for a in &ends {
            for b in &ends {
                for c in &ends {
                    let parts = coalesce(vec![a.clone(), b.clone(), c.clone()]);
                    let named =
                        (0..7).filter(|n| a.contains(n) || b.contains(n) || c.contains(n)).count() as u64;
                    assert_eq!(count_bytes(&parts), named);
                    for (i, one) in parts.iter().enumerate() {
                        assert!(
                            parts[..i].iter().all(|other| one.end < other.start || other.end < one.start)
                        );
                    }
                }
            }
        }
    }
}
