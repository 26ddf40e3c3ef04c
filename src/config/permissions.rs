//! Whether the user of a service may use the directories that the settings name, by their modes. An access control list
//! can permit more.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::confine::{Confinement, User};
use crate::handler::wsgi::Python;
use crate::service::Service;
use crate::supervisor::settings::Settings;

/// What a user may do, as the bits of a mode.
const WRITE: u32 = 2;
const SEARCH: u32 = 1;

/// A sentence for each path that the user of the service `name` may not use, and for a user that may do everything.
pub(super) fn find_denied(name: &str, confinement: &Confinement) -> Vec<String> {
    let Some(user) = &confinement.user else { return Vec::new() };
    if user.uid == 0 {
        return vec![format!("note: service.{name}.user: serves as root")];
    }
    let user_name = &user.name;
    let roots = confinement.roots.iter().chain(&confinement.pages).filter_map(|root| {
        let denied = find_unsearchable(root, user)?;
        Some(format!(
            "warning: service.{name}: user {user_name} may not search {denied}, so that it cannot serve {}",
            root.display()
        ))
    });
    let writable = confinement.writable.iter().filter(|path| !may_write(path, user)).map(|path| {
        format!("warning: service.{name}.confine.writable: user {user_name} may not write {}", path.display())
    });
    let spool = confinement.spool.iter().filter(|path| !may_write(path, user)).map(|path| {
        format!(
            "warning: service.{name}.route.spool_directory: user {user_name} may not write {}",
            path.display()
        )
    });
    roots.chain(writable).chain(spool).collect()
}

/// A sentence for each directory whose modules the user of the service `name` cannot load, and for an interpreter that it
/// cannot run.
pub(super) fn find_unloadable(name: &str, confinement: &Confinement, python: &Python) -> Vec<String> {
    let Some(user) = &confinement.user else { return Vec::new() };
    let user_name = &user.name;
    let folders = python.search.iter().map(PathBuf::as_path).chain(python.program.parent());
    // That of a virtual environment is a link. One that the caller cannot follow is judged, and named, as it is.
    let program = fs::canonicalize(&python.program).unwrap_or_else(|_| python.program.clone());
    let denied = folders.chain(program.parent()).filter_map(|folder| {
        let denied = find_unsearchable(folder, user)?;
        Some(format!(
            "warning: service.{name}: user {user_name} may not search {denied}, so that its applications cannot use {}",
            folder.display()
        ))
    });
    let not_executable = (!may(&program, user, SEARCH))
        .then(|| format!("warning: service.{name}: user {user_name} may not execute {}", program.display()));
    let mut named = HashSet::new();
    denied.chain(not_executable).filter(|sentence| named.insert(sentence.clone())).collect()
}

/// A sentence for each directory and each file with code of the applications of `service` that all users may write.
pub(super) fn find_open(service: &Service, python: &Python) -> Vec<String> {
    let mut paths = vec![python.program.clone(), python.extension.clone()];
    for module in service.applications().into_iter().chain(python.on_fork.as_deref()) {
        let module = module.split(':').next().unwrap_or(module);
        paths.extend(python.search.iter().flat_map(|folder| list_files(folder, module)));
    }
    paths.sort();
    paths.dedup();
    let is_open = |path: &&PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & WRITE != 0);
    let describe = |path: &PathBuf| {
        format!(
            "warning: service.{}: all users may write {}, and so change what its applications run (chmod o-w)",
            service.name,
            path.display()
        )
    };
    paths.iter().filter(is_open).map(describe).collect()
}

/// The directory, and those and the files below it that this module may be in.
fn list_files(directory: &Path, module: &str) -> Vec<PathBuf> {
    let path = directory.join(module.replace('.', "/"));
    let parts = path.ancestors().take_while(|part| *part != directory);
    let files = parts.flat_map(|part| [part.into(), part.join("__init__.py"), part.with_extension("py")]);
    files.chain([directory.into()]).collect()
}

/// A sentence about the first root that the user of a service may not search. The daemon has opened it, so that the way to it
/// does not matter.
pub(crate) fn find_unreadable(settings: &Settings) -> Option<String> {
    settings.services.values().find_map(|service| {
        let user = service.confinement.user.as_ref()?;
        let root = service.confinement.roots.iter().find(|root| !may(root, user, SEARCH))?;
        let (name, root, user_name) = (&service.name, root.display(), &user.name);
        let hint = if user.uid == 0 { ": a service of root has no capabilities" } else { "" };
        Some(format!(
            "service.{name}: user {user_name} may not search {root}{hint}; chmod o+rx, or --set service.{name}.user=NAME for another user"
        ))
    })
}

/// The outermost directory on the way into `directory`, and this itself, that the user may not search.
fn find_unsearchable(directory: &Path, user: &User) -> Option<String> {
    let whole = fs::canonicalize(directory).ok()?;
    let mut ways: Vec<_> = whole.ancestors().collect();
    ways.reverse();
    let denied = ways.into_iter().find(|path| !may(path, user, SEARCH))?;
    Some(denied.display().to_string())
}

fn may_write(path: &Path, user: &User) -> bool {
    let Ok(whole) = fs::canonicalize(path) else { return true };
    let (bits, directory) = match whole.is_dir() {
        true => (WRITE | SEARCH, Some(&*whole)),
        false => (WRITE, whole.parent()),
    };
    may(&whole, user, bits) && directory.is_none_or(|directory| find_unsearchable(directory, user).is_none())
}

/// A path that cannot be looked at counts as permitted.
fn may(path: &Path, user: &User, bits: u32) -> bool {
    fs::metadata(path).map_or(true, |metadata| permits(&metadata, user, bits))
}

/// Only the bits of the first class that the user is in count (path_resolution(7)).
fn permits(metadata: &Metadata, user: &User, bits: u32) -> bool {
    let is_in_group = user.gid == metadata.gid() || user.groups.contains(&metadata.gid());
    let shift = match user.uid == metadata.uid() {
        true => 6,
        false if is_in_group => 3,
        false => 0,
    };
    metadata.mode() >> shift & bits == bits
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn modes_deny_by_the_first_class_of_the_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let (inner, own) = (path.join("inner"), path.metadata().unwrap());
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
        let set = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let user =
            |uid: u32, gid, groups: &[u32]| User { name: uid.to_string(), uid, gid, groups: groups.to_vec() };
        let owner = user(own.uid(), u32::MAX, &[]);
        let member = user(u32::MAX, u32::MAX, &[own.gid()]);
        let other = user(u32::MAX, u32::MAX, &[]);
        for (mode, permitted) in
            [(0o700, [true, false, false]), (0o070, [false, true, false]), (0o707, [true, false, true])]
        {
            set(mode);
            for (user, is_permitted) in [&owner, &member, &other].into_iter().zip(permitted) {
                let denied = find_unsearchable(&inner, user);
                // Its owner does not see what it cannot search.
                let expected = (!is_permitted && inner.exists()).then(|| path.display().to_string());
                assert_eq!(denied, expected, "{mode:o} {user:?}");
                assert_eq!(may(&path, user, WRITE), is_permitted, "{mode:o} {user:?}");
            }
        }
        set(0o755);
        assert!(!may_write(&inner, &other) && find_unsearchable(&inner, &other).is_none());
        set(0o700);
    }
}
