//! What a named listener leads to: a site, whose routes answer HTTP requests, or a program that the child
//! becomes.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::handler::site::Site;
use crate::limits::Rlimits;
use crate::source::AccessList;

/// What a named listener leads to.
#[derive(Debug)]
pub struct Service {
    pub name: String,
    pub protocol: Protocol,
    pub max_connections: Option<usize>,
    pub max_connections_per_source: Option<u32>,
    pub access: AccessList,
    /// What somebody is told who is refused and does not speak HTTP.
    pub refusal: String,
    /// The longest that one of its connections may last.
    pub max_duration: Option<Duration>,
    /// Of each child.
    pub rlimits: Rlimits,
}

/// What is spoken on the connections of a service.
#[derive(Debug)]
pub enum Protocol {
    Http(Site),
    Exec(Program),
}

impl Service {
    /// The name of what answers, for records: a handler, by the number of its route, or `exec`.
    pub fn handler_name(&self, route: Option<usize>) -> Option<&'static str> {
        match &self.protocol {
            Protocol::Http(site) => Some(site.routes().get(route?)?.handler.name()),
            Protocol::Exec(_) => Some("exec"),
        }
    }

    /// Descriptors that a child of this service needs besides its connection.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> + Clone {
        let routes = match &self.protocol {
            Protocol::Http(site) => site.routes(),
            Protocol::Exec(_) => &[],
        };
        routes.iter().filter_map(|route| route.handler.descriptor())
    }
}

/// A program that serves connections.
#[derive(Debug)]
pub struct Program {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub directory: PathBuf,
    /// Besides the variables that describe the connection.
    pub environment: Vec<(String, String)>,
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
