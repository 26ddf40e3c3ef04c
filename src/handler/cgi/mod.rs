//! The handler `cgi`: a program answers (RFC 3875). Its response is sent while the program writes it, and none of its
//! processes outlives the request.

mod coding;
mod content;
pub(crate) mod head;
mod leftovers;
mod output;
mod program;
mod pump;
mod relay;
mod script;
mod spawn;
mod variables;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::content::{Content, ContentError};
use self::program::RunningProgram;
use self::pump::Pump;
use self::relay::Relay;
pub(crate) use self::script::Programs;
use self::script::Script;
use super::exchange::{ALLOWED, Answer, Exchange};
use super::root::LookupError;
use crate::http::compress::Codings;
use crate::http::failure::Failure;
use crate::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// How often a program is looked up that is renamed or replaced before it runs.
const ATTEMPTS: usize = 8;

/// The settings of the handler.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cgi {
    pub(crate) programs: Programs,
    /// What the program or the interpreter sees as its own name, instead of its path.
    pub(crate) argv0: Option<OsString>,
    /// Variables in addition to the meta-variables, or instead of them.
    pub(crate) environment: Vec<(String, String)>,
    /// How long a program may move no byte: write none, and take none of its content. The time that lsbaws waits for the
    /// client does not count.
    pub(crate) timeout: Duration,
    /// Bytes of content. `None`: the limit of the service.
    pub(crate) max_body_size: Option<u64>,
    /// Bytes of a program's output.
    pub(crate) max_output_size: Option<u64>,
    /// Refuses content of unknown length.
    pub(crate) require_length: bool,
    /// Content of unknown length goes to the program as it arrives; otherwise it is stored before the program starts.
    pub(crate) stream: bool,
    /// For the files of content that is stored.
    pub(crate) spool_directory: PathBuf,
    /// What is compressed on the way.
    pub(crate) compress: Codings,
    /// A client that has closed its sending side still gets its response.
    pub(crate) allow_half_close: bool,
}

impl Cgi {
    /// # Errors
    /// The client has gone, is too slow, or sends malformed content. A program that fails is an outcome.
    pub(crate) fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Answer, Failure> {
        let sent = |outcome| Ok(Answer::Sent(outcome));
        if exchange.request.method == "TRACE" {
            exchange.response.error_with(405, "TRACE is not supported", "Allow", ALLOWED)?;
            return sent(Outcome::Served);
        }
        let script = match self.find(exchange) {
            Ok(script) => script,
            Err(error) => return fail_to_find(exchange, error),
        };
        if let Some(limit) = self.max_body_size {
            exchange.body.set_limit(limit);
        }
        if !exchange.is_internal_redirect {
            exchange.body.check_length()?;
            if self.require_length && exchange.body.length().is_none() {
                exchange.response.error(411, "the program requires a Content-Length")?;
                return sent(Outcome::Served);
            }
        }
        let (content, length) = match Content::prepare(exchange, self) {
            Ok(prepared) => prepared,
            Err(ContentError::Client(failure)) => return Err(failure),
            Err(ContentError::File(error)) => return self.fail_to_store(exchange, &error),
        };
        let (script, program) = match self.start(exchange, script, &content, length) {
            Ok(started) => started,
            Err(NotStarted::Lookup(error)) => return fail_to_find(exchange, error),
            Err(NotStarted::Program(program, error)) => return fail_to_start(exchange, &program, &error),
        };
        exchange.response.set_waited();
        let pump = Pump::new(program, content, self);
        Relay { settings: self, script: &script, pump }.run(exchange)
    }

    /// Starts the script, or what has taken its place before it ran.
    fn start(
        &self,
        exchange: &Exchange<'_, '_>,
        mut script: Script,
        content: &Content,
        length: Option<u64>,
    ) -> Result<(Script, RunningProgram), NotStarted> {
        let mut attempts = 0;
        loop {
            let own = self.environment.iter().map(|(name, value)| (name.into(), value.into()));
            let mut variables = variables::describe_request(exchange, &script, length);
            // Of two variables with one name, some programs would see this one and some the other.
            variables.retain(|(name, _)| !self.environment.iter().any(|(own, _)| name == own.as_str()));
            let variables = variables.into_iter().chain(own);
            let error =
                match RunningProgram::start(&script, variables, content, exchange.programs, exchange.slot) {
                    Ok(program) => return Ok((script, program)),
                    Err(error) => error,
                };
            attempts += 1;
            if error.raw_os_error() != Some(libc::ESTALE) || attempts == ATTEMPTS {
                return Err(NotStarted::Program(script.program, error));
            }
            script = self.find(exchange).map_err(NotStarted::Lookup)?;
        }
    }

    fn find(&self, exchange: &Exchange<'_, '_>) -> Result<Script, LookupError> {
        let script = self.programs.find(exchange.route_path, &exchange.request.path)?;
        Ok(Script { argv0: self.argv0.clone(), ..script })
    }

    fn fail_to_store(&self, exchange: &mut Exchange<'_, '_>, error: &io::Error) -> Result<Answer, Failure> {
        let what = format!("store the request content in {}", self.spool_directory.display());
        exchange.journal.log_system_error(Some(exchange.request.target), &what, error);
        let (status, reason) = content::describe_error(error);
        exchange.fail(status, reason, Outcome::SystemError).map(Answer::Sent)
    }
}

/// Why a program does not run.
#[derive(Debug)]
enum NotStarted {
    Lookup(LookupError),
    Program(PathBuf, io::Error),
}

fn fail_to_find(exchange: &mut Exchange<'_, '_>, error: LookupError) -> Result<Answer, Failure> {
    exchange.log_lookup_error(error);
    let (status, reason, outcome) = error.describe();
    exchange.fail(status, reason, outcome).map(Answer::Sent)
}

fn fail_to_start(
    exchange: &mut Exchange<'_, '_>,
    program: &Path,
    error: &io::Error,
) -> Result<Answer, Failure> {
    let (target, confinement) = (exchange.request.target, exchange.programs.confinement);
    exchange.journal.log_program_failed(Some(target), program, error, confinement);
    let (status, reason) = match error.raw_os_error() {
        Some(libc::ESTALE) => (503, "the program is being replaced"),
        Some(libc::EACCES | libc::EPERM) => (403, "no permission to run the program"),
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => {
            (503, "the server cannot start another process")
        }
        Some(libc::E2BIG) => (431, "the header fields are too large for a program"),
        _ => (500, "unable to run the program"),
    };
    let outcome = if status == 431 { Outcome::Served } else { Outcome::HandlerError };
    exchange.fail(status, reason, outcome).map(Answer::Sent)
}
