//! From files, environment and command line to a [`Config`] that needs no further checks.
//!
//! [`sources`] reads the layers, the `config` crate merges them, [`raw`] gives each key its type, and
//! [`Config::build`] checks what no single key can tell. Every error names its place, its key and what
//! was expected.

mod effective;
mod files;
mod lists;
mod origins;
mod raw;
mod rlimits;
mod services;
mod sources;
mod values;
mod words;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use config::ConfigError;

use crate::handler::Service;
use crate::source::{Guard, Networks, Prefixes};
pub use effective::Effective;
use lists::Table;
use origins::Origins;
use raw::Raw;
pub use sources::Overrides;
use values::Time;
pub use values::{Address, Mode};
pub use words::{Level, LogTarget, Model};

/// Something wrong with the configuration: where, at which key, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    origin: String,
    key: String,
    problem: String,
}

impl Error {
    fn new(origin: impl Into<String>, key: &str, problem: impl Into<String>) -> Self {
        Self { origin: origin.into(), key: key.into(), problem: problem.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.origin, &self.key] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Error {}

/// The whole configuration, checked.
#[derive(Debug)]
pub struct Config {
    /// What to bind when no sockets are handed in; never empty.
    pub listen: Vec<Listen>,
    pub limits: Limits,
    pub admission: Admission,
    pub process: Process,
    pub log_target: LogTarget,
    pub log_level: Level,
    /// Records of one kind that are written in a second; 0 is no limit.
    pub log_max_rate: u32,
    /// By name; never empty.
    pub services: Services,
}

/// A listener that lsbaws binds itself.
#[derive(Debug)]
pub struct Listen {
    pub name: String,
    pub addresses: Vec<Address>,
    /// Connections that the kernel keeps in waiting (listen(2)).
    pub backlog: i32,
    pub mode: Mode,
    /// Nobody asked for these addresses: those that this host does not have are left out.
    pub is_default: bool,
}

/// How connections get their processes, and how the daemon ends.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    pub model: Model,
    /// Children that are forked ahead of their connections; only with the model `fork`.
    pub spares: usize,
    /// How long the children may go on after the daemon was told to stop.
    pub drain_timeout: Duration,
    /// The same for those whose bytes still move; never less.
    pub drain_timeout_max: Duration,
    /// Without any connection for so long, a daemon whose sockets were handed in ends.
    pub idle_timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Children at the same time; more connections wait in the backlog.
    pub max_connections: usize,
    /// Requests on one connection.
    pub max_requests: u64,
    /// From the accept, or the first byte of a later request, to the end of the request's head, as a total.
    pub head_timeout: Duration,
    /// The most that a client may let us wait for content, see [`crate::http::stream::Allowance`].
    pub body_timeout: Duration,
    /// The same for the taking of responses.
    pub write_timeout: Duration,
    /// Between a response and the first byte of the next request.
    pub keepalive_timeout: Duration,
    /// Bytes per second.
    pub min_rate: u64,
    /// Bytes of a request's head.
    pub max_head_size: usize,
    /// Bytes of a request's content.
    pub max_body_size: u64,
}

/// Who gets a process at all, and how many of them.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// Connections of one source at the same time; 0 is no limit.
    pub max_connections_per_source: u32,
    /// Connections of one source in a second; 0 is no limit.
    pub max_rate_per_source: u32,
    pub prefixes: Prefixes,
    /// Peers for whom nothing holds that goes by source.
    pub exempt: Networks,
    pub guard: Guard,
    /// So many faults of one source bring it a penalty; 0 is none.
    pub penalty_after: u32,
    /// The first penalty; each that follows is twice as long, up to the most.
    pub penalty_time: Duration,
    pub penalty_time_max: Duration,
}

/// Reads, merges and checks the configuration. Also gives what `check --show` prints.
pub fn load(
    overrides: &Overrides,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(Config, Effective), Error> {
    merge(sources::read_layers(overrides, environment)?)
}

/// The same for the text of one file alone, without reading anything else.
pub fn parse(text: &str, name: &str) -> Result<(Config, Effective), Error> {
    merge(vec![sources::parse_toml(text, name)?])
}

fn merge(layers: Vec<sources::Layer>) -> Result<(Config, Effective), Error> {
    let mut builder = config::Config::builder();
    let mut origins = Origins::default();
    for layer in layers {
        origins.add(&layer);
        builder = builder.add_source(layer);
    }
    let merged = builder.build().map_err(|error| Error::new("", "", error.to_string()))?;
    let mut raw: Raw = merged.try_deserialize().map_err(|error| locate_error(&error, &origins))?;
    let default_listen = raw.listen.is_empty();
    raw.fill_in();
    let values = toml::Table::try_from(&raw).map_err(|error| Error::new("", "", error.to_string()))?;
    let config = Config::build(raw, default_listen)
        .map_err(|(key, problem)| Error::new(origins.find(&key), &key, problem))?;
    Ok((config, Effective::new(values, origins)))
}

/// Turns an error of the `config` crate, which knows the key, into one that knows the place as well.
fn locate_error(error: &ConfigError, origins: &Origins) -> Error {
    let (key, problem) = match error {
        ConfigError::Type { key, unexpected, expected, .. } => {
            (key.clone().unwrap_or_default(), format!("expected {expected}, found {unexpected}"))
        }
        ConfigError::At { error, key, .. } => (key.clone().unwrap_or_default(), error.to_string()),
        ConfigError::NotFound(key) => {
            return Error::new(origins.find(key), key, "expected a value, found nothing");
        }
        other => (String::new(), other.to_string()),
    };
    // The crate writes `route[0]path` for `route[0].path`.
    let key =
        key.replace(']', "].").replace("].[", "][").replace("]..", "].").trim_end_matches('.').to_owned();
    let problem = reword_type_error(problem, &key);
    // An unknown key is reported against its table; the message names it in backquotes.
    let unknown = problem.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, expected "));
    let (key, problem) = match unknown {
        Some((name, expected)) => {
            let dot = if key.is_empty() { "" } else { "." };
            (format!("{key}{dot}{name}"), format!("unknown key, expected {}", expected.replace('`', "")))
        }
        None => (key, problem),
    };
    Error::new(origins.find(&key), &key, problem)
}

/// serde says "invalid type: string "x", expected a whole number": expectation first, as ours do, and in TOML's words.
fn reword_type_error(problem: String, key: &str) -> String {
    let Some((found, expected)) =
        problem.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    else {
        return problem;
    };
    match (expected, found) {
        ("a sequence", "map") => format!("expected a list of tables, written [[{key}]] or [{{ ... }}]"),
        ("a map", "sequence") => "expected a table, such as { NAME = \"value\" }".into(),
        (_, "sequence") => format!("expected {expected}, found a list"),
        (_, "map") => format!("expected {expected}, found a table"),
        _ => format!("expected {expected}, found {found}"),
    }
}

/// The services by their names.
pub type Services = BTreeMap<String, Arc<Service>>;

/// The service that a listener's name leads to: the one of that name, or the only one there is. systemd names
/// a socket without `FileDescriptorName=` after its unit, `web.socket`.
pub fn find_service(services: &Services, listener: &str) -> Result<Arc<Service>, String> {
    let name = listener.strip_suffix(".socket").unwrap_or(listener);
    let only = services.values().next().filter(|_| services.len() == 1);
    services.get(name).or(only).map(Arc::clone).ok_or_else(|| {
        let others = services.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("the listener \"{name}\" leads to no service: there is no [service.{name}], and several others ({others})")
    })
}

/// A key and what is wrong with its value.
type Problem = (String, String);

/// Backlog and mode of each listener, by its name.
pub type ListenTerms = Vec<(String, i32, u32)>;

impl Config {
    pub fn listen_terms(&self) -> ListenTerms {
        self.listen.iter().map(|table| (table.name.clone(), table.backlog, table.mode.0)).collect()
    }

    /// Checks what the type of a single key cannot tell.
    fn build(raw: Raw, default_listen: bool) -> Result<Self, Problem> {
        let mut services = BTreeMap::new();
        for (name, Table(service)) in raw.service {
            let key = format!("service.{name}");
            check_name(&name).map_err(|problem| (key.clone(), problem))?;
            services
                .insert(name.clone(), Arc::new(services::build_service(&key, name, service, &raw.limits.0)?));
        }
        let Table(limits) = raw.limits;
        let Table(process) = raw.process;
        if process.model != Model::Fork && process.spares.get::<usize>() > 0 {
            let problem = format!("expected 0 with the model \"{}\"", process.model);
            return Err(("process.spares".into(), problem));
        }
        let mut listen: Vec<Listen> = Vec::new();
        for (name, Table(table)) in raw.listen {
            let key = format!("listen.{name}");
            check_name(&name).map_err(|problem| (key.clone(), problem))?;
            if !default_listen {
                find_service(&services, &name).map_err(|problem| (key.clone(), problem))?;
            }
            for address in &table.address.0 {
                if listen.iter().any(|other| other.addresses.contains(address)) {
                    return Err((
                        format!("{key}.address"),
                        format!("{address} is another listener's already"),
                    ));
                }
            }
            let addresses = table.address.0;
            let (backlog, mode) = (table.backlog.get(), table.mode);
            listen.push(Listen { name, addresses, backlog, mode, is_default: default_listen });
        }
        Ok(Self {
            listen,
            admission: Admission {
                max_connections_per_source: limits.max_connections_per_source.get(),
                max_rate_per_source: limits.max_rate_per_source.get(),
                prefixes: Prefixes { v4: limits.source_prefix_v4.get(), v6: limits.source_prefix_v6.get() },
                exempt: Networks(limits.exempt.0),
                guard: Guard { allow: Networks(limits.allow.0), deny: Networks(limits.deny.0) },
                penalty_after: limits.penalty_after.get(),
                penalty_time: limits.penalty_time.0,
                penalty_time_max: limits.penalty_time_max.0.max(limits.penalty_time.0),
            },
            limits: Limits {
                max_connections: limits.max_connections.get(),
                max_requests: limits.max_requests.get(),
                head_timeout: limits.head_timeout.0,
                body_timeout: limits.body_timeout.0,
                write_timeout: limits.write_timeout.0,
                keepalive_timeout: limits.keepalive_timeout.0,
                min_rate: limits.min_rate.get(),
                max_head_size: limits.max_head_size.get(),
                max_body_size: limits.max_body_size.get(),
            },
            process: Process {
                model: process.model,
                spares: process.spares.get(),
                drain_timeout: process.drain_timeout.0,
                drain_timeout_max: process.drain_timeout_max.0.max(process.drain_timeout.0),
                idle_timeout: process.idle_timeout.map(|Time(timeout)| timeout),
            },
            log_target: raw.log.0.target,
            log_level: raw.log.0.level,
            log_max_rate: raw.log.0.max_rate.get(),
            services,
        })
    }
}

/// Names go into records, and key paths are split at dots and brackets.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        return Err("expected a name of 1 to 64 letters, digits, _ or -".into());
    }
    Ok(())
}
