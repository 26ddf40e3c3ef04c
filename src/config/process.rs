//! `[process]`

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::findings::Place;
use super::keywords::{Keyword, keywords};
use super::quantity::Time;
use super::scalar::{Flag, Integer, Scalar};
use super::table::{keys, table};
use crate::listen::address::UNIX_NAME_MAX;
use crate::status::SOCKET_NAME;
use crate::supervisor::settings::{Model, Process};

keys! {
    /// `[process]`
    ProcessKeys {
        model: Model = Model::Fork,
        fork_servers: Integer<1, 64> = Integer::new(1),
        spares: Integer<0, 1024> = Integer::new(0),
        drain_lead: Option<Time> = None,
        drain_timeout: Time = Time(Duration::from_secs(20)),
        drain_timeout_max: Time = Time(Duration::from_secs(60)),
        idle_timeout: Option<Time> = None,
        allow_root: Flag = Flag(false),
        status_socket: Option<SocketFile> = None,
        titles: Flag = Flag(true),
    }
}

table!(ProcessKeys);

keywords!(Model { Fork = "fork", DoubleFork = "double-fork", Iterative = "iterative" });

/// The path of a Unix socket, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SocketFile(pub(super) Option<PathBuf>);

impl Scalar for SocketFile {
    fn expected() -> String {
        format!(
            "an absolute path of at most {UNIX_NAME_MAX} bytes, such as \"/run/lsbaws/status.sock\", or \"\" for none"
        )
    }
    fn from_text(text: &str) -> Option<Self> {
        let is_path = text.starts_with('/') && text.len() <= UNIX_NAME_MAX && !text.contains('\0');
        (is_path || text.is_empty()).then(|| Self(is_path.then(|| text.into())))
    }
    fn to_toml(&self) -> toml::Value {
        let path = self.0.as_deref().unwrap_or(Path::new(""));
        path.to_string_lossy().into_owned().into() // it was a string
    }
}

impl ProcessKeys {
    /// Sets where the status socket is by default: in the runtime directory of the unit (systemd.exec(5),
    /// `RUNTIME_DIRECTORY`), if it has one.
    pub(super) fn complete(&mut self, directories: Option<&OsStr>) {
        let first = directories.and_then(|text| text.to_str()?.split(':').next());
        let default = first.and_then(|path| SocketFile::from_text(&format!("{path}/{SOCKET_NAME}")));
        self.status_socket = self.status_socket.take().or(default);
    }

    /// Where the status socket is, if there is one.
    pub(super) fn status_socket(&self) -> Option<PathBuf> {
        self.status_socket.as_ref()?.0.clone()
    }

    /// Whether the title of a child names its client and its request.
    pub(super) fn has_titles(&self) -> bool {
        self.titles.0
    }

    pub(super) fn build(&self, place: &Place<'_>, max_connections: usize) -> Process {
        let spares = self.spares.get();
        if self.model != Model::Fork && spares > 0 {
            let model = self.model.word();
            place.key("spares").reject(format!("expected 0 with model = {model:?}, found {spares}"));
        }
        Process {
            model: self.model,
            max_connections,
            fork_servers: self.fork_servers.get(),
            spares,
            drain_lead: self.drain_lead.map_or(Duration::ZERO, |Time(lead)| lead),
            drain_timeout: self.drain_timeout.0,
            drain_timeout_max: self.drain_timeout_max.0.max(self.drain_timeout.0),
            allow_root: self.allow_root.0,
            idle_timeout: self.idle_timeout.map(|Time(timeout)| timeout),
        }
    }
}
