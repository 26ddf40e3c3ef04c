//! `[service.NAME]`: the keys of every service, then those of its protocol. What limits its children is in
//! [`super::rlimits`].

use std::collections::BTreeMap;

use super::account::{Account, Accounts};
use super::confine::{Confine, ConfineKeys};
use super::error_pages::build_service_pages;
use super::exec::ExecKeys;
use super::findings::Place;
use super::keywords::{Keyword, Variant, keywords, reject_foreign_keys};
use super::lists::{List, TableList, TextMap};
use super::quantity::Time;
use super::rlimits::RlimitKeys;
use super::route::fields::build_fields;
use super::route::{RouteRequests, RouteTable};
use super::scalar::{Flag, Integer, Text};
use super::scope::{AgentKeys, build_scope, check_scope};
use super::shape::Shape;
use super::table::{KeyType, Keys, RawValue, keys};
use crate::handler::Handler;
use crate::handler::login::LoginLimit;
use crate::handler::site::{Route, Site};
use crate::handler::wsgi::Wsgi;
use crate::http::fields::FixedFields;
use crate::http::is_token;
use crate::limits::RlimitKey;
use crate::service::{Leftover, Protocol, Service};
use crate::source::{AccessList, Network, Networks};

keys! {
    /// The keys of every service.
    ServiceKeys {
        protocol: ProtocolName = ProtocolName::Http,
        max_duration: Option<Time> = None,
        max_connections: Option<Integer<1, 65_536>> = None,
        max_connections_per_source: Option<Integer<1, 65_536>> = None,
        reserve: Option<Integer<0, 65_536>> = None,
        allow: List<Network> = List(Vec::new()),
        deny: List<Network> = List(Vec::new()),
        trusted_proxies: List<Network> = List(Vec::new()),
        proxy_protocol: Flag = Flag(false),
        user: Option<Account> = None,
        group: Option<Account> = None,
        confine: Confine = Confine::default(),
        leftover: Leftover = Leftover::End,
    }
}

keys! {
    /// The further keys of a service with the protocol http.
    HttpKeys {
        request_id_header: Option<Text> = None,
        headers: TextMap = TextMap::default(),
        error_pages: TextMap = TextMap::default(),
        route: TableList<RouteTable> = TableList(vec![RouteTable::default()]),
    }
}

/// The protocol of a service.
#[derive(Debug, Clone, Copy)]
pub(super) enum ProtocolName {
    Http,
    Exec,
    AgentCheck,
}

keywords!(Leftover { End = "end", Keep = "keep" });

keywords!(ProtocolName { Http = "http", Exec = "exec", AgentCheck = "agent-check" });

impl Variant for ProtocolName {
    const KEY: &'static str = "protocol";

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Http => HttpKeys::NAMES,
            Self::Exec => ExecKeys::NAMES,
            Self::AgentCheck => AgentKeys::NAMES,
        }
    }
}

/// A table `[service.NAME]`.
#[derive(Debug)]
pub(super) struct ServiceTable {
    keys: ServiceKeys,
    rlimits: RlimitKeys,
    protocol: ProtocolKeys,
}

#[derive(Debug)]
enum ProtocolKeys {
    Http(HttpKeys),
    Exec(ExecKeys),
    AgentCheck(AgentKeys),
}

impl Default for ServiceTable {
    fn default() -> Self {
        let protocol = ProtocolKeys::Http(HttpKeys::default());
        Self { keys: ServiceKeys::default(), rlimits: RlimitKeys::default(), protocol }
    }
}

impl KeyType for ServiceTable {
    fn shape() -> Shape {
        let all = [ServiceKeys::list_shapes(), RlimitKeys::list_shapes(), HttpKeys::list_shapes()];
        let mut keys: Vec<_> = all.into_iter().flatten().collect();
        // Some keys belong to several protocols.
        let further = ExecKeys::list_shapes().into_iter().chain(AgentKeys::list_shapes());
        let others: Vec<_> =
            further.filter(|(name, _)| keys.iter().all(|(other, _)| other != name)).collect();
        keys.extend(others);
        Shape::Table(keys)
    }

    fn read(raw: &RawValue<'_>) -> Option<Self> {
        raw.table()?;
        let keys = ServiceKeys::read_keys(raw);
        reject_keys_of_confine(raw);
        reject_foreign_keys(raw, &[ServiceKeys::NAMES, RlimitKeys::NAMES].concat(), keys.protocol);
        let protocol = match keys.protocol {
            ProtocolName::Http => ProtocolKeys::Http(HttpKeys::read_keys(raw)),
            ProtocolName::Exec => ProtocolKeys::Exec(ExecKeys::read_keys(raw)),
            ProtocolName::AgentCheck => ProtocolKeys::AgentCheck(AgentKeys::read_keys(raw)),
        };
        Some(Self { keys, rlimits: RlimitKeys::read_keys(raw), protocol })
    }

    fn show(&self) -> Option<toml::Value> {
        let mut table = self.keys.show_keys();
        table.extend(self.rlimits.show_keys());
        table.extend(match &self.protocol {
            ProtocolKeys::Http(keys) => keys.show_keys(),
            ProtocolKeys::Exec(keys) => keys.show_keys(),
            ProtocolKeys::AgentCheck(keys) => keys.show_keys(),
        });
        Some(table.into())
    }
}

/// An easy mistake is to leave out the table `confine`.
fn reject_keys_of_confine(raw: &RawValue<'_>) {
    for name in raw.list_keys().filter(|name| ConfineKeys::NAMES.contains(name)) {
        raw.place.key(name).reject(format!("unknown key, did you mean confine.{name}?"));
    }
}

impl ServiceTable {
    /// The places that it keeps, if that is set.
    pub(super) fn reserve(&self) -> Option<i64> {
        self.keys.reserve.map(Integer::get)
    }

    /// Sets how many places it keeps, if that is not set. It keeps no more than it can use.
    pub(super) fn set_default_reserve(&mut self, places: i64) {
        let max = self.keys.max_connections.map_or(places, Integer::get);
        self.keys.reserve.get_or_insert(Integer::new(places.min(max)));
    }

    /// Rejects services that its checks name and that do not exist.
    pub(super) fn check_scopes(&self, place: &Place<'_>, known: &[&str]) {
        match &self.protocol {
            ProtocolKeys::Http(keys) => {
                let place = place.key("route");
                for (index, route) in keys.route.0.iter().enumerate() {
                    route.check_scope(&place.element(index), known);
                }
            }
            ProtocolKeys::AgentCheck(keys) => check_scope(&keys.services, &place.key("services"), known),
            ProtocolKeys::Exec(_) => {}
        }
    }

    /// Opens what the handlers of the service need. `max_duration`: that of all services.
    pub(super) fn build(self, place: &Place<'_>, name: &str, max_duration: Option<Time>) -> Option<Service> {
        let Self { keys, rlimits, protocol } = self;
        keys.check_proxies(place);
        let request_id_header = protocol.build_request_id_header(&keys, &place.key("request_id_header"))?;
        let rlimits = rlimits.build(place);
        let (protocol, refusal, idle_timeout) = match protocol {
            ProtocolKeys::Http(keys) => (build_site(keys, place).map(Protocol::Http), String::new(), None),
            ProtocolKeys::Exec(mut keys) => {
                let Text(refusal) = keys.refusal.take().unwrap_or_default();
                let idle_timeout = keys.idle_timeout.take().map(|Time(timeout)| timeout);
                (keys.build(place).map(Protocol::Exec), refusal, idle_timeout)
            }
            ProtocolKeys::AgentCheck(keys) => {
                (Some(Protocol::AgentCheck(build_scope(keys.services))), String::new(), None)
            }
        };
        let user = Accounts::read().find(keys.user, keys.group, place);
        let (Some(rlimits), Some(protocol), Some(user)) = (rlimits, protocol, user) else {
            keys.confine.check(&place.key("confine")); // so that all errors are reported
            return None;
        };
        let core = rlimits.limits.iter().any(|limit| limit.key == RlimitKey::Core && limit.value > 0);
        let confinement = keys.confine.build(&place.key("confine"), &protocol, user, core)?;
        Some(Service {
            name: name.to_owned(),
            protocol,
            max_connections: keys.max_connections.map(Integer::get),
            reserve: keys.reserve.map_or(0, Integer::get),
            max_connections_per_source: keys.max_connections_per_source.map(Integer::get),
            access: AccessList { allow: Networks(keys.allow.0), deny: Networks(keys.deny.0) },
            trusted_proxies: Networks(keys.trusted_proxies.0),
            proxy_protocol: keys.proxy_protocol.0,
            request_id_header,
            refusal,
            idle_timeout,
            max_duration: keys.max_duration.or(max_duration).map(|Time(duration)| duration),
            rlimits,
            confinement,
            leftover: keys.leftover,
        })
    }
}

/// The field of most proxies. A service with the PROXY protocol has none by default: a client may have sent it.
const REQUEST_ID_HEADER: &str = "X-Unique-ID";

impl ProtocolKeys {
    /// The field in which proxies give a request its id, if there is one.
    fn build_request_id_header(&self, keys: &ServiceKeys, place: &Place<'_>) -> Option<Option<String>> {
        let Self::Http(HttpKeys { request_id_header: Some(Text(name)), .. }) = self else {
            return Some((!keys.proxy_protocol.0).then(|| REQUEST_ID_HEADER.into()));
        };
        let checked = match name.bytes().all(is_token) {
            true => Ok((!name.is_empty()).then(|| name.clone())),
            false => Err(format!("expected the name of a header field, or \"\" for none, found {name:?}")),
        };
        place.check(checked)
    }
}

impl ServiceKeys {
    /// Rejects what would trust every client, or no proxy at all.
    fn check_proxies(&self, place: &Place<'_>) {
        let (is_any, has_header) = (!self.trusted_proxies.0.is_empty(), self.proxy_protocol.0);
        if has_header && !is_any {
            place.key("proxy_protocol").reject(
                "the proxies must be named: set trusted_proxies, such as [\"127.0.0.1\", \"::1\"]".to_owned(),
            );
        }
        if !matches!(self.protocol, ProtocolName::Http) && is_any && !has_header {
            let protocol = self.protocol.word();
            place.key("trusted_proxies").reject(format!(
                "a service with the protocol {protocol} learns its clients by the PROXY protocol: set proxy_protocol = true"
            ));
        }
    }
}

/// A record names a route by a number of 16 bits.
const ROUTES_MAX: usize = 65_000;

fn build_site(keys: HttpKeys, place: &Place<'_>) -> Option<Site> {
    let error_pages = build_service_pages(keys.error_pages, &place.key("error_pages"));
    let TableList(tables) = keys.route;
    let varies = tables.iter().find_map(RouteTable::varies);
    let fields = build_fields(keys.headers, &place.key("headers"), &FixedFields::default(), varies);
    let place = place.key("route");
    if tables.is_empty() || tables.len() > ROUTES_MAX {
        place.reject(format!("expected 1 to {ROUTES_MAX} routes, found {}", tables.len()));
        return None;
    }
    let mut used: BTreeMap<RouteRequests, Place<'_>> = BTreeMap::new();
    let mut routes: Vec<Option<Route>> = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let place = place.element(index);
        let requests = table.keys.build_requests(&place);
        if let Some(requests) = &requests
            && let Some(first) = used.insert(requests.clone(), place.clone())
        {
            let (path, first) = (&requests.path, first.describe_location());
            place
                .key("path")
                .reject(format!("another route{first} has the same path, host and extension: {path:?}"));
        }
        routes.push(table.build(&place, requests, fields.as_ref().unwrap_or(&FixedFields::default())));
    }
    let routes = routes.into_iter().collect::<Option<Vec<_>>>()?;
    check_interpreters(&routes, &place)?;
    let fallbacks: Vec<_> = routes.iter().map(find_fallback).collect();
    let requires_users =
        routes.iter().any(|route| route.access.as_ref().is_some_and(|access| access.auth.is_some()));
    let mut site = Site::new(routes, fields?, error_pages?);
    if requires_users {
        let limit = LoginLimit::new().map_err(|error| format!("unable to limit logins: {error}"));
        site = site.with_login_limit(place.check(limit)?);
    }
    for (index, (host, fallback)) in fallbacks.iter().enumerate() {
        if let Some(target) = fallback {
            place.element(index).key("fallback").check(site.check_fallback(host, target));
        }
    }
    Some(site)
}

/// The applications of a service are in one process, with one interpreter.
fn check_interpreters(routes: &[Route], place: &Place<'_>) -> Option<()> {
    let mut first = None;
    for (index, route) in routes.iter().enumerate() {
        let Handler::Wsgi(Wsgi { python, .. }) = &route.handler else { continue };
        if python != *first.get_or_insert(python) {
            let problem = "expected the same python, virtualenv, python_path, directory, environment, reload, on_fork and \
                           start_timeout as in the other routes with handler = \"wsgi\": the applications of a service share an interpreter";
            place.element(index).reject(problem);
            return None;
        }
    }
    Some(())
}

/// The fallback of a route, and a host that the route takes.
fn find_fallback(route: &Route) -> (String, Option<String>) {
    let host = route.host.as_deref().unwrap_or_default().replacen('*', "any", 1);
    let fallback = match &route.handler {
        Handler::Files(files) => files.fallback.clone(),
        _ => None,
    };
    (host, fallback)
}
