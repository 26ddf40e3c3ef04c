//! The meta-variables of a request (RFC 3875, section 4.1).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::script::Script;
use crate::connection::Peer;
use crate::environment::PATH;
use crate::handler::exchange::Exchange;
use crate::handler::variables::describe_common;
use crate::runtime::SERVER_SOFTWARE;

/// All variables. `length`: of the content, in bytes.
pub(crate) fn describe_request(
    exchange: &Exchange<'_, '_>,
    script: &Script,
    length: Option<u64>,
) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = Vec::with_capacity(32);
    let mut set =
        |name: &str, value: &[u8]| variables.push((name.into(), OsStr::from_bytes(value).to_owned()));
    set("PATH", PATH.as_bytes());
    set("GATEWAY_INTERFACE", b"CGI/1.1");
    set("SERVER_SOFTWARE", SERVER_SOFTWARE.as_bytes());
    set("REQUEST_SCHEME", exchange.client.scheme().as_bytes());
    // php-cgi refuses to run without it.
    set("REDIRECT_STATUS", b"200");
    set("SCRIPT_NAME", &script.name);
    set("SCRIPT_FILENAME", script.file.as_os_str().as_bytes());
    if !script.path_info.is_empty() {
        set("PATH_INFO", &script.path_info);
    }
    if let Some(root) = &script.document_root {
        let root = root.as_os_str().as_bytes();
        set("DOCUMENT_ROOT", root);
        if !script.path_info.is_empty() {
            let root = root.strip_suffix(b"/").unwrap_or(root);
            set("PATH_TRANSLATED", &[root, &script.path_info].concat());
        }
    }
    if let Some(length) = length {
        set("CONTENT_LENGTH", length.to_string().as_bytes());
    }
    if let Peer::Inet(peer) = exchange.client.address {
        // The address, since its name is not looked up (section 4.1.9).
        set("REMOTE_HOST", peer.ip().to_string().as_bytes());
    }
    if let Some(address) = describe_common(exchange, &mut set) {
        set("SERVER_ADDR", address.as_bytes());
    }
    variables
}
