//! The keys of `handler = "cgi"`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::compress::{CompressName, build_codings};
use super::files::open_root;
use crate::config::exec::{check_argv0, check_program};
use crate::config::findings::Place;
use crate::config::hidden::describe_hidden;
use crate::config::lists::List;
use crate::config::quantity::{Size, TIB, Time};
use crate::config::scalar::{FilePath, Flag, ProgramPath, Text};
use crate::config::table::keys;
use crate::config::variables::Variables;
use crate::handler::cgi::{Cgi, Programs};

/// For large temporary files (file-hierarchy(7)).
const DEFAULT_SPOOL: &str = "/var/tmp";

keys! {
    /// The further keys of a route with the handler `cgi`.
    CgiKeys {
        root: Option<FilePath> = None,
        program: Option<ProgramPath> = None,
        interpreter: Option<ProgramPath> = None,
        argv0: Option<Text> = None,
        document_root: Option<FilePath> = None,
        environment: Variables = Variables::default(),
        timeout: Time = Time(Duration::from_secs(60)),
        max_body_size: Option<Size<1, TIB>> = None,
        max_output_size: Option<Size<1, TIB>> = None,
        require_length: Flag = Flag(false),
        stream: Flag = Flag(false),
        spool_directory: FilePath = FilePath(DEFAULT_SPOOL.into()),
        allow_half_close: Flag = Flag(true),
        compress: List<CompressName> = List(Vec::new()),
    }
}

impl CgiKeys {
    /// `extension`: that of the route.
    pub(super) fn build(mut self, place: &Place<'_>, extension: Option<String>) -> Option<Cgi> {
        let environment = std::mem::take(&mut self.environment).build(&place.key("environment"));
        let argv0 = self.build_argv0(&place.key("argv0"));
        let programs = self.build_programs(place, extension);
        let spool_directory = self.build_spool_directory(place);
        Some(Cgi {
            programs: programs?,
            argv0: argv0?,
            environment: environment?,
            timeout: self.timeout.0,
            max_body_size: self.max_body_size.map(Size::get),
            max_output_size: self.max_output_size.map(Size::get),
            require_length: self.require_length.0,
            stream: self.stream.0,
            spool_directory: spool_directory?,
            allow_half_close: self.allow_half_close.0,
            compress: build_codings(self.compress),
        })
    }

    /// Files below a root have names of their own.
    fn build_argv0(&mut self, place: &Place<'_>) -> Option<Option<OsString>> {
        if self.argv0.is_some() && self.program.is_none() && self.interpreter.is_none() {
            place.reject("expected only with program or interpreter");
        }
        place.check(check_argv0(self.argv0.take()))
    }

    /// The default need not exist: most programs get no content that is stored there.
    fn build_spool_directory(&self, place: &Place<'_>) -> Option<PathBuf> {
        let FilePath(path) = self.spool_directory.clone();
        let result = match fs::metadata(&path) {
            _ if path == Path::new(DEFAULT_SPOOL) => Ok(path),
            Ok(metadata) if metadata.is_dir() => Ok(path),
            Ok(_) => Err(format!("expected a directory, found {}", path.display())),
            Err(error) => {
                let hidden = describe_hidden(&path);
                Err(format!("expected a directory, found {}: {error}{hidden}", path.display()))
            }
        };
        place.key("spool_directory").check(result)
    }

    fn build_programs(&mut self, place: &Place<'_>, extension: Option<String>) -> Option<Programs> {
        let (root_key, program_key) = (place.key("root"), place.key("program"));
        let document_root = self.document_root.take().map(|FilePath(path)| path);
        match (self.root.take(), self.program.take()) {
            (Some(root), None) => {
                if document_root.is_some() {
                    let problem = "expected only with program: root is the document root";
                    place.key("document_root").reject(problem);
                }
                let interpreter = self.interpreter.take();
                let interpreter =
                    interpreter.map(|ProgramPath(FilePath(path))| check_program(&path)).transpose();
                let interpreter = place.key("interpreter").check(interpreter);
                let root = root_key.check(open_root(Some(root), true));
                Some(Programs::Below { root: root?, interpreter: interpreter?, extension })
            }
            (None, Some(ProgramPath(FilePath(program)))) => {
                if self.interpreter.is_some() {
                    place.key("interpreter").reject("expected only with root");
                }
                let program = program_key.check(check_program(&program))?;
                Some(Programs::One { program, document_root })
            }
            (Some(_), Some(_)) => {
                program_key.reject("expected either root or program, found both");
                None
            }
            (None, None) => {
                if !program_key.is_rejected() {
                    root_key.reject(
                        "expected a directory of programs (root) or one program (program), found neither",
                    );
                }
                None
            }
        }
    }
}
