//! The HTTP side of a connection: read a request, let the site answer it, and go on while both sides want to.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::work::{Kit, Work};
use crate::handler::exchange::Exchange;
use crate::handler::site::Site;
use crate::http::body::{Body, BodyLimits, Leftover, Progress, Unread};
use crate::http::failure::Failure;
use crate::http::request;
use crate::http::response::{Responder, Terms};
use crate::http::stream::{Stream, TimeBudget};
use crate::outcome::Outcome;
use crate::scoreboard::{Phase, Slot};

/// How long, and for how much, an early close waits for the peer to read the answer. Many a client looks for one only
/// after it has sent some megabytes.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 << 20;
/// Room for a response behind the largest head of a request.
pub const RESPONSE_ROOM: usize = 2048;

/// How a request comes in its row.
#[derive(Clone, Copy)]
struct Turn {
    is_first: bool,
    is_last: bool,
    /// So many bytes of it are at the front of the buffer.
    filled: usize,
    /// For its head.
    deadline: Instant,
}

/// What comes after a response.
enum Next {
    /// Another request, of which so many bytes are at the front of the buffer.
    Request(usize),
    /// Nothing. `unread`: bytes of the peer may be left that nobody will read; closing over them would reset
    /// the connection.
    Close { outcome: Outcome, unread: bool },
}

/// Serves one connection to its end.
pub fn serve(work: &mut Work<'_>, site: &Site) -> Outcome {
    let (connection, slot, limits) = (work.connection, work.kit.slot, work.kit.limits);
    let end = work.service.deadline(&connection.identity);
    let stream = Stream::new(connection.socket.as_fd(), slot, end);
    let mut turn = Turn {
        is_first: true,
        is_last: limits.max_requests == 1,
        filled: 0,
        deadline: connection.identity.accepted_at + limits.head_timeout,
    };
    for number in 2.. {
        let filled = match answer_one(work, site, &stream, turn) {
            Next::Request(filled) => filled,
            Next::Close { outcome, unread } => {
                if unread || stream.has_input() {
                    if outcome == Outcome::Served {
                        slot.enter(Phase::Closing); // else the record says where it failed
                    }
                    stream.close_lingering(work.kit.buffer, LINGER_TIME, LINGER_BYTES);
                }
                return outcome;
            }
        };
        if filled == 0 {
            slot.enter(Phase::Idle);
            let until = Instant::now() + limits.keepalive_timeout;
            if !matches!(stream.wait_for_input(until, work.kit.drain), Ok(true)) {
                return Outcome::Served;
            }
        }
        let deadline = Instant::now() + limits.head_timeout;
        let is_last = number >= limits.max_requests;
        turn = Turn { is_first: false, is_last, filled, deadline };
    }
    Outcome::Served
}

/// Reads a request and answers it.
fn answer_one(work: &mut Work<'_>, site: &Site, stream: &Stream<'_>, turn: Turn) -> Next {
    let Work { connection, service, kit: Kit { limits, drain, slot, date, buffer, .. } } = work;
    let slot = *slot;
    slot.enter(Phase::Reading);
    let mut filled = turn.filled;
    let head = request::read_head(stream, &mut buffer[..limits.max_head_size], &mut filled, turn.deadline);
    let (input, room) = buffer.split_at_mut(filled);
    let mut fields = request::new_field_room();
    let parsed = match &head {
        Ok(length) => request::parse(&input[..*length], &mut fields).map(|request| (request, *length)),
        Err(failure) => Err(*failure),
    };
    let progress = Progress { unread: Cell::new(Unread::Nothing), has_begun: Cell::new(false) };
    let write_budget = TimeBudget::new(limits.write_timeout, limits.min_rate);
    let (request, length) = match parsed {
        Ok(parsed) => parsed,
        Err(Failure::Silent) => {
            if !turn.is_first {
                slot.enter(Phase::Idle); // nothing was read
            }
            return Next::Close { outcome: Outcome::Served, unread: false };
        }
        // Nor is at fault who leaves between two requests, or before the first, in whatever way.
        Err(Failure::Gone) if filled == 0 => {
            slot.enter(Phase::Idle);
            return Next::Close { outcome: Outcome::Served, unread: false };
        }
        Err(failure) => {
            note_first_line(slot, input);
            let is_head = input.trim_ascii_start().starts_with(b"HEAD ");
            let terms = Terms { is_head, minor: 1, keep_alive: false };
            let mut response = Responder::new(stream, &progress, date, terms, room, write_budget);
            return refuse(&mut response, failure, slot);
        }
    };
    slot.set_request(request.method.as_bytes(), request.target.as_bytes());
    slot.enter(Phase::Handling);
    let terms = Terms {
        is_head: request.method == "HEAD",
        minor: request.minor,
        keep_alive: request.keep_alive && !turn.is_last && !stream.is_draining(*drain),
    };
    let body_limits = BodyLimits {
        budget: TimeBudget::new(limits.body_timeout, limits.min_rate),
        size: limits.max_body_size,
        room: limits.max_head_size,
    };
    let mut body = Body::new(&request, &input[length..], stream, &progress, body_limits);
    let mut response = Responder::new(stream, &progress, date, terms, room, write_budget);
    let mut exchange = Exchange {
        request: &request,
        body: &mut body,
        response: &mut response,
        stream,
        identity: &connection.identity,
        service: &service.name,
        slot,
        route_path: "",
        rest: &[],
        is_internal_redirect: false,
    };
    let outcome = match site.answer(&mut exchange) {
        Ok(outcome) => outcome,
        Err(_) if response.has_begun() => {
            return Next::Close { outcome: Outcome::ClientError, unread: false };
        }
        Err(failure) => return refuse(&mut response, failure, slot),
    };
    if outcome != Outcome::Served || !response.keeps_alive() {
        return Next::Close { outcome, unread: !body.is_done() };
    }
    if !body.drain() {
        return Next::Close { outcome, unread: true };
    }
    let Leftover { pending, raw } = body.into_leftover();
    if pending > 0 {
        buffer.copy_within(filled - pending..filled, 0);
        return Next::Request(pending);
    }
    buffer[..raw.len()].copy_from_slice(&raw);
    Next::Request(raw.len())
}

/// Answers what is no request, or no content, with the status that says so.
fn refuse(response: &mut Responder<'_>, failure: Failure, slot: Slot) -> Next {
    let (status, why) = match failure {
        Failure::Silent | Failure::Gone => {
            return Next::Close { outcome: Outcome::ClientError, unread: false };
        }
        Failure::TimedOut => (408, "the request did not arrive in time"),
        Failure::Refused(status, why) => (status, why),
    };
    let phase = slot.phase();
    response.close_after();
    let _ = response.error(status, why); // a peer that does not take it: the outcome is the same
    slot.enter(phase); // the record says where it failed
    Next::Close { outcome: Outcome::ClientError, unread: true }
}

/// Lets the record show what came instead of a request.
fn note_first_line(slot: Slot, bytes: &[u8]) {
    let line = bytes.split(|&byte| byte == b'\r' || byte == b'\n').find(|line| !line.is_empty());
    if let Some(line) = line {
        slot.set_malformed(line);
    }
}
