//! The meta-variables of a request (RFC 3875, section 4.1).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::script::Script;
use crate::connection::Peer;
use crate::environment::{PATH, local_address};
use crate::handler::exchange::Exchange;
use crate::http::target::{host_of, to_origin_form};

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

/// All variables. `length`: of the content, in bytes.
pub(crate) fn describe_request(
    exchange: &Exchange<'_, '_>,
    script: &Script,
    length: Option<u64>,
) -> Vec<(OsString, OsString)> {
    let request = exchange.request;
    let mut variables: Vec<(OsString, OsString)> = Vec::with_capacity(32);
    let mut set = |name: &str, value: &OsStr| variables.push((name.into(), value.to_owned()));
    for (name, value) in [
        ("PATH", PATH),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_SOFTWARE", SERVER_SOFTWARE),
        ("SERVER_PROTOCOL", if request.minor == 0 { "HTTP/1.0" } else { "HTTP/1.1" }),
        ("REQUEST_METHOD", request.method),
        ("REQUEST_URI", &to_origin_form(request.target)),
        ("REQUEST_SCHEME", exchange.client.scheme()),
        ("QUERY_STRING", request.query.unwrap_or("")),
        // php-cgi refuses to run without it.
        ("REDIRECT_STATUS", "200"),
        ("UNIQUE_ID", &exchange.identity.id.to_string()),
    ] {
        set(name, OsStr::new(value));
    }
    let bytes = OsStr::from_bytes;
    set("SCRIPT_NAME", bytes(&script.name));
    set("SCRIPT_FILENAME", script.file.as_os_str());
    if !script.path_info.is_empty() {
        set("PATH_INFO", bytes(&script.path_info));
    }
    if let Some(root) = &script.document_root {
        set("DOCUMENT_ROOT", root.as_os_str());
        if !script.path_info.is_empty() {
            let root = root.as_os_str().as_bytes();
            let root = root.strip_suffix(b"/").unwrap_or(root);
            set("PATH_TRANSLATED", bytes(&[root, &script.path_info].concat()));
        }
    }
    if let Some(length) = length {
        set("CONTENT_LENGTH", OsStr::new(&length.to_string()));
    }
    if !exchange.is_internal_redirect
        && let Some(content_type) = request.field("Content-Type").next()
    {
        set("CONTENT_TYPE", bytes(content_type));
    }
    if exchange.client.is_https {
        set("HTTPS", OsStr::new("on"));
    }
    match exchange.client.address {
        Peer::Inet(peer) => {
            let address = peer.ip().to_string();
            set("REMOTE_ADDR", OsStr::new(&address));
            // The address, since its name is not looked up (section 4.1.9).
            set("REMOTE_HOST", OsStr::new(&address));
            if peer.port() != 0 {
                set("REMOTE_PORT", OsStr::new(&peer.port().to_string()));
            }
        }
        Peer::Unix { .. } | Peer::Unknown => set("REMOTE_ADDR", OsStr::new("")),
    }
    if let Some(user) = &exchange.user {
        set("AUTH_TYPE", OsStr::new("Basic"));
        set("REMOTE_USER", OsStr::new(user));
    }
    if !request.authority.is_empty() {
        set("HTTP_HOST", OsStr::new(request.authority));
    }
    let named = exchange.client.local.map(|local| (local.ip().to_string(), local.port()));
    let (address, port) = named.or_else(|| local_address(exchange.stream.socket())).unwrap_or_default();
    let (host, named_port) = split_authority(request.authority);
    set("SERVER_NAME", OsStr::new(if host.is_empty() { address.as_str() } else { host }));
    let own_port = exchange.client.port.unwrap_or(if port == 0 { 80 } else { port });
    set("SERVER_PORT", OsStr::new(&named_port.parse().unwrap_or(own_port).to_string()));
    if !address.is_empty() {
        set("SERVER_ADDR", OsStr::new(&address));
    }
    variables.extend(describe_fields(exchange));
    variables
}

/// Whether a field becomes a variable of its own. Credentials that lsbaws has accepted do not: a program gets the user. Programs do not see an underscore apart from a hyphen, nor PHP a dot: with
/// other characters, a client could set a variable whose field a proxy in front has checked or removed.
fn is_passed(name: &str, exchange: &Exchange<'_, '_>) -> bool {
    let has_served_its_purpose = exchange.user.is_some() && name.eq_ignore_ascii_case("Authorization");
    !has_served_its_purpose
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !NOT_PASSED.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// `HTTP_*` for every field that is passed. Fields of the same name are joined (RFC 9110, section 5.3; cookies as in RFC 9113,
/// section 8.2.3).
fn describe_fields(exchange: &Exchange<'_, '_>) -> Vec<(OsString, OsString)> {
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
    variables.into_iter().map(|(name, value)| (name.into(), OsString::from_vec(value))).collect()
}

fn split_authority(authority: &str) -> (&str, &str) {
    let host = host_of(authority);
    (host, authority[host.len()..].strip_prefix(':').unwrap_or(""))
}
