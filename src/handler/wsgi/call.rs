//! A request, as an application sees it, and what becomes of its response.

use std::os::fd::BorrowedFd;
use std::path::Path;

use super::head::{self, ApplicationHead};
use crate::handler::exchange::Exchange;
use crate::handler::variables::describe_common;
use crate::http::failure::Failure;
use crate::http::response::Framed;
use crate::outcome::Outcome;
use crate::runtime::{Call, Interruption};

/// Bytes of content that are queued for the client together.
const QUEUE_MAX: usize = 64 * 1024;

/// The exchange of an application.
#[derive(Debug)]
pub(super) struct Exchanged<'e, 'r, 'c> {
    exchange: &'e mut Exchange<'r, 'c>,
    /// Its name, for messages.
    application: &'e str,
    head: Option<ApplicationHead>,
    /// Of the content, once the response has begun, unless its status excludes content.
    framed: Option<Framed>,
    /// The whole content has been sent.
    is_complete: bool,
    /// The connection has failed.
    failure: Option<Failure>,
}

impl<'e, 'r, 'c> Exchanged<'e, 'r, 'c> {
    pub(super) fn new(exchange: &'e mut Exchange<'r, 'c>, application: &'e str) -> Self {
        Self { exchange, application, head: None, framed: None, is_complete: false, failure: None }
    }

    /// Ends the response, when the application has returned or failed. One that is incomplete is left so, and the client
    /// detects it.
    pub(super) fn conclude(self, result: Result<(), String>) -> Result<Outcome, Failure> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let error = match result {
            Err(error) => error,
            Ok(()) if self.is_complete => return Ok(Outcome::Served),
            Ok(()) if self.exchange.response.has_begun() => "sent less than its Content-Length".to_owned(),
            Ok(()) => "returned without a response".to_owned(),
        };
        self.log_fault(&error);
        let exchange = self.exchange;
        exchange.slot.set_exception(error.as_bytes());
        if !exchange.response.has_begun() {
            return exchange.fail(500, "the application failed", Outcome::HandlerError);
        }
        // One that fails after its content, in `close`, has spoilt nothing for the client.
        if !self.is_complete {
            exchange.response.close_after();
            exchange.response.flush(false)?;
        }
        Ok(Outcome::HandlerError)
    }

    fn log_fault(&self, error: &str) {
        let exchange = &*self.exchange;
        exchange.journal.log_program_fault(exchange.request.target, Path::new(self.application), error);
    }

    /// Remembers a failure of the connection.
    fn interrupt(&mut self, failure: impl Into<Failure>) -> Interruption {
        let failure = failure.into();
        self.failure = Some(failure);
        describe(failure)
    }

    fn check(&self) -> Result<(), Interruption> {
        self.failure.map_or(Ok(()), |failure| Err(describe(failure)))
    }
}

fn describe(failure: Failure) -> Interruption {
    match failure {
        Failure::Silent | Failure::Gone | Failure::Foreign(_) => Interruption::Gone,
        Failure::TimedOut => Interruption::TimedOut,
        Failure::Refused(_, reason) => Interruption::Invalid(reason),
    }
}

impl Call for Exchanged<'_, '_, '_> {
    fn describe(&self, set: &mut dyn FnMut(&str, &[u8])) {
        let (exchange, request) = (&*self.exchange, self.exchange.request);
        set("SCRIPT_NAME", exchange.route_path.as_bytes());
        set("PATH_INFO", &request.path[exchange.route_path.len()..]);
        set("wsgi.url_scheme", exchange.client.scheme().as_bytes());
        let length = exchange.body.length();
        if let Some(length) = length.filter(|&length| length > 0 || !matches!(request.method, "GET" | "HEAD"))
        {
            set("CONTENT_LENGTH", length.to_string().as_bytes());
        }
        describe_common(exchange, set);
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Interruption> {
        self.check()?;
        self.exchange.body.read(buffer).map_err(|failure| self.interrupt(failure))
    }

    fn set_head(&mut self, status: &[u8], fields: &[(Vec<u8>, Vec<u8>)]) -> Result<(), String> {
        self.head = Some(head::check(status, fields)?);
        Ok(())
    }

    fn has_begun(&self) -> bool {
        self.exchange.response.has_begun()
    }

    fn is_without_content(&self) -> bool {
        let status = self.head.as_ref().map(|head| head.status);
        self.exchange.request.method == "HEAD" || matches!(status, Some(204 | 205 | 304))
    }

    fn begin(&mut self, length: Option<u64>) -> Result<(), Interruption> {
        self.check()?;
        let Some(own) = self.head.as_ref().filter(|_| !self.exchange.response.has_begun()) else {
            return Ok(());
        };
        self.exchange.response.set_waited();
        self.exchange.slot.set_first_byte(self.exchange.identity.accepted_at.elapsed());
        let mut head = self.exchange.response.head(own.status);
        for (name, value) in &own.fields {
            head.field(name, value);
        }
        let sent = match own.status {
            204 | 304 => head.send_nothing(),
            205 => head.send(b""),
            _ => {
                self.framed = Some(head.start(own.length.or(length)).into_framed());
                Ok(())
            }
        };
        sent.map_err(|interrupted| self.interrupt(interrupted))
    }

    fn send(&mut self, content: &[u8], more: bool) -> Result<(), Interruption> {
        self.begin(None)?;
        let Some(framed) = &mut self.framed else { return Ok(()) };
        framed.queue(self.exchange.response, content);
        if more && self.exchange.response.queued() < QUEUE_MAX {
            return Ok(());
        }
        self.exchange.response.flush(false).map_err(|interrupted| self.interrupt(interrupted))
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, count: u64) -> Result<(), Interruption> {
        self.begin(Some(count))?;
        let Some(framed) = &mut self.framed else { return Ok(()) };
        // Of a file that is longer, an application may announce a part.
        let count = count.min(framed.left());
        let sent = framed.send_file(self.exchange.response, file, offset, count);
        sent.map_err(|interrupted| self.interrupt(interrupted))
    }

    fn end(&mut self) -> Result<(), Interruption> {
        self.check()?;
        if let Some(framed) = self.framed.take() {
            if framed.is_long() {
                self.log_fault("sent more than its Content-Length");
            }
            self.is_complete = !framed.is_short();
            framed.end(self.exchange.response);
        } else {
            self.is_complete = self.exchange.response.has_begun();
        }
        self.exchange.response.flush(false).map_err(|interrupted| self.interrupt(interrupted))
    }

    fn is_interrupted(&self) -> bool {
        self.failure.is_some()
    }

    fn log_output(&self, line: &[u8]) {
        self.exchange.journal.log_program_output(self.exchange.request.target, line);
    }
}
