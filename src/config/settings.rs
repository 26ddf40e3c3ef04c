//! The whole configuration, and the settings that are built from it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;

use super::findings::Place;
use super::key::check_name;
use super::limits::LimitsKeys;
use super::listen::{ListenKeys, build_listeners};
use super::lists::TableMap;
use super::log::LogKeys;
use super::process::ProcessKeys;
use super::service::ServiceTable;
use super::table::{keys, table};
use crate::child::supplies::ChildSettings;
use crate::service::find_service;
use crate::supervisor::settings::{Model, Settings};

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

impl ConfigKeys {
    /// Adds the default listener and the default service if there is no other, and the default status socket. Gives whether
    /// the listener is the default one.
    pub(super) fn complete(&mut self, runtime_directories: Option<&OsStr>) -> bool {
        self.process.complete(runtime_directories);
        let is_default_listener = self.listen.0.is_empty();
        if is_default_listener {
            self.listen.0.insert("web".into(), ListenKeys::default());
        }
        if self.service.0.is_empty() {
            self.service.0.insert("web".into(), ServiceTable::default());
        }
        self.complete_reserves();
        is_default_listener
    }

    /// Shares a quarter of the places that are not kept by configuration among the services that do not set how many they
    /// keep.
    fn complete_reserves(&mut self) {
        let max: i64 = self.limits.max_connections.get();
        let set: i64 = self.service.0.values().filter_map(ServiceTable::reserve).sum();
        let count = i64::try_from(self.service.0.len()).unwrap_or(i64::MAX);
        let default = if count == 1 { 0 } else { (max - set).max(0) / (4 * count) };
        self.service.0.values_mut().for_each(|table| table.set_default_reserve(default));
    }

    /// Rejects services that keep more places than exist.
    fn check_reserves(&self, place: &Place<'_>) {
        let max: i64 = self.limits.max_connections.get();
        let mut sum = 0;
        for (name, table) in &self.service.0 {
            sum += table.reserve().unwrap_or(0);
            if sum > max {
                let place = place.key("service").key(name);
                place.key("reserve").reject(format!(
                    "all services together reserve more than limits.max_connections = {max}"
                ));
                return;
            }
        }
    }

    /// Rejects services that checks of balancers name and that do not exist.
    fn check_scopes(&self, place: &Place<'_>) {
        let known: Vec<_> = self.service.0.keys().map(String::as_str).collect();
        for (name, table) in &self.service.0 {
            table.check_scopes(&place.key("service").key(name), &known);
        }
    }

    /// Checks what no single key decides.
    pub(super) fn build(self, place: &Place<'_>, is_default_listener: bool) -> Option<Settings> {
        self.check_reserves(place);
        self.check_scopes(place);
        let Self { limits, process, log, listen, service } = self;
        let listeners = place.key("listen");
        let listen_tables = build_listeners(&listen.0, &listeners);
        if !is_default_listener {
            for name in listen.0.keys() {
                listeners.key(name).check(find_service(&service.0, name));
            }
        }
        let (status_socket, names_requests) = (process.status_socket(), process.has_titles());
        let model = place.key("process").key("model");
        let process = process.build(&place.key("process"), limits.max_connections.get());
        let build_service = |(name, table): (String, ServiceTable)| {
            let place = place.key("service").key(&name);
            let service = table.build(&place, &name, limits.max_duration);
            place.check(check_name(&name));
            Some((name, Arc::new(service?)))
        };
        // All of them, so that all errors are reported.
        let services: Vec<_> = service.0.into_iter().map(build_service).collect();
        if process.model == Model::Iterative
            && let Some((name, _)) = services.iter().flatten().find(|(_, service)| service.python().is_some())
        {
            model.reject(format!(
                "service {name}: the handler \"wsgi\" needs a fork server: expected \"fork\" or \"double-fork\""
            ));
        }
        let access = log.build_access(&place.key("log"));
        Some(Settings {
            listen: listen_tables,
            peer_timeout: limits.peer_timeout.0,
            admission: limits.build_admission(),
            children: ChildSettings {
                http: limits.build_http(),
                reports_requests: access.is_some(),
                names_requests,
            },
            process,
            log: log.build(),
            status_socket,
            access,
            services: services.into_iter().collect::<Option<_>>()?,
            warnings: Vec::new(),
            subject: None,
            note: None,
        })
    }
}
