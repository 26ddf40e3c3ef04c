//! `[service.NAME.confine]`, or `confine = false`: what the processes of a service are confined to.

use std::path::{Path, PathBuf};
use std::{fs, io};

use config::ValueKind;

use super::findings::Place;
use super::hidden::describe_hidden;
use super::lists::List;
use super::scalar::{FilePath, Flag};
use super::shape::Shape;
use super::table::{KeyType, Keys, RawValue, keys};
use crate::confine::{Confinement, User};
use crate::handler::Handler;
use crate::handler::cgi::Programs;
use crate::handler::wsgi::{Python, Wsgi};
use crate::service::Protocol;

keys! {
    /// `[service.NAME.confine]`
    ConfineKeys {
        landlock: Flag = Flag(true),
        seccomp: Flag = Flag(true),
        network: Flag = Flag(false),
        read: Option<List<FilePath>> = None,
        writable: List<FilePath> = List(Vec::new()),
        execute: List<FilePath> = List(Vec::new()),
    }
}

/// The value of `confine`: a table, or whether its defaults are in force.
#[derive(Debug)]
pub(super) enum Confine {
    On(ConfineKeys),
    Off,
}

impl Default for Confine {
    fn default() -> Self {
        Self::On(ConfineKeys::default())
    }
}

impl KeyType for Confine {
    fn shape() -> Shape {
        Shape::Table(ConfineKeys::list_shapes())
    }

    fn read(raw: &RawValue<'_>) -> Option<Self> {
        match raw.value.kind {
            ValueKind::Boolean(true) => Some(Self::default()),
            ValueKind::Boolean(false) => Some(Self::Off),
            ValueKind::Table(_) => {
                raw.reject_unknown_keys(ConfineKeys::NAMES);
                Some(Self::On(ConfineKeys::read_keys(raw)))
            }
            _ => {
                raw.reject("false, or a table with the keys of [service.NAME.confine]");
                None
            }
        }
    }

    fn show(&self) -> Option<toml::Value> {
        Some(match self {
            Self::On(keys) => keys.show_keys().into(),
            Self::Off => false.into(),
        })
    }
}

impl Confine {
    /// `place`: the key `confine`. `core`: whether core files are wanted.
    pub(super) fn build(
        self,
        place: &Place<'_>,
        protocol: &Protocol,
        user: Option<User>,
        core: bool,
    ) -> Option<Confinement> {
        let needs = Needs::of(protocol);
        let starts_programs = needs.starts_programs;
        let Needs { roots, pages, spool, .. } = needs;
        let base = Confinement { starts_programs, roots, pages, spool, core, user, ..Confinement::default() };
        let keys = match self {
            Self::Off => return Some(base),
            Self::On(keys) => keys,
        };
        if !starts_programs {
            keys.reject_program_keys(place);
        }
        let check = |paths: List<FilePath>, name: &str| check_paths(paths, &place.key(name));
        let mut read = match keys.read {
            Some(paths) => Some(check(paths, "read")?),
            None => needs.is_known.then(Vec::new),
        };
        if let Some(read) = &mut read {
            read.extend(needs.read);
        }
        Some(Confinement {
            is_on: true,
            landlock: keys.landlock.0,
            seccomp: keys.seccomp.0,
            execute: [needs.execute, check(keys.execute, "execute")?].concat(),
            read,
            writable: check(keys.writable, "writable")?,
            network: keys.network.0,
            ..base
        })
    }
}

impl Confine {
    /// Checks the paths alone, of a service that cannot be built.
    pub(super) fn check(self, place: &Place<'_>) {
        if let Self::On(ConfineKeys { read, writable, execute, .. }) = self {
            let read = read.unwrap_or_else(|| List(Vec::new()));
            for (paths, name) in [(read, "read"), (writable, "writable"), (execute, "execute")] {
                check_paths(paths, &place.key(name));
            }
        }
    }
}

impl ConfineKeys {
    /// Reports the keys that mean nothing in a service without programs: its children read their roots alone.
    fn reject_program_keys(&self, place: &Place<'_>) {
        let keys = [
            ("network", self.network.0),
            ("read", self.read.is_some()),
            ("writable", !self.writable.0.is_empty()),
            ("execute", !self.execute.0.is_empty()),
        ];
        for (name, _) in keys.into_iter().filter(|(_, is_set)| *is_set) {
            let problem = "expected only in a service that starts programs (handler \"cgi\" or \"wsgi\", protocol \"exec\")";
            place.key(name).reject(problem);
        }
    }
}

/// What the protocol of a service needs.
#[derive(Default)]
struct Needs {
    starts_programs: bool,
    roots: Vec<PathBuf>,
    pages: Vec<PathBuf>,
    execute: Vec<PathBuf>,
    read: Vec<PathBuf>,
    spool: Vec<PathBuf>,
    /// Its programs need no other files: it has applications, whose files are known, and no programs.
    is_known: bool,
}

impl Needs {
    fn of(protocol: &Protocol) -> Self {
        let mut needs = Self::default();
        let site = match protocol {
            Protocol::Http(site) => site,
            Protocol::Exec(program) => {
                needs.starts_programs = true;
                needs.execute.push(program.program.clone());
                return needs;
            }
            Protocol::AgentCheck(_) => return needs,
        };
        let mut has_programs = false;
        needs.pages.extend(site.error_pages().roots().map(|root| root.path().to_path_buf()));
        for handler in site.routes().iter().map(|route| &route.handler) {
            needs.roots.extend(handler.root().map(|root| root.path().to_path_buf()));
            if let Handler::Wsgi(Wsgi { python, .. }) = handler {
                needs.add_interpreter(python);
            }
            let Handler::Cgi(cgi) = handler else { continue };
            has_programs = true;
            needs.spool.extend((!cgi.stream).then(|| cgi.spool_directory.clone()));
            match &cgi.programs {
                Programs::One { program, document_root } => {
                    needs.execute.push(program.clone());
                    needs.read.extend(document_root.clone());
                }
                Programs::Below { interpreter, .. } => needs.execute.extend(interpreter.clone()),
            }
        }
        needs.is_known = needs.starts_programs && !has_programs;
        needs.starts_programs |= has_programs;
        for paths in [&mut needs.execute, &mut needs.read, &mut needs.spool] {
            paths.sort();
            paths.dedup();
        }
        needs
    }
}

impl Needs {
    /// An interpreter runs from its installation, and that of its virtual environment.
    fn add_interpreter(&mut self, python: &Python) {
        self.starts_programs = true;
        // As it is written, for a virtual environment, and where its link leads to.
        let programs = [Some(python.program.clone()), fs::canonicalize(&python.program).ok()];
        for program in programs.into_iter().flatten() {
            let folder = program.parent().filter(|folder| folder.ends_with("bin")).and_then(Path::parent);
            self.execute.push(folder.filter(|folder| is_installation(folder)).unwrap_or(&program).into());
        }
        self.read.push(python.extension.clone());
        self.read.extend(python.search.iter().cloned());
        self.read.extend((python.directory != Path::new("/")).then(|| python.directory.clone()));
    }
}

/// Whether this folder has a Python of its own: a link to another one in a `bin` opens nothing beside it.
fn is_installation(folder: &Path) -> bool {
    let has_library = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().as_encoded_bytes().starts_with(b"python"))
    };
    folder != Path::new("/")
        && (folder.join("pyvenv.cfg").exists()
            || fs::read_dir(folder.join("lib")).is_ok_and(|mut entries| entries.any(has_library)))
}

/// The domain of a fork server has rules for files that exist.
fn check_paths(List(paths): List<FilePath>, place: &Place<'_>) -> Option<Vec<PathBuf>> {
    let check = |(index, FilePath(path)): (usize, FilePath)| {
        let result = match fs::metadata(&path) {
            Ok(_) => Ok(path),
            Err(error) => {
                let hidden = describe_hidden(&path);
                Err(format!("expected a file or directory, found {}: {error}{hidden}", path.display()))
            }
        };
        place.element(index).check(result)
    };
    // All of them, so that all errors are reported.
    let checked: Vec<_> = paths.into_iter().enumerate().map(check).collect();
    checked.into_iter().collect()
}
