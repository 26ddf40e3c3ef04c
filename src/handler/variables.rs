//! The meta-variables that handlers with programs and with applications have in common (RFC 3875, section 4.1).

use super::exchange::Exchange;
use crate::http::target::host_of;

pub(crate) const SERVER_SOFTWARE: &str = concat!("lsbaws/", env!("CARGO_PKG_VERSION"));

/// Fields that have variables of their own, that concern the connection only, or that set variables with another
/// meaning: `Proxy` would become HTTP_PROXY (CVE-2016-5385).
const NOT_PASSED: [&str; 12] = [
    "Connection",
    "Content-Length",
    "Content-Type",
    "Expect",
    "Host",
    "Keep-Alive",
    "Proxy",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// Whether a field becomes a variable of its own. Credentials that lsbaws has accepted do not: a program gets the user.
/// Programs do not see an underscore apart from a hyphen, nor PHP a dot: with
/// other characters, a client could set a variable whose field a proxy in front has checked or removed.
fn is_passed(name: &str, exchange: &Exchange<'_, '_>) -> bool {
    let has_served_its_purpose = exchange.user.is_some() && name.eq_ignore_ascii_case("Authorization");
    !has_served_its_purpose
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !NOT_PASSED.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// `HTTP_*` for every field that is passed. Fields of the same name are joined (RFC 9110, section 5.3; cookies as in RFC 9113,
/// section 8.2.3).
pub(crate) fn describe_fields(exchange: &Exchange<'_, '_>) -> Vec<(String, Vec<u8>)> {
    let mut variables: Vec<(String, Vec<u8>)> = Vec::new();
    for field in exchange.request.fields {
        if !is_passed(field.name, exchange) {
            continue;
        }
        let name = format!("HTTP_{}", field.name.to_ascii_uppercase().replace('-', "_"));
        match variables.iter_mut().find(|(other, _)| *other == name) {
            Some((_, value)) => {
                value.extend_from_slice(if name == "HTTP_COOKIE" { b"; " } else { b", " });
                value.extend_from_slice(field.value);
            }
            None => variables.push((name, field.value.to_vec())),
        }
    }
    variables
}

/// The host and the port of an authority; each may be empty.
pub(crate) fn split_authority(authority: &str) -> (&str, &str) {
    let host = host_of(authority);
    (host, authority[host.len()..].strip_prefix(':').unwrap_or(""))
}
