//! The record of a connection, as a line of the log.

use std::collections::HashMap;

/// The time stamp of a line of the log, as RFC 3339 has it in UTC, and the rest.
pub fn split_stamp(line: &str) -> Option<(&str, &str)> {
    const SHAPE: &str = "dddd-dd-ddTdd:dd:dd.dddZ";
    let (stamp, rest) = line.split_once(' ')?;
    let fits = |(c, shape): (char, char)| if shape == 'd' { c.is_ascii_digit() } else { c == shape };
    (stamp.len() == SHAPE.len() && stamp.chars().zip(SHAPE.chars()).all(fits)).then_some((stamp, rest))
}

/// A line of the log without its time stamp. A line without one is unchanged.
pub fn unstamped(line: &str) -> &str {
    split_stamp(line).map_or(line, |(_, rest)| rest)
}

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

    /// Asserts that the client has gone before the end of a response.
    #[allow(dead_code)] // for tests/it
    pub fn assert_client_gone(&self) {
        let found = (self.get("outcome"), self.get("client_gone"));
        assert_eq!(found, ("client-error", "yes"), "{}", self.line);
    }

    pub fn number(&self, name: &str) -> i64 {
        self.get(name).parse().unwrap_or_else(|_| panic!("{name} in {}", self.line))
    }
}
