//! From the tables of a service to the service: its routes with their handlers, or its program.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Problem;
use super::error::{Wrong, is_field_value, take, take_text, wrong};
use super::files::{build_files, open_root};
use super::keywords::{HandlerName, Protocol};
use super::lists::{List, Table};
use super::raw::{self, COMMON_KEYS};
use super::rlimits::build_rlimits;
use super::values::{FilePath, Flag, Size, Text, Time, Whole};
use crate::handler::Handler;
use crate::handler::cgi::{Cgi, Programs};
use crate::handler::redirect::Redirect;
use crate::handler::respond::Respond;
use crate::handler::site::{Route, Site};
use crate::http::{is_token, response::FixedFields, target};
use crate::service::{Program, Protocol as Served, Service};
use crate::source::{AccessList, Networks};

/// A record tells a route by a number of 16 bits.
const ROUTES_MAX: usize = 65_000;

/// Builds a service whose table is at `key`. Opens what its handlers need.
pub fn build_service(
    key: &str,
    name: String,
    raw: raw::Service,
    limits: &raw::Limits,
) -> Result<Service, Problem> {
    let max_connections = raw.max_connections.map(Whole::get);
    let max_connections_per_source = raw.max_connections_per_source.map(Whole::get);
    let [allow, deny] = [&raw.allow, &raw.deny].map(|list| Networks(list.0.clone()));
    let refusal = raw.refusal.as_ref().map_or(String::new(), |Text(text)| text.clone());
    let max_duration = raw.max_duration.or(limits.max_duration).map(|Time(duration)| duration);
    let built = build_rlimits(&raw).and_then(|rlimits| match raw.protocol {
        Protocol::Http => Ok((build_site(raw).map(Served::Http)?, rlimits)),
        Protocol::Exec => Ok((build_exec(raw).map(Served::Exec)?, rlimits)),
    });
    match built {
        Ok((protocol, rlimits)) => Ok(Service {
            name,
            protocol,
            max_connections,
            max_connections_per_source,
            access: AccessList { allow, deny },
            refusal,
            max_duration,
            rlimits,
        }),
        Err((inner, problem)) => Err((format!("{key}.{inner}"), problem)),
    }
}

fn build_site(raw: raw::Service) -> Result<Site, Wrong> {
    let exec_only = [
        ("refusal", raw.refusal.is_some()),
        ("command", raw.command.is_some()),
        ("directory", raw.directory.is_some()),
        ("environment", raw.environment.is_some()),
    ];
    if let Some((key, _)) = exec_only.iter().find(|(_, is_set)| *is_set) {
        return wrong(key, "unknown key for the protocol http, expected route");
    }
    let tables = raw.route.unwrap_or_default();
    if tables.is_empty() || tables.len() > ROUTES_MAX {
        return wrong("route", format!("expected 1 to {ROUTES_MAX} routes, found {}", tables.len()));
    }
    let mut routes: Vec<Route> = Vec::new();
    let mut taken = BTreeSet::new();
    for (index, Table(table)) in tables.into_iter().enumerate() {
        let route =
            build_route(table).map_err(|(key, problem)| (format!("route[{index}].{key}"), problem))?;
        if !taken.insert((route.host.clone(), route.path.clone(), route.extension.clone())) {
            let found = format!("found {:?} again", route.path);
            return wrong(&format!("route[{index}].path"), format!("expected a path of its own, {found}"));
        }
        routes.push(route);
    }
    Ok(Site::new(routes))
}

fn build_route(mut raw: raw::Route) -> Result<Route, Wrong> {
    if let Some(key) = raw.find_foreign_key() {
        let keys: Vec<_> = COMMON_KEYS.iter().chain(raw.handler.keys()).copied().collect();
        let others: Vec<_> =
            HandlerName::ALL.iter().filter(|name| name.keys().contains(&key.as_str())).collect();
        let others: Vec<_> = others.iter().map(|name| format!("handler = \"{name}\"")).collect();
        let is_default = if raw.handler == HandlerName::default() { ", which is the default" } else { "" };
        let problem = format!(
            "unknown key for the handler {}{is_default} (it belongs to {}), expected one of {}",
            raw.handler,
            others.join(", "),
            keys.join(", ")
        );
        return wrong(&key, problem);
    }
    let path = take_text(&mut raw.path);
    check_path(&path)?;
    // With a `.` at its end a name is only spelled in full (RFC 1034, section 3.1).
    let host = raw.host.take().map(|Text(host)| host.strip_suffix('.').unwrap_or(&host).to_ascii_lowercase());
    if let Some(host) = &host {
        let name = host.strip_prefix("*.").unwrap_or(host);
        let is_bare = !name.is_empty() && !name.ends_with('.') && target::host_of(name) == name;
        if !is_bare || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte)) {
            return wrong(
                "host",
                format!(
                    "expected a host such as \"example.org\" or \"*.example.org\", without a port, found {host:?}"
                ),
            );
        }
    }
    let extension = raw.extension.take().map(|Text(extension)| extension);
    if let Some(extension) = &extension
        && (!extension.starts_with('.') || extension.len() < 2 || extension.contains(['/', '\0']))
    {
        return wrong("extension", format!("expected an extension such as \".php\", found {extension:?}"));
    }
    let is_precompressed = raw.precompressed.as_ref().is_some_and(|Flag(is_on)| *is_on);
    let is_vary = |(name, Text(value)): (&String, &Text)| {
        name.eq_ignore_ascii_case("Vary") && !value.to_ascii_lowercase().contains("accept-encoding")
    };
    if is_precompressed
        && let Some(key) = raw.headers.iter().find(|pair| is_vary(*pair)).map(|(name, _)| name)
    {
        return wrong(
            &format!("headers.{key}"),
            "expected Accept-Encoding in it, since precompressed is true",
        );
    }
    let fields = build_fields(std::mem::take(&mut raw.headers))?;
    let handler = match raw.handler {
        HandlerName::Respond => Handler::Respond(build_respond(raw)?),
        HandlerName::Files => Handler::Files(Box::new(build_files(raw)?)),
        HandlerName::Redirect => Handler::Redirect(build_redirect(raw)?),
        HandlerName::Cgi => Handler::Cgi(build_cgi(raw, extension.clone())?),
    };
    Ok(Route { host, path, extension, handler, fields })
}

/// A path that a request can have: see [`target::decode_path`].
fn check_path(path: &str) -> Result<(), Wrong> {
    if !path.starts_with('/') {
        return wrong("path", format!("expected a path that begins with /, found {path:?}"));
    }
    if path.contains('*') {
        return wrong("path", format!("expected a path, not a pattern (see extension), found {path:?}"));
    }
    let is_never_asked =
        path.contains("//") || path.split('/').any(|segment| segment == "." || segment == "..");
    if is_never_asked || path.contains('\0') {
        return wrong("path", format!("expected a path without //, . and .., found {path:?}"));
    }
    Ok(())
}

/// Fields that frame or describe the response: lsbaws sets them.
const OWN_FIELDS: [&str; 5] = ["Connection", "Content-Length", "Content-Type", "Date", "Transfer-Encoding"];

fn build_fields(headers: BTreeMap<String, Text>) -> Result<FixedFields, Wrong> {
    let mut fields = FixedFields::default();
    for (name, Text(value)) in headers {
        let key = format!("headers.{name}");
        if OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
            return wrong(&key, "expected a field that lsbaws does not set itself");
        }
        if name.is_empty() || !name.bytes().all(is_token) {
            return wrong(&key, "expected the name of a header field (RFC 9110, section 5.1)");
        }
        if !is_field_value(&value) {
            return wrong(&key, "expected a field value without control characters");
        }
        fields.add(&name, value.trim());
    }
    Ok(fields)
}

fn build_respond(mut raw: raw::Route) -> Result<Respond, Wrong> {
    let content_type = take_text(&mut raw.content_type);
    if content_type.is_empty() || !is_field_value(&content_type) {
        return wrong("content_type", "expected a media type, such as \"text/html\"");
    }
    Ok(Respond {
        status: take(&mut raw.status).get(),
        content_type,
        content: take_text(&mut raw.body).into_bytes(),
        delay: raw.delay.map(|Time(delay)| delay),
    })
}

fn build_redirect(mut raw: raw::Route) -> Result<Redirect, Wrong> {
    let status: u16 = take(&mut raw.status).get();
    if ![301, 302, 303, 307, 308].contains(&status) {
        return wrong("status", format!("expected 301, 302, 303, 307 or 308, found {status}"));
    }
    let to = raw.to.take().map_or_else(String::new, |Text(to)| to);
    let is_target = to.starts_with('/') || to.starts_with("http://") || to.starts_with("https://");
    if !is_target || !to.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong(
            "to",
            format!("expected a URL such as \"https://example.org/\" or a path, found {to:?}"),
        );
    }
    let Flag(keep_path) = take(&mut raw.keep_path);
    let unknown = to.split('{').skip(1).find(|rest| !rest.starts_with("host}"));
    if let Some(rest) = unknown {
        let name = rest.split_inclusive('}').next().unwrap_or_default();
        return wrong("to", format!("expected {{host}} as the only placeholder, found {{{name}"));
    }
    if keep_path && to.contains(['?', '#']) {
        return wrong(
            "to",
            format!("expected no ? or #, behind which no path can be kept (keep_path), found {to:?}"),
        );
    }
    Ok(Redirect { status, to: complete_path(to), keep_path })
}

/// Gives a URL without a path its `/`: what is appended to a bare host would become part of its name.
fn complete_path(mut to: String) -> String {
    if let Some((_, rest)) = to.split_once("://")
        && let end = rest.find(['/', '?', '#']).unwrap_or(rest.len())
        && !rest[end..].starts_with('/')
    {
        to.insert(to.len() - rest.len() + end, '/');
    }
    to
}

fn build_cgi(mut raw: raw::Route, extension: Option<String>) -> Result<Cgi, Wrong> {
    let document_root = raw.document_root.take().map(|FilePath(path)| path);
    let programs = match (raw.root.take(), raw.program.take()) {
        (Some(path), None) => {
            if document_root.is_some() {
                return wrong("document_root", "expected only with program: root is the document root");
            }
            let root = open_root(Some(path.clone()), true)?;
            let interpreter = raw.interpreter.take();
            let interpreter = interpreter.map(|path| check_program("interpreter", &path.0)).transpose()?;
            Programs::Below { path: path.0, root, interpreter, extension }
        }
        (None, Some(program)) => {
            if raw.interpreter.is_some() {
                return wrong("interpreter", "expected only with root");
            }
            Programs::One { program: check_program("program", &program.0)?, document_root }
        }
        (Some(_), Some(_)) => return wrong("program", "expected either root or program, found both"),
        (None, None) => {
            return wrong("root", "expected a directory of programs (root), or one program (program)");
        }
    };
    Ok(Cgi {
        programs,
        environment: build_environment(take(&mut raw.environment))?,
        timeout: take(&mut raw.timeout).0,
        max_body_size: raw.max_body_size.map(Size::get),
        max_output_size: raw.max_output_size.map(Size::get),
        require_length: take(&mut raw.require_length).0,
    })
}

fn build_exec(mut raw: raw::Service) -> Result<Program, Wrong> {
    if raw.route.is_some() {
        return wrong(
            "route",
            "unknown key for the protocol exec, expected command, directory, environment or refusal",
        );
    }
    let Some(List(command)) = raw.command.take() else {
        return wrong(
            "command",
            "expected a program and its arguments, such as [\"/usr/sbin/in.fingerd\", \"-l\"]",
        );
    };
    let mut words = command.into_iter().map(|Text(word)| word);
    let program = words.next().unwrap_or_default();
    if let Some(word) = words.clone().find(|word| word.contains('\0')) {
        return wrong("command", format!("expected arguments without NUL, found {word:?}"));
    }
    let program = check_program("command", Path::new(&program)).map_err(|(key, problem)| {
        let is_line = words.len() == 0 && program.contains(' ');
        let hint = if is_line {
            "; a program and its arguments are a list: [\"/usr/bin/rsync\", \"--daemon\"]"
        } else {
            ""
        };
        (key, format!("{problem}{hint}"))
    })?;
    let FilePath(directory) = take(&mut raw.directory);
    match std::fs::metadata(&directory) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return wrong("directory", format!("expected a directory, found {}", directory.display())),
        Err(error) => {
            return wrong(
                "directory",
                format!("expected a directory, found {}: {error}", directory.display()),
            );
        }
    }
    let environment = build_environment(take(&mut raw.environment))?;
    Ok(Program { program, arguments: words.map(OsString::from).collect(), directory, environment })
}

/// Variables for a program, besides those that describe the connection.
pub fn build_environment(raw: BTreeMap<String, Text>) -> Result<Vec<(String, String)>, Wrong> {
    let mut environment = Vec::new();
    for (name, Text(value)) in raw {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return wrong(
                &format!("environment.{name}"),
                "expected a variable without = in its name and without NUL",
            );
        }
        environment.push((name, value));
    }
    Ok(environment)
}

/// A program that there is, and that this user may execute.
pub fn check_program(key: &str, path: &Path) -> Result<PathBuf, Wrong> {
    use nix::unistd::{AccessFlags, access};
    let shown = path.display();
    if !path.is_absolute() {
        return wrong(key, format!("expected the absolute path of a program, found {shown:?}"));
    }
    let found = std::fs::metadata(path);
    match &found {
        Err(error) => return wrong(key, format!("expected a program, found {shown}: {error}")),
        Ok(metadata) if !metadata.is_file() => {
            return wrong(key, format!("expected a program, found {shown}, which is no regular file"));
        }
        Ok(_) => {}
    }
    match access(path, AccessFlags::X_OK) {
        Ok(()) => Ok(path.into()),
        Err(errno) => wrong(key, format!("expected an executable program, found {shown}: {}", errno.desc())),
    }
}
