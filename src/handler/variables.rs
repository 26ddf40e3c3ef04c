//! The meta-variables that handlers with programs and with applications have in common (RFC 3875, section 4.1).

use super::exchange::Exchange;
use crate::connection::Peer;
use crate::environment::local_address;
use crate::http::target::{host_of, to_origin_form};

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

/// Passes the variables that both have to `set`. Returns the local address, if the connection has one.
pub(crate) fn describe_common(
    exchange: &Exchange<'_, '_>,
    set: &mut dyn FnMut(&str, &[u8]),
) -> Option<String> {
    let (client, request) = (&exchange.client, exchange.request);
    set("REQUEST_METHOD", request.method.as_bytes());
    set("QUERY_STRING", request.query.unwrap_or_default().as_bytes());
    set("REQUEST_URI", to_origin_form(request.target).as_bytes());
    set("SERVER_PROTOCOL", if request.minor == 0 { b"HTTP/1.0" } else { b"HTTP/1.1" });
    match request.id {
        Some(id) => set("UNIQUE_ID", id.as_bytes()),
        None => set("UNIQUE_ID", exchange.identity.id.to_string().as_bytes()),
    }
    if client.is_https {
        set("HTTPS", b"on");
    }
    match client.address {
        Peer::Inet(peer) => {
            set("REMOTE_ADDR", peer.ip().to_string().as_bytes());
            if peer.port() != 0 {
                set("REMOTE_PORT", peer.port().to_string().as_bytes());
            }
        }
        Peer::Unix { .. } | Peer::Unknown => set("REMOTE_ADDR", b""),
    }
    if let Some(user) = &exchange.user {
        set("AUTH_TYPE", b"Basic");
        set("REMOTE_USER", user.as_bytes());
    }
    // An internal redirect has no content.
    if !exchange.is_internal_redirect
        && let Some(content_type) = request.field("Content-Type").next()
    {
        set("CONTENT_TYPE", content_type);
    }
    if !request.authority.is_empty() {
        set("HTTP_HOST", request.authority.as_bytes());
    }
    let named = client.local.map(|local| (local.ip().to_string(), local.port()));
    let local = named.or_else(|| local_address(exchange.stream.socket()));
    let (host, named_port) = split_authority(request.authority);
    let (address, port) = local.as_ref().map_or(("localhost", 80), |(address, port)| (address, *port));
    set("SERVER_NAME", if host.is_empty() { address } else { host }.as_bytes());
    let own_port = client.port.unwrap_or(port);
    set("SERVER_PORT", named_port.parse().unwrap_or(own_port).to_string().as_bytes());
    for (name, value) in describe_fields(exchange) {
        set(&name, &value);
    }
    local.map(|(address, _)| address)
}

/// `HTTP_*` for every field that is passed. Fields of the same name are joined (RFC 9110, section 5.3; cookies as in RFC 9113,
/// section 8.2.3).
fn describe_fields(exchange: &Exchange<'_, '_>) -> Vec<(String, Vec<u8>)> {
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
