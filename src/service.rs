//! What a named listener leads to: a site, whose routes answer HTTP requests, or a program that the child
//! becomes.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::confine::{self, Confinement};
use crate::connection::{Identity, Peer};
use crate::handler::Handler;
use crate::handler::login::LoginLimit;
use crate::handler::root::Root;
use crate::handler::site::{Route, Site};
use crate::handler::users::{UserFile, UserList};
use crate::handler::wsgi::{Python, Wsgi};
use crate::http::canned;
use crate::journal;
use crate::limits::Rlimits;
use crate::runtime::Runtime;
use crate::source::{AccessList, Networks};
use crate::status::health::Scope;
use serde::{Deserialize, Serialize};

pub(crate) use crate::handler::watch::Watch;

/// What a named listener leads to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) max_connections: Option<usize>,
    /// Places of all connections that no other service takes.
    pub(crate) reserve: usize,
    pub(crate) max_connections_per_source: Option<u32>,
    /// Checked by the supervisor alone.
    #[serde(skip)]
    pub(crate) access: AccessList,
    /// Proxies whose word about their clients is taken.
    pub(crate) trusted_proxies: Networks,
    /// Each connection begins with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// The field in which proxies give a request its id.
    pub(crate) request_id_header: Option<String>,
    /// Text for a refused client that does not speak HTTP.
    pub(crate) refusal: String,
    /// How long a connection of its program may move no byte.
    pub(crate) idle_timeout: Option<Duration>,
    /// How long one of its connections may last.
    pub(crate) max_duration: Option<Duration>,
    /// Limits of each child.
    pub(crate) rlimits: Rlimits,
    pub(crate) confinement: Confinement,
    pub(crate) leftover: Leftover,
}

/// What happens to processes that a program has left behind when its connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Leftover {
    End,
    Keep,
}

/// What the connections of a service speak.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Protocol {
    Http(Site),
    Exec(Program),
    /// The agent-check of HAProxy, about these services.
    AgentCheck(Scope),
}

impl Protocol {
    /// The name in the configuration.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Exec(_) => "exec",
            Self::AgentCheck(_) => "agent-check",
        }
    }
}

impl Service {
    /// Whether the peer is a proxy whose word about its clients is taken.
    pub(crate) fn trusts(&self, peer: &Peer) -> bool {
        !self.trusted_proxies.0.is_empty() && self.trusted_proxies.contains(peer)
    }

    /// The end of a connection, if it has one.
    pub(crate) fn deadline(&self, identity: &Identity) -> Option<Instant> {
        self.max_duration.map(|duration| identity.accepted_at + duration)
    }

    /// Whether processes may be left behind when one of its connections ends.
    pub(crate) fn can_leave_orphans(&self) -> bool {
        self.confinement.starts_programs || !self.confinement.is_on || !self.confinement.seccomp
    }

    /// Whether its children become a program.
    pub(crate) fn is_program(&self) -> bool {
        matches!(self.protocol, Protocol::Exec(_))
    }

    /// Whether its clients speak HTTP.
    pub(crate) fn is_http(&self) -> bool {
        matches!(self.protocol, Protocol::Http(_))
    }

    /// Whether one of its routes shows the status of the daemon.
    pub(crate) fn shows_status(&self) -> bool {
        let is_status = |route: &Route| matches!(route.handler, Handler::Status(_));
        matches!(&self.protocol, Protocol::Http(site) if site.routes().iter().any(is_status))
    }

    /// Whether it answers checks of balancers.
    pub(crate) fn answers_checks(&self) -> bool {
        let is_health = |route: &Route| matches!(route.handler, Handler::Health(_));
        match &self.protocol {
            Protocol::Http(site) => site.routes().iter().any(is_health),
            Protocol::AgentCheck(_) => true,
            Protocol::Exec(_) => false,
        }
    }

    /// Whether it has no content of its own: it answers checks, or shows the status.
    pub(crate) fn is_internal(&self) -> bool {
        let is_own = |route: &Route| matches!(route.handler, Handler::Health(_) | Handler::Status(_));
        match &self.protocol {
            Protocol::Http(site) => site.routes().iter().all(is_own),
            Protocol::AgentCheck(_) => true,
            Protocol::Exec(_) => false,
        }
    }

    /// What a client reads that gets no process: a response, or the text of the service.
    pub(crate) fn refuse(&self, status: u16, why: &str, retry_after: Option<u64>) -> Cow<'_, str> {
        match &self.protocol {
            Protocol::Http(site) => canned::refuse(status, why, retry_after, site.fields()).into(),
            Protocol::Exec(_) | Protocol::AgentCheck(_) => self.refusal.as_str().into(),
        }
    }

    /// The name of what answers, for records: the handler of a route, by its index, or `exec`.
    pub(crate) fn handler_name(&self, route: Option<usize>) -> Option<&'static str> {
        match &self.protocol {
            Protocol::Http(site) => Some(site.routes().get(route?)?.handler.name()),
            Protocol::Exec(_) | Protocol::AgentCheck(_) => Some(self.protocol.word()),
        }
    }

    /// The root directories of its routes and of its error pages.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Root> + Clone {
        self.route_roots().chain(self.page_roots())
    }

    /// Its applications. All have one interpreter.
    fn wsgi(&self) -> impl Iterator<Item = &Wsgi> {
        let routes = self.site().into_iter().flat_map(Site::routes);
        routes.filter_map(|route| match &route.handler {
            Handler::Wsgi(wsgi) => Some(wsgi),
            _ => None,
        })
    }

    /// Its name, if its fork servers run code of applications: they get a scoreboard of their own, since that code can reach
    /// what its fork server has.
    pub(crate) fn own_scoreboard(&self) -> Option<&str> {
        self.python().map(|_| self.name.as_str())
    }

    /// The interpreter of its applications, if it has any.
    pub(crate) fn python(&self) -> Option<&Python> {
        self.wsgi().next().map(|wsgi| &wsgi.python)
    }

    /// The names of its applications.
    pub(crate) fn applications(&self) -> Vec<&str> {
        self.wsgi().map(|wsgi| wsgi.application.as_str()).collect()
    }

    /// Lets its applications answer the requests of `warm_up`. Returns warnings.
    pub(crate) fn warm_up(&self, runtime: &dyn Runtime) -> Vec<String> {
        self.wsgi().flat_map(|wsgi| wsgi.warm_up(runtime)).collect()
    }

    fn route_roots(&self) -> impl Iterator<Item = &Root> + Clone {
        self.site().into_iter().flat_map(Site::routes).filter_map(|route| route.handler.root())
    }

    fn page_roots(&self) -> impl Iterator<Item = &Root> + Clone {
        self.site().into_iter().flat_map(|site| site.error_pages().roots())
    }

    /// Confines this process to what its processes reach. `connection`: the number of the descriptor of each connection.
    ///
    /// # Errors
    /// Those of [`confine::apply`].
    pub(crate) fn confine(&self, connection: RawFd) -> Result<Vec<confine::Gap>, confine::Error> {
        let roots: Vec<_> = self.route_roots().map(AsFd::as_fd).collect();
        let pages: Vec<_> = self.page_roots().map(AsFd::as_fd).collect();
        confine::apply(&self.confinement, &roots, &pages, self.lock_file(), connection)
    }

    fn site(&self) -> Option<&Site> {
        match &self.protocol {
            Protocol::Http(site) => Some(site),
            Protocol::Exec(_) | Protocol::AgentCheck(_) => None,
        }
    }

    /// Descriptors that a child of this service needs in addition to its connection.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> + Clone {
        let lock = self.lock_file().map(|file| file.as_raw_fd());
        self.roots().map(|root| root.as_fd().as_raw_fd()).chain(lock)
    }

    /// The file on which its children hold locks, if its routes have authentication.
    pub(crate) fn lock_file(&self) -> Option<BorrowedFd<'_>> {
        self.site()?.login_limit().map(LoginLimit::file)
    }

    /// The files of users of its routes.
    pub(crate) fn user_files(&self) -> impl Iterator<Item = &UserFile> {
        let routes = self.site().into_iter().flat_map(Site::routes);
        routes.filter_map(|route| Some(&route.access.as_ref()?.auth.as_ref()?.users))
    }

    /// Whether the path of a root leads to another directory than the open one, or a file of users has changed. Looks at most
    /// once a second; `warn` gets a sentence about a path that leads nowhere.
    pub(crate) fn is_outdated(&self, watch: &mut Watch, now: Instant, warn: impl FnMut(String)) -> bool {
        watch.finds_change(self.roots(), self.user_files(), now, warn)
    }

    /// Opens the roots again whose paths lead to other directories, and reads the files of users again that have changed.
    /// True: at least one was opened or read.
    pub(crate) fn refresh(&self) -> bool {
        let has_reopened = self.reopen_moved_roots();
        self.read_changed_users() || has_reopened
    }

    /// After an error, the users that were read before stay.
    fn read_changed_users(&self) -> bool {
        // Several routes may have the same file.
        let mut lists = BTreeMap::new();
        for users in self.user_files() {
            // The process that has found the change warns of a file that is missing.
            let Ok(Some(change)) = users.find_change() else { continue };
            let list = lists.entry(users.path()).or_insert_with(|| self.read_users(users.path()));
            users.set_list(change, list.as_ref());
        }
        lists.values().any(Option::is_some)
    }

    fn read_users(&self, path: &Path) -> Option<UserList> {
        match UserList::read(path) {
            Ok(list) => {
                journal::log_users_read(path.display(), &self.name);
                Some(list)
            }
            Err(error) => {
                let sentence = format!("{error}; the users that were read before are still accepted");
                journal::log_service_error(&self.name, &sentence);
                None
            }
        }
    }

    fn reopen_moved_roots(&self) -> bool {
        let mut has_reopened = false;
        for root in self.roots().filter(|root| root.has_moved() == Ok(true)) {
            let path = root.path().display();
            match root.reopen() {
                Ok(()) => {
                    journal::log_root_moved(path, &self.name);
                    has_reopened = true;
                }
                Err(errno) => {
                    let error = errno.desc();
                    journal::log_service_warning(
                        &self.name,
                        &format!("root {path}: {error}; the directory that is open is still served"),
                    );
                }
            }
        }
        has_reopened
    }
}

/// A program that serves connections.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// What it sees as its own name, instead of its path.
    pub(crate) argv0: Option<OsString>,
    pub(crate) directory: PathBuf,
    /// In addition to the variables that describe the connection.
    pub(crate) environment: Vec<(String, String)>,
}

/// The sentence about a service that no listener leads to.
pub(crate) fn describe_unreached(name: &str) -> String {
    format!(
        "service {name}: no listener leads to it; add [listen.{name}], or a socket unit with FileDescriptorName={name}"
    )
}

/// The services by their names.
pub(crate) type Services = BTreeMap<String, Arc<Service>>;

/// Names of sockets that have no name of their own: from systemd-socket-activate and the like, from `Accept=yes`, and on
/// standard input.
const NAMELESS: [&str; 3] = ["unknown", "connection", "inetd"];
/// The service of those, if none has these names.
const OF_NAMELESS: &str = "web";

/// The service that a listener's name leads to, of all by their names: the one of that name. systemd names a socket
/// without `FileDescriptorName=` after its unit, `web.socket`. Other services are never used.
///
/// # Errors
/// A sentence, if no service has that name.
pub(crate) fn find_service<'s, T>(
    services: &'s BTreeMap<String, T>,
    listener: &str,
) -> Result<&'s T, String> {
    let name = listener.strip_suffix(".socket").unwrap_or(listener);
    let of_nameless = services.get(OF_NAMELESS).filter(|_| NAMELESS.contains(&name));
    services.get(name).or(of_nameless).ok_or_else(|| {
        let names = services.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("no [service.{name}] for listener \"{name}\" (configured: {names})")
    })
}
