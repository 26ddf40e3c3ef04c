//! Keys whose value is one integer, string or boolean. Each type parses strictly (no coercion from one TOML type to
//! another), so that a value of it needs no further check.

use std::path::PathBuf;

use config::ValueKind;
use ipnet::IpNet;

use super::shape::Shape;
use super::table::{KeyType, RawValue};
use crate::listen::address::{Address, Mode, UNIX_NAME_MAX};
use crate::source::Network;

/// A value that is written as one TOML integer, string or boolean.
pub(super) trait Scalar: Sized {
    /// What an administrator should write: the end of "expected ...".
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
    fn to_toml(&self) -> toml::Value;
    /// What is wrong with a text that looks like a value.
    fn explain(_: &str) -> Option<String> {
        None
    }
    /// All values, if these are few words.
    fn words() -> Vec<&'static str> {
        Vec::new()
    }
}

impl<T: Scalar> KeyType for T {
    fn read(raw: &RawValue<'_>) -> Option<Self> {
        let value = match &raw.value.kind {
            ValueKind::I64(integer) => T::from_integer(*integer),
            ValueKind::String(text) => T::from_text(text),
            ValueKind::Boolean(flag) => T::from_flag(*flag),
            _ => None,
        };
        if value.is_none() {
            let hint = raw.text().and_then(T::explain).map_or(String::new(), |hint| format!("; {hint}"));
            raw.reject_with(T::expected(), &hint);
        }
        value
    }
    fn show(&self) -> Option<toml::Value> {
        Some(self.to_toml())
    }
    fn shape() -> Shape {
        Shape::Value(T::words())
    }
}

/// An integer from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Integer<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Integer<MIN, MAX> {
    /// A default.
    pub(super) const fn new(value: i64) -> Self {
        assert!(MIN <= value && value <= MAX);
        Self(value)
    }

    pub(super) fn get<T: TryFrom<i64>>(self) -> T {
        T::try_from(self.0).unwrap_or_else(|_| unreachable!("the bounds of the key fit its use"))
    }
}

impl<const MIN: i64, const MAX: i64> Scalar for Integer<MIN, MAX> {
    fn expected() -> String {
        format!("an integer from {MIN} to {MAX}")
    }
    fn from_integer(value: i64) -> Option<Self> {
        (MIN..=MAX).contains(&value).then_some(Self(value))
    }
    fn to_toml(&self) -> toml::Value {
        self.0.into()
    }
}

/// Any string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl Scalar for Text {
    fn expected() -> String {
        "a string".into()
    }
    fn from_text(text: &str) -> Option<Self> {
        Some(Self(text.into()))
    }
    fn to_toml(&self) -> toml::Value {
        self.0.as_str().into()
    }
}

/// true or false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flag(pub(super) bool);

impl Scalar for Flag {
    fn expected() -> String {
        "true or false".into()
    }
    fn from_flag(flag: bool) -> Option<Self> {
        Some(Self(flag))
    }
    fn words() -> Vec<&'static str> {
        vec!["true", "false"]
    }
    fn to_toml(&self) -> toml::Value {
        self.0.into()
    }
}

/// The absolute path of a file or directory, which may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePath(pub(super) PathBuf);

impl Scalar for FilePath {
    fn expected() -> String {
        r#"an absolute path, such as "/srv/www""#.into()
    }
    fn from_text(text: &str) -> Option<Self> {
        (text.starts_with('/') && !text.contains('\0')).then(|| Self(text.into()))
    }
    fn to_toml(&self) -> toml::Value {
        self.0.to_string_lossy().into_owned().into() // it was a string
    }
}

/// The same for a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProgramPath(pub(super) FilePath);

impl Scalar for ProgramPath {
    fn expected() -> String {
        r#"the absolute path of a program, such as "/usr/bin/php-cgi""#.into()
    }
    fn from_text(text: &str) -> Option<Self> {
        FilePath::from_text(text).map(Self)
    }
    fn to_toml(&self) -> toml::Value {
        self.0.to_toml()
    }
}

/// Bits of a file's access mode, in octal.
fn parse_octal(text: &str) -> Option<u32> {
    let is_octal = text.len() <= 4 && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let bits = if is_octal { u32::from_str_radix(text, 8).ok()? } else { return None };
    (bits <= 0o777).then_some(bits)
}

impl Scalar for Mode {
    fn expected() -> String {
        r#"an octal access mode in quotes, such as "0660""#.into()
    }
    fn from_text(text: &str) -> Option<Self> {
        parse_octal(text).map(Self)
    }
    fn to_toml(&self) -> toml::Value {
        format!("{:04o}", self.0).into()
    }
}

/// Permissions that new files do not get (umask(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Umask(pub(super) u32);

impl Scalar for Umask {
    fn expected() -> String {
        r#"an octal mask in quotes, such as "027""#.into()
    }
    fn from_text(text: &str) -> Option<Self> {
        parse_octal(text).map(Self)
    }
    fn to_toml(&self) -> toml::Value {
        format!("{:03o}", self.0).into()
    }
}

impl Scalar for Address {
    fn expected() -> String {
        r#"an address such as "127.0.0.1:8888", "[::1]:8888", "/run/lsbaws/web.sock" or "@name" (numbers, no host names; paths and names have at most 107 bytes)"#
            .into()
    }
    fn from_text(text: &str) -> Option<Self> {
        let is_name = text.len() <= UNIX_NAME_MAX && text.len() > 1 && !text.contains('\0');
        match text.as_bytes().first()? {
            b'/' if is_name => Some(Self::Path(text.into())),
            b'@' if is_name => Some(Self::Abstract(text[1..].into())),
            _ => text.parse().ok().map(Self::Tcp),
        }
    }
    fn to_toml(&self) -> toml::Value {
        self.to_string().into()
    }
}

impl Scalar for Network {
    fn expected() -> String {
        r#"a network such as "192.0.2.7", "10.0.0.0/8", "2001:db8::/32", "uid:1000" or "unix" (numbers, no host names)"#.into()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn explain(text: &str) -> Option<String> {
        let network = text.parse::<IpNet>().ok().filter(|network| network.addr() != network.network())?;
        let (length, whole) = (network.prefix_len(), network.trunc());
        Some(format!("it has bits beyond the first {length}: write \"{whole}\", or {} alone", network.addr()))
    }
    fn to_toml(&self) -> toml::Value {
        self.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn modes_and_masks_are_octal() {
        assert_eq!(Mode::from_text("0660"), Some(Mode(0o660)));
        assert_eq!(Umask::from_text("027"), Some(Umask(0o27)));
        for bad in ["", "0888", "1777", "+660", "00660", "u=rwx", "8"] {
            assert_eq!((Mode::from_text(bad), Umask::from_text(bad)), (None, None), "{bad:?}");
        }
    }

    #[test]
    fn integers_stay_in_bounds() {
        type Nice = Integer<-20, 19>;
        assert_eq!(Nice::from_integer(-20).map(Integer::get), Some(-20_i32));
        assert_eq!((Nice::from_integer(20), Nice::from_integer(-21)), (None, None));
    }
}
