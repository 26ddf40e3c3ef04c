//! Header fields.

use httparse::Header;
use serde::{Deserialize, Serialize};

/// The values of all fields of a request with this name.
pub(crate) fn field<'a>(fields: &'a [Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// Header fields that a route adds to each of its responses. They replace a handler's fields of the same name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct FixedFields {
    names: Vec<String>,
    /// Complete lines.
    pub(super) lines: String,
}

impl FixedFields {
    /// Adds a field; both parts must be valid (RFC 9110, section 5).
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.lines.extend([name, ": ", value, "\r\n"]);
        self.names.push(name.into());
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// Those of a request without a route.
pub(super) static NO_FIELDS: FixedFields = FixedFields { names: Vec::new(), lines: String::new() };
