//! Errors of the configuration, and the only interpretation of what the `toml` crate writes in its own.

use std::fmt;

use super::key::KeyPath;
use super::provenance::Location;

/// One mistake: where it is, at which key, and what is wrong there.
#[derive(Debug, Clone)]
pub(super) struct Error {
    pub(super) location: Option<Location>,
    /// Empty if no key is concerned.
    pub(super) key: KeyPath,
    pub(super) problem: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        if self.key != KeyPath::default() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)
    }
}

/// All mistakes of a configuration, in the order of its layers and of their lines. One line each.
#[derive(Debug)]
pub(crate) struct Errors(Vec<Error>);

/// More are only counted: a file that is none of ours would fill the journal.
const SHOWN_MAX: usize = 100;

impl Errors {
    pub(super) fn new(mut errors: Vec<Error>) -> Self {
        errors.sort_by_key(|error| error.location.as_ref().map(|location| location.order));
        Self(errors)
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.0.iter().take(SHOWN_MAX).enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        match self.0.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => {
                let last = self.0.last().and_then(|error| error.location.as_ref());
                let layer = last.map_or(String::new(), |location| format!("{}: ", location.layer));
                write!(f, "\n{layer}{more} more errors")
            }
        }
    }
}

/// What is wrong with a text that is not TOML, in our words where those of the parser mislead.
///
/// The tests below hold each shape that is interpreted here: an upgrade of the crate that changes one fails there.
pub(super) fn describe_syntax(error: &toml::de::Error) -> String {
    let message = error.message();
    // The parser has begun to read `true`, `false`, `nan` or `inf` from a word without quotes.
    let bare_words = ["string values must be quoted", "invalid boolean", "invalid float"];
    if bare_words.iter().any(|start| message.starts_with(start)) {
        return "expected a value; a string is written in quotes".into();
    }
    if message.starts_with("unexpected leading zero") {
        return "unexpected leading zero; an octal number is written in quotes, such as \"027\"".into();
    }
    message.strip_suffix(", expected nothing").unwrap_or(message).replace('\n', ", ")
}

/// Whether a key or table was given twice; then the error's span is that of the second one.
pub(super) fn is_duplicate(error: &toml::de::Error) -> bool {
    error.message() == "duplicate key"
}

#[cfg(test)]
mod tests {
    use toml::de::{DeTable, DeValue};

    use super::*;

    fn describe(text: &str) -> Vec<String> {
        let (_, errors) = DeTable::parse_recoverable(text);
        errors.iter().map(describe_syntax).collect()
    }

    #[test]
    fn words_without_quotes_are_described() {
        for word in [
            "files",
            "true1",
            "trux",
            "falsy",
            "nano",
            "info",
            "10s",
            "10 MiB",
            "/srv",
            "@a",
            "",
            "127.0.0.1:80",
            "10.0.0.0/8",
        ] {
            let expected = "expected a value; a string is written in quotes";
            assert_eq!(describe(&format!("a = {word}\n")), [expected], "{word}");
        }
    }

    #[test]
    fn duplicate_keys_are_recognized() {
        for text in ["a = 1\na = 2\n", "[b]\n[a]\n[b]\n", "[[a]]\n[a]\n"] {
            let (_, errors) = DeTable::parse_recoverable(text);
            assert_eq!(errors.iter().map(is_duplicate).collect::<Vec<_>>(), [true], "{text:?}");
        }
    }

    #[test]
    fn other_messages_are_those_of_the_parser() {
        for (text, message) in [
            ("[a\n", "unclosed table, expected `]`"),
            ("a\n", "key with no value, expected `=`"),
            ("a = 01\n", "unexpected leading zero; an octal number is written in quotes, such as \"027\""),
            ("a = 1_\n", "`_` may only go between digits"),
            ("a = \"x\n", "invalid basic string, expected `\"`"),
            ("a = [1\n", "unclosed array, expected `]`"),
        ] {
            assert_eq!(describe(text), [message], "{text:?}");
        }
        let error = DeValue::parse("{a=1}x").unwrap_err();
        assert_eq!(describe_syntax(&error), "unexpected content");
    }
}
