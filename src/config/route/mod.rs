//! `[[service.NAME.route]]`: the keys of every route, then those of its handler.

pub(super) mod access;
pub(super) mod cgi;
mod compress;
pub(super) mod fields;
pub(super) mod files;
pub(super) mod health;
pub(super) mod redirect;
pub(super) mod respond;
pub(super) mod status;
pub(super) mod wsgi;

use super::findings::Place;
use super::keywords::{Keyword, Variant, keywords, reject_foreign_keys};
use super::lists::{List, TextMap};
use super::scalar::{FilePath, Text};
use super::scope::check_scope;
use super::shape::Shape;
use super::table::{KeyType, Keys, RawValue, keys};
use crate::handler::Handler;
use crate::handler::site::Route;
use crate::http::fields::FixedFields;
use crate::http::target;
use crate::source::Network;
use access::AccessKeys;
use cgi::CgiKeys;
use fields::{build_fields, is_field_value};
use files::FilesKeys;
use health::HealthKeys;
use redirect::RedirectKeys;
use respond::RespondKeys;
use status::StatusKeys;
use wsgi::WsgiKeys;

keys! {
    /// The keys of every route.
    RouteKeys {
        path: Text = Text("/".into()),
        handler: HandlerName = HandlerName::Respond,
        host: Option<Text> = None,
        extension: Option<Text> = None,
        headers: TextMap = TextMap::default(),
        allow: List<Network> = List(Vec::new()),
        deny: List<Network> = List(Vec::new()),
        auth_users: Option<FilePath> = None,
        auth_realm: Option<Text> = None,
        auth_require: List<Text> = List(Vec::new()),
    }
}

/// The handler of a route.
#[derive(Debug, Clone, Copy)]
pub(super) enum HandlerName {
    Respond,
    Files,
    Redirect,
    Cgi,
    Status,
    Health,
    Wsgi,
    #[cfg(feature = "attacks")]
    Probe,
}

keywords!(HandlerName {
    Respond = "respond",
    Files = "files",
    Redirect = "redirect",
    Cgi = "cgi",
    Status = "status",
    Health = "health",
    Wsgi = "wsgi",
    #[cfg(feature = "attacks")]
    Probe = "probe",
});

impl Variant for HandlerName {
    const KEY: &'static str = "handler";

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Respond => RespondKeys::NAMES,
            Self::Files => FilesKeys::NAMES,
            Self::Redirect => RedirectKeys::NAMES,
            Self::Cgi => CgiKeys::NAMES,
            Self::Status => StatusKeys::NAMES,
            Self::Health => HealthKeys::NAMES,
            Self::Wsgi => WsgiKeys::NAMES,
            #[cfg(feature = "attacks")]
            Self::Probe => &[],
        }
    }
}

impl HandlerName {
    /// The shapes of its further keys.
    fn list_shapes(self) -> Vec<(&'static str, Shape)> {
        match self {
            Self::Respond => RespondKeys::list_shapes(),
            Self::Files => FilesKeys::list_shapes(),
            Self::Redirect => RedirectKeys::list_shapes(),
            Self::Cgi => CgiKeys::list_shapes(),
            Self::Status => StatusKeys::list_shapes(),
            Self::Health => HealthKeys::list_shapes(),
            Self::Wsgi => WsgiKeys::list_shapes(),
            #[cfg(feature = "attacks")]
            Self::Probe => Vec::new(),
        }
    }
}

/// The key by which content is compressed on its way, for messages.
const COMPRESS: &str = "compress is set";

/// A table `[[service.NAME.route]]`.
#[derive(Debug)]
pub(super) struct RouteTable {
    pub(super) keys: RouteKeys,
    handler: HandlerKeys,
}

#[derive(Debug)]
enum HandlerKeys {
    Respond(RespondKeys),
    Files(FilesKeys),
    Redirect(RedirectKeys),
    Cgi(CgiKeys),
    Status(StatusKeys),
    Health(HealthKeys),
    Wsgi(WsgiKeys),
    #[cfg(feature = "attacks")]
    Probe,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self { keys: RouteKeys::default(), handler: HandlerKeys::Respond(RespondKeys::default()) }
    }
}

impl KeyType for RouteTable {
    fn shape() -> Shape {
        let of_handlers = HandlerName::ALL.iter().flat_map(|handler| handler.list_shapes());
        Shape::Table(RouteKeys::list_shapes().into_iter().chain(of_handlers).collect())
    }

    fn read(raw: &RawValue<'_>) -> Option<Self> {
        raw.table()?;
        let keys = RouteKeys::read_keys(raw);
        reject_foreign_keys(raw, RouteKeys::NAMES, keys.handler);
        let handler = match keys.handler {
            HandlerName::Respond => HandlerKeys::Respond(RespondKeys::read_keys(raw)),
            HandlerName::Files => HandlerKeys::Files(FilesKeys::read_keys(raw)),
            HandlerName::Redirect => HandlerKeys::Redirect(RedirectKeys::read_keys(raw)),
            HandlerName::Cgi => HandlerKeys::Cgi(CgiKeys::read_keys(raw)),
            HandlerName::Status => HandlerKeys::Status(StatusKeys::read_keys(raw)),
            HandlerName::Health => HandlerKeys::Health(HealthKeys::read_keys(raw)),
            HandlerName::Wsgi => HandlerKeys::Wsgi(WsgiKeys::read_keys(raw)),
            #[cfg(feature = "attacks")]
            HandlerName::Probe => HandlerKeys::Probe,
        };
        Some(Self { keys, handler })
    }

    fn show(&self) -> Option<toml::Value> {
        let mut table = self.keys.show_keys();
        table.extend(match &self.handler {
            HandlerKeys::Respond(keys) => keys.show_keys(),
            HandlerKeys::Files(keys) => keys.show_keys(),
            HandlerKeys::Redirect(keys) => keys.show_keys(),
            HandlerKeys::Cgi(keys) => keys.show_keys(),
            HandlerKeys::Status(keys) => keys.show_keys(),
            HandlerKeys::Health(keys) => keys.show_keys(),
            HandlerKeys::Wsgi(keys) => keys.show_keys(),
            #[cfg(feature = "attacks")]
            HandlerKeys::Probe => toml::Table::new(),
        });
        Some(table.into())
    }
}

/// The requests that a route is for; no other route of its service has the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RouteRequests {
    pub(super) path: String,
    host: Option<String>,
    extension: Option<String>,
}

impl RouteKeys {
    pub(super) fn build_requests(&self, place: &Place<'_>) -> Option<RouteRequests> {
        let path = place.key("path").check(check_path(&self.path.0));
        let host = self.host.as_ref().map(|Text(host)| check_host(host)).transpose();
        let extension = self.extension.as_ref().map(|Text(text)| check_extension(text)).transpose();
        let host = place.key("host").check(host);
        let extension = place.key("extension").check(extension);
        Some(RouteRequests { path: path?, host: host?, extension: extension? })
    }
}

impl RouteTable {
    /// Rejects services that its checks name and that do not exist.
    pub(super) fn check_scope(&self, place: &Place<'_>, known: &[&str]) {
        if let HandlerKeys::Health(keys) = &self.handler {
            check_scope(&keys.services, &place.key("services"), known);
        }
    }

    /// The key by which the content depends on Accept-Encoding, if it does.
    pub(super) fn varies(&self) -> Option<&'static str> {
        match &self.handler {
            HandlerKeys::Files(keys) if keys.precompressed.0 => Some("precompressed = true"),
            HandlerKeys::Files(keys) if !keys.compress.0.is_empty() => Some(COMPRESS),
            HandlerKeys::Cgi(keys) if !keys.compress.0.is_empty() => Some(COMPRESS),
            _ => None,
        }
    }

    /// Opens what the handler needs. `of_service`: the fields of all responses of the service.
    pub(super) fn build(
        self,
        place: &Place<'_>,
        requests: Option<RouteRequests>,
        of_service: &FixedFields,
    ) -> Option<Route> {
        let varies = self.varies();
        let fields = build_fields(self.keys.headers, &place.key("headers"), of_service, varies);
        let access = AccessKeys {
            allow: self.keys.allow,
            deny: self.keys.deny,
            auth_users: self.keys.auth_users,
            auth_realm: self.keys.auth_realm,
            auth_require: self.keys.auth_require,
        };
        let access = access.build(place);
        let extension = requests.as_ref().and_then(|requests| requests.extension.clone());
        let route_path = requests.as_ref().map(|requests| requests.path.as_str());
        let handler = match self.handler {
            HandlerKeys::Respond(keys) => keys.build(place).map(Handler::Respond),
            HandlerKeys::Files(keys) => keys.build(place).map(|files| Handler::Files(Box::new(files))),
            HandlerKeys::Redirect(keys) => keys.build(place).map(Handler::Redirect),
            HandlerKeys::Cgi(keys) => keys.build(place, extension).map(Handler::Cgi),
            HandlerKeys::Status(keys) => Some(Handler::Status(keys.build())),
            HandlerKeys::Health(keys) => Some(Handler::Health(keys.build())),
            HandlerKeys::Wsgi(keys) => keys.build(place, route_path).map(Handler::Wsgi),
            #[cfg(feature = "attacks")]
            HandlerKeys::Probe => Some(Handler::Probe(crate::handler::probe::Probe)),
        };
        let RouteRequests { path, host, extension } = requests?;
        Some(Route { host, path, extension, access: access?, handler: handler?, fields: fields? })
    }
}

/// A path that a request can have: see [`DecodedPath`](crate::http::path::DecodedPath).
fn check_path(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err(format!("expected a path that begins with /, found {path:?}"));
    }
    if path.contains('*') {
        return Err(format!("expected a path, not a pattern (see extension), found {path:?}"));
    }
    let is_normal = !path.contains("//") && path.split('/').all(|segment| segment != "." && segment != "..");
    if !is_normal || path.contains('\0') {
        return Err(format!("expected a path without //, . and .., found {path:?}"));
    }
    Ok(path.to_owned())
}

fn check_host(host: &str) -> Result<String, String> {
    // With a `.` at its end it is the same name, fully qualified (RFC 1034, section 3.1).
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let name = host.strip_prefix("*.").unwrap_or(&host);
    let is_bare = !name.is_empty() && !name.ends_with('.') && target::host_of(name) == name;
    if !is_bare || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte)) {
        let examples = "\"example.org\" or \"*.example.org\"";
        return Err(format!("expected a host such as {examples}, without a port, found {host:?}"));
    }
    Ok(host)
}

fn check_extension(extension: &str) -> Result<String, String> {
    if !extension.starts_with('.') || extension.len() < 2 || extension.contains(['/', '\0']) {
        return Err(format!("expected an extension such as \".php\", found {extension:?}"));
    }
    Ok(extension.to_owned())
}
