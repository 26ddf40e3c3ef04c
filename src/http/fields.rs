//! The header fields of a request.

use httparse::Header;

/// The values of all fields with this name.
pub(crate) fn field<'a>(fields: &'a [Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}
