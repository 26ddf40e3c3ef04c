//! `headers`: fields that a route, or all routes of a service, add to their responses.

use crate::config::findings::Place;
use crate::config::lists::TextMap;
use crate::http::fields::FixedFields;
use crate::http::is_token;

/// Fields that frame or describe the response: lsbaws sets them.
const OWN_FIELDS: [&str; 5] = ["Connection", "Content-Length", "Content-Type", "Date", "Transfer-Encoding"];

/// Checks the fields of a route, and those of its service, which they replace.
///
/// `varies`: the key by which the content depends on Accept-Encoding, if it does.
pub(in crate::config) fn build_fields(
    headers: TextMap,
    place: &Place<'_>,
    of_service: &FixedFields,
    varies: Option<&str>,
) -> Option<FixedFields> {
    let check = |name, value| check_field(name, value, varies);
    let mut fields = FixedFields::default();
    for (name, value) in headers.check_each(place, check)? {
        fields.add(&name, value.trim());
    }
    fields.complete(of_service);
    Some(fields)
}

fn check_field(name: String, value: String, varies: Option<&str>) -> Result<(String, String), String> {
    if OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
        return Err("expected a field that lsbaws does not set itself".into());
    }
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err("expected the name of a header field (RFC 9110, section 5.1)".into());
    }
    if !is_field_value(&value) {
        return Err("expected a field value without control characters".into());
    }
    let is_vary = name.eq_ignore_ascii_case("Vary");
    if let Some(key) = varies.filter(|_| is_vary && !value.to_ascii_lowercase().contains("accept-encoding")) {
        return Err(format!("expected a value with Accept-Encoding when {key}, found {value:?}"));
    }
    if let Some(key) = varies.filter(|_| name.eq_ignore_ascii_case("Content-Encoding")) {
        return Err(format!("expected no such field when {key}: lsbaws sets it"));
    }
    Ok((name, value))
}

pub(super) fn is_field_value(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t')
}
