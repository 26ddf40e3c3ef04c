//! What `check --show` prints: every key with its effective value and the place that it came from.

use std::fmt;

use super::provenance::Provenance;

/// The effective configuration. Its text is TOML again, with the provenance as comments.
#[derive(Debug)]
pub struct Effective {
    values: toml::Table,
    provenance: Provenance,
}

impl Effective {
    pub(super) fn new(values: toml::Table, provenance: Provenance) -> Self {
        Self { values, provenance }
    }

    /// Writes a table: its own keys first, then the tables in it under their headings. `key` is the table's
    /// in [`Provenance`], `heading` the same without list indices, as TOML writes it.
    fn show(&self, f: &mut fmt::Formatter<'_>, key: &str, heading: &str, table: &toml::Table) -> fmt::Result {
        let join = |path: &str, name: &str| match path {
            "" => name.to_owned(),
            _ => format!("{path}.{name}"),
        };
        for (name, value) in table.iter().filter(|(_, value)| !is_nested(value)) {
            let origin = self.provenance.get(&join(key, name)).unwrap_or("default");
            let line = format!("{} = {}", quote_key(name), show_value(value));
            writeln!(f, "{line:<40} # {origin}")?;
        }
        for (name, value) in table.iter().filter(|(_, value)| is_nested(value)) {
            let (key, heading) = (join(key, name), join(heading, &quote_key(name)));
            match value {
                toml::Value::Table(inner) => {
                    if inner.values().any(|value| !is_nested(value)) {
                        writeln!(f, "\n[{heading}]")?;
                    }
                    self.show(f, &key, &heading, inner)?;
                }
                toml::Value::Array(items) => {
                    for (index, inner) in items.iter().filter_map(toml::Value::as_table).enumerate() {
                        writeln!(f, "\n[[{heading}]]")?;
                        self.show(f, &format!("{key}[{index}]"), &heading, inner)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, "", "", &self.values)
    }
}

/// Tables, and lists of tables, come under headings of their own.
fn is_nested(value: &toml::Value) -> bool {
    match value {
        toml::Value::Table(_) => true,
        toml::Value::Array(items) => items.iter().any(toml::Value::is_table),
        _ => false,
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
