//! The meta-variables of a request (RFC 3875, section 4.1).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::script::Script;
use crate::connection::Peer;
use crate::environment::{PATH, local_address};
use crate::handler::exchange::Exchange;
use crate::handler::variables::{SERVER_SOFTWARE, describe_fields, split_authority};
use crate::http::target::to_origin_form;

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
    let fields = describe_fields(exchange).into_iter();
    variables.extend(fields.map(|(name, value)| (name.into(), OsString::from_vec(value))));
    variables
}
