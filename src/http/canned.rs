//! A whole response without a request: for a connection that is refused before anything is read from it.

use super::date::Date;
use super::fields::FixedFields;
use super::reason_phrase;

/// A response that closes the connection. `retry_after` is in seconds (RFC 9110, section 10.2.3). `fields`: those of the service.
pub(crate) fn refuse(status: u16, why: &str, retry_after: Option<u64>, fields: &FixedFields) -> String {
    let content = format!("{status} {}: {why}\n", reason_phrase(status));
    let retry = retry_after.map(|seconds| ("Retry-After", seconds.to_string()));
    let own = [Some(("X-Content-Type-Options", "nosniff".to_owned())), retry].into_iter().flatten();
    let own = own.filter(|(name, _)| !fields.contains(name));
    let own: String = own.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let fields = fields.lines();
    format!(
        "HTTP/1.1 {status} {}\r\nDate: {}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n{own}{fields}Connection: close\r\n\r\n{content}",
        reason_phrase(status),
        Date::now(),
        content.len()
    )
}
