//! From files, environment and command line to [`Settings`] that need no further checks.
//!
//! [`layers`] reads, and the `config` crate merges. Each table has a file with its keys, declared once by
//! [`table::keys`]; what no single key decides is checked when the settings are built. Every error names its location,
//! its key and what was expected, and all of them are reported together ([`findings`]).

#![forbid(unsafe_code)]

mod account;
mod application;
mod confine;
mod document;
mod error;
mod error_pages;
mod exec;
mod findings;
mod folder;
mod forecast;
mod hidden;
mod key;
mod keywords;
mod layers;
mod limits;
mod listen;
mod lists;
mod log;
mod outputs;
mod permissions;
mod privileges;
mod process;
mod provenance;
mod published;
mod quantity;
mod reach;
mod rlimits;
mod route;
mod sandbox;
mod scalar;
mod scope;
mod service;
mod settings;
mod shape;
mod show;
mod subject;
mod table;
mod unit;
mod variables;

use std::ffi::OsString;

use crate::supervisor::settings::Settings;
pub(crate) use application::Application;
use document::{Layer, TOP};
use error::Error;
pub(crate) use error::Errors;
pub(crate) use findings::Reader;
use findings::{Findings, Place};
pub(crate) use folder::Folder;
pub(crate) use forecast::find_warnings;
use key::KeyPath;
pub(crate) use layers::Overrides;
pub(crate) use permissions::find_unreadable;
pub(crate) use privileges::find_refusals;
pub(crate) use reach::describe_reach;
pub(crate) use sandbox::Sandbox;
use settings::ConfigKeys;
pub(crate) use show::Effective;
pub(crate) use subject::Subject;
use table::{KeyType, Keys, RawValue};

/// Reads, merges and checks the configuration. Also gives what `check --show` prints.
///
/// # Errors
/// All mistakes of all layers, in their order.
pub(crate) fn load(
    overrides: &Overrides,
    environment: &[(OsString, OsString)],
    reader: Reader,
) -> Result<(Settings, Effective), Errors> {
    let folders = |variable: &str| {
        let found = environment.iter().find(|(name, _)| name == variable);
        found.map(|(_, folders)| folders.clone())
    };
    let unit = UnitFolders {
        credentials: folders(variables::CREDENTIALS_VARIABLE),
        runtime: folders("RUNTIME_DIRECTORY"),
    };
    let (layers, files) = layers::read_layers(overrides, environment.iter().cloned());
    merge(layers, reader, unit).map(|(settings, effective)| (settings, effective.with_files(files)))
}

/// The same for the text of one file alone, without reading anything else.
#[cfg(fuzzing)]
pub(crate) fn parse(text: &str, name: &str) -> Result<(Settings, Effective), Errors> {
    merge(vec![document::read_document(text, name, 0)], Reader::Daemon, UnitFolders::default())
}

/// Directories that systemd has made for the unit (systemd.exec(5)).
#[derive(Debug, Default)]
struct UnitFolders {
    credentials: Option<OsString>,
    runtime: Option<OsString>,
}

/// What `--set` takes, as far as it has been written: `KEY=` for each key, and after an equals sign `KEY=WORD` for each word
/// of the key. The names of listeners and services are what has been written, or `web`.
pub(crate) fn list_pairs(written: &str) -> Vec<String> {
    let names: Vec<_> = written.split('.').collect();
    let named = match names[..] {
        ["listen" | "service", name, _, ..] => name,
        _ => "web",
    };
    let mut pairs = Vec::new();
    ConfigKeys::shape().list_pairs("", named, &mut pairs);
    pairs.retain(|pair| pair.starts_with(written) && pair.ends_with('=') != written.contains('='));
    pairs
}

fn merge(layers: Vec<Layer>, reader: Reader, unit: UnitFolders) -> Result<(Settings, Effective), Errors> {
    let is_complete = layers.iter().all(|layer| layer.is_complete);
    let mut builder = config::Config::builder();
    let mut findings = Findings::new(reader, unit.credentials);
    findings.know_tables(|key| ConfigKeys::shape().find_tables(key));
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
    let is_default_listener = keys.complete(unit.runtime.as_deref());
    let values = keys.show_keys();
    let settings = keys.build(&Place::top(&findings), is_default_listener);
    let errors = findings.list_errors();
    let (Some(settings), true) = (settings, errors.is_empty()) else { return Err(Errors::new(errors)) };
    Ok((settings, Effective::new(values, findings.provenance)))
}
