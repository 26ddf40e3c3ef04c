//! Where connections come from, as access lists and limits see it: a network of addresses, or a user of this host.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::connection::Peer;

/// How many bits of an address make a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Prefixes {
    pub(crate) v4: u8,
    pub(crate) v6: u8,
    /// Wider networks that an IPv6 source counts for as well. A site gets one of them as a whole (RFC 6177), and has an
    /// address in each of its 256 or 65,536 networks of 64 bits.
    pub(crate) wider_v6: [WiderPrefix; 2],
}

/// A prefix shorter than that of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WiderPrefix {
    pub(crate) length: u8,
    /// Its limits are those of a source times this; 0 is no limit.
    pub(crate) factor: u32,
}

/// A source, or a wider network around it, and the factor of its limits.
pub(crate) type Counted = (Source, u32);

/// How the address of a client is known. An address that a proxy reports, or a child makes up, must harm no client whose
/// address the kernel knows: the two are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// The kernel knows it: it is the peer.
    ByKernel,
    /// A child has reported it, as a trusted proxy has named it.
    ByProxy,
}

/// What limits count by: all addresses with a common prefix, or a user, on a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Inet(IpNet),
    User(u32),
}

impl Source {
    /// `None` for an unknown peer.
    pub(crate) fn of(peer: &Peer, prefixes: Prefixes) -> Option<Self> {
        match peer {
            Peer::Inet(address) => {
                let prefix = if address.is_ipv4() { prefixes.v4 } else { prefixes.v6 };
                IpNet::new(address.ip(), prefix).ok().map(|network| Self::Inet(network.trunc()))
            }
            Peer::Unix { uid, .. } => Some(Self::User(*uid)),
            Peer::Unknown => None,
        }
    }

    /// The source of a peer, and the wider networks that it counts for.
    pub(crate) fn find_all(peer: &Peer, prefixes: Prefixes) -> impl Iterator<Item = Counted> + use<> {
        let source = Self::of(peer, prefixes);
        let wider = prefixes.wider_v6.into_iter().filter(|wider| wider.factor > 0);
        let widen = move |WiderPrefix { length, factor }| match source {
            Some(Self::Inet(IpNet::V6(network))) if length < network.prefix_len() => {
                let network = IpNet::new(network.addr().into(), length).ok()?;
                Some((Self::Inet(network.trunc()), factor))
            }
            _ => None,
        };
        source.map(|source| (source, 1)).into_iter().chain(wider.filter_map(widen))
    }

    /// The bits that its addresses have in common; 0 for a user.
    pub(crate) fn prefix_length(&self) -> u8 {
        match self {
            Self::Inet(network) => network.prefix_len(),
            Self::User(_) => 0,
        }
    }

    /// Whether the peer belongs to it.
    pub(crate) fn contains(&self, peer: &Peer) -> bool {
        match (self, peer) {
            (Self::Inet(network), Peer::Inet(address)) => network.contains(&address.ip()),
            (Self::User(user), Peer::Unix { uid, .. }) => user == uid,
            _ => false,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(network) => show_network(network, f),
            Self::User(uid) => write!(f, "uid:{uid}"),
        }
    }
}

fn show_network(network: &IpNet, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match network.prefix_len() == network.max_prefix_len() {
        true => write!(f, "{}", network.addr()),
        false => write!(f, "{network}"),
    }
}

/// An entry of an access list: `10.0.0.0/8`, `2001:db8::1`, `uid:1000`, or `unix` for every user of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Network {
    Inet(IpNet),
    User(u32),
    Unix,
}

impl Network {
    /// It has more addresses than the largest networks of one owner, such as 10.0.0.0/8.
    pub(crate) fn is_wide(&self) -> bool {
        matches!(self, Self::Inet(network) if network.prefix_len() < 8)
    }

    /// How specific the entry is for that peer, such as the length of its prefix. `None`: it does not match.
    fn specificity(&self, peer: &Peer) -> Option<u8> {
        match (self, peer) {
            (Self::Inet(network), Peer::Inet(address)) => {
                network.contains(&address.ip()).then(|| network.prefix_len())
            }
            (Self::User(listed), Peer::Unix { uid, .. }) => (listed == uid).then_some(1),
            (Self::Unix, Peer::Unix { .. }) => Some(0),
            _ => None,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    /// Fails for address bits beyond the prefix: one of the two is a mistake.
    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        if let Some(uid) = text.strip_prefix("uid:") {
            let is_number = uid.bytes().all(|byte| byte.is_ascii_digit());
            return uid.parse().ok().filter(|_| is_number).map(Self::User).ok_or(());
        }
        let network: IpNet = match text.parse::<IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => text.parse().map_err(drop)?,
        };
        // An IPv4 peer has its IPv4 address, even on an IPv6 socket.
        let is_mapped = matches!(network, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some());
        if network.addr() == network.network() && !is_mapped { Ok(Self::Inet(network)) } else { Err(()) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(network) => show_network(network, f),
            Self::User(uid) => write!(f, "uid:{uid}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// The peers that a list matches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Networks(pub(crate) Vec<Network>);

impl Networks {
    pub(crate) fn contains(&self, peer: &Peer) -> bool {
        self.most_specific(peer).is_some()
    }

    fn most_specific(&self, peer: &Peer) -> Option<u8> {
        self.0.iter().filter_map(|network| network.specificity(peer)).max()
    }
}

/// Which peers are admitted: the most specific matching entry of both lists wins, on a tie `deny`. A peer that
/// no entry matches is admitted if `allow` is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessList {
    pub(crate) allow: Networks,
    pub(crate) deny: Networks,
}

impl AccessList {
    /// Whether it admits every peer.
    pub(crate) fn is_empty(&self) -> bool {
        self.allow.0.is_empty() && self.deny.0.is_empty()
    }

    pub(crate) fn admits(&self, peer: &Peer) -> bool {
        match (self.allow.most_specific(peer), self.deny.most_specific(peer)) {
            (Some(allow), Some(deny)) => allow > deny,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => self.allow.0.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(address: &str) -> Peer {
        Peer::Inet((address.parse::<IpAddr>().unwrap(), 40_000).into())
    }

    fn networks(list: &[&str]) -> Networks {
        Networks(list.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn a_source_is_a_prefix_or_a_user() {
        let prefixes = Prefixes { v4: 24, v6: 64, ..Prefixes::default() };
        let show = |peer: &Peer| Source::of(peer, prefixes).unwrap().to_string();
        assert_eq!(show(&inet("192.0.2.77")), "192.0.2.0/24");
        assert_eq!(show(&inet("2001:db8:1:2:3::4")), "2001:db8:1:2::/64");
        assert_eq!(show(&Peer::Unix { uid: 33, pid: 1 }), "uid:33");
        assert_eq!(Source::of(&Peer::Unknown, prefixes), None);
        let single = Prefixes { v4: 32, v6: 128, ..Prefixes::default() };
        assert_eq!(Source::of(&inet("192.0.2.77"), single).unwrap().to_string(), "192.0.2.77");
    }

    #[test]
    fn ipv6_sources_count_for_wider_networks() {
        let wider_v6 = [(56, 2), (48, 4)].map(|(length, factor)| WiderPrefix { length, factor });
        let prefixes = Prefixes { v4: 32, v6: 64, wider_v6 };
        let show = |peer: &Peer, prefixes| -> Vec<_> {
            Source::find_all(peer, prefixes).map(|(source, factor)| format!("{source} {factor}")).collect()
        };
        let peer = inet("2001:db8:1:203::4");
        assert_eq!(
            show(&peer, prefixes),
            ["2001:db8:1:203::/64 1", "2001:db8:1:200::/56 2", "2001:db8:1::/48 4"]
        );
        assert_eq!(
            show(&peer, Prefixes { v6: 56, ..prefixes }),
            ["2001:db8:1:200::/56 1", "2001:db8:1::/48 4"]
        );
        assert_eq!(show(&peer, Prefixes { wider_v6: [WiderPrefix::default(); 2], ..prefixes }).len(), 1);
        assert_eq!(show(&inet("192.0.2.7"), prefixes), ["192.0.2.7 1"]);
        let networks: Vec<_> = Source::find_all(&peer, prefixes).collect();
        let contains =
            |address| networks.iter().map(|(source, _)| source.contains(&inet(address))).collect::<Vec<_>>();
        assert_eq!(contains("2001:db8:1:203:9::"), [true, true, true]);
        assert_eq!(contains("2001:db8:1:2ff::1"), [false, true, true]);
        assert_eq!(contains("2001:db8:1:300::1"), [false, false, true]);
        assert_eq!(contains("192.0.2.7"), [false, false, false]);
    }

    #[test]
    fn every_entry_has_one_spelling() {
        for good in ["10.0.0.0/8", "192.0.2.7", "::1", "2001:db8::/32", "uid:0", "unix", "0.0.0.0/0"] {
            assert_eq!(good.parse::<Network>().unwrap().to_string(), good);
        }
        let bad = [
            "",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0",
            "localhost",
            "uid:",
            "uid:-1",
            "uid:+1",
            "::ffff:10.0.0.1",
        ];
        for bad in bad {
            assert!(bad.parse::<Network>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_most_specific_entry_wins() {
        let access =
            AccessList { allow: networks(&["10.0.0.0/8", "10.1.2.3"]), deny: networks(&["10.1.0.0/16"]) };
        let cases = [("10.9.9.9", true), ("10.1.9.9", false), ("10.1.2.3", true), ("192.0.2.1", false)];
        for (address, expected) in cases {
            assert_eq!(access.admits(&inet(address)), expected, "{address}");
        }
        assert!(!access.admits(&Peer::Unix { uid: 0, pid: 1 }), "a list of addresses admits no users");
        let access = AccessList { allow: Networks::default(), deny: networks(&["unix"]) };
        assert!(access.admits(&inet("10.0.0.1")) && access.admits(&Peer::Unknown));
        assert!(!access.admits(&Peer::Unix { uid: 0, pid: 1 }));
        let equal = AccessList { allow: networks(&["10.0.0.1"]), deny: networks(&["10.0.0.1"]) };
        assert!(!equal.admits(&inet("10.0.0.1")));
        let users = AccessList { allow: networks(&["uid:33"]), deny: networks(&["unix"]) };
        assert!(
            users.admits(&Peer::Unix { uid: 33, pid: 1 }) && !users.admits(&Peer::Unix { uid: 34, pid: 1 })
        );
    }
}
