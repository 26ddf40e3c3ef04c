//! The HTTP session of a connection: reads a request, lets the site answer it, and continues while both sides allow.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::proxy::{ClientRefusal, Proxy};
use super::report::{Reporter, Seen, first_line};
use super::title::Title;
use super::work::{Kit, Work};
use crate::connection::Identity;
use crate::handler::exchange::{ClientSide, Exchange, ProgramTerms, Setting};
use crate::handler::login::LastLogin;
use crate::handler::site::Site;
use crate::http::body::{Body, BodyLimits, Progress};
use crate::http::budget::TimeBudget;
use crate::http::date::Date;
use crate::http::error_content::ErrorTerms;
use crate::http::failure::Failure;
use crate::http::limits::Limits;
use crate::http::request::{self, Request};
use crate::http::response::Responder;
use crate::http::stream::Stream;
use crate::http::terms::Terms;
use crate::journal::ChildLog;
use crate::outcome::Outcome;
use crate::refusal::{Cause, Refusal, RequestRefusal};
use crate::runtime::Runtime;
use crate::scoreboard::{Phase, Slot};
use crate::service::Leftover;

/// How long, and for how many bytes, an early close waits for the client to read the response. Many clients read it
/// only after they have sent some megabytes.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 << 20;
/// Bytes for a response, after the largest head of a request.
pub(crate) const RESPONSE_ROOM: usize = 2048;

/// The place of a request in its session.
#[derive(Clone, Copy)]
struct RequestContext {
    /// Counted from 1.
    number: u64,
    /// Bytes of it that are at the front of the buffer.
    filled: usize,
    /// For its head.
    deadline: Instant,
}

/// What follows a request.
enum Next {
    /// Another request, of which this many bytes are at the front of the buffer.
    Request(usize),
    /// The end of the connection. `unread`: the client may have sent bytes that were not read, so that closing the
    /// socket would reset the connection.
    Close { outcome: Outcome, unread: bool },
}

/// What the requests of a connection have in common.
struct Session<'c> {
    site: &'c Site,
    stream: Stream<'c>,
    identity: &'c Identity,
    journal: ChildLog<'c>,
    slot: Slot,
    programs: ProgramTerms<'c>,
    status: Option<BorrowedFd<'c>>,
    /// See [`Service::is_internal`](crate::service::Service::is_internal): a further request would get an old report.
    is_internal: bool,
    runtime: Option<&'c dyn Runtime>,
    limits: &'c Limits,
    reporter: Option<Reporter<'c>>,
    login: LastLogin,
    /// The peer is a trusted proxy.
    proxy: Option<Proxy<'c>>,
}

/// Serves one connection to its end.
pub(crate) fn serve(work: &mut Work<'_>, site: &Site) -> Outcome {
    let reporter = Reporter::new(work);
    let Work { connection, service, kit, gate, header } = work;
    let Kit { limits, slot, wake_up, status, runtime, date, buffer, title, .. } = kit;
    let end = service.deadline(&connection.identity);
    let journal = ChildLog::new(&connection.identity, &service.name, Some(*slot));
    let session = Session {
        site,
        stream: Stream::new(connection.socket.as_fd(), *slot, end, *wake_up),
        identity: &connection.identity,
        journal,
        slot: *slot,
        programs: ProgramTerms {
            confinement: &service.confinement,
            keeps_leftovers: service.leftover == Leftover::Keep,
        },
        status: *status,
        is_internal: service.is_internal(),
        runtime: *runtime,
        limits,
        reporter,
        login: LastLogin::default(),
        proxy: Proxy::new(service, gate, &connection.identity, *header),
    };
    title.set_client(&service.name, connection.identity.peer);
    let outcome = session.run(date, buffer, title);
    session.stream.limit_unread(session.limits.write_timeout);
    outcome
}

impl Session<'_> {
    fn run(&self, date: &mut Date, buffer: &mut [u8], title: &mut Title<'_>) -> Outcome {
        let deadline = self.identity.accepted_at + self.limits.head_timeout;
        let mut context = RequestContext { number: 1, filled: 0, deadline };
        loop {
            let filled = match self.answer_request(context, date, buffer, title) {
                Next::Request(filled) => filled,
                Next::Close { outcome, unread } => {
                    if unread || self.stream.has_input() {
                        self.linger(outcome, buffer);
                    }
                    return outcome;
                }
            };
            if filled == 0 && !self.wait_for_request() {
                return Outcome::Served;
            }
            let now = Instant::now();
            self.slot.set_since(now.saturating_duration_since(self.identity.accepted_at));
            let deadline = now + self.limits.head_timeout;
            context = RequestContext { number: context.number + 1, filled, deadline };
        }
    }

    /// Reads a request and answers it.
    fn answer_request(
        &self,
        context: RequestContext,
        date: &mut Date,
        buffer: &mut [u8],
        title: &mut Title<'_>,
    ) -> Next {
        self.slot.enter(Phase::Reading);
        let mut filled = context.filled;
        let head_room = &mut buffer[..self.limits.max_head_size];
        let head = request::read_head(&self.stream, head_room, &mut filled, context.deadline);
        let (input, room) = buffer.split_at_mut(filled);
        let mut fields = request::new_field_room();
        let parsed = match head {
            Ok(length) => request::parse(&input[..length], &mut fields).map(|request| (request, length)),
            Err(failure) => Err(failure),
        };
        let progress = Progress::new();
        let terms = match &parsed {
            Ok((request, _)) => self.terms_for(request, context),
            // The client has closed between two requests, or before the first: that is no error.
            Err(failure @ (Failure::Silent | Failure::Gone)) if filled == 0 => {
                if context.number > 1 || *failure == Failure::Gone {
                    self.slot.enter(Phase::Idle);
                }
                return Next::Close { outcome: Outcome::Served, unread: false };
            }
            Err(Failure::Foreign(sentence)) => self.terms_for_invalid(sentence.as_bytes()),
            Err(_) => self.terms_for_invalid(input),
        };
        let budget = TimeBudget::for_response(self.limits);
        let mut response = Responder::new(&self.stream, &progress, date, terms, room, budget);
        response.set_fields(self.site.fields());
        let (mut request, length) = match parsed {
            Ok(parsed) => parsed,
            Err(failure) => {
                self.proxy.iter().for_each(Proxy::forget_client);
                let next = self.refuse(&mut response, failure);
                self.report(Seen::Invalid(input), &response, context);
                return next;
            }
        };
        title.set_request(request.method, request.target);
        let client = match &self.proxy {
            None => ClientSide::new(self.identity.peer),
            Some(proxy) => match proxy.find_client(&mut request) {
                Ok(client) => client,
                Err(refusal) => {
                    self.record_request(&request);
                    let next = match refusal {
                        ClientRefusal::Invalid(failure) => {
                            proxy.forget_client();
                            self.refuse(&mut response, failure)
                        }
                        ClientRefusal::Refused(refusal) => self.turn_away(&mut response, refusal),
                    };
                    self.report(Seen::Valid(&request, false), &response, context);
                    return next;
                }
            },
        };
        let mut body = Body::new(&request, &input[length..], &self.stream, &progress, self.body_limits());
        let result = match self.dispatch(&request, client, &mut body, &mut response) {
            Ok(outcome) => Ok(outcome),
            Err(failure) if response.has_begun() => {
                if failure == Failure::TimedOut {
                    self.stream.reset_on_close();
                }
                self.record_gone(failure);
                Err(Next::Close { outcome: Outcome::ClientError, unread: false })
            }
            Err(failure) => Err(self.refuse(&mut response, failure)),
        };
        self.report(Seen::Valid(&request, client.is_https), &response, context);
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(next) => return next,
        };
        if outcome != Outcome::Served || !response.keeps_alive() {
            return Next::Close { outcome, unread: !body.is_done() };
        }
        if !body.drain() {
            return Next::Close { outcome, unread: true };
        }
        Next::Request(body.into_leftover().move_to_front(buffer, filled))
    }

    /// Lets the site answer a valid request.
    fn dispatch<'c>(
        &'c self,
        request: &Request<'_>,
        client: ClientSide,
        body: &mut Body<'c>,
        response: &mut Responder<'c>,
    ) -> Result<Outcome, Failure> {
        self.record_request(request);
        self.slot.enter(Phase::Handling);
        let (stream, identity, journal) = (&self.stream, self.identity, &self.journal);
        let (slot, programs, login) = (self.slot, self.programs, &self.login);
        let (status, runtime) = (self.status, self.runtime);
        let setting = Setting { stream, identity, client, journal, slot, programs, login, status, runtime };
        let mut exchange = Exchange::new(request, body, response, setting);
        self.site.answer(&mut exchange)
    }

    /// From here on, the record can name the request.
    fn record_request(&self, request: &Request<'_>) {
        self.slot.set_request(request.method.as_bytes(), request.target.as_bytes());
        if let Some(id) = request.id {
            self.slot.set_request_id(id.as_bytes());
        }
        if let Some(id) = request.trace_id {
            self.slot.set_trace_id(id.as_bytes());
        }
    }

    /// Reports the request that has been answered, if requests are reported.
    fn report(&self, seen: Seen<'_>, response: &Responder<'_>, context: RequestContext) {
        if let Some(reporter) = &self.reporter
            && let Some(start) = context.deadline.checked_sub(self.limits.head_timeout)
        {
            reporter.report(seen, response.content_sent(), start);
        }
    }

    fn terms_for<'a>(&'a self, request: &Request<'a>, context: RequestContext) -> Terms<'a> {
        let is_last = context.number >= self.limits.max_requests;
        Terms {
            is_head: request.method == "HEAD",
            minor: request.minor,
            keep_alive: request.keep_alive && !is_last && !self.is_internal && !self.slot.is_last_response(),
            errors: ErrorTerms { fields: Some(request.fields), ..self.site.error_terms() },
        }
    }

    /// For the response to an invalid request, whose first line is recorded.
    fn terms_for_invalid(&self, input: &[u8]) -> Terms<'_> {
        match first_line(input) {
            b"" => {}
            line => self.slot.set_malformed(line),
        }
        let is_head = input.trim_ascii_start().starts_with(b"HEAD ");
        Terms { is_head, minor: 1, keep_alive: false, errors: self.site.error_terms() }
    }

    fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            budget: TimeBudget::for_content(self.limits),
            size: self.limits.max_body_size,
            room: self.limits.max_head_size,
        }
    }

    /// Answers an invalid request, or invalid content, with its status.
    fn refuse(&self, response: &mut Responder<'_>, failure: Failure) -> Next {
        let (status, reason) = match failure {
            Failure::Silent | Failure::Gone | Failure::Foreign(_) => {
                self.record_gone(failure);
                return Next::Close { outcome: Outcome::ClientError, unread: false };
            }
            Failure::TimedOut => (408, "the request did not arrive in time"),
            Failure::Refused(status, reason) => (status, reason),
        };
        let is_late = failure == Failure::TimedOut;
        self.slot.set_refusal(if is_late { RequestRefusal::Late } else { RequestRefusal::Invalid });
        let phase = self.slot.phase();
        response.close_after();
        let _ = response.error(status, reason); // the outcome is the same if the client does not read it
        self.slot.enter(phase); // the record shows the phase of the error
        Next::Close { outcome: Outcome::ClientError, unread: true }
    }

    /// Records that a request failed because its client has gone. A file that cannot be read is another failure.
    fn record_gone(&self, failure: Failure) {
        if failure == Failure::Gone && self.stream.is_gone() {
            self.slot.set_client_gone();
        }
    }

    /// False: the client has closed, the timeout has passed, or the supervisor asks the child to close.
    fn wait_for_request(&self) -> bool {
        let now = Instant::now();
        self.slot.set_since(now.saturating_duration_since(self.identity.accepted_at));
        self.slot.enter(Phase::Idle);
        let handle_signals = || self.runtime.is_none_or(Runtime::handle_signals);
        matches!(self.stream.wait_for_request(now + self.limits.keepalive_timeout, handle_signals), Ok(true))
    }

    /// Answers a request whose client is refused.
    #[cold]
    fn turn_away(&self, response: &mut Responder<'_>, refusal: Refusal) -> Next {
        if refusal.cause == Cause::Undecided {
            self.slot.set_refusal(RequestRefusal::Undecided); // the supervisor knows the others
        }
        response.close_after();
        let retry_after = refusal.retry_after.map(|seconds| seconds.to_string()).unwrap_or_default();
        let name = if retry_after.is_empty() { "" } else { "Retry-After" };
        let _ = response.error_with(refusal.status(), refusal.sentence(), name, &retry_after); // the client may have gone
        Next::Close { outcome: Outcome::Refused, unread: true }
    }

    fn linger(&self, outcome: Outcome, scratch: &mut [u8]) {
        if outcome == Outcome::Served {
            self.slot.enter(Phase::Closing); // otherwise the record shows the phase of the error
        }
        self.stream.close_lingering(scratch, LINGER_TIME, LINGER_BYTES);
    }
}
