//! Notices that the path of a root leads elsewhere: a deployment has switched a symbolic link, or replaced a directory.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::root::Root;

/// The time between two looks at the paths. A look is two system calls for each root.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks at the roots of a service when it has connections to serve.
#[derive(Debug, Default)]
pub(crate) struct RootWatch {
    checked: Option<Instant>,
    /// Paths that lead nowhere, of which one warning was written.
    missing: Vec<PathBuf>,
}

impl RootWatch {
    /// The roots whose paths lead to other directories than the open ones. Looks at most once a second.
    ///
    /// A path that leads nowhere is no such root: what is open is served, and `warn` gets a sentence that names it.
    pub(crate) fn find_moved<'r>(
        &mut self,
        roots: impl Iterator<Item = &'r Root>,
        now: Instant,
        mut warn: impl FnMut(String),
    ) -> Vec<&'r Root> {
        if self.checked.is_some_and(|checked| now.saturating_duration_since(checked) < INTERVAL) {
            return Vec::new(); // takes no memory
        }
        self.checked = Some(now);
        roots.filter(|root| self.has_moved(root, &mut warn)).collect()
    }

    fn has_moved(&mut self, root: &Root, warn: &mut impl FnMut(String)) -> bool {
        let path = root.path();
        match root.has_moved() {
            Ok(has_moved) => {
                self.missing.retain(|missing| missing != path);
                has_moved
            }
            // The user of the service need not find the directory that the daemon has opened.
            Err(Errno::EACCES) => false,
            Err(errno) => {
                if !self.missing.iter().any(|missing| missing == path) {
                    self.missing.push(path.to_owned());
                    let (path, error) = (path.display(), errno.desc());
                    warn(format!("root {path}: {error}; the directory that is open is still served"));
                }
                false
            }
        }
    }
}
