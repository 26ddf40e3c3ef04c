//! The handler `cgi`: a program answers (RFC 3875). Its response goes to the client as it comes, and nothing
//! of it outlives the request.

pub(crate) mod head;
mod output;
mod program;
mod pump;
mod script;
mod variables;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use self::head::{HEAD_MAX, Reply};
use self::program::Program;
use self::pump::{Event, Pump, Want};
pub(crate) use self::script::Programs;
use self::script::Script;
use super::exchange::{ALLOWED, Answer, Exchange, InternalRedirect};
use crate::http::failure::Failure;
use crate::http::response::Framed;
use crate::journal;
use crate::outcome::Outcome;
use crate::scoreboard::ProgramEnd;

/// Output that may wait for the client; the program waits when there is more.
const QUEUE_MAX: usize = 64 * 1024;
/// How long a program that has closed its output may take to end before the response is ended without it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Programs whose names begin like this make the whole response themselves (RFC 3875, section 5).
const NON_PARSED: &[u8] = b"nph-";

/// Programs and how they are run.
#[derive(Debug)]
pub(crate) struct Cgi {
    pub(crate) programs: Programs,
    /// Besides the meta-variables.
    pub(crate) environment: Vec<(String, String)>,
    /// From the start of a program to its end.
    pub(crate) timeout: Duration,
    /// Bytes of content; `None`: as everywhere.
    pub(crate) max_body_size: Option<u64>,
    /// Bytes of a program's output.
    pub(crate) max_output_size: Option<u64>,
    /// Content whose length is not announced is refused.
    pub(crate) require_length: bool,
}

impl Cgi {
    pub(crate) fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Answer, Failure> {
        let sent = |outcome| Ok(Answer::Sent(outcome));
        if exchange.request.method == "TRACE" {
            exchange.response.error_with(405, "no program is asked to TRACE", "Allow", ALLOWED)?;
            return sent(Outcome::Served);
        }
        if let Some(name) = variables::find_ambiguous_field(exchange) {
            let why =
                format!("the field {name} has an underscore, which programs could not tell from a hyphen");
            exchange.response.close_after(); // a proxy may have seen another request in it
            exchange.response.error(400, &why)?;
            return sent(Outcome::Served);
        }
        let script = match self.programs.find(exchange.route_path, &exchange.request.path) {
            Ok(script) => script,
            Err(missing) => {
                exchange.log_lookup_error(missing);
                let (status, why, outcome) = missing.describe();
                return exchange.fail(status, why, outcome).map(Answer::Sent);
            }
        };
        if let Some(limit) = self.max_body_size {
            exchange.body.set_limit(limit);
        }
        if !exchange.is_internal_redirect {
            exchange.body.check_length()?;
            if self.require_length && exchange.body.length().is_none() {
                exchange.response.error(411, "the program needs to know the length of the content")?;
                return sent(Outcome::Served);
            }
        }
        let own = self.environment.iter().map(|(name, value)| (name.into(), value.into()));
        let variables = variables::describe_request(exchange, &script).into_iter().chain(own);
        let has_content = !exchange.is_internal_redirect && !exchange.body.is_done();
        let program = match Program::start(&script, variables, has_content, exchange.slot) {
            Ok(program) => program,
            Err(error) => return self.fail_to_start(exchange, &script.program, &error),
        };
        exchange.response.set_waited();
        let mut pump = Pump::new(program, Instant::now() + self.timeout);
        let answer = self.relay(exchange, &mut pump, &script);
        pump.end(exchange);
        answer
    }

    fn fail_to_start(
        &self,
        exchange: &mut Exchange<'_, '_>,
        program: &Path,
        error: &io::Error,
    ) -> Result<Answer, Failure> {
        journal::log_program_failed(exchange.identity, exchange.service, program, error);
        let (status, why) = match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => (403, "the program may not be run"),
            Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => {
                (503, "there is no process for the program")
            }
            Some(libc::E2BIG) => (431, "a field of the request is larger than what a program can be given"),
            _ => (500, "the program cannot be run"),
        };
        let outcome = if status == 431 { Outcome::Served } else { Outcome::HandlerError };
        exchange.fail(status, why, outcome).map(Answer::Sent)
    }

    /// From the program's head to the end of its output.
    fn relay(
        &self,
        exchange: &mut Exchange<'_, '_>,
        pump: &mut Pump,
        script: &Script,
    ) -> Result<Answer, Failure> {
        let name = script.file.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(NON_PARSED) {
            exchange.response.close_after();
            return self.relay_content(exchange, pump, script, None, 0);
        }
        let (mut bytes, mut scanner) = (Vec::new(), head::Scanner::default());
        let end = loop {
            match pump.step(exchange, Want::Output)? {
                Event::Output(count) => bytes.extend_from_slice(&pump.output[..count]),
                Event::TimedOut => {
                    return self.blame(exchange, script, 504, &self.lateness(exchange, "answered"));
                }
                Event::OutputEnded => {
                    pump.wait_for_end(exchange, PATIENCE)?;
                    let why = match bytes.is_empty() {
                        true => "it has ended without an answer".into(),
                        false => head::describe_unended(&bytes),
                    };
                    return self.blame(exchange, script, 502, &why);
                }
                Event::Progress | Event::Ended => {}
            }
            match scanner.find_end(&bytes) {
                Some(end) => break end,
                None if bytes.len() > HEAD_MAX => {
                    return self.blame(exchange, script, 502, "its head is too large");
                }
                None => {}
            }
        };
        let (status, fields, length) = match head::parse(&bytes[..end]) {
            Ok(Reply::InternalRedirect(path)) => {
                let target = path.to_owned();
                if exchange.request.at(&target, true).is_none() {
                    let why = format!("its Location is '{}', no target", target.escape_debug());
                    return self.blame(exchange, script, 502, &why);
                }
                self.finish(exchange, pump, script)?;
                return Ok(Answer::InternalRedirect(InternalRedirect { target, as_get: true }));
            }
            Ok(Reply::Document { status, fields, length }) => (status, fields, length),
            Err(why) => return self.blame(exchange, script, 502, &why),
        };
        let mut response = exchange.response.head(status);
        for (name, value) in fields {
            response.field(name, value);
        }
        if matches!(status, 204 | 205 | 304) {
            let sent = if status == 205 { response.send(b"") } else { response.send_nothing() };
            sent?;
            self.finish(exchange, pump, script)?;
            return Ok(Answer::Sent(Outcome::Served));
        }
        let mut framed = response.start(length).into_framed();
        framed.queue(exchange.response, &bytes[end..]);
        exchange.response.try_flush()?;
        self.relay_content(exchange, pump, script, Some(framed), bytes.len() - end)
    }

    /// Passes output on until it ends; without `framed`, as it is. `size`: so many bytes of it have come already.
    fn relay_content(
        &self,
        exchange: &mut Exchange<'_, '_>,
        pump: &mut Pump,
        script: &Script,
        mut framed: Option<Framed>,
        mut size: usize,
    ) -> Result<Answer, Failure> {
        loop {
            if self.max_output_size.is_some_and(|limit| size as u64 > limit) {
                return self.cut(exchange, script, "its output is larger than max_output_size");
            }
            let want = if exchange.response.queued() < QUEUE_MAX { Want::Output } else { Want::Room };
            match pump.step(exchange, want)? {
                Event::Output(count) => {
                    size += count;
                    match &mut framed {
                        Some(framed) => framed.queue(exchange.response, &pump.output[..count]),
                        None => exchange.response.queue_raw(&pump.output[..count]),
                    }
                    exchange.response.try_flush()?;
                }
                Event::OutputEnded => break,
                Event::TimedOut if !exchange.response.has_begun() => {
                    return self.blame(exchange, script, 504, &self.lateness(exchange, "answered"));
                }
                Event::TimedOut => return self.cut(exchange, script, &self.lateness(exchange, "ended")),
                Event::Progress | Event::Ended => {}
            }
        }
        // Whether the output is whole, only the end of the program tells.
        let has_ended = pump.wait_for_end(exchange, PATIENCE)?;
        if let Ok(Some(ProgramEnd::Killed(_))) = pump.program.has_ended() {
            return self.cut(exchange, script, "it was killed");
        }
        if !exchange.response.has_begun() {
            return self.blame(exchange, script, 502, "it has ended without an answer");
        }
        let is_short = framed.as_ref().is_some_and(Framed::is_short);
        if framed.as_ref().is_some_and(Framed::is_long) {
            self.note_fault(exchange, script, "its output is longer than its Content-Length says");
        }
        if let Some(framed) = framed {
            framed.end(exchange.response);
        }
        exchange.response.flush(false)?;
        if is_short {
            return self.cut(exchange, script, "its output is shorter than its Content-Length says");
        }
        if !has_ended && !pump.wait_for_end(exchange, self.timeout)? {
            return self.cut(exchange, script, &self.lateness(exchange, "ended"));
        }
        Ok(Answer::Sent(Outcome::Served))
    }

    /// Lets a program come to its end of which no more is wanted.
    fn finish(
        &self,
        exchange: &mut Exchange<'_, '_>,
        pump: &mut Pump,
        script: &Script,
    ) -> Result<(), Failure> {
        loop {
            match pump.step(exchange, Want::Output)? {
                Event::Output(_) | Event::Progress | Event::Ended => {}
                Event::OutputEnded => break,
                Event::TimedOut => {
                    self.note_fault(exchange, script, &self.lateness(exchange, "ended"));
                    return Ok(());
                }
            }
        }
        if !pump.wait_for_end(exchange, self.timeout)? {
            self.note_fault(exchange, script, &self.lateness(exchange, "ended"));
        }
        Ok(())
    }

    fn lateness(&self, exchange: &Exchange<'_, '_>, what: &str) -> String {
        match exchange.stream.end().is_some_and(|end| Instant::now() >= end) {
            true => format!("it has not {what} before the end of the connection (max_duration)"),
            false => {
                format!("it has not {what} within {} (timeout)", humantime::format_duration(self.timeout))
            }
        }
    }

    /// Answers for a program that has not.
    fn blame(
        &self,
        exchange: &mut Exchange<'_, '_>,
        script: &Script,
        status: u16,
        why: &str,
    ) -> Result<Answer, Failure> {
        self.note_fault(exchange, script, why);
        let public =
            if status == 504 { "the program took too long" } else { "the program gave no valid answer" };
        exchange.fail(status, public, Outcome::HandlerError).map(Answer::Sent)
    }

    /// Leaves a response that has begun without its end, so that the client notices.
    fn cut(&self, exchange: &mut Exchange<'_, '_>, script: &Script, why: &str) -> Result<Answer, Failure> {
        self.note_fault(exchange, script, why);
        exchange.response.close_after();
        exchange.response.flush(false)?;
        Ok(Answer::Sent(Outcome::HandlerError))
    }

    fn note_fault(&self, exchange: &Exchange<'_, '_>, script: &Script, why: &str) {
        let (service, target) = (exchange.service, exchange.request.target);
        journal::log_program_fault(exchange.identity, service, target, &script.file, why);
    }
}
