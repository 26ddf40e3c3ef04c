//! The configuration as it is written: one struct for each table, every key optional, unknown keys
//! refused. `Default` is the default configuration; `etc/lsbaws.toml` documents the same values.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::keywords::{HandlerName, Protocol, Symlinks};
use super::lists::{List, Listed, Table};
use super::values::{CoreSize, FilePath, Flag, MIB, Nice, ProgramPath, Size, TIB, Text, Time, Umask, Whole};
use crate::journal::{Level, Target};
use crate::listen::address::{Address, Mode};
use crate::source::Network;
use crate::supervisor::settings::Model;

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
        for Table(service) in self.service.values_mut() {
            service.fill_in();
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    pub address: List<Address>,
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
            address: List(loopback.map(Address::Tcp).into()),
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
    pub max_connections_per_source: Whole<0, 65_536>,
    pub max_rate_per_source: Whole<0, 1_000_000>,
    pub source_prefix_v4: Whole<0, 32>,
    pub source_prefix_v6: Whole<0, 128>,
    pub exempt: Listed<Network>,
    pub allow: Listed<Network>,
    pub deny: Listed<Network>,
    pub penalty_after: Whole<0, 1_000_000>,
    pub penalty_time: Time,
    pub penalty_time_max: Time,
    pub max_requests: Whole<1, 1_000_000_000>,
    pub head_timeout: Time,
    pub body_timeout: Time,
    pub write_timeout: Time,
    pub keepalive_timeout: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Time>,
    pub min_rate: Size<MIB>,
    pub max_head_size: Size<MIB>,
    pub max_body_size: Size<TIB>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: Whole::new(512),
            max_connections_per_source: Whole::new(64),
            max_rate_per_source: Whole::new(0),
            source_prefix_v4: Whole::new(32),
            source_prefix_v6: Whole::new(64),
            exempt: Listed(local_networks().into()),
            allow: Listed(Vec::new()),
            deny: Listed(Vec::new()),
            penalty_after: Whole::new(20),
            penalty_time: Time(Duration::from_secs(10)),
            penalty_time_max: Time(Duration::from_secs(600)),
            max_requests: Whole::new(1000),
            head_timeout: Time(Duration::from_secs(10)),
            body_timeout: Time(Duration::from_secs(30)),
            write_timeout: Time(Duration::from_secs(30)),
            keepalive_timeout: Time(Duration::from_secs(5)),
            max_duration: None,
            min_rate: Size::new(512),
            max_head_size: Size::new(16 * 1024),
            max_body_size: Size::new(1 << 30),
        }
    }
}

/// This host: a proxy in front of us is one source, and many clients.
fn local_networks() -> [Network; 3] {
    let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    [Network::Inet(loopback.into()), Network::Inet(IpAddr::from(Ipv6Addr::LOCALHOST).into()), Network::Unix]
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    pub model: Model,
    pub spares: Whole<0, 1024>,
    pub drain_timeout: Time,
    pub drain_timeout_max: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Time>,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            model: Model::Fork,
            spares: Whole::new(0),
            drain_timeout: Time(Duration::from_secs(20)),
            drain_timeout_max: Time(Duration::from_secs(60)),
            idle_timeout: None,
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub target: Target,
    pub level: Level,
    pub max_rate: Whole<0, 1_000_000>,
}

impl Default for Log {
    fn default() -> Self {
        Self { target: Target::Auto, level: Level::Info, max_rate: Whole::new(1000) }
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    pub protocol: Protocol,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<Whole<1, 65_536>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_source: Option<Whole<1, 65_536>>,
    pub allow: Listed<Network>,
    pub deny: Listed<Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Vec<Table<Route>>>,
    // Of each child:
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size<TIB>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size: Option<Size<TIB>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<OpenFiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Processes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core: Option<CoreSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<Nice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<Umask>,
    // Of the protocol exec:
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<List<Text>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<FilePath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<BTreeMap<String, Text>>,
}

/// A child that runs a CGI program holds some ten descriptors at a time.
pub type OpenFiles = Whole<16, 1_048_576>;
/// As many as `kernel.pid_max` allows.
pub type Processes = Whole<1, 4_194_304>;

impl Service {
    fn fill_in(&mut self) {
        match self.protocol {
            Protocol::Http => {
                for Table(route) in self.route.get_or_insert_with(|| vec![Table::default()]) {
                    route.fill_in();
                }
            }
            Protocol::Exec => {
                self.directory.get_or_insert_with(|| FilePath("/".into()));
                self.environment.get_or_insert_default();
            }
        }
    }
}

/// Keys of all handlers. Which of them belong to which: [`HandlerName::keys`].
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Text>,
    pub handler: HandlerName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<Text>,
    pub headers: BTreeMap<String, Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Whole<200, 599>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_path: Option<Flag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<FilePath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<ProgramPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_root: Option<FilePath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<BTreeMap<String, Text>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<Size<TIB>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_size: Option<Size<TIB>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_length: Option<Flag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<List<Text>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing: Option<Flag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symlinks: Option<Symlinks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charset: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<BTreeMap<String, Text>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precompressed: Option<Flag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_pages: Option<BTreeMap<String, Text>>,
}

/// Keys that every route has.
pub const COMMON_KEYS: [&str; 5] = ["path", "handler", "host", "extension", "headers"];

impl HandlerName {
    /// The keys that a route with this handler has besides [`COMMON_KEYS`].
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Respond => &["body", "status", "content_type", "delay"],
            Self::Files => &[
                "root",
                "index",
                "listing",
                "symlinks",
                "charset",
                "types",
                "precompressed",
                "cache_control",
                "error_pages",
            ],
            Self::Redirect => &["to", "status", "keep_path"],
            Self::Cgi => &[
                "root",
                "program",
                "interpreter",
                "document_root",
                "environment",
                "timeout",
                "max_body_size",
                "max_output_size",
                "require_length",
            ],
        }
    }
}

impl Route {
    /// Gives the keys of its handler their defaults.
    fn fill_in(&mut self) {
        self.path.get_or_insert_with(|| Text("/".into()));
        match self.handler {
            HandlerName::Respond => {
                self.body.get_or_insert_with(|| Text("Hello, World!\n".into()));
                self.status.get_or_insert(Whole::new(200));
                self.content_type.get_or_insert_with(|| Text("text/plain; charset=utf-8".into()));
            }
            HandlerName::Files => {
                self.index.get_or_insert_with(|| List(vec![Text("index.html".into())]));
                self.listing.get_or_insert(Flag(false));
                self.symlinks.get_or_insert(Symlinks::Inside);
                self.charset.get_or_insert_with(|| Text("utf-8".into()));
                self.types.get_or_insert_default();
                self.precompressed.get_or_insert(Flag(false));
                self.error_pages.get_or_insert_default();
            }
            HandlerName::Redirect => {
                self.status.get_or_insert(Whole::new(301));
                self.keep_path.get_or_insert(Flag(true));
            }
            HandlerName::Cgi => {
                self.environment.get_or_insert_default();
                self.timeout.get_or_insert(Time(Duration::from_secs(60)));
                self.require_length.get_or_insert(Flag(false));
            }
        }
    }

    /// A key that is set and belongs to another handler.
    pub fn find_foreign_key(&self) -> Option<String> {
        let table = toml::Table::try_from(self).unwrap_or_default();
        let belongs = |key: &str| COMMON_KEYS.contains(&key) || self.handler.keys().contains(&key);
        table.into_iter().map(|(key, _)| key).find(|key| !belongs(key))
    }
}
