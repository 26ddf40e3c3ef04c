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

/// Builds the listeners at `place`. `is_default`: there is only the built-in one.
pub(super) fn build_listeners(
    tables: &BTreeMap<String, ListenKeys>,
    place: &Place<'_>,
    is_default: bool,
) -> Vec<ListenTable> {
    let mut listeners: Vec<ListenTable> = Vec::new();
    for (name, keys) in tables {
        let place = place.key(name);
        let address = place.key("address");
        let addresses = keys.address.0.clone();
        let is_used = |address: &&Address| listeners.iter().any(|other| other.addresses.contains(address));
        match addresses.iter().find(is_used) {
            Some(used) => address.reject(format!("{used} is used by another listener")),
            // In place of one with an error stands the default.
            None if address.is_rejected() => {}
            None => {
                let (name, backlog) = (name.clone(), keys.backlog.get());
                listeners.push(ListenTable { name, addresses, backlog, mode: keys.mode, is_default });
            }
        }
        place.check(check_name(name));
    }
    listeners
}
