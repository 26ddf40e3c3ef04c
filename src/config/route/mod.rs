//! `[[service.NAME.route]]`: the keys of every route, then those of its handler.

pub(super) mod cgi;
pub(super) mod files;
pub(super) mod redirect;
pub(super) mod respond;

use super::findings::Place;
use super::keywords::{Variant, keywords, reject_foreign_keys};
use super::lists::TextMap;
use super::scalar::Text;
use super::table::{KeyType, Keys, RawValue, keys};
use crate::handler::Handler;
use crate::handler::site::Route;
use crate::http::fields::FixedFields;
use crate::http::{is_token, target};
use cgi::CgiKeys;
use files::FilesKeys;
use redirect::RedirectKeys;
use respond::RespondKeys;

keys! {
    /// The keys of every route.
    RouteKeys {
        path: Text = Text("/".into()),
        handler: HandlerName = HandlerName::Respond,
        host: Option<Text> = None,
        extension: Option<Text> = None,
        headers: TextMap = TextMap::default(),
    }
}

/// The handler of a route.
#[derive(Debug, Clone, Copy)]
pub(super) enum HandlerName {
    Respond,
    Files,
    Redirect,
    Cgi,
    #[cfg(feature = "attacks")]
    Probe,
}

keywords!(HandlerName {
    Respond = "respond",
    Files = "files",
    Redirect = "redirect",
    Cgi = "cgi",
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
            #[cfg(feature = "attacks")]
            Self::Probe => &[],
        }
    }
}

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
    #[cfg(feature = "attacks")]
    Probe,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self { keys: RouteKeys::default(), handler: HandlerKeys::Respond(RespondKeys::default()) }
    }
}

impl KeyType for RouteTable {
    fn read(raw: &RawValue<'_>) -> Option<Self> {
        raw.table()?;
        let keys = RouteKeys::read_keys(raw);
        reject_foreign_keys(raw, RouteKeys::NAMES, keys.handler);
        let handler = match keys.handler {
            HandlerName::Respond => HandlerKeys::Respond(RespondKeys::read_keys(raw)),
            HandlerName::Files => HandlerKeys::Files(FilesKeys::read_keys(raw)),
            HandlerName::Redirect => HandlerKeys::Redirect(RedirectKeys::read_keys(raw)),
            HandlerName::Cgi => HandlerKeys::Cgi(CgiKeys::read_keys(raw)),
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
    /// Opens what the handler needs.
    pub(super) fn build(self, place: &Place<'_>, requests: Option<RouteRequests>) -> Option<Route> {
        let is_precompressed = matches!(&self.handler, HandlerKeys::Files(keys) if keys.precompressed.0);
        let fields = build_fields(self.keys.headers, &place.key("headers"), is_precompressed);
        let extension = requests.as_ref().and_then(|requests| requests.extension.clone());
        let handler = match self.handler {
            HandlerKeys::Respond(keys) => keys.build(place).map(Handler::Respond),
            HandlerKeys::Files(keys) => keys.build(place).map(|files| Handler::Files(Box::new(files))),
            HandlerKeys::Redirect(keys) => keys.build(place).map(Handler::Redirect),
            HandlerKeys::Cgi(keys) => keys.build(place, extension).map(Handler::Cgi),
            #[cfg(feature = "attacks")]
            HandlerKeys::Probe => Some(Handler::Probe(crate::handler::probe::Probe)),
        };
        let RouteRequests { path, host, extension } = requests?;
        Some(Route { host, path, extension, handler: handler?, fields: fields? })
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

/// Fields that frame or describe the response: lsbaws sets them.
const OWN_FIELDS: [&str; 5] = ["Connection", "Content-Length", "Content-Type", "Date", "Transfer-Encoding"];

fn build_fields(headers: TextMap, place: &Place<'_>, is_precompressed: bool) -> Option<FixedFields> {
    let check = |name, value| check_field(name, value, is_precompressed);
    let mut fields = FixedFields::default();
    for (name, value) in headers.check_each(place, check)? {
        fields.add(&name, value.trim());
    }
    Some(fields)
}

fn check_field(name: String, value: String, is_precompressed: bool) -> Result<(String, String), String> {
    if OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
        return Err("expected a field that lsbaws does not set itself".into());
    }
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err("expected the name of a header field (RFC 9110, section 5.1)".into());
    }
    if !is_field_value(&value) {
        return Err("expected a field value without control characters".into());
    }
    let is_vary = name.eq_ignore_ascii_case("Vary");
    if is_precompressed && is_vary && !value.to_ascii_lowercase().contains("accept-encoding") {
        let expected = "expected a value with Accept-Encoding when precompressed = true";
        return Err(format!("{expected}, found {value:?}"));
    }
    Ok((name, value))
}

fn is_field_value(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t')
}
