//! The keys of a service with `protocol = "exec"`, and programs and their environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::findings::Place;
use super::lists::{NonEmptyList, TextMap};
use super::scalar::{FilePath, Text};
use super::table::keys;
use crate::service::Program;

keys! {
    /// The further keys of a service with the protocol exec.
    ExecKeys {
        refusal: Option<Text> = None,
        command: Option<NonEmptyList<Text>> = None,
        directory: FilePath = FilePath("/".into()),
        environment: TextMap = TextMap::default(),
    }
}

impl ExecKeys {
    pub(super) fn build(self, place: &Place<'_>) -> Option<Program> {
        let command = place.key("command").check(build_command(self.command));
        let directory = place.key("directory").check(check_directory(self.directory.0));
        let environment = build_environment(self.environment, &place.key("environment"));
        let (program, arguments) = command?;
        Some(Program { program, arguments, directory: directory?, environment: environment? })
    }
}

fn build_command(command: Option<NonEmptyList<Text>>) -> Result<(PathBuf, Vec<OsString>), String> {
    let Some(NonEmptyList(command)) = command else {
        return Err("expected a program and its arguments, such as [\"/usr/sbin/in.fingerd\", \"-l\"]".into());
    };
    let mut words = command.into_iter().map(|Text(word)| word);
    let program = words.next().unwrap_or_default();
    let arguments: Vec<_> = words.collect();
    if let Some(argument) = arguments.iter().find(|argument| argument.contains('\0')) {
        return Err(format!("expected arguments without NUL, found {argument:?}"));
    }
    let program = check_program(Path::new(&program)).map_err(|problem| {
        let is_line = arguments.is_empty() && program.contains(' ');
        let hint = "; write a program and its arguments as a list: [\"/usr/bin/rsync\", \"--daemon\"]";
        format!("{problem}{}", if is_line { hint } else { "" })
    })?;
    Ok((program, arguments.into_iter().map(OsString::from).collect()))
}

fn check_directory(path: PathBuf) -> Result<PathBuf, String> {
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Ok(path),
        Ok(_) => Err(format!("expected a directory, found {}", path.display())),
        Err(error) => Err(format!("expected a directory, found {}: {error}", path.display())),
    }
}

/// Checks variables for a program, in addition to those that describe the connection.
pub(super) fn build_environment(variables: TextMap, place: &Place<'_>) -> Option<Vec<(String, String)>> {
    variables.check_each(place, |name, value| {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err("expected a variable without = in its name and without NUL".into());
        }
        Ok((name, value))
    })
}

/// Checks that there is a program and that this user may execute it.
pub(super) fn check_program(path: &Path) -> Result<PathBuf, String> {
    let shown = path.display();
    if !path.is_absolute() {
        return Err(format!("expected the absolute path of a program, found {shown:?}"));
    }
    match std::fs::metadata(path) {
        Err(error) => return Err(format!("expected a program, found {shown}: {error}")),
        Ok(metadata) if !metadata.is_file() => {
            return Err(format!("expected a program, found {shown}, which is not a regular file"));
        }
        Ok(_) => {}
    }
    match access(path, AccessFlags::X_OK) {
        Ok(()) => Ok(path.into()),
        Err(errno) => Err(format!("expected an executable program, found {shown}: {}", errno.desc())),
    }
}
