//! Keys whose value is a list, or a table with names that the administrator chooses.

use std::collections::BTreeMap;

use super::findings::Place;
use super::scalar::{Scalar, Text};
use super::shape::Shape;
use super::table::{KeyType, RawValue};

/// One value or a list, which may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T: Scalar> KeyType for List<T> {
    fn read(raw: &RawValue<'_>) -> Option<Self> {
        let Some(elements) = raw.list() else { return T::read(raw).map(|value| Self(vec![value])) };
        // All errors are reported, not only the first.
        let values: Vec<_> = elements.iter().map(T::read).collect();
        values.into_iter().collect::<Option<_>>().map(Self)
    }
    fn show(&self) -> Option<toml::Value> {
        Some(toml::Value::Array(self.0.iter().map(T::to_toml).collect()))
    }
}

/// One value, or a list of at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NonEmptyList<T>(pub(super) Vec<T>);

impl<T: Scalar> KeyType for NonEmptyList<T> {
    fn read(raw: &RawValue<'_>) -> Option<Self> {
        let List(values) = List::read(raw)?;
        if values.is_empty() {
            raw.place.reject(format!("expected {}, found an empty list", T::expected()));
            return None;
        }
        Some(Self(values))
    }
    fn show(&self) -> Option<toml::Value> {
        Some(toml::Value::Array(self.0.iter().map(T::to_toml).collect()))
    }
}

/// A list of tables, `[[NAME]]`.
#[derive(Debug)]
pub(super) struct TableList<T>(pub(super) Vec<T>);

impl<T: KeyType + Default> KeyType for TableList<T> {
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
    fn read(raw: &RawValue<'_>) -> Option<Self> {
        let Some(elements) = raw.list() else {
            let key = raw.place.path();
            raw.place.reject(format!("expected a list of tables, written [[{key}]] or [{{ ... }}]"));
            return None;
        };
        Some(Self(elements.iter().map(|element| T::read(element).unwrap_or_default()).collect()))
    }
    fn show(&self) -> Option<toml::Value> {
        Some(toml::Value::Array(self.0.iter().filter_map(T::show).collect()))
    }
}

/// Tables by their names, `[service.NAME]`.
#[derive(Debug)]
pub(super) struct TableMap<T>(pub(super) BTreeMap<String, T>);

impl<T: KeyType + Default> KeyType for TableMap<T> {
    fn shape() -> Shape {
        Shape::Named(Box::new(T::shape()))
    }
    fn read(raw: &RawValue<'_>) -> Option<Self> {
        let names = raw.table()?.keys();
        Some(Self(names.map(|name| (name.clone(), raw.read(name).unwrap_or_default())).collect()))
    }
    fn show(&self) -> Option<toml::Value> {
        let tables = self.0.iter().filter_map(|(name, table)| Some((name.clone(), table.show()?)));
        Some(toml::Value::Table(tables.collect()))
    }
}

/// Texts by their names, such as environment variables.
#[derive(Debug, Default)]
pub(super) struct TextMap(pub(super) BTreeMap<String, Text>);

impl KeyType for TextMap {
    fn read(raw: &RawValue<'_>) -> Option<Self> {
        if raw.entries().is_none() {
            raw.reject("a table, such as { NAME = \"value\" }");
            return None;
        }
        TableMap::read(raw).map(|TableMap(texts)| Self(texts))
    }
    fn show(&self) -> Option<toml::Value> {
        let texts = self.0.iter().map(|(name, text)| (name.clone(), text.to_toml()));
        Some(toml::Value::Table(texts.collect()))
    }
}

impl TextMap {
    /// Checks every name with its text. Gives nothing if one has an error.
    pub(super) fn check_each<T>(
        self,
        place: &Place<'_>,
        check: impl Fn(String, String) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let entries = self.0.into_iter().map(|(name, Text(text))| place.key(&name).check(check(name, text)));
        // All of them, so that all errors are reported.
        entries.collect::<Vec<_>>().into_iter().collect()
    }
}
