//! The record of a connection, as a line of the log.

use std::collections::HashMap;

/// `name=value` pairs after the sentence.
#[derive(Debug)]
pub struct Record {
    pub line: String,
    fields: HashMap<String, String>,
}

impl Record {
    pub fn parse(line: &str) -> Self {
        let (_, fields) = line.split_once(" connection=").unwrap();
        let pairs = format!("connection={fields}");
        let mut in_quotes = false;
        // Quotes inside values are escaped.
        let pairs = pairs.split(|c: char| {
            in_quotes ^= c == '"';
            c == ' ' && !in_quotes
        });
        let split = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.trim_matches('"').to_owned()))
        };
        Self { line: line.into(), fields: pairs.filter_map(split).collect() }
    }

    /// The text of a field; empty if the record lacks it.
    pub fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub fn number(&self, name: &str) -> i64 {
        self.get(name).parse().unwrap_or_else(|_| panic!("{name} in {}", self.line))
    }
}
