//! `[listen.NAME]`

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::findings::Place;
use super::key::check_name;
use super::lists::NonEmptyList;
use super::scalar::Integer;
use super::table::{keys, table};
use crate::listen::ListenTable;
use crate::listen::address::{Address, Mode};

keys! {
    /// `[listen.NAME]`
    ListenKeys {
        address: NonEmptyList<Address> = NonEmptyList(loopback().into()),
        // The kernel cuts this to net.core.somaxconn, which is 4096 as well since Linux 5.4.
        backlog: Integer<1, 65_535> = Integer::new(4096),
        // As SocketMode= of systemd.socket(5).
        mode: Mode = Mode(0o666),
    }
}

table!(ListenKeys);

fn loopback() -> [Address; 2] {
    let port = 8888;
    [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].map(|ip| Address::Tcp(SocketAddr::new(ip, port)))
}

/// Whether these are one port of both loopback addresses, or of all addresses of both families. A host may lack one family.
fn is_pair(addresses: &[Address]) -> bool {
    let [Address::Tcp(SocketAddr::V4(v4)), Address::Tcp(SocketAddr::V6(v6))] = addresses else {
        return false;
    };
    let is_loopback = *v4.ip() == Ipv4Addr::LOCALHOST && *v6.ip() == Ipv6Addr::LOCALHOST;
    let is_every = v4.ip().is_unspecified() && v6.ip().is_unspecified();
    v4.port() == v6.port() && (is_loopback || is_every)
}

/// An address that all addresses of its family contain, with the same port: the kernel lets only one of them listen.
fn find_contained<'a>(
    addresses: &'a [Address],
    others: &[&'a Address],
) -> Option<(&'a Address, &'a Address)> {
    let contains = |outer: &Address, inner: &Address| match (outer, inner) {
        (Address::Tcp(outer), Address::Tcp(inner)) => {
            let is_same = outer.port() == inner.port() && outer.is_ipv4() == inner.is_ipv4();
            is_same && outer.port() != 0 && outer.ip().is_unspecified() && !inner.ip().is_unspecified()
        }
        _ => false,
    };
    let pairs =
        addresses.iter().flat_map(|own| others.iter().flat_map(move |&other| [(own, other), (other, own)]));
    pairs.into_iter().find(|(inner, outer)| contains(outer, inner))
}

/// Builds the listeners at `place`.
pub(super) fn build_listeners(tables: &BTreeMap<String, ListenKeys>, place: &Place<'_>) -> Vec<ListenTable> {
    let mut listeners: Vec<ListenTable> = Vec::new();
    for (name, keys) in tables {
        let place = place.key(name);
        let address = place.key("address");
        let addresses = keys.address.0.clone();
        let is_used = |address: &&Address| listeners.iter().any(|other| other.addresses.contains(address));
        let others: Vec<_> = listeners.iter().flat_map(|other| &other.addresses).chain(&addresses).collect();
        if let Some((inner, outer)) = find_contained(&addresses, &others) {
            address.reject(format!("{inner} is contained in {outer}: remove one of them"));
        }
        match addresses.iter().find(is_used) {
            Some(used) => address.reject(format!("{used} is used by another listener")),
            // In place of one with an error stands the default.
            None if address.is_rejected() => {}
            None => {
                let (name, backlog) = (name.clone(), keys.backlog.get());
                let may_lack = is_pair(&addresses);
                let mode = keys.mode;
                listeners.push(ListenTable { name, addresses, backlog, mode, may_lack, is_option: false });
            }
        }
        place.check(check_name(name));
    }
    listeners
}
