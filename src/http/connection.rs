//! The HTTP side of a connection: read a request, route it, answer it, close.

use std::os::fd::AsFd;
use std::time::Duration;

use super::reason;
use super::request::{self, Failure};
use super::response::Response;
use super::stream::Stream;
use crate::child::Work;
use crate::child::outcome::Outcome;
use crate::scoreboard::{Phase, Slot};

/// How long, and for how much, an early close waits for the peer to read the answer.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;

/// Serves one connection to its end.
pub fn serve(work: &mut Work<'_>) -> Outcome {
    let Work { connection, service, limits, slot, date, buffer, .. } = work;
    let stream = Stream::new(connection.socket.as_fd(), slot);
    slot.enter(Phase::Reading);
    let deadline = connection.identity.accepted_at + limits.head_timeout;
    let mut filled = 0;
    let head = request::read_head(&stream, buffer, &mut filled, deadline);
    let parsed = head.and_then(|length| Ok((request::parse(&buffer[..length])?, filled > length)));
    let sentence;
    // `unread`: bytes of the peer that nobody will read. Closing over them would reset the connection.
    let (response, is_head, unread, outcome) = match parsed {
        Ok((request, more)) => {
            slot.note_request(request.method.as_bytes(), request.target.as_bytes());
            slot.enter(Phase::Handling);
            let response = service.answer(&request, slot);
            (response, request.method == "HEAD", more || request.has_content, Outcome::Served)
        }
        Err(failure) => {
            note_first_line(slot, &buffer[..filled]);
            let (status, why) = match failure {
                Failure::Gone => return Outcome::Client,
                Failure::TimedOut => (408, "the request did not arrive in time"),
                Failure::Refused(status, why) => (status, why),
            };
            sentence = format!("{status} {}: {why}\n", reason(status));
            (Response::error(status, "", sentence.as_bytes()), false, true, Outcome::Client)
        }
    };
    slot.note_status(response.status);
    if stream.has_waited() || response.took_time {
        date.refresh();
    }
    buffer.truncate(filled);
    response.write_to(buffer, date, is_head);
    if outcome == Outcome::Served {
        slot.enter(Phase::Writing); // else the record says where it failed
    }
    if stream.send_all(&buffer[filled..], limits.write_timeout).is_err() {
        return Outcome::Client;
    }
    if unread || stream.has_input() {
        if outcome == Outcome::Served {
            slot.enter(Phase::Closing);
        }
        stream.close_lingering(buffer, LINGER_TIME, LINGER_BYTES);
    }
    outcome
}

/// Lets the record show what came instead of a request.
fn note_first_line(slot: &Slot, bytes: &[u8]) {
    let line = bytes.split(|&byte| byte == b'\r' || byte == b'\n').find(|line| !line.is_empty());
    if let Some(line) = line {
        slot.note_malformed(line);
    }
}
