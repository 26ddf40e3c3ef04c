//! Notices that the path of a root leads elsewhere: a deployment has switched a symbolic link, or replaced a directory.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::root::Root;
use crate::journal;

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
    /// A path that leads nowhere is no such root: what is open is served, and a warning names it.
    pub(crate) fn find_moved<'r>(
        &mut self,
        service: &str,
        roots: impl Iterator<Item = &'r Root>,
        now: Instant,
    ) -> Vec<&'r Root> {
        if self.checked.is_some_and(|checked| now.saturating_duration_since(checked) < INTERVAL) {
            return Vec::new(); // takes no memory
        }
        self.checked = Some(now);
        roots.filter(|root| self.has_moved(service, root)).collect()
    }

    fn has_moved(&mut self, service: &str, root: &Root) -> bool {
        let path = root.path();
        let error = match root.has_moved() {
            Ok(has_moved) => {
                self.missing.retain(|missing| missing != path);
                return has_moved;
            }
            Err(errno) => errno.desc(),
        };
        if !self.missing.iter().any(|missing| missing == path) {
            self.missing.push(path.to_owned());
            journal::log_warning(&format!(
                "root {} of service {service}: {error}; serving the directory that is open, until the path leads to another",
                path.display()
            ));
        }
        false
    }
}
