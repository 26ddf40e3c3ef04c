//! What a configuration shows to clients, perhaps by mistake: programs that are sent as files, since a route of the handler
//! `files` with a longer path comes before the route of their extension; and the status of the daemon.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::handler::Handler;
use crate::handler::site::{Route, Site};
use crate::service::Service;

/// Names that a search looks at below one root: enough for the first directories, and no burden at a start.
const NAMES_MAX: usize = 2000;

/// A sentence for each pair of such routes where the root has such a program.
pub(super) fn find_published(service: &str, site: &Site) -> Vec<String> {
    let mut sentences = Vec::new();
    for programs in site.routes().iter().filter(|route| matches!(route.handler, Handler::Cgi(_))) {
        let Some(extension) = &programs.extension else { continue };
        for files in site.routes().iter().filter(|files| comes_before(files, programs, site)) {
            if let Handler::Files(handler) = &files.handler
                && let Some(program) = find_file(handler.root.path(), extension)
            {
                let (program, path, other) = (program.display(), &files.path, &programs.path);
                sentences.push(format!(
                    "service.{service}.route: {program} is sent as a file and not run: the route of {path:?} comes before that \
                     of {extension:?} at {other:?}; add a route with path = {path:?} and extension = {extension:?}"
                ));
            }
        }
    }
    sentences
}

/// A sentence for each route that shows the status of all services to every client.
pub(super) fn find_public_status(service: &Service, site: &Site) -> Vec<String> {
    let is_public = |route: &&Route| {
        matches!(route.handler, Handler::Status(_)) && route.access.is_none() && service.access.is_empty()
    };
    let describe = |route: &Route| {
        let (name, path) = (&service.name, &route.path);
        format!(
            "service.{name}.route: the route of {path:?} shows the clients and requests of all services to every client; set \
             \"allow\" or \"auth_users\""
        )
    };
    site.routes().iter().filter(is_public).map(describe).collect()
}

/// A sentence for each network of proxies that is so wide that it has clients.
pub(super) fn find_wide_proxies(service: &Service) -> Vec<String> {
    let networks = service.trusted_proxies.0.iter().filter(|network| network.is_wide());
    let describe = |network| {
        format!(
            "service.{}.trusted_proxies: each client in {network} can choose its own address for access lists, limits and \
             records; name the addresses of the proxies",
            service.name
        )
    };
    networks.map(describe).collect()
}

/// A sentence for each file of users that lets no user log in, or that every process of the host can change.
pub(super) fn find_open_users(service: &Service) -> Vec<String> {
    let mut files: Vec<_> = service.user_files().collect();
    files.sort_by_key(|file| file.path());
    files.dedup_by_key(|file| file.path());
    let (mut sentences, service) = (Vec::new(), &service.name);
    for file in files {
        let path = file.path().display();
        if file.is_empty() {
            sentences.push(format!(
                "service.{service}.route: {path} has no users: every login fails; htpasswd -B {path} NAME"
            ));
        }
        if fs::metadata(file.path()).is_ok_and(|metadata| metadata.mode() & 0o002 != 0) {
            sentences.push(format!(
                "service.{service}.route: every user of this host may write {path}, and so add users; chmod o-w {path}"
            ));
        }
    }
    sentences
}

/// Whether requests for programs go to `files`, and to no other route of their extension.
fn comes_before(files: &Route, programs: &Route, site: &Site) -> bool {
    let is_below = files.path.len() > programs.path.len() && programs.contains(files.path.as_bytes());
    let has_host = programs.host.is_none() || programs.host == files.host;
    let has_own =
        site.routes().iter().any(|own| own.path == files.path && own.extension == programs.extension);
    files.extension.is_none() && is_below && has_host && !has_own
}

/// The first file below a directory whose name has this ending, but for hidden ones.
fn find_file(root: &Path, ending: &str) -> Option<PathBuf> {
    let (mut folders, mut names) = (VecDeque::from([root.to_owned()]), 0);
    while let Some(folder) = folders.pop_front() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            names += 1;
            let (name, kind) = (entry.file_name(), entry.file_type().ok()?);
            if names > NAMES_MAX {
                return None;
            }
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if kind.is_dir() {
                folders.push_back(entry.path());
            } else if name.as_encoded_bytes().ends_with(ending.as_bytes()) {
                return Some(entry.path());
            }
        }
    }
    None
}
