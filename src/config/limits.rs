//! `[limits]`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::Ipv4Net;

use super::lists::List;
use super::quantity::{MIB, Size, TIB, Time};
use super::scalar::Integer;
use super::table::{keys, table};
use crate::http::limits::Limits;
use crate::source::{AccessList, Network, Networks, Prefixes, WiderPrefix};
use crate::supervisor::settings::AdmissionRules;

keys! {
    /// `[limits]`
    LimitsKeys {
        max_connections: Integer<1, 65_536> = Integer::new(512),
        max_connections_per_source: Integer<0, 65_536> = Integer::new(64),
        max_rate_per_source: Integer<0, 1_000_000> = Integer::new(0),
        source_prefix_v4: Integer<0, 32> = Integer::new(32),
        source_prefix_v6: Integer<0, 128> = Integer::new(64),
        source_factor_v6_56: Integer<0, 65_536> = Integer::new(2),
        source_factor_v6_48: Integer<0, 65_536> = Integer::new(4),
        exempt: List<Network> = List(local_networks().into()),
        allow: List<Network> = List(Vec::new()),
        deny: List<Network> = List(Vec::new()),
        penalty_after: Integer<0, 1_000_000> = Integer::new(20),
        penalty_time: Time = Time(Duration::from_secs(10)),
        penalty_time_max: Time = Time(Duration::from_secs(600)),
        max_requests: Integer<1, 1_000_000_000> = Integer::new(1000),
        head_timeout: Time = Time(Duration::from_secs(10)),
        body_timeout: Time = Time(Duration::from_secs(30)),
        body_timeout_max: Time = Time(Duration::from_secs(3 * 60 * 60)),
        write_timeout: Time = Time(Duration::from_secs(30)),
        write_timeout_max: Time = Time(Duration::from_secs(12 * 60 * 60)),
        keepalive_timeout: Time = Time(Duration::from_secs(5)),
        max_duration: Option<Time> = None,
        peer_timeout: Time = Time(Duration::from_secs(600)),
        min_rate: Size<1, MIB> = Size::new(512),
        min_rate_when_full: Size<1, MIB> = Size::new(8 << 10),
        max_head_size: Size<1, MIB> = Size::new(16 << 10),
        max_body_size: Size<1, TIB> = Size::new(1 << 30),
    }
}

table!(LimitsKeys);

/// This host. A proxy in front of the daemon is one source with many clients.
fn local_networks() -> [Network; 3] {
    let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    [Network::Inet(loopback.into()), Network::Inet(IpAddr::from(Ipv6Addr::LOCALHOST).into()), Network::Unix]
}

impl LimitsKeys {
    pub(super) fn build_admission(&self) -> AdmissionRules {
        AdmissionRules {
            max_connections_per_source: self.max_connections_per_source.get(),
            max_rate_per_source: self.max_rate_per_source.get(),
            prefixes: Prefixes {
                v4: self.source_prefix_v4.get(),
                v6: self.source_prefix_v6.get(),
                wider_v6: [
                    WiderPrefix { length: 56, factor: self.source_factor_v6_56.get() },
                    WiderPrefix { length: 48, factor: self.source_factor_v6_48.get() },
                ],
            },
            exempt: Networks(self.exempt.0.clone()),
            access: AccessList { allow: Networks(self.allow.0.clone()), deny: Networks(self.deny.0.clone()) },
            penalty_after: self.penalty_after.get(),
            penalty_time: self.penalty_time.0,
            penalty_time_max: self.penalty_time_max.0.max(self.penalty_time.0),
        }
    }

    pub(super) fn build_http(&self) -> Limits {
        Limits {
            max_requests: self.max_requests.get(),
            head_timeout: self.head_timeout.0,
            body_timeout: self.body_timeout.0,
            body_timeout_max: self.body_timeout_max.0.max(self.body_timeout.0),
            write_timeout: self.write_timeout.0,
            write_timeout_max: self.write_timeout_max.0.max(self.write_timeout.0),
            keepalive_timeout: self.keepalive_timeout.0,
            min_rate: self.min_rate.get(),
            min_rate_when_full: self.min_rate_when_full.get::<u64>().max(self.min_rate.get()),
            max_head_size: self.max_head_size.get(),
            max_body_size: self.max_body_size.get(),
        }
    }
}
