//! The URLs of a listener, for the user of a terminal.

use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use super::Listener;

impl Listener {
    /// The URLs by which a client of HTTP reaches it: for all addresses of this host one for each of them. The address itself
    /// for a Unix socket.
    pub(crate) fn list_urls(&self) -> Vec<String> {
        match self.address.parse::<SocketAddr>() {
            Err(_) => vec![self.address.clone()],
            Ok(address) if address.ip().is_unspecified() => {
                let own = list_addresses(address.is_ipv4());
                own.into_iter().map(|ip| describe(SocketAddr::new(ip, address.port()))).collect()
            }
            Ok(address) => vec![describe(address)],
        }
    }
}

/// The addresses of the interfaces, of one family. Link-local ones are of no use in a URL.
fn list_addresses(is_v4: bool) -> Vec<IpAddr> {
    let find = |storage: SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().filter(|_| is_v4).map(|address| IpAddr::from(address.ip()));
        let v6 = storage.as_sockaddr_in6().filter(|_| !is_v4).map(|address| address.ip());
        v4.or(v6.filter(|ip| !ip.is_unicast_link_local()).map(IpAddr::from))
    };
    getifaddrs().into_iter().flatten().filter_map(|interface| find(interface.address?)).collect()
}

fn describe(address: SocketAddr) -> String {
    match address.port() {
        80 => format!("http://{}/", address.to_string().trim_end_matches(":80")),
        _ => format!("http://{address}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_the_port_unless_it_is_80() {
        for (address, url) in [
            ("127.0.0.1:8888", "http://127.0.0.1:8888/"),
            ("127.0.0.1:80", "http://127.0.0.1/"),
            ("[::1]:80", "http://[::1]/"),
            ("[::1]:8080", "http://[::1]:8080/"),
        ] {
            assert_eq!(describe(address.parse().unwrap()), url);
        }
        assert!(list_addresses(true).contains(&"127.0.0.1".parse().unwrap()));
    }
}
