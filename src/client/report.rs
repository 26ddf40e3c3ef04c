//! The client's report, for people and for machines.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use hdrhistogram::Histogram;
use nix::errno::Errno;
use serde::Serialize;

use super::results::Tally;

/// What became of all connections. Every connection is in exactly one of `refused`, `answered`,
/// `wrong`, `short`, `timed_out` and `lost`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub url: String,
    /// Number of client processes.
    pub clients: u32,
    /// Number of connections that were wanted.
    pub connections: u64,
    pub connected: u64,
    /// Connections that did not open, by the name of the error.
    pub refused: BTreeMap<String, u64>,
    /// Complete answers, by status.
    pub answered: BTreeMap<u16, u64>,
    /// Answers that are not HTTP, or longer than they said.
    pub wrong: u64,
    /// Connections that ended before their answer did.
    pub short: u64,
    pub timed_out: u64,
    /// Connections of client processes that died, or could not be started.
    pub lost: u64,
    /// From asking to the last byte of the answer, of complete answers.
    pub answer_usec: Option<Times>,
    /// From asking for a connection to having it.
    pub connect_usec: Option<Times>,
    /// From the start of the first client to the end of the last.
    pub wall_seconds: f64,
    /// Complete answers by wall time.
    pub answers_per_second: f64,
    /// What else there is to say, such as which client process died.
    pub notes: Vec<String>,
    /// Whether every connection was completely answered with a status of 2xx or 3xx.
    pub ok: bool,
}

/// Percentiles in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct Times {
    min: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

impl Times {
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
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
    pub(super) fn new(
        url: &str,
        clients: u32,
        connections: u64,
        tally: &Tally,
        wall: Duration,
        mut notes: Vec<String>,
    ) -> Self {
        let good: u64 = tally.answered.range(200..400).map(|(_, count)| count).sum();
        notes.extend(tally.refused.keys().filter_map(|&code| explain(Errno::from_raw(code))));
        let wall_seconds = wall.as_secs_f64();
        Self {
            url: url.to_owned(),
            clients,
            connections,
            connected: tally.connected,
            refused: tally.refused.iter().map(|(&code, &n)| (error_name(code), n)).collect(),
            answered: tally.answered.clone(),
            wrong: tally.wrong,
            short: tally.short,
            timed_out: tally.timed_out,
            lost: connections.saturating_sub(tally.ended()),
            answer_usec: Times::of(&tally.answer_times),
            connect_usec: Times::of(&tally.connect_times),
            wall_seconds,
            #[allow(clippy::cast_precision_loss)] // of more than 2^53 connections
            answers_per_second: tally.answer_times.len() as f64 / wall_seconds.max(1e-6),
            notes,
            ok: good == connections,
        }
    }
}

/// `ECONNREFUSED` and the like.
fn error_name(code: i32) -> String {
    format!("{:?}", Errno::from_raw(code))
}

/// Errors that are the client's own limits, not the server's doing.
fn explain(errno: Errno) -> Option<String> {
    let why = match errno {
        Errno::EADDRNOTAVAIL => {
            "no local port was free (net.ipv4.ip_local_port_range), or the address is not of this host"
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
        writeln!(f, "connected  {connected} of {connections}")?;
        writeln!(f, "refused    {}", Counts(&self.refused))?;
        writeln!(f, "answered   {}", Counts(&self.answered))?;
        writeln!(f, "wrong      {}", self.wrong)?;
        writeln!(f, "short      {}", self.short)?;
        writeln!(f, "timed out  {}", self.timed_out)?;
        if self.lost > 0 {
            writeln!(f, "lost       {}", self.lost)?;
        }
        for (name, times) in [("connect", &self.connect_usec), ("answer", &self.answer_usec)] {
            if let Some(times) = times {
                writeln!(f, "{name:<9}  {times}")?;
            }
        }
        let (wall, rate) = (self.wall_seconds, self.answers_per_second);
        writeln!(f, "time       {wall:.3} s, {rate:.0} connections answered per second")?;
        for note in &self.notes {
            writeln!(f, "note       {note}")?;
        }
        Ok(())
    }
}

/// A sum and its parts: `12 (200: 10, 503: 2)`.
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
    use super::super::results::{Event, EventWriter};
    use super::*;
    use std::io::Read;

    fn tally(events: &[Event]) -> Tally {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut writer = EventWriter::new(writer);
        events.iter().for_each(|&event| writer.push(event).unwrap());
        writer.flush().unwrap();
        drop(writer);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        let mut tally = Tally::new().unwrap();
        tally.count_bytes(&bytes);
        tally
    }

    fn report(connections: u64, events: &[Event]) -> Report {
        Report::new("http://[::1]/", 2, connections, &tally(events), Duration::from_secs(2), vec![])
    }

    fn answered(status: u16, msec: u64) -> [Event; 2] {
        let time = Duration::from_millis(msec);
        [Event::Connected(Duration::from_micros(5)), Event::Answered(status, time)]
    }

    #[test]
    fn all_is_well_when_all_got_a_good_answer() {
        let report = report(2, &[answered(200, 1), answered(304, 3)].concat());
        assert!(report.ok);
        assert_eq!((report.connected, report.lost), (2, 0));
        assert!((report.answers_per_second - 1.0).abs() < 1e-9);
        let times = report.answer_usec.unwrap();
        assert_eq!((times.min / 10, times.max / 10), (100, 300));
    }

    #[test]
    fn anything_else_is_a_failure() {
        for event in [
            Event::Refused(Errno::ECONNREFUSED),
            Event::Answered(503, Duration::ZERO),
            Event::Answered(101, Duration::ZERO),
            Event::Wrong,
            Event::Short,
            Event::TimedOut,
        ] {
            let events = [&answered(200, 1)[..], &[event]].concat();
            let report = report(2, &events);
            assert!(!report.ok, "{event:?}");
            assert_eq!(report.lost, 0, "{event:?}");
        }
    }

    #[test]
    fn connections_that_nothing_was_heard_of_are_lost() {
        let report = report(4, &[&answered(200, 1)[..], &[Event::Connected(Duration::ZERO)]].concat());
        assert_eq!((report.connected, report.lost, report.ok), (2, 3, false));
        assert!(report.to_string().contains("\nlost       3\n"));
    }

    #[test]
    fn the_text_names_every_count() {
        let refused = [Errno::EADDRNOTAVAIL, Errno::ECONNREFUSED, Errno::ECONNREFUSED];
        let mut events = refused.map(Event::Refused).to_vec();
        events.extend([answered(200, 1), answered(200, 1), answered(503, 1)].concat());
        let text = report(6, &events).to_string();
        for line in [
            "http://[::1]/: 2 x 3 connections\n",
            "connected  3 of 6\n",
            "refused    3 (EADDRNOTAVAIL: 1, ECONNREFUSED: 2)\n",
            "answered   3 (200: 2, 503: 1)\n",
            "wrong      0\nshort      0\ntimed out  0\n",
            "connect    min 0.005, 50% 0.005, 90% 0.005, 99% 0.005, max 0.005 ms\n",
            "answer     min 1.000, 50% 1.000, ",
            "time       2.000 s, 2 connections answered per second\n",
            "note       EADDRNOTAVAIL: no local port was free",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn without_any_answer_there_are_no_times() {
        let report = report(1, &[]);
        let json: serde_json::Value = serde_json::to_value(&report).unwrap();
        assert!(json["answer_usec"].is_null() && json["connect_usec"].is_null());
        assert_eq!((json["lost"].as_u64(), json["ok"].as_bool()), (Some(1), Some(false)));
    }
}
