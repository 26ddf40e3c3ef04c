//! The URL of the command line, as socket addresses and a request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Inet(SocketAddr),
    /// A Unix socket in the file system.
    Path(PathBuf),
    /// A Unix socket in the abstract namespace (unix(7)), without its leading `@`.
    Abstract(String),
}

/// A valid URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The addresses to try, in this order. Never empty.
    pub addresses: Vec<Address>,
    /// Value of the field Host.
    host: String,
    /// Path and query, as in the request line.
    path: String,
}

/// Why a URL is invalid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid URL {url:?}: {reason}")]
pub(crate) struct InvalidUrl {
    url: String,
    reason: &'static str,
}

impl Target {
    /// Parses `http://HOST[:PORT][/PATH][?QUERY]` or `unix:SOCKET[:/PATH]`.
    ///
    /// The only host name is `localhost`: the program is linked statically, and the resolver of glibc needs
    /// shared libraries.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let reason = if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            "it contains spaces, control characters or non-ASCII characters; encode them as %XX"
        } else if let Some(rest) = strip_scheme(url, "http://") {
            match parse_http(rest) {
                Ok(target) => return Ok(target),
                Err(reason) => reason,
            }
        } else if let Some(rest) = strip_scheme(url, "unix:") {
            match parse_unix(rest) {
                Ok(target) => return Ok(target),
                Err(reason) => reason,
            }
        } else if strip_scheme(url, "https://").is_some() {
            "https is not supported; use http:// and the address of the server behind the TLS proxy"
        } else {
            "it must start with http:// or unix:"
        };
        Err(InvalidUrl { url: url.to_owned(), reason })
    }

    /// The request, as it is sent on each connection.
    pub(crate) fn request(&self) -> Vec<u8> {
        let agent = concat!("lsbaws/", env!("CARGO_PKG_VERSION"));
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n",
            self.path, self.host
        )
        .into_bytes()
    }
}

/// Removes `scheme`, in upper or lower case.
fn strip_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let (head, rest) = url.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn parse_http(rest: &str) -> Result<Target, &'static str> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("a user name in the URL is not supported");
    }
    let (host, port) = split_port(authority)?;
    let port = match port {
        None | Some("") => 80,
        Some(digits) => parse_port(digits).ok_or("the port is not a number from 1 to 65535")?,
    };
    let addresses =
        parse_host(host)?.into_iter().map(|ip| Address::Inet(SocketAddr::new(ip, port))).collect();
    Ok(Target { addresses, host: authority.to_owned(), path: origin_form(path) })
}

/// Splits `HOST:PORT`. The host may be an IPv6 address in brackets.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    if !authority.starts_with('[') {
        return Ok(authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p))));
    }
    let end = authority.find(']').ok_or("the IPv6 address has no ]")?;
    match authority.split_at(end + 1) {
        (host, "") => Ok((host, None)),
        (host, port) => {
            let port = port.strip_prefix(':').ok_or("host and port must be separated by :")?;
            Ok((host, Some(port)))
        }
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|&port| only_digits && port > 0)
}

fn parse_host(host: &str) -> Result<Vec<IpAddr>, &'static str> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    if let Some(inner) = host.strip_prefix('[') {
        let literal = inner.trim_end_matches(']');
        let v6: Ipv6Addr = literal.parse().map_err(|_| "the host is not an IPv6 address")?;
        return Ok(vec![v6.into()]);
    }
    if host.is_empty() {
        return Err("the host is missing");
    }
    let v4: Ipv4Addr = host.parse().map_err(
        |_| "localhost is the only host name that is supported; use an address such as 127.0.0.1 or [::1]",
    )?;
    Ok(vec![v4.into()])
}

/// Parses `SOCKET` or `SOCKET:/PATH`. The socket is an absolute path or `@NAME`.
fn parse_unix(rest: &str) -> Result<Target, &'static str> {
    let (socket, path) = rest.find(":/").map_or((rest, ""), |at| (&rest[..at], &rest[at + 1..]));
    let address = match socket.strip_prefix('@') {
        Some("") => return Err("the socket is missing"),
        Some(name) => Address::Abstract(name.to_owned()),
        None if socket.starts_with('/') => Address::Path(socket.into()),
        None => return Err("the socket is neither an absolute path nor @NAME"),
    };
    let length = socket.len();
    if length > 107 {
        return Err("the socket is longer than 107 bytes");
    }
    Ok(Target { addresses: vec![address], host: "localhost".into(), path: origin_form(path) })
}

/// Path and query, as in a request line: with a leading slash and without a fragment.
fn origin_form(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(address: &str) -> Address {
        Address::Inet(address.parse().unwrap())
    }

    fn request(url: &str) -> String {
        String::from_utf8(Target::parse(url).unwrap().request()).unwrap()
    }

    #[test]
    fn urls_become_addresses() {
        for (url, address) in [
            ("http://127.0.0.1", inet("127.0.0.1:80")),
            ("http://127.0.0.1:/", inet("127.0.0.1:80")),
            ("HTTP://127.0.0.1:8888/hello", inet("127.0.0.1:8888")),
            ("http://[::1]", inet("[::1]:80")),
            ("http://[::1]:8888/", inet("[::1]:8888")),
            ("unix:/run/web.sock", Address::Path("/run/web.sock".into())),
            ("unix:/run/web.sock:/hello", Address::Path("/run/web.sock".into())),
            ("unix:@web:/hello", Address::Abstract("web".into())),
        ] {
            assert_eq!(Target::parse(url).unwrap().addresses, [address], "{url}");
        }
    }

    #[test]
    fn localhost_is_127_0_0_1_then_ipv6() {
        let target = Target::parse("http://LocalHost:8888/").unwrap();
        assert_eq!(target.addresses, [inet("127.0.0.1:8888"), inet("[::1]:8888")]);
    }

    #[test]
    fn requests_have_target_and_host() {
        let agent = concat!("User-Agent: lsbaws/", env!("CARGO_PKG_VERSION"), "\r\n");
        let expect = |target: &str, host: &str| {
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{agent}Connection: close\r\n\r\n")
        };
        assert_eq!(request("http://127.0.0.1"), expect("/", "127.0.0.1"));
        assert_eq!(request("http://[::1]:8888/a/b?c#d"), expect("/a/b?c", "[::1]:8888"));
        assert_eq!(request("http://localhost:81?q"), expect("/?q", "localhost:81"));
        assert_eq!(request("unix:/run/web.sock:/a"), expect("/a", "localhost"));
        assert_eq!(request("unix:@web"), expect("/", "localhost"));
    }

    #[test]
    fn invalid_urls_are_rejected_with_a_reason() {
        for (url, reason) in [
            ("127.0.0.1:8888", "must start"),
            ("", "must start"),
            ("https://127.0.0.1/", "https"),
            ("http://", "host is missing"),
            ("http://:8888/", "host is missing"),
            ("http://example.org/", "only host name"),
            ("http://127.0.0.1.2/", "only host name"),
            ("http://me@127.0.0.1/", "user name"),
            ("http://127.0.0.1:0/", "port"),
            ("http://127.0.0.1:+80/", "port"),
            ("http://127.0.0.1:65536/", "port"),
            ("http://[::1/", "no ]"),
            ("http://[::1%25lo]/", "IPv6"),
            ("http://[::1]80/", "separated"),
            ("http://127.0.0.1/a b", "%XX"),
            ("http://127.0.0.1/\r\nEvil: yes", "%XX"),
            ("http://127.0.0.1/é", "%XX"),
            ("unix:web.sock", "absolute"),
            ("unix:@", "socket is missing"),
            (&format!("unix:/{}", "x".repeat(107)), "107 bytes"),
        ] {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
