//! How a key is read and printed. [`keys`] declares the keys of a table, each with its type and its default.

use config::{Map, Value, ValueKind};

use super::findings::{Findings, Place};
use super::shape::Shape;

/// The type of a key.
pub(super) trait KeyType: Sized {
    /// Reads the value. Reports what is wrong with it, and gives nothing then.
    fn read(raw: &RawValue<'_>) -> Option<Self>;

    /// The value for `check --show`; nothing if it is not set and has no default.
    fn show(&self) -> Option<toml::Value>;

    /// What its value can be.
    fn shape() -> Shape {
        Shape::Value(Vec::new())
    }
}

impl<T: KeyType> KeyType for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }
    fn read(raw: &RawValue<'_>) -> Option<Self> {
        T::read(raw).map(Some)
    }
    fn show(&self) -> Option<toml::Value> {
        self.as_ref().and_then(T::show)
    }
}

/// The keys of a table, declared by [`keys`]. `Default` has their defaults.
pub(super) trait Keys: Default {
    const NAMES: &'static [&'static str];

    /// Reads every key; one that is missing or has an error gets its default.
    fn read_keys(table: &RawValue<'_>) -> Self;

    fn show_keys(&self) -> toml::Table;

    /// Each key with its shape.
    fn list_shapes() -> Vec<(&'static str, Shape)>;
}

macro_rules! keys {
    ($(#[$attribute:meta])* $name:ident { $($(#[$comment:meta])* $key:ident: $kind:ty = $default:expr,)+ }) => {
        $(#[$attribute])*
        #[derive(Debug)]
        pub(super) struct $name {
            $($(#[$comment])* pub(super) $key: $kind,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl $crate::config::table::Keys for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($key)),+];

            fn read_keys(table: &$crate::config::table::RawValue<'_>) -> Self {
                let Self { $($key),+ } = Self::default();
                Self { $($key: table.read(stringify!($key)).unwrap_or($key),)+ }
            }

            fn show_keys(&self) -> toml::Table {
                let keys = [$((stringify!($key), $crate::config::table::KeyType::show(&self.$key))),+];
                keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
            }

            fn list_shapes() -> Vec<(&'static str, $crate::config::shape::Shape)> {
                vec![$((stringify!($key), <$kind as $crate::config::table::KeyType>::shape())),+]
            }
        }
    };
}

pub(super) use keys;

/// A table all of whose keys are declared in one place.
macro_rules! table {
    ($name:ident) => {
        impl $crate::config::table::KeyType for $name {
            fn read(raw: &$crate::config::table::RawValue<'_>) -> Option<Self> {
                raw.table()?;
                raw.reject_unknown_keys(<Self as $crate::config::table::Keys>::NAMES);
                Some($crate::config::table::Keys::read_keys(raw))
            }

            fn show(&self) -> Option<toml::Value> {
                Some($crate::config::table::Keys::show_keys(self).into())
            }

            fn shape() -> $crate::config::shape::Shape {
                $crate::config::shape::Shape::Table(<Self as $crate::config::table::Keys>::list_shapes())
            }
        }
    };
}

pub(super) use table;

/// A value of the merged layers, and its key.
#[derive(Debug)]
pub(super) struct RawValue<'a> {
    pub(super) value: &'a Value,
    pub(super) place: Place<'a>,
}

impl<'a> RawValue<'a> {
    /// The whole configuration.
    pub(super) fn top(value: &'a Value, findings: &'a Findings) -> Self {
        Self { value, place: Place::top(findings) }
    }

    /// The keys and values of a table, if it is one.
    pub(super) fn entries(&self) -> Option<&'a Map<String, Value>> {
        match &self.value.kind {
            ValueKind::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.value.kind {
            ValueKind::String(text) => Some(text),
            _ => None,
        }
    }

    /// The keys and values of a table. Anything else is reported.
    pub(super) fn table(&self) -> Option<&'a Map<String, Value>> {
        if self.entries().is_none() {
            self.reject("a table");
        }
        self.entries()
    }

    /// The elements of a list, if it is one.
    pub(super) fn list(&self) -> Option<Vec<RawValue<'a>>> {
        let ValueKind::Array(list) = &self.value.kind else { return None };
        let elements = list.iter().enumerate();
        Some(elements.map(|(index, value)| RawValue { value, place: self.place.element(index) }).collect())
    }

    /// Reads the key `name` of this table, if it is set.
    pub(super) fn read<T: KeyType>(&self, name: &str) -> Option<T> {
        T::read(&RawValue { value: self.entries()?.get(name)?, place: self.place.key(name) })
    }

    /// Reports that something else is expected.
    pub(super) fn reject(&self, expected: impl std::fmt::Display) {
        self.reject_with(expected, "");
    }

    /// The same, and a hint.
    pub(super) fn reject_with(&self, expected: impl std::fmt::Display, hint: &str) {
        self.place.reject(format!("expected {expected}, found {}{hint}", describe(self.value)));
    }

    /// Reports the keys of this table that it does not have.
    pub(super) fn reject_unknown_keys(&self, known: &[&str]) {
        for name in self.list_keys().filter(|name| !known.contains(name)) {
            self.place.key(name).reject(describe_unknown_key(name, known, &self.place.find_tables(name)));
        }
    }

    pub(super) fn list_keys(&self) -> impl Iterator<Item = &'a str> {
        self.entries().into_iter().flat_map(|table| table.keys().map(String::as_str))
    }
}

/// Characters of a wrong value that an error shows.
const SHOWN_MAX: usize = 100;

/// What was found in the place of something else.
fn describe(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => match text.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => format!("{:?}...", &text[..end]),
            None => format!("{text:?}"),
        },
        ValueKind::Table(_) => "a table".into(),
        ValueKind::Array(_) => "a list".into(),
        ValueKind::Float(float) => format!("{float:?}"),
        other => other.to_string(),
    }
}

/// Names the tables that have this key, or else the likely key, if one is near, or else all of them.
pub(super) fn describe_unknown_key(name: &str, known: &[&str], tables: &[String]) -> String {
    if !tables.is_empty() {
        return format!("unknown key here, it is a key of {}", tables.join(", "));
    }
    let distance = |other: &str| strsim::damerau_levenshtein(name, other);
    let nearest = known.iter().min_by_key(|other| distance(other));
    let guess = nearest.filter(|other| distance(other) * 3 <= other.len());
    match guess {
        Some(guess) => format!("unknown key, did you mean {guess}?"),
        None => format!("unknown key, expected one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::describe_unknown_key;

    #[test]
    fn unknown_keys_suggest_the_nearest() {
        let known = ["max_connections", "max_connections_per_source", "path", "keepalive_timeout", "log"];
        for (name, nearest) in [
            ("max_connexions", "max_connections"),
            ("maxconnections", "max_connections"),
            ("max_conections_per_source", "max_connections_per_source"),
            ("keep-alive-timeout", "keepalive_timeout"),
            ("paths", "path"),
            ("logs", "log"),
        ] {
            let problem = describe_unknown_key(name, &known, &[]);
            assert_eq!(problem, format!("unknown key, did you mean {nearest}?"));
        }
        for name in ["user", "", "l", "timeout", &"x".repeat(10_000)] {
            let problem = describe_unknown_key(name, &known, &[]);
            assert!(problem.ends_with("key, expected one of max_connections, max_connections_per_source, path, keepalive_timeout, log"), "{problem}");
        }
    }
}
