//! What `check` prints about the confinement of each service.

use std::path::{Path, PathBuf};

use super::permissions;
use super::privileges::find_refusals;
use crate::confine::{Confinement, find_gaps};
use crate::handler::wsgi::Python;
use crate::listen::unit::find_socket_unit;
use crate::service::{describe_unreached, find_service};
use crate::supervisor::settings::{Model, Settings};

/// One line for each service, and one for each thing that an administrator should know before lsbaws starts.
pub(crate) fn describe_reach(settings: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, service) in &settings.services {
        if settings.process.model == Model::Iterative {
            let reason = "not confined (process.model = \"iterative\")";
            lines.push(format!("service.{name}: {reason}: the supervisor itself serves its connections"));
            continue;
        }
        let programs = if service.python().is_some() { "applications" } else { "programs" };
        lines.push(format!("service.{name}: {}", service.confinement.describe(programs)));
        if let Some(python) = service.python() {
            lines.extend(
                describe_denied(&service.confinement, python).map(|line| format!("service.{name}: {line}")),
            );
            lines.extend(permissions::find_unloadable(name, &service.confinement, python));
            lines.extend(permissions::find_open(service, python));
        }
        let denied = service.confinement.execute.iter().filter_map(|program| {
            let denied = service.confinement.find_not_executable(program)?.describe(name);
            Some(format!("warning: service.{name}: {} cannot be run: {denied}", program.display()))
        });
        lines.extend(denied);
        lines.extend(permissions::find_denied(name, &service.confinement));
        let gaps = find_gaps(&service.confinement);
        lines.extend(gaps.iter().map(|gap| format!("warning: service.{name}: {}", gap.sentence)));
    }
    lines.extend(describe_listeners(settings));
    lines.extend(find_refusals(settings).into_iter().map(|refusal| format!("note: as this user, {refusal}")));
    lines
}

/// What an application may expect, and does not reach, with the keys that permit it.
fn describe_denied(confinement: &Confinement, python: &Python) -> Option<String> {
    if !confinement.is_on {
        return None;
    }
    let is_writable = |folder: &PathBuf| confinement.writable.iter().any(|path| folder.starts_with(path));
    let folders: Vec<_> = python.search.iter().filter(|folder| !is_writable(folder)).collect();
    let mut denied = Vec::new();
    if confinement.landlock && !folders.is_empty() {
        let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        denied.push(format!("write below {} (confine.writable)", folders.join(" ")));
    }
    if !confinement.network && (confinement.landlock || confinement.seccomp) {
        denied.push("reach a database or another service at a TCP port (confine.network)".into());
    }
    if denied.is_empty() {
        return None;
    }
    Some(format!("applications cannot {}, unless the key in parentheses permits it", denied.join(", nor ")))
}

/// Warnings about services that no listener leads to, and about the default listener if it leads nowhere. What a service
/// manager passes is known only from the files of its units.
fn describe_listeners(settings: &Settings) -> Vec<String> {
    let leads: Vec<_> =
        settings.listen.iter().map(|table| find_service(&settings.services, &table.name)).collect();
    let is_bound = |name: &str| leads.iter().flatten().any(|service| service.name == name);
    let names = settings.services.keys().filter(|name| !is_bound(name));
    let unreached = names.filter(|name| find_socket_unit(Path::new("/"), name).is_none());
    let warnings = unreached.map(|name| describe_unreached(name));
    warnings
        .chain(leads.iter().filter_map(|lead| lead.as_ref().err().cloned()))
        .map(|warning| format!("warning: {warning}"))
        .collect()
}
