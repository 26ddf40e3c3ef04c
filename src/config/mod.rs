//! From files, environment and command line to [`Settings`] that need no further checks.
//!
//! [`layers`] reads, and the `config` crate merges. Each table has a file with its keys, declared once by
//! [`table::keys`]; what no single key decides is checked when the settings are built. Every error names its location,
//! its key and what was expected, and all of them are reported together ([`findings`]).

#![forbid(unsafe_code)]

mod document;
mod error;
mod exec;
mod findings;
mod forecast;
mod key;
mod keywords;
mod layers;
mod limits;
mod listen;
mod lists;
mod log;
mod process;
mod provenance;
mod quantity;
mod rlimits;
mod route;
mod scalar;
mod service;
mod show;
mod table;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use crate::child::supplies::ChildSettings;
use crate::service::find_service;
use crate::supervisor::settings::Settings;
use document::{Layer, TOP};
use error::Error;
pub(crate) use error::Errors;
use findings::{Findings, Place};
pub(crate) use forecast::find_warnings;
use key::KeyPath;
pub(crate) use layers::Overrides;
use limits::LimitsKeys;
use listen::{ListenKeys, build_listeners};
use lists::TableMap;
use log::LogKeys;
use process::ProcessKeys;
use service::ServiceTable;
pub(crate) use show::Effective;
use table::{KeyType, Keys, RawValue, keys, table};

keys! {
    /// The whole configuration.
    ConfigKeys {
        limits: LimitsKeys = LimitsKeys::default(),
        process: ProcessKeys = ProcessKeys::default(),
        log: LogKeys = LogKeys::default(),
        listen: TableMap<ListenKeys> = TableMap(BTreeMap::new()),
        service: TableMap<ServiceTable> = TableMap(BTreeMap::new()),
    }
}

table!(ConfigKeys);

/// Reads, merges and checks the configuration. Also gives what `check --show` prints.
pub(crate) fn load(
    overrides: &Overrides,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(Settings, Effective), Errors> {
    merge(layers::read_layers(overrides, environment))
}

/// The same for the text of one file alone, without reading anything else.
#[cfg(fuzzing)]
pub(crate) fn parse(text: &str, name: &str) -> Result<(Settings, Effective), Errors> {
    merge(vec![document::read_document(text, name, 0)])
}

fn merge(layers: Vec<Layer>) -> Result<(Settings, Effective), Errors> {
    let is_complete = layers.iter().all(|layer| layer.is_complete);
    let mut builder = config::Config::builder();
    let mut findings = Findings::default();
    for layer in layers {
        builder = builder.add_source(layer.values);
        findings.provenance.add(layer.marks);
        layer.errors.into_iter().for_each(|error| findings.add(error));
    }
    if !is_complete {
        return Err(Errors::new(findings.list_errors()));
    }
    let merged = builder.build().map_err(|error| {
        Errors::new(vec![Error { location: None, key: KeyPath::default(), problem: error.to_string() }])
    })?;
    let top = merged.cache.into_table().ok().and_then(|mut top| top.remove(TOP));
    let top = top.unwrap_or_else(|| config::Map::<String, config::Value>::new().into());
    let mut keys = ConfigKeys::read(&RawValue::top(&top, &findings)).unwrap_or_default();
    let is_default_listener = keys.listen.0.is_empty();
    // Without any listener or service there is one of each.
    if is_default_listener {
        keys.listen.0.insert("web".into(), ListenKeys::default());
    }
    if keys.service.0.is_empty() {
        keys.service.0.insert("web".into(), ServiceTable::default());
    }
    let values = keys.show_keys();
    let settings = build(keys, &Place::top(&findings), is_default_listener);
    let errors = findings.list_errors();
    let (Some(settings), true) = (settings, errors.is_empty()) else { return Err(Errors::new(errors)) };
    Ok((settings, Effective::new(values, findings.provenance)))
}

/// Checks what no single key decides.
fn build(keys: ConfigKeys, place: &Place<'_>, is_default_listener: bool) -> Option<Settings> {
    let ConfigKeys { limits, process, log, listen, service } = keys;
    let listeners = place.key("listen");
    let listen_tables = build_listeners(&listen.0, &listeners, is_default_listener);
    if !is_default_listener {
        for name in listen.0.keys() {
            listeners.key(name).check(find_service(&service.0, name));
        }
    }
    let process = process.build(&place.key("process"), limits.max_connections.get());
    let build_service = |(name, table): (String, ServiceTable)| {
        let place = place.key("service").key(&name);
        let service = table.build(&place, &name, limits.max_duration);
        place.check(check_name(&name));
        Some((name, Arc::new(service?)))
    };
    // All of them, so that all errors are reported.
    let services: Vec<_> = service.0.into_iter().map(build_service).collect();
    Some(Settings {
        listen: listen_tables,
        admission: limits.build_admission(),
        children: ChildSettings { http: limits.build_http() },
        process,
        log: log.build(),
        services: services.into_iter().collect::<Option<_>>()?,
        warnings: Vec::new(),
    })
}

/// Names go into records.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        return Err("expected a name of 1 to 64 letters, digits, _ or -".into());
    }
    Ok(())
}
