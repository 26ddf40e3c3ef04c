//! Which program the domain of a service does not let run, for messages: the kernel gives EACCES alone.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::Confinement;
use super::domain::SYSTEM;
use crate::interpreter;

/// A file that programs must not execute, although its mode permits that.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotExecutable {
    Program(PathBuf),
    /// The interpreter that the program names in its first line.
    Interpreter(PathBuf),
}

impl NotExecutable {
    /// One clause, which names the key. `service`: the name of the service.
    pub(crate) fn describe(&self, service: &str) -> String {
        let (whose, path) = match self {
            Self::Program(path) => ("", path),
            Self::Interpreter(path) => ("its interpreter ", path),
        };
        format!(
            "{whose}{} is outside the system directories, the roots and service.{service}.confine.execute",
            path.display()
        )
    }
}

impl Confinement {
    /// What keeps a program from being run in the domain: itself, or its interpreter. `None`: another reason.
    pub(crate) fn find_not_executable(&self, program: &Path) -> Option<NotExecutable> {
        if !(self.is_on && self.landlock && self.starts_programs) {
            return None;
        }
        if self.denies_execution(program) {
            return Some(NotExecutable::Program(program.into()));
        }
        let interpreter = interpreter::find(program)?;
        self.denies_execution(&interpreter).then_some(NotExecutable::Interpreter(interpreter))
    }

    /// Whether the domain denies to execute what the mode of the file permits to execute.
    fn denies_execution(&self, file: &Path) -> bool {
        let Ok(file) = fs::canonicalize(file) else { return false };
        let permitted =
            SYSTEM.iter().map(Path::new).chain(self.execute.iter().chain(&self.roots).map(PathBuf::as_path));
        let is_permitted =
            permitted.filter_map(|path| fs::canonicalize(path).ok()).any(|path| file.starts_with(path));
        !is_permitted && access(&file, AccessFlags::X_OK).is_ok()
    }
}
