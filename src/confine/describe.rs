//! What a confinement means, in plain words.

use std::path::PathBuf;

use super::Confinement;

impl Confinement {
    /// What the processes of the service can reach: one line, without the name of the service.
    pub(crate) fn describe(&self) -> String {
        let user = self.user.as_ref().map_or(String::new(), |user| format!("as user {}, ", user.uid));
        if !self.is_on {
            return format!(
                "{user}not confined (confine = false): its processes reach all files, processes and addresses that their \
                 user may, those of other services included"
            );
        }
        let mut parts =
            if self.starts_programs { self.describe_programs() } else { self.describe_children() };
        if !self.landlock {
            parts = vec!["reach all files and processes that their user may (landlock = false)".into()];
        }
        if !self.seccomp {
            parts.push("use all system calls (seccomp = false)".into());
        }
        if self.core {
            parts.push("leave core files".into());
        }
        let actor = if self.starts_programs { "programs" } else { "children" };
        format!("{user}{actor} {}", parts.join(", "))
    }

    fn describe_children(&self) -> Vec<String> {
        let read = if self.roots.is_empty() { "no file".into() } else { join(&self.roots) };
        vec![
            format!("read {read}"),
            "write nothing".into(),
            "start no program".into(),
            "reach no network".into(),
        ]
    }

    fn describe_programs(&self) -> Vec<String> {
        let read = match &self.read {
            None => "all files that their user may".into(),
            Some(paths) => format!("{} and system directories", join(paths.iter().chain(&self.roots))),
        };
        let temporary = [PathBuf::from("/tmp"), PathBuf::from("/var/tmp")];
        let run = join(self.execute.iter().chain(&self.roots));
        let run = if run.is_empty() { run } else { format!("{run} and ") };
        vec![
            format!("read {read}"),
            format!("write {}", join(temporary.iter().chain(&self.writable))),
            format!("run {run}what system directories have"),
            if self.network { "reach the network" } else { "reach no network" }.into(),
        ]
    }
}

fn join<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> String {
    let mut names: Vec<_> = paths.into_iter().map(|path| path.display().to_string()).collect();
    names.dedup();
    names.join(" ")
}
