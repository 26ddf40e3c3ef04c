//! The kinds of value that a key can have. Each parses strictly (no coercion from one TOML type to
//! another), so that a value of one of these types needs no further check.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use crate::listen::address::{Address, Mode, UNIX_NAME_MAX};
use crate::source::Network;

/// A value that is written as one TOML integer or string.
pub trait Scalar: Sized {
    /// What a person should have written: the end of "expected ...".
    fn expected() -> String;
    fn from_integer(_: i64) -> Option<Self> {
        None
    }
    fn from_text(_: &str) -> Option<Self> {
        None
    }
    fn from_flag(_: bool) -> Option<Self> {
        None
    }
}

pub(super) struct ScalarVisitor<T>(pub PhantomData<T>);

impl<T: Scalar> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&T::expected())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        T::from_integer(value).ok_or_else(|| E::custom(format!("expected {}, found {value}", T::expected())))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        T::from_flag(value).ok_or_else(|| E::custom(format!("expected {}, found {value}", T::expected())))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        T::from_text(value).ok_or_else(|| E::custom(format!("expected {}, found {value:?}", T::expected())))
    }
}

pub(super) fn deserialize_scalar<'de, T: Scalar, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    // `any`: the TOML type decides, where the config crate would convert "yes" or 3.7 for us.
    deserializer.deserialize_any(ScalarVisitor(PhantomData))
}

macro_rules! scalar {
    ($($name:ty $(, const $constant:ident)*;)*) => { $(
        impl<'de $(, const $constant: i64)*> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_scalar(deserializer)
            }
        }
    )* };
}

pub(super) use scalar;

scalar! {
    Whole<MIN, MAX>, const MIN, const MAX;
    Text;
    Flag;
    FilePath;
    ProgramPath;
    Time;
    Size<MAX>, const MAX;
    Mode;
    Address;
    Network;
    Nice;
    Umask;
    CoreSize;
}

/// An integer from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Whole<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Whole<MIN, MAX> {
    /// A value that the program itself gives: out of range does not compile.
    pub const fn new(value: i64) -> Self {
        assert!(MIN <= value && value <= MAX);
        Self(value)
    }

    pub fn get<T: TryFrom<i64>>(self) -> T {
        const { assert!(MIN >= 0) };
        T::try_from(self.0).unwrap_or_else(|_| unreachable!("the bounds of the key fit its use"))
    }
}

impl<const MIN: i64, const MAX: i64> Scalar for Whole<MIN, MAX> {
    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }
    fn from_integer(value: i64) -> Option<Self> {
        (MIN..=MAX).contains(&value).then_some(Self(value))
    }
}

/// Any string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text(pub String);

impl Scalar for Text {
    fn expected() -> String {
        "a string".into()
    }
    fn from_text(text: &str) -> Option<Self> {
        Some(Self(text.into()))
    }
}

/// true or false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Flag(pub bool);

impl Scalar for Flag {
    fn expected() -> String {
        "true or false".into()
    }
    fn from_flag(flag: bool) -> Option<Self> {
        Some(Self(flag))
    }
}

/// The absolute path of a file or directory. Whether there is one is another question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FilePath(pub PathBuf);

impl Scalar for FilePath {
    fn expected() -> String {
        r#"an absolute path, such as "/srv/www""#.into()
    }
    fn from_text(text: &str) -> Option<Self> {
        (text.starts_with('/') && !text.contains('\0')).then(|| Self(text.into()))
    }
}

/// The same for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ProgramPath(pub PathBuf);

impl Scalar for ProgramPath {
    fn expected() -> String {
        r#"the absolute path of a program, such as "/usr/bin/php-cgi""#.into()
    }
    fn from_text(text: &str) -> Option<Self> {
        FilePath::from_text(text).map(|FilePath(path)| Self(path))
    }
}

/// A length of time above zero and up to a year, written like "1m 30s" or as a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

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
            Err(_) => Self::within_bounds(humantime::parse_duration(text).ok()?),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

/// A number of bytes above zero and up to `MAX`, written like "16 KiB" or as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size<const MAX: i64>(i64);

pub const MIB: i64 = 1 << 20;
pub const TIB: i64 = 1 << 40;
/// The units that a size is printed in.
const UNITS: [(&str, i64); 5] = [("TiB", TIB), ("GiB", 1 << 30), ("MiB", MIB), ("KiB", 1 << 10), ("B", 1)];

impl<const MAX: i64> Size<MAX> {
    /// A value that the program itself gives: out of range does not compile.
    pub const fn new(value: i64) -> Self {
        assert!(0 < value && value <= MAX);
        Self(value)
    }

    pub fn get<T: TryFrom<i64>>(self) -> T {
        T::try_from(self.0).unwrap_or_else(|_| unreachable!("the bounds of the key fit its use"))
    }
}

impl<const MAX: i64> Scalar for Size<MAX> {
    fn expected() -> String {
        format!(r#"a size above zero and up to {}, such as 4096, "16 KiB", "16K" or "1 MB""#, show_size(MAX))
    }
    fn from_integer(bytes: i64) -> Option<Self> {
        (bytes > 0 && bytes <= MAX).then_some(Self(bytes))
    }
    fn from_text(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        Self::from_integer(digits.parse::<i64>().ok()?.checked_mul(unit_factor(unit.trim_start())?)?)
    }
}

impl<const MAX: i64> Serialize for Size<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&show_size(self.0))
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

pub(super) fn show_size(size: i64) -> String {
    let (unit, factor) = UNITS.iter().find(|(_, factor)| size % factor == 0).unwrap_or(&("B", 1));
    format!("{} {unit}", size / factor)
}

impl Scalar for Mode {
    fn expected() -> String {
        r#"an octal access mode in quotes, such as "0660""#.into()
    }
    fn from_text(text: &str) -> Option<Self> {
        let octal = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mode = octal.then(|| u32::from_str_radix(text, 8).ok())??;
        (mode <= 0o777).then_some(Self(mode))
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:04o}", self.0))
    }
}

impl Scalar for Address {
    fn expected() -> String {
        r#"an address such as "127.0.0.1:8888", "[::1]:8888", "/run/lsbaws/web.sock" or "@name" (numbers, no host names)"#
            .into()
    }
    fn from_text(text: &str) -> Option<Self> {
        let valid_name = text.len() <= UNIX_NAME_MAX && text.len() > 1 && !text.contains('\0');
        match text.as_bytes().first()? {
            b'/' if valid_name => Some(Self::Path(text.into())),
            b'@' if valid_name => Some(Self::Abstract(text[1..].into())),
            _ => text.parse().ok().map(Self::Tcp),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Scalar for Network {
    fn expected() -> String {
        r#"a network such as "192.0.2.7", "10.0.0.0/8", "2001:db8::/32", "uid:1000" or "unix""#.into()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A priority (setpriority(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Nice(pub i32);

impl Scalar for Nice {
    fn expected() -> String {
        "a whole number from -20 to 19".into()
    }
    fn from_integer(value: i64) -> Option<Self> {
        i32::try_from(value).ok().filter(|nice| (-20..=19).contains(nice)).map(Self)
    }
}

/// Permissions that new files do not get, in octal (umask(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Umask(pub u32);

impl Scalar for Umask {
    fn expected() -> String {
        r#"an octal mask in quotes, such as "027""#.into()
    }
    fn from_text(text: &str) -> Option<Self> {
        let octal = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mask = octal.then(|| u32::from_str_radix(text, 8).ok())??;
        (mask <= 0o777).then_some(Self(mask))
    }
}

impl Serialize for Umask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:03o}", self.0))
    }
}

/// The largest core dump in bytes; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreSize(pub u64);

impl Scalar for CoreSize {
    fn expected() -> String {
        r#"a size such as "64 MiB", or 0"#.into()
    }
    fn from_integer(bytes: i64) -> Option<Self> {
        if bytes == 0 { Some(Self(0)) } else { Size::<TIB>::from_integer(bytes).map(|size| Self(size.get())) }
    }
    fn from_text(text: &str) -> Option<Self> {
        match text {
            "0" | "0 B" => Some(Self(0)),
            _ => Size::<TIB>::from_text(text).map(|size| Self(size.get())),
        }
    }
}

impl Serialize for CoreSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&show_bytes(self.0))
    }
}

pub(super) fn show_bytes(bytes: u64) -> String {
    match i64::try_from(bytes) {
        Ok(0) | Err(_) => format!("{bytes} B"),
        Ok(size) => show_size(size),
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
            assert_eq!(Size::<TIB>::from_text(text), Some(Size(bytes)), "{text:?}");
        }
        assert_eq!(Size::<TIB>::from_integer(1_000_000), Some(Size(1_000_000)));
    }

    #[test]
    fn sizes_stay_in_bounds() {
        assert_eq!(Size::<MIB>::from_text("2 MiB"), None);
        assert_eq!(Size::<MIB>::from_integer(MIB + 1), None);
        assert_eq!((Size::<MIB>::from_integer(0), Size::<MIB>::from_integer(-1)), (None, None));
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
            assert_eq!(Size::<TIB>::from_text(bad), None, "{bad:?}");
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
    fn addresses_are_numbers_or_unix_names() {
        assert_eq!(Address::from_text("[::]:80"), Some(Address::Tcp("[::]:80".parse().unwrap())));
        assert_eq!(Address::from_text("/run/a.sock"), Some(Address::Path("/run/a.sock".into())));
        assert_eq!(Address::from_text("@a"), Some(Address::Abstract("a".into())));
        let long = format!("/{}", "x".repeat(107));
        for bad in ["", "localhost:80", "127.0.0.1", ":80", "80", "::1:80", "@", "/a\0b", &long] {
            assert_eq!(Address::from_text(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(Mode::from_text("0660"), Some(Mode(0o660)));
        for bad in ["", "0888", "1777", "+660", "00660"] {
            assert_eq!(Mode::from_text(bad), None, "{bad:?}");
        }
    }
}
