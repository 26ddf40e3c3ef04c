//! What `check --show` prints: every key with its effective value and the place that it came from.

use std::fmt;

use super::key::{KeyPath, quote_name, quote_text};
use super::provenance::{ConfigFiles, Provenance};
use super::sandbox::{Sandbox, find_denied};
use crate::capacity::Warning;

/// The effective configuration. Its text is TOML again, with the provenance as comments.
#[derive(Debug)]
pub(crate) struct Effective {
    values: toml::Table,
    provenance: Provenance,
    files: ConfigFiles,
}

impl Effective {
    pub(super) fn new(values: toml::Table, provenance: Provenance) -> Self {
        Self { values, provenance, files: ConfigFiles::default() }
    }

    pub(super) fn with_files(self, files: ConfigFiles) -> Self {
        Self { files, ..self }
    }

    /// The files that were read, as a line; None: there was none.
    pub(crate) fn describe_files(&self) -> Option<String> {
        (!self.files.read.is_empty()).then(|| format!("read {}", self.files.read.join(", ")))
    }

    /// The warnings about files that were not read.
    pub(crate) fn find_ignored(&self) -> impl Iterator<Item = Warning> {
        self.files.ignored.iter().map(|file| {
            let sentence = format!("{file} is not read: the names of drop-ins end in .toml");
            Warning { sentence, limit: None }
        })
    }

    /// The warnings about what the sandbox of the daemon denies to it.
    pub(crate) fn find_denied(&self, sandbox: &Sandbox) -> Vec<Warning> {
        let sentences = find_denied(&self.values, sandbox);
        sentences.into_iter().map(|sentence| Warning { sentence, limit: None }).collect()
    }

    /// Writes a table: its own keys first, then the tables in it under their headings. `heading` is `key` without
    /// list indices, as TOML writes it.
    fn show(
        &self,
        f: &mut fmt::Formatter<'_>,
        key: &KeyPath,
        heading: &str,
        table: &toml::Table,
    ) -> fmt::Result {
        for (name, value) in table.iter().filter(|(_, value)| !is_nested(value)) {
            let line = format!("{} = {}", quote_name(name), show_value(value));
            match self.provenance.get(&key.name(name)) {
                Some(location) => writeln!(f, "{line:<40} # {location}")?,
                None => writeln!(f, "{line:<40} # default")?,
            }
        }
        for (name, value) in table.iter().filter(|(_, value)| is_nested(value)) {
            let dot = if heading.is_empty() { "" } else { "." };
            let (key, heading) = (key.name(name), format!("{heading}{dot}{}", quote_name(name)));
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
                        self.show(f, &key.element(index), &heading, inner)?;
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
        self.show(f, &KeyPath::default(), "", &self.values)
    }
}

/// Tables, and lists of tables, have headings of their own.
fn is_nested(value: &toml::Value) -> bool {
    match value {
        toml::Value::Table(_) => true,
        toml::Value::Array(items) => items.iter().any(toml::Value::is_table),
        _ => false,
    }
}

/// A value on one line.
fn show_value(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => quote_text(text),
        toml::Value::Array(items) => {
            format!("[{}]", items.iter().map(show_value).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
