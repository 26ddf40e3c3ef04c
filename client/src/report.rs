//! The report, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use hdrhistogram::Histogram;
use nix::errno::Errno;
use serde::Serialize;

use crate::cli::Arguments;
use crate::tally::Tally;

/// The result of a load test. Each connection is counted in exactly one of `not_connected`, `answered`,
/// `invalid`, `truncated`, `timed_out` and `lost`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    url: String,
    /// Number of client processes that were requested.
    clients: u32,
    /// Number of connections that were requested.
    connections: u64,
    connected: u64,
    /// Connections that did not open, by the name of the error.
    not_connected: BTreeMap<String, u64>,
    /// Complete responses, by status.
    answered: BTreeMap<u16, u64>,
    /// Responses that are not HTTP, or are longer than their Content-Length.
    invalid: u64,
    /// Connections that ended before their response did.
    truncated: u64,
    timed_out: u64,
    /// Connections of client processes that died or did not start.
    lost: u64,
    /// Time to open a connection.
    connect_usec: Option<Times>,
    /// Time from the request to the last byte of the response, for complete responses.
    response_usec: Option<Times>,
    /// Time from the start of the first client process to the end of the last.
    duration_seconds: f64,
    /// Complete responses, divided by the duration.
    responses_per_second: f64,
    /// Explanations, such as which client process died.
    notes: Vec<String>,
    /// Whether all connections received a complete response with a status of 2xx or 3xx.
    pub ok: bool,
}

/// Percentiles in microseconds.
#[derive(Debug, Serialize)]
struct Times {
    min: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

impl Times {
    fn new(histogram: &Histogram<u64>) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self {
            min: histogram.min(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        })
    }
}

impl Report {
    pub(crate) fn new(
        arguments: &Arguments,
        tally: &Tally,
        duration: Duration,
        mut notes: Vec<String>,
    ) -> Self {
        let connections = arguments.connections();
        let successful: u64 = tally.answered.range(200..400).map(|(_, count)| count).sum();
        notes.extend(tally.not_connected.keys().filter_map(|&code| explain(Errno::from_raw(code))));
        let duration_seconds = duration.as_secs_f64();
        Self {
            url: arguments.url.clone(),
            clients: arguments.max_clients,
            connections,
            connected: tally.connected,
            not_connected: tally.not_connected.iter().map(|(&code, &n)| (error_name(code), n)).collect(),
            answered: tally.answered.clone(),
            invalid: tally.invalid,
            truncated: tally.truncated,
            timed_out: tally.timed_out,
            lost: connections.saturating_sub(tally.ended()),
            connect_usec: Times::new(&tally.connect_times),
            response_usec: Times::new(&tally.response_times),
            duration_seconds,
            responses_per_second: tally.response_times.len() as f64 / duration_seconds.max(1e-6),
            notes,
            ok: successful == connections,
        }
    }
}

/// The name of an errno, such as `ECONNREFUSED`.
fn error_name(code: i32) -> String {
    format!("{:?}", Errno::from_raw(code))
}

/// Explains errors that are limits of the client, not of the server.
fn explain(errno: Errno) -> Option<String> {
    let why = match errno {
        Errno::EADDRNOTAVAIL => {
            "no local port is free (net.ipv4.ip_local_port_range), or the address does not exist"
        }
        Errno::EMFILE => "a client process reached its limit of open files (ulimit -n)",
        Errno::ENFILE => "the system reached its limit of open files (fs.file-max)",
        Errno::ETIMEDOUT => "the connection did not open in time (--timeout)",
        _ => return None,
    };
    Some(format!("{errno:?}: {why}"))
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { url, clients, connections, connected, .. } = self;
        writeln!(f, "{url}: {clients} x {} connections", connections / u64::from(*clients).max(1))?;
        writeln!(f, "connected      {connected} of {connections}")?;
        writeln!(f, "not connected  {}", Counts(&self.not_connected))?;
        writeln!(f, "answered       {}", Counts(&self.answered))?;
        writeln!(f, "invalid        {}", self.invalid)?;
        writeln!(f, "truncated      {}", self.truncated)?;
        writeln!(f, "timed out      {}", self.timed_out)?;
        if self.lost > 0 {
            writeln!(f, "lost           {}", self.lost)?;
        }
        for (name, times) in [("connect", &self.connect_usec), ("response", &self.response_usec)] {
            if let Some(times) = times {
                writeln!(f, "{name:<13}  {times}")?;
            }
        }
        let (duration, rate) = (self.duration_seconds, self.responses_per_second);
        writeln!(f, "duration       {duration:.3} s, {rate:.0} responses per second")?;
        for note in &self.notes {
            writeln!(f, "note           {note}")?;
        }
        Ok(())
    }
}

/// A sum and its parts, such as `12 (200: 10, 503: 2)`.
struct Counts<'a, K>(&'a BTreeMap<K, u64>);

impl<K: Display> Display for Counts<'_, K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.values().sum::<u64>())?;
        let parts: Vec<_> = self.0.iter().map(|(key, count)| format!("{key}: {count}")).collect();
        if parts.is_empty() { Ok(()) } else { write!(f, " ({})", parts.join(", ")) }
    }
}

impl Display for Times {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { min, p50, p90, p99, max } = self;
        let [min, p50, p90, p99, max] = [min, p50, p90, p99, max].map(|&usec| milliseconds(usec));
        write!(f, "min {min}, 50% {p50}, 90% {p90}, 99% {p99}, max {max} ms")
    }
}

fn milliseconds(usec: u64) -> String {
    format!("{}.{:03}", usec / 1000, usec % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use clap::Parser;

    fn report(max_conns: &str, events: &[Event]) -> Report {
        let words = ["lsbaws-client", "http://[::1]/", "--max-clients", "2", "--max-conns", max_conns];
        let mut tally = Tally::new().unwrap();
        events.iter().for_each(|&event| tally.count(event));
        Report::new(&Arguments::parse_from(words), &tally, Duration::from_secs(2), vec![])
    }

    fn answered(status: u16, msec: u64) -> [Event; 2] {
        let time = Duration::from_millis(msec);
        [Event::Connected(Duration::from_micros(5)), Event::Answered(status, time)]
    }

    #[test]
    fn all_connections_answered_is_success() {
        let report = report("1", &[answered(200, 1), answered(304, 3)].concat());
        assert!(report.ok);
        assert_eq!((report.connected, report.lost), (2, 0));
        assert!((report.responses_per_second - 1.0).abs() < 1e-9);
        let times = report.response_usec.unwrap();
        assert_eq!((times.min / 10, times.max / 10), (100, 300));
    }

    #[test]
    fn any_other_result_is_a_failure() {
        for event in [
            Event::NotConnected(Errno::ECONNREFUSED),
            Event::Answered(503, Duration::ZERO),
            Event::Answered(101, Duration::ZERO),
            Event::Invalid,
            Event::Truncated,
            Event::TimedOut,
        ] {
            let events = [&answered(200, 1)[..], &[event]].concat();
            let report = report("1", &events);
            assert!(!report.ok, "{event:?}");
            assert_eq!(report.lost, 0, "{event:?}");
        }
    }

    #[test]
    fn connections_without_a_final_event_are_lost() {
        let report = report("2", &[&answered(200, 1)[..], &[Event::Connected(Duration::ZERO)]].concat());
        assert_eq!((report.connected, report.lost, report.ok), (2, 3, false));
        assert!(report.to_string().contains("\nlost           3\n"));
    }

    #[test]
    fn text_has_every_count() {
        let errors = [Errno::EADDRNOTAVAIL, Errno::ECONNREFUSED, Errno::ECONNREFUSED];
        let mut events = errors.map(Event::NotConnected).to_vec();
        events.extend([answered(200, 1), answered(200, 1), answered(503, 1)].concat());
        let text = report("3", &events).to_string();
        for line in [
            "http://[::1]/: 2 x 3 connections\n",
            "connected      3 of 6\n",
            "not connected  3 (EADDRNOTAVAIL: 1, ECONNREFUSED: 2)\n",
            "answered       3 (200: 2, 503: 1)\n",
            "invalid        0\ntruncated      0\ntimed out      0\n",
            "connect        min 0.005, 50% 0.005, 90% 0.005, 99% 0.005, max 0.005 ms\n",
            "response       min 1.000, 50% 1.000, ",
            "duration       2.000 s, 2 responses per second\n",
            "note           EADDRNOTAVAIL: no local port is free",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn report_without_responses_has_no_times() {
        let report = report("1", &[]);
        let json: serde_json::Value = serde_json::to_value(&report).unwrap();
        assert!(json["response_usec"].is_null() && json["connect_usec"].is_null());
        assert_eq!((json["lost"].as_u64(), json["ok"].as_bool()), (Some(2), Some(false)));
    }
}
