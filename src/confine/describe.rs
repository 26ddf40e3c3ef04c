//! What a confinement means, in plain words.

use std::path::PathBuf;

use super::Confinement;

impl Confinement {
    /// What the processes of the service can reach: one line, without the name of the service. `programs` is what they start.
    pub(crate) fn describe(&self, programs: &str) -> String {
        let user = self.user.as_ref().map_or(String::new(), |user| format!("as user {}, ", user.name));
        if !self.is_on {
            return format!(
                "{user}not confined (confine = false): its processes reach all files, processes and addresses that their \
                 user may, those of other services included"
            );
        }
        let mut parts =
            if self.starts_programs { self.describe_programs() } else { self.describe_children() };
        parts.push(self.describe_network().into());
        if !self.seccomp {
            parts.push("use all system calls (seccomp = false)".into());
        }
        if self.core {
            parts.push("leave core files".into());
        }
        let actor = if self.starts_programs { programs } else { "children" };
        format!("{user}{actor} {}", parts.join(", "))
    }

    fn describe_children(&self) -> Vec<String> {
        let read = join(self.roots.iter().chain(&self.pages));
        let read = if read.is_empty() { "no file".into() } else { read };
        let mut parts = match self.landlock {
            true => vec![format!("read {read}"), "write nothing".into()],
            false => vec![WITHOUT_LANDLOCK.into()],
        };
        if self.landlock || self.seccomp {
            parts.push("start no program".into());
        }
        parts
    }

    fn describe_programs(&self) -> Vec<String> {
        if !self.landlock {
            return vec![WITHOUT_LANDLOCK.into()];
        }
        let read = match &self.read {
            None => "all files that their user may".into(),
            Some(paths) => {
                format!("{} and system directories", join(paths.iter().chain(&self.roots).chain(&self.pages)))
            }
        };
        let temporary = [PathBuf::from("/tmp"), PathBuf::from("/var/tmp")];
        let run = join(self.execute.iter().chain(&self.roots));
        let run = if run.is_empty() { run } else { format!("{run} and ") };
        vec![
            format!("read {read}"),
            format!("write {}", join(temporary.iter().chain(&self.writable))),
            format!("run {run}what system directories have"),
        ]
    }

    /// Landlock knows TCP alone; the filter of system calls permits no sockets but those of Unix.
    fn describe_network(&self) -> &'static str {
        match (self.starts_programs && self.network, self.landlock, self.seccomp) {
            (true, ..) | (false, false, false) => "reach the network",
            (false, _, true) => "reach no network",
            (false, true, false) => "reach no TCP port; UDP and other sockets are not confined",
        }
    }
}

/// What a service reaches without a domain.
const WITHOUT_LANDLOCK: &str = "reach all files and processes that their user may (landlock = false)";

fn join<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> String {
    let mut names: Vec<_> = paths.into_iter().map(|path| path.display().to_string()).collect();
    names.dedup();
    names.join(" ")
}
