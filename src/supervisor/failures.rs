//! Fork servers that fail one after another: when the next one is started, and which failures are logged.

use std::time::{Duration, Instant};

use crate::journal::{self, ForkServerFailure, NextStart};

/// From the second start on, doubled each time: the pause after a fork server has exited that was not steady.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A failure that repeats itself is logged again after this long.
const REMINDER: Duration = Duration::from_secs(600);

/// Why a fork server has exited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StartFailure {
    pub(crate) sentence: String,
    /// Further lines of the entry.
    pub(crate) details: String,
}

/// StartFailures in a row, before anything was served.
#[derive(Debug)]
struct FailureRow {
    service: String,
    count: u32,
    /// Connections need not wait for the next start.
    reason: Option<String>,
    /// The last one that was logged, and when.
    logged: Option<(StartFailure, Instant)>,
    suppressed: u32,
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct StartFailures(Vec<FailureRow>);

impl StartFailures {
    /// Counts and logs a failure; the same one again only now and then. `was_steady`: a new row begins. `is_final`: the next
    /// start will fail too, as far as can be seen. `is_watched`: it comes when files change. Returns how long to wait before
    /// the next start.
    pub(crate) fn record(
        &mut self,
        service: &str,
        failure: StartFailure,
        was_steady: bool,
        is_final: bool,
        is_watched: bool,
        now: Instant,
    ) -> Duration {
        let index = match self.0.iter().position(|row| row.service == service) {
            Some(index) => index,
            None => {
                let service = service.to_owned();
                self.0.push(FailureRow { service, count: 0, reason: None, logged: None, suppressed: 0 });
                self.0.len() - 1
            }
        };
        let row = &mut self.0[index];
        row.count = if was_steady { 0 } else { row.count + 1 };
        row.reason = is_final.then(|| failure.sentence.clone());
        let pause = match row.count {
            0 => Duration::ZERO,
            count => PAUSE.saturating_mul(1 << count.min(10) >> 1).min(PAUSE_MAX),
        };
        let is_known = row.logged.as_ref().is_some_and(|(last, at)| {
            *last == failure && now.saturating_duration_since(*at) < REMINDER && row.count > 1 && !is_watched
        });
        if is_known {
            row.suppressed += 1;
            return pause;
        }
        let (sentence, details) = (&failure.sentence, &failure.details);
        let repeated = std::mem::take(&mut row.suppressed);
        let next = if is_watched { NextStart::OnChange } else { NextStart::After(pause) };
        journal::log_fork_server_ended(&ForkServerFailure { service, sentence, details, repeated, next });
        row.logged = Some((failure, now));
        pause
    }

    /// Failures of the service in a row.
    pub(crate) fn count(&self, service: &str) -> u32 {
        self.0.iter().find(|row| row.service == service).map_or(0, |row| row.count)
    }

    /// A fork server of the service has started.
    pub(crate) fn set_started(&mut self, service: &str) {
        let Some(row) = self.0.iter_mut().find(|row| row.service == service) else { return };
        let was_final = row.reason.take().is_some();
        if row.logged.take().is_some() && (was_final || row.count > 1) {
            journal::log_started_again(service, row.count);
        }
        row.suppressed = 0;
    }

    /// Why the last fork server of a service could not start, if the next one will not either.
    pub(crate) fn find_reason(&self, service: &str) -> Option<&str> {
        self.0.iter().find(|row| row.service == service)?.reason.as_deref()
    }

    /// Why the last fork server of a service could not start, if none has started since.
    pub(crate) fn find_last(&self, service: &str) -> Option<&str> {
        let row = self.0.iter().find(|row| row.service == service && row.count > 0)?;
        row.logged.as_ref().map(|(failure, _)| &*failure.sentence)
    }

    /// Forgets those of other services.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.0.retain(|row| is_kept(&row.service));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(sentence: &str) -> StartFailure {
        StartFailure { sentence: sentence.into(), ..StartFailure::default() }
    }

    #[test]
    fn pauses_grow_until_something_is_served() {
        let (mut failures, now) = (StartFailures::default(), Instant::now());
        let mut record = |has_served| failures.record("web", failure("a"), has_served, true, false, now);
        let pauses: Vec<_> = (0..12).map(|_| record(false)).collect();
        assert!(pauses.is_sorted() && pauses[0] == PAUSE && pauses[11] == PAUSE_MAX, "{pauses:?}");
        assert_eq!(record(true), Duration::ZERO);
        assert_eq!(record(false), PAUSE);
        assert_eq!(failures.find_reason("web"), Some("a"));
        failures.set_started("web");
        assert_eq!(failures.find_reason("web"), None);
    }

    #[test]
    fn same_failure_is_logged_once_and_another_one_at_once() {
        let (mut failures, now) = (StartFailures::default(), Instant::now());
        let mut record = |sentence, after| {
            failures.record("web", failure(sentence), false, true, false, now + after);
            failures.0[0].suppressed
        };
        assert_eq!(record("a", Duration::ZERO), 0);
        assert_eq!((record("a", PAUSE), record("a", PAUSE)), (1, 2));
        assert_eq!(record("b", PAUSE), 0);
        assert_eq!(record("b", PAUSE), 1);
        assert_eq!(record("b", REMINDER * 2), 0);
    }
}
