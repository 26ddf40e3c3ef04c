//! A whole response without a request: for a connection that is refused before anything is read from it.

use super::date::Date;
use super::reason_phrase;

/// A response that closes the connection. `retry_after` is in seconds (RFC 9110, section 10.2.3).
pub(crate) fn refuse(status: u16, why: &str, retry_after: Option<u64>) -> String {
    let content = format!("{status} {}: {why}\n", reason_phrase(status));
    let retry = retry_after.map_or(String::new(), |seconds| format!("Retry-After: {seconds}\r\n"));
    format!(
        "HTTP/1.1 {status} {}\r\nDate: {}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         X-Content-Type-Options: nosniff\r\nContent-Length: {}\r\n{retry}Connection: close\r\n\r\n{content}",
        reason_phrase(status),
        Date::now(),
        content.len()
    )
}
