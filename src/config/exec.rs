//! The keys of a service with `protocol = "exec"`, and the check of programs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::findings::Place;
use super::hidden::describe_hidden;
use super::lists::NonEmptyList;
use super::quantity::Time;
use super::scalar::{FilePath, Text};
use super::table::keys;
use super::variables::Variables;
use crate::service::Program;

keys! {
    /// The further keys of a service with the protocol exec.
    ExecKeys {
        refusal: Option<Text> = None,
        idle_timeout: Option<Time> = None,
        command: Option<NonEmptyList<Text>> = None,
        argv0: Option<Text> = None,
        directory: FilePath = FilePath("/".into()),
        environment: Variables = Variables::default(),
    }
}

impl ExecKeys {
    pub(super) fn build(self, place: &Place<'_>) -> Option<Program> {
        let command = place.key("command").check(build_command(self.command));
        let argv0 = place.key("argv0").check(check_argv0(self.argv0));
        let directory = place.key("directory").check(check_directory(self.directory.0));
        let environment = self.environment.build(&place.key("environment"));
        let (program, arguments) = command?;
        Some(Program { program, arguments, argv0: argv0?, directory: directory?, environment: environment? })
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

/// Checks the name that a program gets instead of its path.
pub(super) fn check_argv0(argv0: Option<Text>) -> Result<Option<OsString>, String> {
    match argv0 {
        Some(Text(name)) if name.is_empty() || name.contains('\0') => Err(format!(
            "expected the name that the program sees as its own, such as \"in.fingerd\", found {name:?}"
        )),
        argv0 => Ok(argv0.map(|Text(name)| name.into())),
    }
}

pub(super) fn check_directory(path: PathBuf) -> Result<PathBuf, String> {
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Ok(path),
        Ok(_) => Err(format!("expected a directory, found {}", path.display())),
        Err(error) => {
            let hidden = describe_hidden(&path);
            Err(format!("expected a directory, found {}: {error}{hidden}", path.display()))
        }
    }
}

/// Checks that there is a program and that this user may execute it.
pub(super) fn check_program(path: &Path) -> Result<PathBuf, String> {
    let shown = path.display();
    if !path.is_absolute() {
        return Err(format!("expected the absolute path of a program, found {shown:?}"));
    }
    match std::fs::metadata(path) {
        Err(error) => {
            return Err(format!("expected a program, found {shown}: {error}{}", describe_hidden(path)));
        }
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
