//! The protocol `agent-check`: one line for HAProxy, about how many connections this host can take (HAProxy's Configuration
//! Manual, section 5.2, "agent-check"). HAProxy may send something as well, which is not read.

use std::os::fd::AsFd;
use std::time::Duration;

use super::work::Work;
use crate::http::budget::TimeBudget;
use crate::http::stream::Stream;
use crate::outcome::Outcome;
use crate::scoreboard::Phase;
use crate::status::health::{Health, HealthReport, Scope};

/// How long, and for how many bytes, the close waits for HAProxy to read the line, if HAProxy has sent something: a close with
/// unread bytes resets the connection. Short, since a client that waits has a place of the service for as long.
const LINGER_TIME: Duration = Duration::from_millis(200);
const LINGER_BYTES: usize = 64 << 10;

/// Sends the line.
pub(super) fn answer(scope: &Scope, work: &Work<'_>) -> Outcome {
    let slot = work.kit.slot;
    slot.enter(Phase::Handling);
    let report = match work.kit.status.map(HealthReport::read).transpose() {
        Ok(report) => report,
        Err(error) => {
            work.journal().log_system_error(None, "read the status", &error);
            return Outcome::SystemError;
        }
    };
    let line = describe(Health::judge(report.as_ref(), scope, slot.is_close_announced()));
    slot.set_request(b"", line.trim_end().as_bytes());
    let end = work.service.deadline(&work.connection.identity);
    let stream = Stream::new(work.connection.socket.as_fd(), slot, end, work.kit.wake_up);
    slot.enter(Phase::Writing);
    let mut budget = TimeBudget::for_response(work.kit.limits);
    if stream.send_all(line.as_bytes(), false, &mut budget).is_err() {
        return Outcome::ClientError;
    }
    slot.enter(Phase::Closing);
    if stream.has_input() {
        stream.close_lingering(&mut [0; 4096], LINGER_TIME, LINGER_BYTES);
    }
    Outcome::Served
}

/// Every line sets the operational state and the administrative state, since HAProxy keeps what a line does not set. A full
/// service still gets a few connections, which wait in the backlog: all hosts of a balancer can be full.
fn describe(health: Health<'_>) -> String {
    match health {
        Health::Ok { free } => format!("up ready {free}%\n"),
        Health::Full(_) => "up ready 1%\n".into(),
        Health::Draining(_) => "up drain\n".into(),
        Health::Failed(_) | Health::Unknown => format!("ready down # {health}\n"),
    }
}
