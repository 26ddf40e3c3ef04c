//! `lsbaws top`: the status on a screen that refreshes itself.

use std::cmp::Reverse;
use std::io;
use std::path::Path;

use super::screen::{Input, Screen, next_refresh};
use super::{Error, fetch};
use crate::escape::escape_for_line;
use crate::status::control::ControlRequest;
use crate::status::format::{show_rate, show_seconds, show_size, show_time};
use crate::status::{ConnectionStatus, LimitStatus, Rate, StatusReport};

/// Rows of services; more are counted.
const SERVICES_MAX: usize = 5;
const HELP: &str = "q quit  sort by: a age  r requests  b bytes sent  p phase  s service  c client";

/// By what the connections are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Age,
    Requests,
    Sent,
    Phase,
    Service,
    Client,
}

impl Order {
    fn of_key(key: u8) -> Option<Self> {
        Some(match key {
            b'a' => Self::Age,
            b'r' => Self::Requests,
            b'b' => Self::Sent,
            b'p' => Self::Phase,
            b's' => Self::Service,
            b'c' => Self::Client,
            _ => return None,
        })
    }

    /// The report has the oldest first; equal ones keep their order.
    fn sort(self, connections: &mut [ConnectionStatus]) {
        match self {
            Self::Age => {}
            Self::Requests => connections.sort_by_key(|connection| Reverse(connection.requests)),
            Self::Sent => connections.sort_by_key(|connection| Reverse(connection.bytes_out)),
            Self::Phase => connections.sort_by(|one, other| one.phase.cmp(&other.phase)),
            Self::Service => connections.sort_by(|one, other| one.service.cmp(&other.service)),
            Self::Client => connections.sort_by(|one, other| one.client().cmp(other.client())),
        }
    }
}

/// Shows the status until a key or a signal ends it.
///
/// # Errors
/// No daemon at the start, or no terminal. A daemon that stops later is waited for.
pub(super) fn run(path: &Path) -> Result<(), Error> {
    let failed = |source: io::Error| Error::System { path: path.to_owned(), source };
    let mut report = Ok(fetch(path, ControlRequest::Status)?);
    let screen = Screen::enter().map_err(failed)?;
    let (mut order, mut due) = (Order::Age, next_refresh());
    loop {
        let (columns, rows) = Screen::size();
        let lines = match &mut report {
            Ok(report) => render(report, order, columns, rows),
            Err(error) => vec![fit(&format!("{error}"), columns), String::new(), fit(HELP, columns)],
        };
        Screen::show(&lines);
        match screen.wait(due).map_err(failed)? {
            // Raw: Ctrl-C is a key.
            Input::Quit | Input::Key(b'q' | b'Q' | 3) => return Ok(()),
            Input::Key(key) => order = Order::of_key(key).unwrap_or(order),
            Input::Refresh => {
                report = fetch(path, ControlRequest::Status);
                due = next_refresh();
            }
        }
    }
}

/// At most so many lines, none of them wider.
fn render(report: &mut StatusReport, order: Order, columns: usize, rows: usize) -> Vec<String> {
    let (daemon, places) = (&report.daemon, &report.connections);
    let mut lines = vec![
        format!(
            "lsbaws {} on {}: {}, up for {}, {}/{} connections, {} spares  {}",
            daemon.version,
            daemon.host,
            daemon.state,
            show_seconds(daemon.uptime),
            places.now,
            places.max,
            places.spares,
            &show_time(report.time)[11..19]
        ),
        format!("10 s: {}", describe_rate(&report.rates.last_10s)),
        format!("60 s: {}", describe_rate(&report.rates.last_60s)),
        format!("Phases: {}", describe_phases(report)),
        format!("Limits: {}", describe_limits(report)),
        format!("Sources: {}", describe_sources(report)),
        String::new(),
    ];
    let mut headings = vec![lines.len()];
    lines.push(format!(
        "{:12} {:>5} {:>5} {:>9} {:>7} {:>8} {:>9} {:>10}",
        "SERVICE", "NOW", "MAX", "ENDED", "FAILED", "REFUSED", "REQUESTS", "SENT"
    ));
    for service in report.services.iter().take(SERVICES_MAX) {
        let max = service.max.map_or_else(|| "-".to_owned(), |max| max.to_string());
        #[expect(clippy::cast_precision_loss, reason = "a person reads it")]
        let sent = show_size(service.bytes_out as f64);
        lines.push(format!(
            "{:12} {:>5} {max:>5} {:>9} {:>7} {:>8} {:>9} {sent:>10}",
            service.name,
            service.now,
            service.count_ended(),
            service.count_failed(),
            service.count_refused(),
            service.requests
        ));
    }
    if let Some(more @ 1..) = report.services.len().checked_sub(SERVICES_MAX) {
        lines.push(format!("{more} more services: lsbaws status"));
    }
    lines.push(String::new());
    headings.push(lines.len());
    lines.push(format!(
        "{:>8} {:8} {:>5} {:>9} {:10} {:21} REQUEST",
        "AGE", "PHASE", "REQ", "SENT", "SERVICE", "CLIENT"
    ));
    order.sort(&mut report.oldest);
    let room = rows.saturating_sub(lines.len() + 1);
    lines.extend(report.oldest.iter().take(room).map(describe_connection));
    lines.truncate(rows.saturating_sub(1));
    let mut shown: Vec<_> = lines.iter().map(|line| fit(line, columns)).collect();
    for heading in headings {
        if let Some(line) = shown.get_mut(heading) {
            *line = format!("\x1b[7m{line:columns$}\x1b[0m");
        }
    }
    shown.push(fit(HELP, columns));
    shown
}

fn describe_rate(rate: &Rate) -> String {
    let [accepted, requests, refused] = [rate.accepted, rate.requests, rate.refused].map(show_rate);
    let (received, sent) = (show_size(rate.bytes_in), show_size(rate.bytes_out));
    format!(
        "{accepted} connections/s, {requests} requests/s, {refused} refused/s, in {received}/s, out {sent}/s"
    )
}

fn describe_phases(report: &StatusReport) -> String {
    let names = report.services.first().into_iter().flat_map(|service| service.phases.keys());
    let count = |name: &String| report.services.iter().filter_map(|service| service.phases.get(name)).sum();
    let counts = names.map(|name| (name, count(name))).filter(|&(_, count): &(_, usize)| count > 0);
    let shown: Vec<_> = counts.map(|(name, count)| format!("{count} {name}")).collect();
    if shown.is_empty() { "no connections".into() } else { shown.join(", ") }
}

/// Those that are full or nearly so, with what raises them; otherwise all, the fullest first.
fn describe_limits(report: &StatusReport) -> String {
    let describe = |limit: &LimitStatus| {
        let LimitStatus { name, used, max, raise, .. } = limit;
        Some(format!("{}: {name} {used}/{max}, raise {raise}", limit.mark()?.to_uppercase()))
    };
    let near: Vec<_> = report.limits.iter().filter_map(describe).collect();
    if !near.is_empty() {
        return near.join("; ");
    }
    let mut limits: Vec<_> = report.limits.iter().collect();
    limits.sort_by_key(|limit| Reverse(limit.used.saturating_mul(1000) / limit.max.max(1)));
    let shown = limits.iter().map(|limit| format!("{} {}/{}", limit.name, limit.used, limit.max));
    shown.collect::<Vec<_>>().join(", ")
}

/// Penalized ones first.
fn describe_sources(report: &StatusReport) -> String {
    let (penalized, others): (Vec<_>, Vec<_>) =
        report.sources.iter().partition(|source| source.penalized.is_some());
    let shown = penalized.into_iter().chain(others).map(|source| match source.penalized {
        Some(time) => format!("{} PENALIZED for {}", source.source, show_seconds(time.ceil())),
        None => format!("{} {}", source.source, source.now),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn describe_connection(connection: &ConnectionStatus) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a person reads it")]
    let sent = show_size(connection.bytes_out as f64);
    let status = connection.status.map_or_else(String::new, |status| format!(" -> {status}"));
    let [method, target] = [&connection.method, &connection.target]
        .map(|text| text.as_ref().map_or_else(String::new, |text| format!("{text} ")));
    format!(
        "{:>8} {:8} {:>5} {sent:>9} {:10} {:21} {method}{}{status}",
        show_seconds(connection.age),
        connection.phase,
        connection.requests,
        connection.service,
        connection.client(),
        target.trim_end()
    )
}

/// Text on one line, without control characters, that is not wider.
fn fit(line: &str, columns: usize) -> String {
    escape_for_line(line.as_bytes()).chars().take(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::example;

    #[test]
    fn screen_is_never_left() {
        for (columns, rows) in [(80, 24), (40, 10), (200, 50), (1, 1)] {
            let mut report = example();
            report.oldest = vec![report.oldest[0].clone(); 100];
            let lines = render(&mut report, Order::Age, columns, rows);
            assert!(lines.len() <= rows.max(1), "{rows}: {lines:?}");
            for line in &lines {
                let plain = line.replace("\x1b[7m", "").replace("\x1b[0m", "");
                assert!(plain.chars().count() <= columns && !plain.contains(char::is_control), "{plain:?}");
            }
        }
        let lines = render(&mut example(), Order::Age, 120, 24).join("\n");
        assert!(lines.contains("NEAR: pids.max of /a.service 80/100, raise TasksMax="), "{lines}");
        assert!(lines.contains("192.0.2.7 PENALIZED for 9s"), "{lines}");
    }

    #[test]
    fn connections_are_sorted_by_each_key() {
        let mut report = example();
        let mut other = report.oldest[0].clone();
        (other.requests, other.bytes_out, other.phase) = (9, 1, "a".into());
        (other.service, other.peer) = ("a".into(), "1".into());
        report.oldest.push(other);
        for (key, is_other_first) in
            [(b'a', false), (b'r', true), (b'b', false), (b'p', true), (b's', true), (b'c', true)]
        {
            let mut connections = report.oldest.clone();
            Order::of_key(key).unwrap().sort(&mut connections);
            assert_eq!(connections[0].requests == 9, is_other_first, "{}", char::from(key));
        }
        assert_eq!(Order::of_key(b'x'), None);
    }
}
