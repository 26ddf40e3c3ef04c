//! Notices what a service was built of and that has changed: the path of a root leads elsewhere, since a deployment has
//! switched a symbolic link or replaced a directory; or a file of users was written.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::root::Root;
use super::users::{FileStamp, UserFile};

/// The time between two looks at the paths. A look is two system calls for each root, and one for each file of users.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks at the paths of a service when it has connections to serve.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    checked: Option<Instant>,
    /// Paths that lead nowhere, of which one warning was written.
    missing: Vec<PathBuf>,
    /// Changes of files of users that were found already. What is in such a file may be wrong.
    found: Vec<(PathBuf, FileStamp)>,
}

impl Watch {
    /// Whether the path of a root leads to another directory than the open one, or a file of users has changed. Looks at most
    /// once a second.
    ///
    /// A path that leads nowhere is no change: what is open, or was read, stays in use, and `warn` gets a sentence that names
    /// it. The same holds for a file of users that the user of the service may not look at: the supervisor may, but it must not
    /// wait for a file system.
    pub(crate) fn finds_change<'s>(
        &mut self,
        roots: impl Iterator<Item = &'s Root>,
        users: impl Iterator<Item = &'s UserFile>,
        now: Instant,
        mut warn: impl FnMut(String),
    ) -> bool {
        if self.checked.is_some_and(|checked| now.saturating_duration_since(checked) < INTERVAL) {
            return false; // takes no memory
        }
        self.checked = Some(now);
        let mut is_changed = false;
        for root in roots {
            let path = root.path();
            let describe = |error: &str| {
                describe_missing("root", path, error, "the directory that is open is still served")
            };
            // The user of the service need not find what the daemon has opened.
            let has_moved = match root.has_moved() {
                Err(Errno::EACCES) => continue,
                result => result,
            };
            is_changed |= self.look(path, has_moved, describe, &mut warn).unwrap_or(false);
        }
        for users in users {
            let path = users.path();
            let change = users.find_change();
            let consequence = match change {
                Err(Errno::EACCES) => "a change takes effect at a reload",
                _ => "those that were read are still accepted",
            };
            let describe = |error: &str| describe_missing("users", path, error, consequence);
            let change = self.look(path, change, describe, &mut warn).flatten();
            if let Some(change) = change.filter(|change| !self.has_found(path, *change)) {
                self.found.retain(|(own, _)| own != path);
                self.found.push((path.to_owned(), change));
                is_changed = true;
            }
        }
        is_changed
    }

    fn has_found(&self, path: &Path, change: FileStamp) -> bool {
        self.found.iter().any(|found| *found == (path.to_owned(), change))
    }

    /// What a look has found, if the path leads somewhere.
    fn look<T>(
        &mut self,
        path: &Path,
        result: Result<T, Errno>,
        describe: impl FnOnce(&str) -> String,
        warn: &mut impl FnMut(String),
    ) -> Option<T> {
        match result {
            Ok(found) => {
                self.missing.retain(|missing| missing != path);
                return Some(found);
            }
            Err(errno) => {
                if !self.missing.iter().any(|missing| missing == path) {
                    self.missing.push(path.to_owned());
                    warn(describe(errno.desc()));
                }
            }
        }
        None
    }
}

fn describe_missing(what: &str, path: &Path, error: &str, consequence: &str) -> String {
    format!("{what} {}: {error}; {consequence}", path.display())
}
