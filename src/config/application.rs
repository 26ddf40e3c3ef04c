//! `lsbaws wsgi MODULE:CALLABLE`: what the command line says about one application, as layers of the configuration.

use std::env;
use std::path::{self, Path, PathBuf};

use toml::{Table, Value};

use super::document::{Layer, read_pair};
use super::folder::{push_addresses, push_owner};
use crate::escape::escape_for_journal;

/// Virtual environments that are found in the directory of an application.
const USUAL: [&str; 2] = [".venv", "venv"];
/// Variables of this process that an application does not get: those of lsbaws, and those that describe this process.
const NOT_PASSED: [&str; 6] =
    ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "LISTEN_PIDFDID", "NOTIFY_SOCKET", "WATCHDOG_USEC"];
const OWN: &str = "LSBAWS_";

/// An application to serve.
#[derive(Debug, Clone)]
pub(crate) struct Application {
    /// `MODULE:CALLABLE`
    pub(crate) name: String,
    /// Its modules are found there, and it may write there.
    pub(crate) directory: PathBuf,
    pub(crate) python: Option<PathBuf>,
    pub(crate) virtualenv: Option<PathBuf>,
    /// Ports and addresses.
    pub(crate) listen: Vec<String>,
    /// It is loaded again when its files change.
    pub(crate) watches: bool,
    /// It gets those of the terminal.
    pub(crate) environment: Vec<(String, String)>,
}

impl Application {
    pub(super) fn push_user(&self, is_root: bool, layers: &mut Vec<Layer>) {
        push_owner(&self.find_directory(), &self.name_layer(), is_root, layers);
    }

    /// The layers above the files and the environment: addresses, the route, and what an application needs in development.
    pub(super) fn push_keys(&self, layers: &mut Vec<Layer>) {
        push_addresses(&self.listen, layers);
        let directory = self.find_directory().display().to_string();
        let mut push = |key: &str, value: Value| {
            layers.push(read_pair(key, &value.to_string(), &self.name_layer(), layers.len()));
        };
        push("service.web.confine.network", true.into());
        push("service.web.confine.writable", vec![directory.clone()].into());
        let mut route = Table::new();
        let mut set = |key: &str, value: Value| route.insert(key.into(), value);
        set("handler", "wsgi".into());
        set("application", self.name.clone().into());
        set("directory", directory.into());
        if self.watches {
            set("reload", "watch".into());
        }
        let absolute =
            |path: &Path| path::absolute(path).unwrap_or_else(|_| path.into()).display().to_string();
        match (&self.python, self.find_virtualenv()) {
            (Some(python), _) => _ = set("python", absolute(python).into()),
            (None, Some(virtualenv)) => _ = set("virtualenv", absolute(&virtualenv).into()),
            (None, None) => {}
        }
        let is_passed =
            |(name, _): &&(String, String)| !name.starts_with(OWN) && !NOT_PASSED.contains(&name.as_str());
        let environment = self.environment.iter().filter(is_passed);
        let environment: Table =
            environment.map(|(name, value)| (name.clone(), value.clone().into())).collect();
        set("environment", environment.into());
        push("service.web.route", vec![Value::Table(route)].into());
    }

    /// What is served, for messages.
    pub(super) fn describe(&self) -> String {
        format!("{} in {}", self.name, self.find_directory().display())
    }

    fn find_directory(&self) -> PathBuf {
        path::absolute(&self.directory).unwrap_or_else(|_| self.directory.clone())
    }

    /// The one that was named, that is active, that is where most are, or that this program is installed in.
    fn find_virtualenv(&self) -> Option<PathBuf> {
        let active = self.environment.iter().find(|(name, _)| name == "VIRTUAL_ENV");
        let named = self.virtualenv.clone().or_else(|| active.map(|(_, path)| path.into()));
        named.or_else(|| {
            let mut usual = USUAL.iter().map(|name| self.find_directory().join(name));
            usual.find(|path| path.join("bin/python").exists()).or_else(find_own_virtualenv)
        })
    }

    /// The layer, for messages.
    fn name_layer(&self) -> String {
        escape_for_journal(format!("wsgi {}", self.name).as_bytes())
    }
}

/// The one in whose `bin` pip has installed this program.
fn find_own_virtualenv() -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    let folder = own.parent()?.parent()?;
    folder.join("pyvenv.cfg").exists().then(|| folder.to_owned())
}
