//! `[process]`

use std::time::Duration;

use super::findings::Place;
use super::keywords::{Keyword, keywords};
use super::quantity::Time;
use super::scalar::{Flag, Integer};
use super::table::{keys, table};
use crate::supervisor::settings::{Model, Process};

keys! {
    /// `[process]`
    ProcessKeys {
        model: Model = Model::Fork,
        fork_servers: Integer<1, 64> = Integer::new(1),
        spares: Integer<0, 1024> = Integer::new(0),
        drain_timeout: Time = Time(Duration::from_secs(20)),
        drain_timeout_max: Time = Time(Duration::from_secs(60)),
        idle_timeout: Option<Time> = None,
        allow_root: Flag = Flag(false),
    }
}

table!(ProcessKeys);

keywords!(Model { Fork = "fork", DoubleFork = "double-fork", Iterative = "iterative" });

impl ProcessKeys {
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
            drain_timeout: self.drain_timeout.0,
            drain_timeout_max: self.drain_timeout_max.0.max(self.drain_timeout.0),
            allow_root: self.allow_root.0,
            idle_timeout: self.idle_timeout.map(|Time(timeout)| timeout),
        }
    }
}
