//! Header fields.

use httparse::Header;
use serde::{Deserialize, Serialize};

/// The values of all fields of a request with this name.
pub(crate) fn field<'a>(fields: &'a [Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// Fields of a response that have one value and no list of them (RFC 9110, RFC 6266, the Fetch standard), with the Status
/// of CGI. Recipients take the first or the last of two, or refuse the response.
const SINGLE: [&str; 16] = [
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Origin",
    "Access-Control-Max-Age",
    "Age",
    "Content-Disposition",
    "Content-Length",
    "Content-Location",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Expires",
    "Last-Modified",
    "Location",
    "Retry-After",
    "Server",
    "Status",
];

/// Whether a field may stand in a response only once.
pub(crate) fn is_single(name: &str) -> bool {
    SINGLE.iter().any(|single| single.eq_ignore_ascii_case(name))
}

/// Header fields that a service or a route adds to each of its responses. They replace a handler's fields of the same name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct FixedFields {
    names: Vec<String>,
    /// Complete lines.
    lines: String,
}

impl FixedFields {
    /// Adds a field; both parts must be valid (RFC 9110, section 5). Without a value, no response has the field.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.lines.extend([name, ": ", value, "\r\n"]);
        }
        self.names.push(name.into());
    }

    /// Adds the fields of others that it does not replace.
    pub(crate) fn complete(&mut self, others: &Self) {
        let own = self.names.len();
        for name in &others.names {
            if self.names[..own].iter().any(|own| own.eq_ignore_ascii_case(name)) {
                continue;
            }
            let is_its = |line: &&str| line.split_once(':').is_some_and(|(other, _)| other == name);
            others.lines.split_inclusive("\r\n").filter(is_its).for_each(|line| self.lines.push_str(line));
            self.names.push(name.clone());
        }
    }

    /// Complete lines.
    pub(crate) fn lines(&self) -> &str {
        &self.lines
    }

    /// Whether it sets, or removes, this field.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// Those of a request without a route.
static NO_FIELDS: FixedFields = FixedFields { names: Vec::new(), lines: String::new() };

/// Fields that are added to a response beside those of its handler.
#[derive(Debug)]
pub(super) struct AddedFields<'a> {
    pub(super) route: &'a FixedFields,
    /// What an internal redirect has left: names, and complete lines.
    kept: Vec<(String, Vec<u8>)>,
}

impl Default for AddedFields<'_> {
    fn default() -> Self {
        Self { route: &NO_FIELDS, kept: Vec::new() }
    }
}

impl AddedFields<'_> {
    /// Keeps a field for whichever route answers; both parts must be valid. One that may stand once replaces an earlier one.
    pub(super) fn keep(&mut self, name: &str, value: &[u8]) {
        if is_single(name) {
            self.kept.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        }
        self.kept.push((name.to_owned(), [name.as_bytes(), b": ", value, b"\r\n"].concat()));
    }

    /// Whether a field of the handler is replaced.
    pub(super) fn replaces(&self, name: &str) -> bool {
        let is_kept = || self.kept.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        self.route.contains(name) || is_kept() && is_single(name)
    }

    /// Complete lines. Those of the route replace others.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let kept = self.kept.iter().filter(|(name, _)| !self.route.contains(name));
        kept.map(|(_, line)| line.as_slice()).chain([self.route.lines.as_bytes()])
    }
}
