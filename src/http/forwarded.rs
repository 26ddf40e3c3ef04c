//! The fields in which proxies describe the client of a request: `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`, and `Forwarded` (RFC 7239).
//!
//! A client can send these fields as well, and a proxy appends its own values on the right. So they are read from the right,
//! over the addresses of trusted proxies: the first other address is the client's. What is on the left of it is not read. An
//! invalid value that is read, and two kinds of fields that differ, are errors of the proxy's configuration, or an attempt to
//! deceive it: the request is invalid.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use httparse::Header;

use super::failure::{Failure, refuse};
use super::fields::field;
use super::{is_token, target};
use crate::connection::Peer;

/// What trusted proxies report about the client of a request. What they do not report is not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Forwarded<'a> {
    pub(crate) client: Option<Peer>,
    pub(crate) is_https: Option<bool>,
    /// `host[:port]`, not empty.
    pub(crate) authority: Option<&'a str>,
    pub(crate) port: Option<u16>,
}

/// A node, as a proxy names it (RFC 7239, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Address(Peer),
    /// `unknown`, or an identifier that hides the address.
    Hidden,
}

/// The values of one kind of fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ForwardedFields<'a> {
    client: Option<Node>,
    is_https: Option<bool>,
    authority: Option<&'a str>,
    port: Option<u16>,
}

/// Reads the fields of a request that a trusted proxy has sent. `is_trusted`: whether an address is that of one.
///
/// # Errors
/// 400, with a sentence that names the field.
pub(crate) fn read<'a>(
    fields: &'a [Header<'a>],
    is_trusted: impl Fn(&Peer) -> bool,
) -> Result<Forwarded<'a>, Failure> {
    let one = read_x_forwarded(fields, &is_trusted)?;
    let other = read_forwarded(fields, &is_trusted)?;
    let is_same_client = match (one.client, other.client) {
        (Some(Node::Address(one)), Some(Node::Address(other))) => one.is_same_host(&other),
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    let is_same_host = match (one.authority, other.authority) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        _ => true,
    };
    let is_same_scheme = one.is_https.is_none_or(|one| other.is_https.is_none_or(|other| one == other));
    if !(is_same_client && is_same_host && is_same_scheme) {
        return refuse("Forwarded and the X-Forwarded fields differ");
    }
    let client = match one.client.or(other.client) {
        Some(Node::Address(client)) => Some(client),
        Some(Node::Hidden) | None => None,
    };
    Ok(Forwarded {
        client,
        is_https: one.is_https.or(other.is_https),
        authority: one.authority.or(other.authority),
        port: one.port,
    })
}

/// Walks from the right over trusted proxies. Returns the client, and the index of the element that the proxy has written
/// which the client has connected to.
///
/// # Errors
/// The index of an element that was looked at and is no node.
fn walk<T>(
    elements: &[T],
    parse: impl Fn(&T) -> Option<Node>,
    is_trusted: impl Fn(&Peer) -> bool,
) -> Result<Option<(Node, usize)>, usize> {
    let mut found = None;
    for (index, element) in elements.iter().enumerate().rev() {
        match parse(element).ok_or(index)? {
            // The client is not known beyond the last proxy that is.
            Node::Hidden => return Ok(Some((found.map_or(Node::Hidden, |(node, _)| node), index))),
            Node::Address(peer) => {
                found = Some((Node::Address(peer), index));
                if !is_trusted(&peer) {
                    break;
                }
            }
        }
    }
    Ok(found)
}

fn read_x_forwarded<'a>(
    fields: &'a [Header<'a>],
    is_trusted: impl Fn(&Peer) -> bool,
) -> Result<ForwardedFields<'a>, Failure> {
    let nodes = list(fields, "X-Forwarded-For");
    let Ok(found) = walk(&nodes, |text| parse_node(text), is_trusted) else {
        return refuse("invalid X-Forwarded-For");
    };
    // Each proxy adds a value, or replaces all of them: the one of the proxy that the client has connected to.
    let hops = found.map_or(0, |(_, index)| nodes.len() - 1 - index);
    let pick = |name| {
        let values = list(fields, name);
        values.get((values.len().saturating_sub(1)).saturating_sub(hops)).copied()
    };
    let port = |text: &str| parse_port(text.as_bytes()).filter(|&port| port > 0);
    Ok(ForwardedFields {
        client: found.map(|(node, _)| node),
        is_https: pick("X-Forwarded-Proto")
            .map(|text| parse_scheme(text).ok_or(INVALID_PROTO))
            .transpose()?,
        authority: pick("X-Forwarded-Host")
            .map(|text| parse_authority(text).ok_or(INVALID_HOST))
            .transpose()?,
        port: pick("X-Forwarded-Port").map(|text| port(text).ok_or(INVALID_PORT)).transpose()?,
    })
}

const INVALID_PROTO: Failure = Failure::Refused(400, "invalid X-Forwarded-Proto");
const INVALID_HOST: Failure = Failure::Refused(400, "invalid X-Forwarded-Host");
const INVALID_PORT: Failure = Failure::Refused(400, "invalid X-Forwarded-Port");
const INVALID_FORWARDED: Failure = Failure::Refused(400, "invalid Forwarded");

/// The elements of all fields with this name (RFC 9110, section 5.6.1). What is no text has no value that is valid.
fn list<'a>(fields: &'a [Header<'a>], name: &str) -> Vec<&'a str> {
    let values = field(fields, name).flat_map(|value| value.split(|&byte| byte == b','));
    let values = values.map(|value| std::str::from_utf8(value).unwrap_or("?").trim_matches([' ', '\t']));
    values.filter(|value| !value.is_empty()).collect()
}

/// An element of `Forwarded`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Element<'a> {
    node: Option<&'a str>,
    proto: Option<&'a str>,
    host: Option<&'a str>,
}

fn read_forwarded<'a>(
    fields: &'a [Header<'a>],
    is_trusted: impl Fn(&Peer) -> bool,
) -> Result<ForwardedFields<'a>, Failure> {
    let mut elements = Vec::new();
    for value in field(fields, "Forwarded") {
        let value = std::str::from_utf8(value).map_err(|_| INVALID_FORWARDED)?;
        split_elements(value, &mut elements).ok_or(INVALID_FORWARDED)?;
    }
    let found = match elements.iter().any(|element| element.node.is_some()) {
        true => walk(&elements, |element| element.node.map_or(Some(Node::Hidden), parse_node), is_trusted)
            .map_err(|_| INVALID_FORWARDED)?,
        false => None,
    };
    let last = elements.len().saturating_sub(1);
    let Element { proto, host, .. } =
        elements.get(found.map_or(last, |(_, index)| index)).copied().unwrap_or_default();
    Ok(ForwardedFields {
        client: found.map(|(node, _)| node),
        is_https: proto.map(|proto| parse_scheme(proto).ok_or(INVALID_FORWARDED)).transpose()?,
        authority: host.map(|host| parse_authority(host).ok_or(INVALID_FORWARDED)).transpose()?,
        port: None,
    })
}

/// Splits one field (RFC 7239, section 4). `None`: it is malformed, so that no part of it is used.
fn split_elements<'a>(value: &'a str, elements: &mut Vec<Element<'a>>) -> Option<()> {
    let mut rest = value;
    let mut element = Element::default();
    let mut is_empty = true;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        match rest.bytes().next() {
            end @ (None | Some(b',')) => {
                if !is_empty {
                    elements.push(element);
                }
                (element, is_empty) = (Element::default(), true);
                if end.is_none() {
                    return Some(());
                }
                rest = &rest[1..];
            }
            Some(b';') => rest = &rest[1..],
            Some(_) => {
                let (name, value, after) = split_pair(rest)?;
                let place = if name.eq_ignore_ascii_case("for") {
                    Some(&mut element.node)
                } else if name.eq_ignore_ascii_case("proto") {
                    Some(&mut element.proto)
                } else if name.eq_ignore_ascii_case("host") {
                    Some(&mut element.host)
                } else {
                    None
                };
                // Each stands once.
                if let Some(place) = place
                    && place.replace(value).is_some()
                {
                    return None;
                }
                is_empty = false;
                rest = after.trim_start_matches([' ', '\t']);
                if !(rest.is_empty() || rest.starts_with([',', ';'])) {
                    return None;
                }
            }
        }
    }
}

/// `name=value`, and what follows it. A value without quotes may have a colon and brackets, as many proxies send it.
fn split_pair(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once('=')?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    if let Some(quoted) = rest.strip_prefix('"') {
        let end = quoted.find('"')?;
        // What needs an escape is neither an address nor a host.
        let value = Some(&quoted[..end]).filter(|value| !value.contains('\\'))?;
        return Some((name, value, &quoted[end + 1..]));
    }
    let end = rest.find([',', ';', ' ', '\t']).unwrap_or(rest.len());
    let is_value = |value: &&str| !value.is_empty() && !value.contains(['"', '\\']);
    let value = Some(&rest[..end]).filter(is_value)?;
    Some((name, value, &rest[end..]))
}

/// An address with or without a port, `unknown`, or a name that begins with `_`. A bare IPv6 address is one as well.
fn parse_node(text: &str) -> Option<Node> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(new_address(ip, 0));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, port) = rest.split_once(']')?;
        let ip: Ipv6Addr = ip.parse().ok()?;
        let port = if port.is_empty() { 0 } else { parse_node_port(port.strip_prefix(':')?)? };
        return Some(new_address(ip.into(), port));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, parse_node_port(port)?),
        None => (text, 0),
    };
    if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        return Some(Node::Hidden);
    }
    name.parse().ok().map(|ip| new_address(IpAddr::V4(ip), port))
}

/// As that of an accepted connection: an IPv4 address has one form.
fn new_address(ip: IpAddr, port: u16) -> Node {
    Node::Address(Peer::Inet(SocketAddr::new(ip.to_canonical(), port)))
}

fn is_obfuscated(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.strip_prefix('_').is_some_and(|name| !name.is_empty() && name.bytes().all(is_allowed))
}

/// A number, or 0 for one that is hidden.
fn parse_node_port(text: &str) -> Option<u16> {
    if is_obfuscated(text) { Some(0) } else { parse_port(text.as_bytes()) }
}

fn parse_port(text: &[u8]) -> Option<u16> {
    let is_number = (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

/// Whether a scheme is that of TLS. Those of WebSockets are named by some proxies.
fn parse_scheme(text: &str) -> Option<bool> {
    let schemes = [("http", false), ("https", true), ("ws", false), ("wss", true)];
    schemes.into_iter().find(|(scheme, _)| scheme.eq_ignore_ascii_case(text)).map(|(_, is_https)| is_https)
}

fn parse_authority(text: &str) -> Option<&str> {
    let is_valid = !target::host_of(text).is_empty() && target::is_authority(text.as_bytes());
    is_valid.then_some(text)
}

#[cfg(test)]
mod tests;
