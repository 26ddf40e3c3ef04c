//! Keys whose value is a length of time or a number of bytes.

use std::time::Duration;

use super::scalar::Scalar;

/// A length of time above zero and up to a year, written like "1m 30s" or as a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Time {
    fn within_bounds(time: Duration) -> Option<Self> {
        (time > Duration::ZERO && time <= YEAR).then_some(Self(time))
    }
}

impl Scalar for Time {
    fn expected() -> String {
        r#"a time above zero and up to a year, such as 30, "30s", "1m 30s" or "500ms""#.into()
    }
    fn from_integer(seconds: i64) -> Option<Self> {
        Self::within_bounds(Duration::from_secs(seconds.try_into().ok()?))
    }
    fn from_text(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(seconds) => Self::from_integer(seconds),
            // "M" is a month to humantime, and a size or minutes to everyone else.
            Err(_) if text.contains('M') => None,
            Err(_) => Self::within_bounds(humantime::parse_duration(text).ok()?),
        }
    }
    fn to_toml(&self) -> toml::Value {
        humantime::format_duration(self.0).to_string().into()
    }
}

/// A number of bytes from `MIN` to `MAX`, written like "16 KiB" or as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size<const MIN: i64, const MAX: i64>(i64);

pub(super) const MIB: i64 = 1 << 20;
pub(super) const TIB: i64 = 1 << 40;

impl<const MIN: i64, const MAX: i64> Size<MIN, MAX> {
    /// A default.
    pub(super) const fn new(bytes: i64) -> Self {
        assert!(MIN <= bytes && bytes <= MAX);
        Self(bytes)
    }

    pub(super) fn get<T: TryFrom<i64>>(self) -> T {
        const { assert!(MIN >= 0) };
        T::try_from(self.0).unwrap_or_else(|_| unreachable!("the bounds of the key fit its use"))
    }
}

impl<const MIN: i64, const MAX: i64> Scalar for Size<MIN, MAX> {
    fn expected() -> String {
        let [min, max] = [MIN, MAX].map(|bytes| show_size(bytes.unsigned_abs()));
        format!(r#"a size from {min} to {max}, such as 4096, "16 KiB", "16K" or "16 kB""#)
    }
    fn from_integer(bytes: i64) -> Option<Self> {
        (MIN..=MAX).contains(&bytes).then_some(Self(bytes))
    }
    fn from_text(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        Self::from_integer(digits.parse::<i64>().ok()?.checked_mul(unit_factor(unit.trim_start())?)?)
    }
    fn to_toml(&self) -> toml::Value {
        show_size(self.0.unsigned_abs()).into()
    }
}

/// The number of bytes in a unit of any case. K and KiB are 1024 bytes, KB is 1000, and so on, as systemd and
/// nginx read the former and IEC 80000-13 the latter.
fn unit_factor(unit: &str) -> Option<i64> {
    let unit = unit.to_ascii_uppercase();
    if unit.is_empty() || unit == "B" {
        return Some(1);
    }
    ["K", "M", "G", "T"].into_iter().zip(1..).find_map(|(prefix, exponent)| {
        match unit.strip_prefix(prefix)? {
            "" | "IB" => Some(1024_i64.pow(exponent)),
            "B" => Some(1000_i64.pow(exponent)),
            _ => None,
        }
    })
}

/// A number of bytes in the largest unit that gives an integer.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, bits)| bytes > 0 && bytes.trailing_zeros() >= *bits) {
        Some((unit, bits)) => format!("{} {unit}", bytes >> bits),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_by_1024_and_by_1000() {
        for (text, bytes) in [
            ("512 B", 512),
            ("512b", 512),
            ("4096", 4096),
            ("16 KiB", 16 << 10),
            ("16K", 16 << 10),
            ("16k", 16 << 10),
            ("16 kB", 16_000),
            ("16KB", 16_000),
            ("10M", 10 << 20),
            ("10MB", 10_000_000),
            ("10 MiB", 10 << 20),
            ("3G", 3 << 30),
            ("3 GB", 3_000_000_000),
            ("3gib", 3 << 30),
            ("1TiB", TIB),
            ("1 T", TIB),
            ("1TB", 1_000_000_000_000),
        ] {
            assert_eq!(Size::<1, TIB>::from_text(text), Some(Size(bytes)), "{text:?}");
        }
        assert_eq!(Size::<1, TIB>::from_integer(1_000_000), Some(Size(1_000_000)));
    }

    #[test]
    fn sizes_stay_in_bounds() {
        assert_eq!(Size::<1, MIB>::from_text("2 MiB"), None);
        assert_eq!(Size::<1, MIB>::from_integer(MIB + 1), None);
        assert_eq!((Size::<1, MIB>::from_integer(0), Size::<1, MIB>::from_integer(-1)), (None, None));
        for bad in [
            "",
            "KiB",
            "-1 B",
            "+1 B",
            "0 B",
            "0",
            "2 TiB",
            "1.5 KiB",
            "99999999999999999999 B",
            "99999999999999999999",
            "16 KiB x",
            "16 Ki",
            "16 iB",
            "16 PB",
            "1 6",
        ] {
            assert_eq!(Size::<1, TIB>::from_text(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn times_are_seconds_or_have_units() {
        for (text, millis) in [("1m 30s", 90_000), ("500ms", 500), ("2h", 7_200_000), ("30", 30_000)] {
            assert_eq!(Time::from_text(text), Some(Time(Duration::from_millis(millis))), "{text:?}");
        }
        assert_eq!(Time::from_integer(30), Some(Time(Duration::from_secs(30))));
        for bad in ["", "0s", "0", "-1s", "-1", "2years", "31536001", "soon", "30 x"] {
            assert_eq!(Time::from_text(bad), None, "{bad:?}");
        }
        for bad in [0, -1, 31_536_001, i64::MAX, i64::MIN] {
            assert_eq!(Time::from_integer(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_may_begin_at_zero() {
        for zero in ["0 B", "0", "0K"] {
            assert_eq!(Size::<0, TIB>::from_text(zero), Some(Size(0)), "{zero:?}");
        }
        assert_eq!(Size::<0, TIB>::from_text("-1"), None);
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit() {
        let sizes = [
            (0, "0 B"),
            (1023, "1023 B"),
            (16 << 10, "16 KiB"),
            (1_000_000, "1000000 B"),
            (5 << 40, "5 TiB"),
        ];
        for (bytes, shown) in sizes {
            assert_eq!(show_size(bytes), shown);
        }
    }
}
