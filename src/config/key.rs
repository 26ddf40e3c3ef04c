//! The path of a key, such as `service.web.route[0].headers."X-A.B"`, and how TOML writes names and text.

use std::borrow::Cow;
use std::fmt;

use crate::escape::is_printable;

/// The names and list indices that lead from the top of the configuration to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Name(String),
    Index(usize),
}

impl KeyPath {
    /// The key `name` of the table at this path.
    pub(super) fn name(&self, name: &str) -> Self {
        self.join(Step::Name(name.to_owned()))
    }

    /// The element of the list at this path.
    pub(super) fn element(&self, index: usize) -> Self {
        self.join(Step::Index(index))
    }

    fn join(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The table or list that contains this path; `None` at the top.
    pub(super) fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, steps)| Self(steps.to_vec()))
    }

    /// Whether this path is `other` or leads into it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// This path in a list that has so many more elements before.
    pub(super) fn shift(&mut self, list: &Self, by: usize) {
        if self.is_element_of(list)
            && let Step::Index(index) = &mut self.0[list.0.len()]
        {
            *index += by;
        }
    }

    /// Whether this path leads into an element of `list`.
    pub(super) fn is_element_of(&self, list: &Self) -> bool {
        self.is_within(list) && matches!(self.0.get(list.0.len()), Some(Step::Index(_)))
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) if position == 0 => f.write_str(&quote_name(name))?,
                Step::Name(name) => write!(f, ".{}", quote_name(name))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The name of a listener or service, as records contain it.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_valid) {
        return Err("expected a name of 1 to 64 letters, digits, _ or -".into());
    }
    Ok(())
}

/// A name as TOML writes it, in quotes where it needs them.
pub(super) fn quote_name(name: &str) -> Cow<'_, str> {
    let is_bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_bare { name.into() } else { quote_text(name).into() }
}

/// A basic string of TOML on one line, without characters that act on a terminal.
pub(super) fn quote_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if is_printable(c) => quoted.push(c),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_in_toml() {
        let headers = KeyPath::default().name("service").name("web").name("route").element(3).name("headers");
        assert_eq!(headers.name("X-A").to_string(), "service.web.route[3].headers.X-A");
        assert_eq!(headers.name("a.\n").to_string(), "service.web.route[3].headers.\"a.\\n\"");
        assert_eq!(KeyPath::default().name("").to_string(), "\"\"");
    }

    #[test]
    fn quoted_text_is_one_line_of_toml() {
        for text in ["", "a b", "\"\\\n\r\t\u{0}\u{7f}\u{202e}", "caf\u{e9} \u{1f980}"] {
            let quoted = quote_text(text);
            assert!(quoted.chars().all(is_printable), "{quoted}");
            let table: toml::Table = toml::from_str(&format!("a = {quoted}")).unwrap();
            assert_eq!(table["a"].as_str(), Some(text), "{quoted}");
        }
    }

    #[test]
    fn paths_know_what_is_within() {
        let list = KeyPath::default().name("a");
        assert!(list.element(1).name("b").is_element_of(&list));
        assert!(!list.name("b").is_element_of(&list) && list.name("b").is_within(&list));
        assert!(!list.is_element_of(&list) && list.is_within(&list));
        assert_eq!(list.element(1).parent(), Some(list));
    }
}
