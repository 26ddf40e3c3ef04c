//! Relays the response of a program to the client: its head, then its content, then its exit.

use std::time::{Duration, Instant};

use super::Cgi;
use super::coding::{self, Coding, Compressor, Decoded};
use super::head::{self, Field, HEAD_MAX, HeadLines, Reply};
use super::pump::{Output, Pump};
use super::script::Script;
use crate::handler::exchange::{Answer, Exchange, InternalRedirect};
use crate::http::compress::{Choice, Encoder};
use crate::http::failure::Failure;
use crate::http::response::Head;
use crate::http::stream::Interrupted;
use crate::http::target::escape_beyond_ascii;
use crate::outcome::Outcome;
use crate::scoreboard::ProgramEnd;

/// How long a program that has closed its output may take to exit before the connection does not wait for it any more.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);
/// Programs whose names begin like this write the whole response themselves (RFC 3875, section 5).
const NON_PARSED: &[u8] = b"nph-";

/// Why a program's response did not reach the client.
#[derive(Debug)]
enum Stop {
    /// The connection failed, or the client's content is invalid.
    Connection(Failure),
    /// The program failed: the status of the response, and what the journal gets.
    Program(u16, String),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Connection(failure)
    }
}

impl From<Interrupted> for Stop {
    fn from(interrupted: Interrupted) -> Self {
        Self::Connection(interrupted.into())
    }
}

/// The program's response is invalid.
fn invalid<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Program(502, reason.into()))
}

/// The program was too slow.
fn late<T>(reason: String) -> Result<T, Stop> {
    Err(Stop::Program(504, reason))
}

/// The program that runs for a request.
#[derive(Debug)]
pub(crate) struct Relay<'a> {
    pub(crate) settings: &'a Cgi,
    pub(crate) script: &'a Script,
    pub(crate) pump: Pump,
}

impl Relay<'_> {
    /// Relays the response, and terminates what is left of the program.
    pub(crate) fn run(mut self, exchange: &mut Exchange<'_, '_>) -> Result<Answer, Failure> {
        let answer = match self.relay(exchange) {
            Ok(answer) => Ok(answer),
            Err(Stop::Connection(failure)) => Err(failure),
            Err(Stop::Program(status, reason)) => self.fail(exchange, status, &reason),
        };
        self.pump.terminate(exchange);
        answer
    }

    /// Answers for a program that failed. A response that has begun is left incomplete, so that the client detects
    /// it.
    fn fail(&self, exchange: &mut Exchange<'_, '_>, status: u16, reason: &str) -> Result<Answer, Failure> {
        self.log_fault(exchange, reason);
        if exchange.response.has_begun() {
            exchange.response.close_after();
            exchange.response.flush(false)?;
            return Ok(Answer::Sent(Outcome::HandlerError));
        }
        let sentence = match status {
            504 => "the program did not respond in time",
            _ => "the program sent no valid response",
        };
        exchange.fail(status, sentence, Outcome::HandlerError).map(Answer::Sent)
    }

    fn relay(&mut self, exchange: &mut Exchange<'_, '_>) -> Result<Answer, Stop> {
        let name = self.script.file.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(NON_PARSED) {
            exchange.response.close_after();
            return self.relay_content(exchange, None, 0);
        }
        let (bytes, end) = self.read_head(exchange)?;
        let (status, fields, length, is_chunked) = match head::parse(&bytes[..end]) {
            Ok(Reply::Document { status, fields, length, is_chunked }) => {
                (status, fields, length, is_chunked)
            }
            Ok(Reply::InternalRedirect { target, fields }) => {
                return self.redirect(exchange, target, &fields);
            }
            Err(reason) => return invalid(reason),
        };
        let has_content = !matches!(status, 204 | 205 | 304);
        let is_coded = is_chunked && has_content && exchange.request.method != "HEAD";
        // Before the response begins, so that the first output that is not in its coding is answered 502.
        let (mut transfer, mut content) = (Coding::new(is_coded), Vec::new());
        transfer.decode(&bytes[end..], |part| content.extend_from_slice(part)).or_else(invalid)?;
        let choice = match has_content {
            true => coding::choose(&self.settings.compress, exchange.request, status, &fields, length),
            false => Choice::Never,
        };
        let mut response = exchange.response.head(status);
        for (name, value) in fields {
            match choice.coding() {
                Some(_) if name.eq_ignore_ascii_case("ETag") => response.field(name, coding::weaken(value)),
                _ => response.field(name, value),
            };
        }
        add_choice(&mut response, choice);
        if !has_content {
            if status == 205 { response.send(b"") } else { response.send_nothing() }?;
            self.set_answered(exchange);
            self.skip_output(exchange)?;
            return Ok(Answer::Sent(Outcome::Served));
        }
        let framed = response.start(length.filter(|_| choice.coding().is_none())).into_framed();
        let encoder =
            choice.coding().filter(|_| !framed.is_complete()).map(|coding| Encoder::new(coding, None));
        let encoder = encoder.transpose().or_else(|error| invalid(error.to_string()))?;
        let compressor = encoder.map(|encoder| Compressor::new(encoder, length));
        let mut decoded = Decoded::new(framed, transfer, compressor);
        decoded.queue_content(exchange.response, &content);
        exchange.response.try_flush()?;
        self.relay_content(exchange, Some(decoded), bytes.len() - end)
    }

    /// Reads the program's head, with the content that comes with it. Also returns the length of the head.
    fn read_head(&mut self, exchange: &mut Exchange<'_, '_>) -> Result<(Vec<u8>, usize), Stop> {
        let (mut bytes, mut lines) = (Vec::new(), HeadLines::default());
        loop {
            match self.pump.read(exchange)? {
                Output::Bytes(more) => bytes.extend_from_slice(more),
                Output::TimedOut => return late(self.describe_delay(exchange, "respond")),
                Output::End => {
                    self.pump.wait_for_exit(exchange, EXIT_TIMEOUT)?; // its end may show the reason
                    return match bytes.is_empty() {
                        true => invalid("exited without a response"),
                        false => invalid(head::describe_incomplete(&bytes)),
                    };
                }
            }
            match lines.find_end(&bytes) {
                Some(end) => return Ok((bytes, end)),
                None if bytes.len() > HEAD_MAX => return invalid("response head too large"),
                None => {}
            }
        }
    }

    /// Answers with another target, and keeps the fields for its response.
    fn redirect(
        &mut self,
        exchange: &mut Exchange<'_, '_>,
        target: &[u8],
        fields: &[Field<'_>],
    ) -> Result<Answer, Stop> {
        let target = escape_beyond_ascii(target);
        if exchange.request.at(&target, true).is_none() {
            return invalid(format!("invalid Location: '{}'", target.escape_debug()));
        }
        self.skip_output(exchange)?;
        for (name, value) in fields {
            exchange.response.keep_field(name, value);
        }
        Ok(Answer::InternalRedirect(InternalRedirect { target, as_get: true, is_fallback: false }))
    }

    /// Relays output until it ends; without `content`, unchanged. `size` bytes of it have been queued already.
    fn relay_content(
        &mut self,
        exchange: &mut Exchange<'_, '_>,
        mut content: Option<Decoded>,
        mut size: usize,
    ) -> Result<Answer, Stop> {
        loop {
            if self.settings.max_output_size.is_some_and(|limit| size as u64 > limit) {
                return invalid("output larger than max_output_size");
            }
            if content.as_ref().is_some_and(Decoded::is_complete) {
                self.set_answered(exchange);
            }
            match self.pump.read(exchange)? {
                Output::Bytes(bytes) => {
                    size += bytes.len();
                    match &mut content {
                        Some(content) => content.queue(exchange.response, bytes).or_else(invalid)?,
                        None => exchange.response.queue_raw(bytes),
                    }
                    exchange.response.try_flush()?;
                }
                Output::End => break,
                Output::TimedOut if exchange.response.has_begun() => {
                    return late(self.describe_delay(exchange, "exit"));
                }
                Output::TimedOut => return late(self.describe_delay(exchange, "respond")),
            }
        }
        self.end_content(exchange, content)
    }

    /// The client has the whole response, once what is queued is sent.
    fn set_answered(&mut self, exchange: &Exchange<'_, '_>) {
        self.pump.set_answered();
        if exchange.response.queued() == 0 {
            exchange.response.end_sending();
        }
    }

    /// Ends the response at once, whatever a program that has closed its output does afterwards. Of one that is exiting,
    /// only the exit shows whether the output is complete.
    fn end_content(
        &mut self,
        exchange: &mut Exchange<'_, '_>,
        content: Option<Decoded>,
    ) -> Result<Answer, Stop> {
        let has_exited = self.wait_if_exiting(exchange)?;
        if let Ok(Some(ProgramEnd::Killed(_))) = self.pump.program.check_end() {
            return invalid("killed by a signal");
        }
        if !exchange.response.has_begun() {
            return invalid("exited without a response");
        }
        if let Some(content) = content {
            if let Some(reason) = content.find_excess() {
                self.log_fault(exchange, reason);
            }
            content.end(exchange.response).or_else(invalid)?;
        }
        exchange.response.flush(false)?;
        exchange.response.end_sending();
        if !has_exited && !self.wait_after_response(exchange)? {
            return late(self.describe_delay(exchange, "exit"));
        }
        Ok(Answer::Sent(Outcome::Served))
    }

    /// After the end of the output: waits if the program is exiting. True: it has exited. Others have closed it.
    fn wait_if_exiting(&mut self, exchange: &mut Exchange<'_, '_>) -> Result<bool, Failure> {
        let timeout = if self.pump.program.is_exiting() { EXIT_TIMEOUT } else { Duration::ZERO };
        self.pump.wait_for_exit(exchange, timeout)
    }

    /// Waits for the exit of a program whose response has been sent. The next request would wait as well, so the connection
    /// ends when that takes long. False: its time is over.
    fn wait_after_response(&mut self, exchange: &mut Exchange<'_, '_>) -> Result<bool, Failure> {
        if self.pump.wait_for_exit(exchange, EXIT_TIMEOUT)? {
            return Ok(true);
        }
        exchange.response.close_after();
        exchange.response.end_sending();
        self.pump.wait_for_exit(exchange, self.settings.timeout)
    }

    /// Waits for a program whose output is not used. It may still run after its time: the answer stands.
    fn skip_output(&mut self, exchange: &mut Exchange<'_, '_>) -> Result<(), Failure> {
        self.pump.set_output_unused();
        let has_exited = loop {
            match self.pump.read(exchange)? {
                Output::Bytes(_) => {}
                Output::End if exchange.response.has_begun() => {
                    exchange.response.end_sending();
                    break self.wait_after_response(exchange)?;
                }
                // The answer to a redirect waits: this program would be terminated before it.
                Output::End => break self.pump.wait_for_exit(exchange, self.settings.timeout)?,
                Output::TimedOut => break false,
            }
        };
        if !has_exited {
            self.log_fault(exchange, &self.describe_delay(exchange, "exit"));
        }
        Ok(())
    }

    /// What the program did not do in time, and by which limit.
    fn describe_delay(&self, exchange: &Exchange<'_, '_>, verb: &str) -> String {
        if exchange.stream.end().is_some_and(|end| Instant::now() >= end) {
            return format!("did not {verb} before the end of the connection (max_duration)");
        }
        let timeout = humantime::format_duration(self.settings.timeout);
        match self.pump.is_output_unused() {
            true => format!("did not {verb} within {timeout} of its response (timeout)"),
            false => format!("did not {verb}, and was silent for {timeout} (timeout)"),
        }
    }

    fn log_fault(&self, exchange: &Exchange<'_, '_>, reason: &str) {
        exchange.journal.log_program_fault(exchange.request.target, &self.script.file, reason);
    }
}

/// Adds the fields of content that is, or may be, compressed.
fn add_choice(head: &mut Head<'_, '_>, choice: Choice) {
    if let Some(coding) = choice.coding() {
        head.field("Content-Encoding", coding.name());
    }
    if choice != Choice::Never {
        head.field("Vary", "Accept-Encoding");
    }
}
