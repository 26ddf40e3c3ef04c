//! What is wrong with a configuration, collected while it is read and checked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::error::Error;
use super::key::KeyPath;
use super::provenance::Provenance;

/// The process that reads the configuration: which credentials it can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reader {
    /// The daemon: all of them.
    #[default]
    Daemon,
    /// A check in the unit of the daemon. systemd hides them from `ExecReload=` (Debian 12).
    UnitCheck,
    /// Another check: none.
    Check,
}

/// The errors so far, and where each key comes from.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) provenance: Provenance,
    reader: Reader,
    /// The directory of the credentials that systemd passes, if it passes any.
    credentials: Option<OsString>,
    /// Errors without a value of their own, such as those of a file's syntax.
    general: Vec<Error>,
    /// The tables that have a key of this name.
    find_tables: Option<fn(&str) -> Vec<String>>,
    /// The first error of each value.
    rejected: RefCell<BTreeMap<KeyPath, Error>>,
}

impl Findings {
    pub(super) fn new(reader: Reader, credentials: Option<OsString>) -> Self {
        Self { reader, credentials, ..Self::default() }
    }

    /// Lets errors name the tables that a key belongs to.
    pub(super) fn know_tables(&mut self, find_tables: fn(&str) -> Vec<String>) {
        self.find_tables = Some(find_tables);
    }

    /// Adds an error that was found before the layers were merged.
    pub(super) fn add(&mut self, error: Error) {
        if error.key == KeyPath::default() {
            self.general.push(error);
        } else {
            self.rejected.get_mut().entry(error.key.clone()).or_insert(error);
        }
    }

    fn reject(&self, key: &KeyPath, problem: String) {
        if !self.is_rejected(key) {
            let location = self.provenance.find(key).cloned();
            let error = Error { location, key: key.clone(), problem };
            self.rejected.borrow_mut().insert(key.clone(), error);
        }
    }

    /// Whether the value at this key, an element of it, or the table around it has an error already. What is
    /// checked then is a default in its place.
    fn is_rejected(&self, key: &KeyPath) -> bool {
        let rejected = self.rejected.borrow();
        let mut around = Some(key.clone());
        while let Some(path) = around {
            if rejected.contains_key(&path) {
                return true;
            }
            around = path.parent();
        }
        rejected.range(key..).next().is_some_and(|(next, _)| next.is_element_of(key))
    }

    pub(super) fn list_errors(&self) -> Vec<Error> {
        self.general.iter().chain(self.rejected.borrow().values()).cloned().collect()
    }
}

/// A key, and the findings that an error of its value goes to.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    key: KeyPath,
    findings: &'a Findings,
}

impl<'a> Place<'a> {
    /// The top of the configuration.
    pub(super) fn top(findings: &'a Findings) -> Self {
        Self { key: KeyPath::default(), findings }
    }

    /// The key `name` of the table at this place.
    pub(super) fn key(&self, name: &str) -> Self {
        Self { key: self.key.name(name), findings: self.findings }
    }

    /// The element of the list at this place.
    pub(super) fn element(&self, index: usize) -> Self {
        Self { key: self.key.element(index), findings: self.findings }
    }

    /// ` (FILE:LINE)`, or nothing for a default.
    pub(super) fn describe_location(&self) -> String {
        self.findings.provenance.find(&self.key).map_or(String::new(), |location| format!(" ({location})"))
    }

    pub(super) fn path(&self) -> &KeyPath {
        &self.key
    }

    /// Reports what is wrong here, unless that is known already.
    pub(super) fn reject(&self, problem: impl Into<String>) {
        self.findings.reject(&self.key, problem.into());
    }

    /// The tables that have a key of this name, as headings.
    pub(super) fn find_tables(&self, key: &str) -> Vec<String> {
        self.findings.find_tables.map_or_else(Vec::new, |find| find(key))
    }

    pub(super) fn reader(&self) -> Reader {
        self.findings.reader
    }

    /// The directory of the credentials that systemd passes, if it passes any.
    pub(super) fn credentials(&self) -> Option<&OsStr> {
        self.findings.credentials.as_deref()
    }

    pub(super) fn is_rejected(&self) -> bool {
        self.findings.is_rejected(&self.key)
    }

    /// The result of a check of the value here. An error is reported; after an earlier one there is no value.
    pub(super) fn check<T>(&self, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(value) => (!self.is_rejected()).then_some(value),
            Err(problem) => {
                self.reject(problem);
                None
            }
        }
    }
}
