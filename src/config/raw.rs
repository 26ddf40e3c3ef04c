//! The configuration as it is written: one struct for each table, every key optional, unknown keys
//! refused. `Default` is the default configuration; `etc/lsbaws.toml` documents the same values.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{
    Address, Addresses, HandlerName, Level, LogTarget, Mode, Model, Protocol, Size, Table, Text, Time, Whole,
};

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Raw {
    pub limits: Table<Limits>,
    pub process: Table<Process>,
    pub log: Table<Log>,
    pub listen: BTreeMap<String, Table<Listen>>,
    pub service: BTreeMap<String, Table<Service>>,
}

impl Raw {
    /// Without any listener or service there is one of each.
    pub fn fill_in(&mut self) {
        if self.listen.is_empty() {
            self.listen.insert("web".into(), Table::default());
        }
        if self.service.is_empty() {
            self.service.insert("web".into(), Table::default());
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    pub address: Addresses,
    pub backlog: Whole<1, 65_535>,
    pub mode: Mode,
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = [
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8888),
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 8888),
        ];
        Self {
            address: Addresses(loopback.map(Address::Tcp).into()),
            // The kernel cuts this to net.core.somaxconn, which is 4096 as well since Linux 5.4.
            backlog: Whole::new(4096),
            // As SocketMode= of systemd.socket(5).
            mode: Mode(0o666),
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub max_connections: Whole<1, 65_536>,
    pub head_timeout: Time,
    pub write_timeout: Time,
    pub max_head_size: Size,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: Whole::new(512),
            head_timeout: Time(Duration::from_secs(10)),
            write_timeout: Time(Duration::from_secs(30)),
            max_head_size: Size(16 * 1024),
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    pub model: Model,
    pub drain_timeout: Time,
}

impl Default for Process {
    fn default() -> Self {
        Self { model: Model::Fork, drain_timeout: Time(Duration::from_secs(20)) }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub target: LogTarget,
    pub level: Level,
}

impl Default for Log {
    fn default() -> Self {
        Self { target: LogTarget::Auto, level: Level::Info }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    pub protocol: Protocol,
    pub route: Vec<Table<Route>>,
}

impl Default for Service {
    fn default() -> Self {
        Self { protocol: Protocol::Http, route: vec![Table::default()] }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    pub path: Text,
    pub handler: HandlerName,
    pub body: Text,
    pub status: Whole<200, 599>,
    pub content_type: Text,
    pub headers: BTreeMap<String, Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Time>,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            path: Text("/".into()),
            handler: HandlerName::Hello,
            body: Text("Hello, World!\n".into()),
            status: Whole::new(200),
            content_type: Text("text/plain; charset=utf-8".into()),
            headers: BTreeMap::new(),
            delay: None,
        }
    }
}
