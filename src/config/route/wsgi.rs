//! The keys of `handler = "wsgi"`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::exec::{check_directory, check_program};
use crate::config::findings::Place;
use crate::config::keywords::keywords;
use crate::config::lists::List;
use crate::config::quantity::{Size, TIB, Time};
use crate::config::scalar::{FilePath, ProgramPath, Text};
use crate::config::table::keys;
use crate::config::variables::Variables;
use crate::handler::wsgi::{Python, WarmUp, Wsgi};

/// The interpreter of the system.
const SYSTEM_PYTHON: &str = "/usr/bin/python3";
/// The extension, beside the daemon as a build has it.
const EXTENSION: &str = "_lsbaws.abi3.so";
/// Where packages install it, from the parent of the daemon's folder: in /usr, or in a virtual environment.
const INSTALLED: &str = "lib/lsbaws";

keys! {
    /// The further keys of a route with the handler `wsgi`.
    WsgiKeys {
        application: Option<Text> = None,
        python: Option<ProgramPath> = None,
        virtualenv: Option<FilePath> = None,
        python_path: List<FilePath> = List(Vec::new()),
        directory: Option<FilePath> = None,
        environment: Variables = Variables::default(),
        max_body_size: Option<Size<1, TIB>> = None,
        reload: ReloadOn = ReloadOn::Signal,
        on_fork: Option<Text> = None,
        start_timeout: Time = Time(Duration::from_secs(30)),
        warm_up: List<Text> = List(Vec::new()),
    }
}

/// What lets applications be loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReloadOn {
    /// SIGHUP.
    Signal,
    /// A change of their files, too.
    Watch,
}

keywords!(ReloadOn { Signal = "signal", Watch = "watch" });

impl WsgiKeys {
    /// `route_path`: that of the route, if it is valid.
    pub(super) fn build(self, place: &Place<'_>, route_path: Option<&str>) -> Option<Wsgi> {
        let List(targets) = self.warm_up;
        let warm_up = targets.iter().enumerate().map(|(index, Text(target))| {
            place.key("warm_up").element(index).check(WarmUp::new(target, route_path?))
        });
        let warm_up = warm_up.collect::<Vec<_>>().into_iter().collect::<Option<_>>();
        let application = place.key("application").check(check_application(self.application));
        let on_fork = self.on_fork.map(|Text(name)| check_callable(&name)).transpose();
        let on_fork = place.key("on_fork").check(on_fork);
        let environment = self.environment.build(&place.key("environment"));
        let program = match (self.python, self.virtualenv) {
            (Some(_), Some(_)) => {
                place.key("virtualenv").reject("expected either python or virtualenv, found both");
                None
            }
            (Some(ProgramPath(FilePath(path))), None) => place.key("python").check(check_program(&path)),
            (None, Some(FilePath(path))) => place.key("virtualenv").check(find_python(&path)),
            (None, None) => place.key("python").check(check_program(Path::new(SYSTEM_PYTHON))),
        };
        let folder = |path: PathBuf| check_directory(path);
        let directory = self.directory.map(|FilePath(path)| folder(path)).transpose();
        let directory = place.key("directory").check(directory);
        let List(python_path) = self.python_path;
        let search: Vec<_> = python_path
            .into_iter()
            .enumerate()
            .map(|(index, FilePath(path))| place.key("python_path").element(index).check(folder(path)))
            .collect();
        let extension = place.key("handler").check(find_extension());
        let search = search.into_iter().collect::<Option<Vec<_>>>();
        let directory = directory?;
        if self.reload == ReloadOn::Watch && directory.is_none() && search.as_ref().is_some_and(Vec::is_empty)
        {
            place.key("reload").reject("\"watch\" needs a directory to watch: set directory or python_path");
        }
        let python = Python {
            program: program?,
            extension: extension?,
            search: directory.iter().cloned().chain(search?).collect(),
            directory: directory.unwrap_or_else(|| "/".into()),
            environment: environment?,
            on_fork: on_fork?,
            watches: self.reload == ReloadOn::Watch,
            start_timeout: self.start_timeout.0,
        };
        let max_body_size = self.max_body_size.map(Size::get);
        Some(Wsgi { application: application?, max_body_size, warm_up: warm_up?, python })
    }
}

/// `MODULE:CALLABLE`, or `MODULE:FACTORY()`.
fn check_application(application: Option<Text>) -> Result<String, String> {
    let Some(Text(application)) = application else {
        return Err("expected a module and a callable, such as \"hello:app\", found nothing".into());
    };
    let called = application.strip_suffix("()").unwrap_or(&application);
    if is_callable(called) {
        return Ok(application);
    }
    let examples = "\"hello:app\" or \"shop:create_app()\"";
    Err(format!("expected a module and a callable, such as {examples}, found {application:?}"))
}

/// `MODULE:CALLABLE`.
fn check_callable(name: &str) -> Result<String, String> {
    match is_callable(name) {
        true => Ok(name.to_owned()),
        false => {
            Err(format!("expected a module and a callable, such as \"hello:reconnect\", found {name:?}"))
        }
    }
}

fn is_callable(name: &str) -> bool {
    let is_path = |text: &str| text.split('.').all(is_identifier);
    name.split_once(':').is_some_and(|(module, callable)| is_path(module) && is_path(callable))
}

/// By its characters: Python knows more letters, and reports what it does not find.
fn is_identifier(word: &str) -> bool {
    word.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !word.is_empty()
        && !word.starts_with(char::is_numeric)
}

/// The interpreter of a virtual environment.
fn find_python(virtualenv: &Path) -> Result<PathBuf, String> {
    check_program(&virtualenv.join("bin/python"))
        .map_err(|problem| format!("expected a virtual environment, as python3 -m venv makes it: {problem}"))
}

fn find_extension() -> Result<PathBuf, String> {
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.with_file_name(EXTENSION);
    let prefix = own.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    let installed = prefix.join(INSTALLED).join(EXTENSION);
    [&beside, &installed].into_iter().find(|path| path.exists()).cloned().ok_or_else(|| {
        let (beside, installed) = (beside.display(), installed.display());
        format!("the handler wsgi needs the package lsbaws-wsgi (or packaging/build-wsgi): neither {beside} nor {installed} exists")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_are_a_module_and_a_callable() {
        for valid in ["hello:app", "a.b_c:d.e", "shop:create_app()", "größe:app"] {
            assert_eq!(check_application(Some(Text(valid.into()))).as_deref(), Ok(valid));
        }
        for invalid in
            ["", "hello", "hello:", ":app", "a..b:app", "a/b:app", "hello:app(1)", "hello:app:x", "1:a"]
        {
            assert!(check_application(Some(Text(invalid.into()))).is_err(), "{invalid:?}");
        }
    }
}
