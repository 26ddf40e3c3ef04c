//! What the sandbox of lsbaws.service denies to a configuration, and the drop-in that permits it.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::hidden::{HOMES, TEMPORARY};
use super::key::KeyPath;
use super::rlimits::own_nice;
use super::unit::{UNIT, UnitFile};
use crate::sys;

/// Programs that execute machine code which they write to memory at run time.
const COMPILERS: [&str; 11] =
    ["bun", "deno", "dotnet", "java", "julia", "luajit", "mono", "node", "nodejs", "pypy", "pypy3"];

/// Tables with names that the administrator chooses, and with nothing that a sandbox could deny.
const FREE_TABLES: [&str; 3] = ["headers", "types", "error_pages"];

/// What the daemon can do where it runs.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// What sentences are about.
    subject: &'static str,
    has_network: bool,
    /// Whether setpriority(2) is permitted.
    can_set_priority: bool,
    can_switch_users: bool,
    can_write_code: bool,
    homes: Homes,
    has_private_tmp: bool,
    /// Where the daemon can write; everywhere if not set.
    writable: Option<Vec<PathBuf>>,
    /// The names of its credentials, if they are known.
    credentials: Option<Vec<String>>,
}

/// What can be done with files in home directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Homes {
    Hidden,
    ReadOnly,
    Writable,
}

impl Sandbox {
    /// That of this process. What a check of the configuration finds out by itself is not part of it.
    pub(crate) fn observe() -> Self {
        Self {
            subject: "the daemon",
            has_network: UdpSocket::bind("127.0.0.1:0").is_ok(),
            can_set_priority: own_nice().is_none_or(|nice| sys::set_priority(nice).is_ok()),
            can_switch_users: true,
            can_write_code: true,
            homes: Homes::Writable,
            has_private_tmp: false,
            writable: None,
            credentials: None,
        }
    }

    /// That of lsbaws.service, if it is installed below this root directory.
    pub(crate) fn of_unit(root: &Path) -> Option<Self> {
        let unit = UnitFile::read(root)?;
        let capabilities = unit.words("AmbientCapabilities");
        let users = ["", "root", "0"];
        let homes = match unit.get("ProtectHome") {
            "read-only" => Homes::ReadOnly,
            "tmpfs" => Homes::Hidden,
            _ if unit.is_on("ProtectHome") => Homes::Hidden,
            _ => Homes::Writable,
        };
        let names = ["LoadCredential", "LoadCredentialEncrypted", "SetCredential", "SetCredentialEncrypted"];
        let credentials = names.iter().flat_map(|name| unit.list(name));
        let credentials = credentials.map(|value| value.split(':').next().unwrap_or_default().to_owned());
        Some(Self {
            subject: UNIT,
            has_network: !unit.is_on("PrivateNetwork"),
            can_set_priority: find_call(&unit, &["setpriority", "@resources"]),
            can_switch_users: users.contains(&unit.get("User"))
                || ["CAP_SETUID", "CAP_SETGID"].iter().all(|name| capabilities.contains(name)),
            can_write_code: !unit.is_on("MemoryDenyWriteExecute"),
            homes,
            has_private_tmp: unit.is_on("PrivateTmp"),
            writable: (unit.get("ProtectSystem") == "strict").then(|| list_writable(&unit)),
            credentials: Some(credentials.collect()),
        })
    }
}

/// Whether the last `SystemCallFilter=` with one of these words permits it.
fn find_call(unit: &UnitFile, words: &[&str]) -> bool {
    let lines = unit.list("SystemCallFilter");
    let has =
        |line: &&&str| line.trim_start_matches('~').split_whitespace().any(|word| words.contains(&word));
    lines.iter().rfind(has).is_none_or(|line| !line.starts_with('~'))
}

/// Where `ProtectSystem=strict` permits writing.
fn list_writable(unit: &UnitFile) -> Vec<PathBuf> {
    let own = unit.words("ReadWritePaths").into_iter().map(|path| path.trim_start_matches(['-', '+']).into());
    let folders =
        [("StateDirectory", "/var/lib"), ("CacheDirectory", "/var/cache"), ("LogsDirectory", "/var/log")];
    let folders = folders.into_iter().chain([("RuntimeDirectory", "/run")]);
    let below = folders.flat_map(|(name, base)| {
        let names = unit.words(name).into_iter();
        names.map(move |folder| Path::new(base).join(folder.split(':').next().unwrap_or_default()))
    });
    own.chain(below).chain(["/tmp".into(), "/var/tmp".into(), "/dev".into()]).collect()
}

/// What the configuration asks for and the sandbox denies: a sentence for each. `values`: every key in effect.
pub(super) fn find_denied(values: &Table, sandbox: &Sandbox) -> Vec<String> {
    let mut walk = Walk { sandbox, sentences: Vec::new() };
    if let Some(services) = values.get("service").and_then(Value::as_table) {
        walk.visit_table(&KeyPath::default().name("service"), services);
    }
    let access = values.get("log").and_then(|log| log.get("access")?.get("target")?.as_str());
    if let Some(path) = access.filter(|target| target.starts_with('/')) {
        let key = KeyPath::default().name("log").name("access").name("target");
        walk.visit_writable(&key, Path::new(path));
    }
    walk.sentences
}

struct Walk<'s> {
    sandbox: &'s Sandbox,
    sentences: Vec<String>,
}

impl Walk<'_> {
    fn visit_table(&mut self, key: &KeyPath, table: &Table) {
        for (name, value) in table {
            let key = key.name(name);
            match value {
                Value::Table(inner) if name == "environment" => self.visit_environment(&key, inner),
                Value::Table(_) if FREE_TABLES.contains(&name.as_str()) => {}
                Value::Table(inner) => self.visit_table(&key, inner),
                Value::Array(values) if values.iter().any(Value::is_table) => {
                    for (index, inner) in values.iter().enumerate() {
                        inner
                            .as_table()
                            .into_iter()
                            .for_each(|inner| self.visit_table(&key.element(index), inner));
                    }
                }
                value => self.visit_key(&key, name, value),
            }
        }
    }

    /// Names are those of variables here, not keys.
    fn visit_environment(&mut self, key: &KeyPath, variables: &Table) {
        for (name, source) in variables {
            let (key, source) = (key.name(name), |name: &str| source.get(name).and_then(Value::as_str));
            if let Some(path) = source("file") {
                self.visit_path(&key, Path::new(path));
            }
            if let (Some(name), Some(known)) = (source("credential"), &self.sandbox.credentials)
                && !known.iter().any(|other| other == name)
            {
                self.deny(
                    &key,
                    &format!("has no credential {name:?}: set LoadCredential={name}:PATH in a drop-in"),
                );
            }
        }
    }

    fn visit_key(&mut self, key: &KeyPath, name: &str, value: &Value) {
        let paths = match value {
            Value::Array(values) => values.iter().filter_map(Value::as_str).map(Path::new).collect(),
            value => value.as_str().map(Path::new).into_iter().collect::<Vec<_>>(),
        };
        let sandbox = self.sandbox;
        match name {
            "root" | "document_root" | "directory" | "virtualenv" | "python_path" | "read" | "execute" => {
                paths.iter().for_each(|path| self.visit_path(key, path));
            }
            "program" | "interpreter" | "python" => {
                paths.iter().for_each(|path| self.visit_program(key, path));
            }
            "command" => paths.iter().take(1).for_each(|path| self.visit_program(key, path)),
            "writable" | "spool_directory" => paths.iter().for_each(|path| self.visit_writable(key, path)),
            "network" if value.as_bool() == Some(true) && !sandbox.has_network => {
                self.deny(key, "has no network (PrivateNetwork=): enable network.conf");
            }
            "user" | "group" if !sandbox.can_switch_users => {
                self.deny(key, "cannot switch users: enable users.conf");
            }
            "nice" if !sandbox.can_set_priority => {
                self.deny(key, "denies setpriority(2) (SystemCallFilter=): enable programs.conf");
            }
            _ => {}
        }
    }

    fn visit_path(&mut self, key: &KeyPath, path: &Path) {
        if let Some(folder) = HOMES.iter().find(|folder| path.starts_with(folder))
            && self.sandbox.homes == Homes::Hidden
        {
            self.deny(key, &format!("hides {folder} (ProtectHome=): enable home.conf"));
        }
        if let Some(folder) = TEMPORARY.iter().find(|folder| path.starts_with(folder))
            && self.sandbox.has_private_tmp
        {
            self.deny(key, &format!("has a {folder} of its own (PrivateTmp=): use another directory"));
        }
    }

    fn visit_program(&mut self, key: &KeyPath, path: &Path) {
        self.visit_path(key, path);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if COMPILERS.contains(&name) && !self.sandbox.can_write_code {
            self.deny(
                key,
                &format!("denies {name} its machine code (MemoryDenyWriteExecute=): enable programs.conf"),
            );
        }
    }

    fn visit_writable(&mut self, key: &KeyPath, path: &Path) {
        let is_below = |folder: &PathBuf| path.starts_with(folder);
        if self.sandbox.writable.as_ref().is_some_and(|writable| !writable.iter().any(is_below)) {
            let path = path.display();
            self.deny(
                key,
                &format!("cannot write to {path} (ProtectSystem=): set ReadWritePaths={path} in a drop-in"),
            );
        }
    }

    fn deny(&mut self, key: &KeyPath, problem: &str) {
        let subject = self.sandbox.subject;
        self.sentences
            .push(format!("{key}: {subject} {problem}; see \"Programs in the sandbox\" in lsbaws(8)"));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The shipped unit, with these drop-ins of the package and this one.
    fn sandbox(shipped: &[&str], own: &str) -> Sandbox {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("etc/systemd/system/lsbaws.service.d");
        fs::create_dir_all(&folder).unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
        fs::copy(sources.join(UNIT), root.path().join("etc/systemd/system").join(UNIT)).unwrap();
        for name in shipped {
            fs::copy(sources.join("drop-ins").join(name), folder.join(name)).unwrap();
        }
        fs::write(folder.join("own.conf"), own).unwrap();
        Sandbox::of_unit(root.path()).unwrap()
    }

    fn denied(values: &str, sandbox: &Sandbox) -> Vec<String> {
        find_denied(&toml::from_str(values).unwrap(), sandbox)
    }

    #[test]
    fn each_drop_in_permits_what_it_is_named_for() {
        let all = ["home.conf", "network.conf", "programs.conf", "users.conf"];
        for (text, problem, drop_in) in [
            ("nice = 5", "nice: lsbaws.service denies setpriority(2)", "programs.conf"),
            ("command = ['/usr/bin/node']", "command: lsbaws.service denies node its", "programs.conf"),
            ("user = 'git'", "user: lsbaws.service cannot switch users", "users.conf"),
            ("group = 'git'", "group: lsbaws.service cannot switch users", "users.conf"),
            ("confine.network = true", "confine.network: lsbaws.service has no network", "network.conf"),
            ("route = [{ root = '/home/a' }]", "route[0].root: lsbaws.service hides /home", "home.conf"),
            ("route = [{ root = '/root' }]", "route[0].root: lsbaws.service hides /root", "home.conf"),
            (
                "route = [{ virtualenv = '/home/a/venv' }]",
                "route[0].virtualenv: lsbaws.service hides /home",
                "home.conf",
            ),
            (
                "route = [{ python = '/home/a/python' }]",
                "route[0].python: lsbaws.service hides /home",
                "home.conf",
            ),
            ("directory = '/run/user/1'", "directory: lsbaws.service hides /run/user", "home.conf"),
            ("environment.A.file = '/home/a'", "environment.A: lsbaws.service hides /home", "home.conf"),
        ] {
            let text = format!("[service.web]\n{text}\n");
            let [sentence] = &denied(&text, &sandbox(&[], ""))[..] else { panic!("{text}") };
            assert!(sentence.starts_with(&format!("service.web.{problem}")), "{sentence}");
            assert!(sentence.contains(&format!(": enable {drop_in}; see")), "{sentence}");
            assert_eq!(denied(&text, &sandbox(&[drop_in], "")), [""; 0], "{text}");
            let others: Vec<_> = all.into_iter().filter(|other| *other != drop_in).collect();
            assert_eq!(denied(&text, &sandbox(&others, "")).len(), 1, "{text}");
        }
    }

    #[test]
    fn what_a_host_decides_needs_a_drop_in_of_its_own() {
        for (text, problem, own) in [
            (
                "confine.writable = ['/srv/git']",
                "confine.writable: lsbaws.service cannot write to /srv/git (ProtectSystem=): set ReadWritePaths=/srv/git in",
                "ReadWritePaths=-/srv",
            ),
            (
                "[log.access]\ntarget = '/srv/access.log'",
                "log.access.target: lsbaws.service cannot write to /srv/access.log (ProtectSystem=): set ReadWritePaths=/srv/access.log in",
                "LogsDirectory=lsbaws\nReadWritePaths=/srv",
            ),
            (
                "environment.A.credential = 'db'",
                "environment.A: lsbaws.service has no credential \"db\": set LoadCredential=db:PATH in",
                "LoadCredential=db:/etc/lsbaws/db",
            ),
            (
                "route = [{ program = '/tmp/x' }]",
                "route[0].program: lsbaws.service has a /tmp of its own (PrivateTmp=)",
                "PrivateTmp=no",
            ),
        ] {
            let text = format!("[service.web]\n{text}\n");
            let [sentence] = &denied(&text, &sandbox(&[], ""))[..] else { panic!("{text}") };
            assert!(sentence.trim_start_matches("service.web.").starts_with(problem), "{sentence}");
            assert_eq!(denied(&text, &sandbox(&[], &format!("[Service]\n{own}\n"))), [""; 0], "{text}");
        }
    }

    #[test]
    fn harmless_values_are_not_reported() {
        let text = "[service.web]\nconfine.network = false\nconfine.writable = ['/tmp/x', '/var/tmp']\n\
            command = ['/usr/bin/env', '/home/a']\nenvironment = { user = 'x', A = '/home/a' }\n\
            route = [{ types = { user = 'x/y' }, root = '/srv' }, { body = '/home/a' }]\n\
            [limits]\nuser = 1\n[log.access]\ntarget = '/var/log/lsbaws/access.log'\n";
        assert_eq!(denied(text, &sandbox(&[], "")), [""; 0]);
    }
}
