//! What `check --show` prints: every key with its effective value and the place that it came from.

use std::fmt;

use config::{Value, ValueKind};

use super::Error;
use super::raw::Raw;

/// The effective configuration. Its text is TOML again, with the origins as comments.
#[derive(Debug)]
pub struct Effective {
    values: toml::Table,
    origins: Value,
}

impl Effective {
    pub(super) fn new(raw: &Raw, origins: Value) -> Result<Self, Error> {
        let values = toml::Table::try_from(raw).map_err(|error| Error::new("", "", error.to_string()))?;
        Ok(Self { values, origins })
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_table(f, "", &self.values, Some(&self.origins))
    }
}

/// Writes a table: its own keys first, then the tables in it under their headings.
fn show_table(
    f: &mut fmt::Formatter<'_>,
    path: &str,
    table: &toml::Table,
    origins: Option<&Value>,
) -> fmt::Result {
    for (key, value) in table.iter().filter(|(_, value)| !is_nested(value)) {
        let origin = step(origins, key).and_then(Value::origin).unwrap_or("default");
        writeln!(f, "{:<40} # {origin}", format!("{} = {}", quote_key(key), show_value(value)))?;
    }
    for (key, value) in table.iter().filter(|(_, value)| is_nested(value)) {
        let path = if path.is_empty() { quote_key(key) } else { format!("{path}.{}", quote_key(key)) };
        let origins = step(origins, key);
        match value {
            toml::Value::Table(inner) => {
                if inner.values().any(|value| !is_nested(value)) {
                    writeln!(f, "\n[{path}]")?;
                }
                show_table(f, &path, inner, origins)?;
            }
            toml::Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    writeln!(f, "\n[[{path}]]")?;
                    let origins = origins.and_then(|value| match &value.kind {
                        ValueKind::Array(array) => array.get(index),
                        _ => None,
                    });
                    if let toml::Value::Table(inner) = item {
                        show_table(f, &path, inner, origins)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Tables, and lists of tables, come under headings of their own.
fn is_nested(value: &toml::Value) -> bool {
    match value {
        toml::Value::Table(_) => true,
        toml::Value::Array(items) => items.iter().any(toml::Value::is_table),
        _ => false,
    }
}

fn step<'a>(value: Option<&'a Value>, key: &str) -> Option<&'a Value> {
    match &value?.kind {
        ValueKind::Table(table) => table.get(key),
        _ => None,
    }
}

/// On one line, whatever it is. What JSON escapes in a string, TOML's basic strings escape alike.
fn show_value(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => serde_json::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}

fn quote_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { key.to_owned() } else { show_value(&key.into()) }
}
