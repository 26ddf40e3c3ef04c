//! Keys whose value is a keyword, and tables whose further keys depend on such a value.

use super::scalar::Scalar;
use super::table::{RawValue, describe_unknown_key};

/// An enum whose variants are written as keywords; declared by [`keywords`].
pub(super) trait Keyword: Copy + 'static {
    const ALL: &'static [Self];

    fn word(self) -> &'static str;
}

macro_rules! keywords {
    ($name:ident { $($(#[$condition:meta])? $variant:ident = $word:literal),+ $(,)? }) => {
        impl $crate::config::keywords::Keyword for $name {
            const ALL: &'static [Self] = &[$($(#[$condition])? Self::$variant),+];

            fn word(self) -> &'static str {
                match self { $($(#[$condition])? Self::$variant => $word),+ }
            }
        }
    };
}

pub(super) use keywords;

impl<T: Keyword> Scalar for T {
    fn expected() -> String {
        format!("one of {}", list_words(T::ALL.iter()))
    }
    fn from_text(text: &str) -> Option<Self> {
        T::ALL.iter().find(|value| value.word() == text).copied()
    }
    fn to_toml(&self) -> toml::Value {
        self.word().into()
    }
    fn words() -> Vec<&'static str> {
        T::ALL.iter().map(|value| value.word()).collect()
    }
}

fn list_words<'a, T: Keyword>(values: impl Iterator<Item = &'a T>) -> String {
    values.map(|value| format!("{:?}", value.word())).collect::<Vec<_>>().join(", ")
}

/// A keyword that decides which further keys its table has, such as the handler of a route.
pub(super) trait Variant: Keyword {
    /// The key whose value it is.
    const KEY: &'static str;

    /// The further keys.
    fn keys(self) -> &'static [&'static str];
}

/// Reports the keys of a table that neither every variant has nor the chosen one.
pub(super) fn reject_foreign_keys<V: Variant>(table: &RawValue<'_>, common: &[&str], chosen: V) {
    let mut known = common.to_vec();
    if table.place.key(V::KEY).is_rejected() {
        known.extend(V::ALL.iter().flat_map(|variant| variant.keys()));
    } else {
        known.extend(chosen.keys());
    }
    for name in table.list_keys().filter(|name| !known.contains(name)) {
        let mut owners = V::ALL.iter().filter(|variant| variant.keys().contains(&name)).peekable();
        let problem = if owners.peek().is_none() {
            describe_unknown_key(name, &known, &table.place.find_tables(name))
        } else {
            let is_set = table.list_keys().any(|key| key == V::KEY);
            format!(
                "not a key of the {} {:?}{}, but of {}; expected one of {}",
                V::KEY,
                chosen.word(),
                if is_set { "" } else { " (the default)" },
                list_words(owners),
                known.join(", ")
            )
        };
        table.place.key(name).reject(problem);
    }
}
