//! The handler `wsgi`: an application answers, which the fork server has loaded into the interpreter of this very process
//! (PEP 3333). What is HTTP is here; `wsgi/`, a crate of its own, has what is Python.

mod call;
mod head;
mod warm_up;

use std::path::PathBuf;
use std::time::Duration;

use self::call::Exchanged;
use super::exchange::{ALLOWED, Exchange};
use crate::http::failure::Failure;
use crate::outcome::Outcome;
use crate::runtime::Runtime;
use serde::{Deserialize, Serialize};

pub(crate) use self::warm_up::WarmUp;

/// The settings of the handler.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wsgi {
    /// `MODULE:CALLABLE`
    pub(crate) application: String,
    /// Bytes of content. `None`: the limit of the service.
    pub(crate) max_body_size: Option<u64>,
    /// Made before the first fork.
    pub(crate) warm_up: Vec<WarmUp>,
    /// The same for all applications of a service.
    pub(crate) python: Python,
}

/// The interpreter of the applications of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Python {
    pub(crate) program: PathBuf,
    /// What it imports of lsbaws: the crate `wsgi/`.
    pub(crate) extension: PathBuf,
    /// Where it finds modules, before those that are installed.
    pub(crate) search: Vec<PathBuf>,
    pub(crate) directory: PathBuf,
    pub(crate) environment: Vec<(String, String)>,
    /// What each child calls before its first request: `MODULE:CALLABLE`.
    pub(crate) on_fork: Option<String>,
    /// The applications are loaded again when their files change.
    pub(crate) watches: bool,
    /// How long it may take to load the applications.
    pub(crate) start_timeout: Duration,
}

impl Wsgi {
    /// Makes the requests of `warm_up`, in the fork server. Returns warnings.
    pub(crate) fn warm_up(&self, runtime: &dyn Runtime) -> impl Iterator<Item = String> {
        self.warm_up.iter().filter_map(move |request| request.run(&self.application, runtime).err())
    }

    /// # Errors
    /// The client has gone, is too slow, or sends malformed content. An application that fails is an outcome.
    pub(crate) fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Outcome, Failure> {
        let Some(runtime) = exchange.runtime else {
            let reason = "applications are served by a fork server alone";
            return exchange.fail(503, reason, Outcome::ConfigError);
        };
        if exchange.request.method == "TRACE" {
            exchange.response.error_with(405, "TRACE is not supported", "Allow", ALLOWED)?;
            return Ok(Outcome::Served);
        }
        if let Some(limit) = self.max_body_size {
            exchange.body.set_limit(limit);
        }
        exchange.body.check_length()?;
        let mut call = Exchanged::new(exchange, &self.application);
        let result = runtime.answer(&self.application, &mut call);
        call.conclude(result)
    }
}
