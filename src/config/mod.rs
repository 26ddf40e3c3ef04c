//! From files, environment and command line to a [`Config`] that needs no further checks.
//!
//! [`sources`] reads the layers, the `config` crate merges them, [`raw`] gives each key its type, and
//! [`Config::build`] checks what no single key can tell. Every error names its place, its key and what
//! was expected.

#![forbid(unsafe_code)]

mod error;
mod files;
mod forecast;
mod keywords;
mod layers;
mod lists;
mod provenance;
mod raw;
mod rlimits;
mod services;
mod show;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use config::ConfigError;

use crate::http::limits::Limits;
use crate::journal;
use crate::listen::ListenTable;
use crate::service::find_service;
use crate::source::{AccessList, Networks, Prefixes};
use crate::supervisor::settings::{AdmissionRules, Model, Process, Settings};
pub use layers::Overrides;
use lists::Table;
use provenance::Provenance;
use raw::Raw;
pub use show::Effective;
use values::Time;

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

/// Reads, merges and checks the configuration. Also gives what `check --show` prints.
pub fn load(
    overrides: &Overrides,
    environment: impl Iterator<Item = (OsString, OsString)>,
    children: usize,
) -> Result<(Settings, Effective), Error> {
    merge(layers::read_layers(overrides, environment)?, children)
}

/// The same for the text of one file alone, without reading anything else.
#[cfg(fuzzing)]
pub fn parse(text: &str, name: &str) -> Result<(Settings, Effective), Error> {
    merge(vec![layers::parse_toml(text, name)?], 0)
}

fn merge(layers: Vec<layers::Layer>, children: usize) -> Result<(Settings, Effective), Error> {
    let mut builder = config::Config::builder();
    let mut provenance = Provenance::default();
    for layer in layers {
        provenance.add(&layer);
        builder = builder.add_source(layer);
    }
    let merged = builder.build().map_err(|error| Error::new("", "", error.to_string()))?;
    let mut raw: Raw = merged.try_deserialize().map_err(|error| locate_error(&error, &provenance))?;
    let default_listen = raw.listen.is_empty();
    raw.fill_in();
    let values = toml::Table::try_from(&raw).map_err(|error| Error::new("", "", error.to_string()))?;
    let mut settings = build(raw, default_listen)
        .map_err(|(key, problem)| Error::new(provenance.find(&key), &key, problem))?;
    settings.warnings = forecast::find_warnings(&settings, children);
    Ok((settings, Effective::new(values, provenance)))
}

/// Turns an error of the `config` crate, which knows the key, into one that knows the place as well.
fn locate_error(error: &ConfigError, provenance: &Provenance) -> Error {
    let (key, problem) = match error {
        ConfigError::Type { key, unexpected, expected, .. } => {
            (key.clone().unwrap_or_default(), format!("expected {expected}, found {unexpected}"))
        }
        ConfigError::At { error, key, .. } => (key.clone().unwrap_or_default(), error.to_string()),
        ConfigError::NotFound(key) => {
            return Error::new(provenance.find(key), key, "expected a value, found nothing");
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
    Error::new(provenance.find(&key), &key, problem)
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

/// A key and what is wrong with its value.
type Problem = (String, String);

/// Checks what the type of a single key cannot tell.
fn build(raw: Raw, default_listen: bool) -> Result<Settings, Problem> {
    let mut services = BTreeMap::new();
    for (name, Table(service)) in raw.service {
        let key = format!("service.{name}");
        check_name(&name).map_err(|problem| (key.clone(), problem))?;
        services.insert(name.clone(), Arc::new(services::build_service(&key, name, service, &raw.limits.0)?));
    }
    let Table(limits) = raw.limits;
    let Table(process) = raw.process;
    if process.model != Model::Fork && process.spares.get::<usize>() > 0 {
        let problem = format!("expected 0 with the model \"{}\"", process.model);
        return Err(("process.spares".into(), problem));
    }
    let mut listen: Vec<ListenTable> = Vec::new();
    for (name, Table(table)) in raw.listen {
        let key = format!("listen.{name}");
        check_name(&name).map_err(|problem| (key.clone(), problem))?;
        if !default_listen {
            find_service(&services, &name).map_err(|problem| (key.clone(), problem))?;
        }
        for address in &table.address.0 {
            if listen.iter().any(|other| other.addresses.contains(address)) {
                return Err((format!("{key}.address"), format!("{address} is another listener's already")));
            }
        }
        let addresses = table.address.0;
        let (backlog, mode) = (table.backlog.get(), table.mode);
        listen.push(ListenTable { name, addresses, backlog, mode, is_default: default_listen });
    }
    Ok(Settings {
        listen,
        admission: AdmissionRules {
            max_connections_per_source: limits.max_connections_per_source.get(),
            max_rate_per_source: limits.max_rate_per_source.get(),
            prefixes: Prefixes { v4: limits.source_prefix_v4.get(), v6: limits.source_prefix_v6.get() },
            exempt: Networks(limits.exempt.0),
            access: AccessList { allow: Networks(limits.allow.0), deny: Networks(limits.deny.0) },
            penalty_after: limits.penalty_after.get(),
            penalty_time: limits.penalty_time.0,
            penalty_time_max: limits.penalty_time_max.0.max(limits.penalty_time.0),
        },
        http: Limits {
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
            max_connections: limits.max_connections.get(),
            spares: process.spares.get(),
            drain_timeout: process.drain_timeout.0,
            drain_timeout_max: process.drain_timeout_max.0.max(process.drain_timeout.0),
            idle_timeout: process.idle_timeout.map(|Time(timeout)| timeout),
        },
        log: journal::Settings {
            target: raw.log.0.target,
            level: raw.log.0.level,
            max_rate: raw.log.0.max_rate.get(),
        },
        services,
        warnings: Vec::new(),
    })
}

/// Names go into records, and key paths are split at dots and brackets.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        return Err("expected a name of 1 to 64 letters, digits, _ or -".into());
    }
    Ok(())
}
