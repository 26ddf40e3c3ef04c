//! The status as text for a person.

use std::fmt::{self, Write};

use crate::escape::escape_for_line;
use crate::status::format::{show_rate, show_seconds, show_size};
use crate::status::health::DrainCause;
use crate::status::{ConnectionStatus, LimitStatus, Rate, ServiceStatus, StatusReport};

impl fmt::Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let daemon = &self.daemon;
        let uptime = show_seconds(daemon.uptime);
        let host = escape_for_line(daemon.host.as_bytes());
        writeln!(
            f,
            "lsbaws {} on {host}, process {}: {}{}, up for {uptime}",
            daemon.version,
            daemon.pid,
            daemon.state,
            if daemon.drain == Some(DrainCause::Request) { " (lsbaws drain)" } else { "" }
        )?;
        let counts = [
            (daemon.reloads, "reloads"),
            (daemon.failed_reloads, "failed reloads"),
            (daemon.penalized_sources as u64, "sources penalized"),
            (daemon.orphans_reaped, "orphaned processes reaped"),
        ];
        let places = &self.connections;
        write!(f, "{}/{} connections, {} spares", places.now, places.max, places.spares)?;
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        writeln!(f)?;
        writeln!(f, "last 10 s: {}", describe_rate(&self.rates.last_10s))?;
        writeln!(f, "last 60 s: {}", describe_rate(&self.rates.last_60s))?;
        let listeners = self.listeners.iter().map(|listener| {
            [listener.address.clone(), listener.service.clone(), listener.waiting.to_string()]
        });
        write_table(f, ["LISTENER", "SERVICE", "<WAITING"], listeners)?;
        let heading =
            ["SERVICE", "PROTOCOL", "<NOW", "<MAX", "<ENDED", "<FAILED", "<REFUSED", "<REQUESTS", "<SENT"];
        write_table(f, heading, self.services.iter().map(service_row))?;
        let sources = self.sources.iter().map(|source| {
            let penalized = source.penalized.map(|time| format!("for {}", show_seconds(time.ceil())));
            [source.source.clone(), source.now.to_string(), penalized.unwrap_or_default()]
        });
        write_table(f, ["SOURCE", "<NOW", "PENALIZED"], sources)?;
        write_table(f, ["LIMIT", "<USED", "<MAX", "", "RAISE"], self.limits.iter().map(limit_row))?;
        let heading =
            ["SERVICE", "<PID", "<AGE", "PHASE", "<REQUESTS", "<SENT", "<STATUS", "CLIENT", "REQUEST"];
        write_table(f, heading, self.oldest.iter().map(connection_row))?;
        match self.omitted {
            0 => Ok(()),
            more => writeln!(f, "{more} younger connections are not listed"),
        }
    }
}

fn describe_rate(rate: &Rate) -> String {
    format!(
        "{} connections/s, {} refused/s, {} requests/s, {}/s in, {}/s out",
        show_rate(rate.accepted),
        show_rate(rate.refused),
        show_rate(rate.requests),
        show_size(rate.bytes_in),
        show_size(rate.bytes_out)
    )
}

#[expect(clippy::cast_precision_loss, reason = "a person reads it")]
fn service_row(service: &ServiceStatus) -> [String; 9] {
    [
        service.name.clone(),
        service.protocol.clone(),
        service.now.to_string(),
        service.max.map_or_else(|| "-".into(), |max| max.to_string()),
        service.count_ended().to_string(),
        service.count_failed().to_string(),
        service.count_refused().to_string(),
        service.requests.to_string(),
        show_size(service.bytes_out as f64),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a person reads it")]
fn limit_row(limit: &LimitStatus) -> [String; 5] {
    let show = |amount: u64| match &*limit.unit {
        "bytes" => show_size(amount as f64),
        _ => amount.to_string(),
    };
    let (mark, raise) = limit.mark().map_or(("", ""), |mark| (mark, &*limit.raise));
    [limit.name.clone(), show(limit.used), show(limit.max), mark.into(), raise.into()]
}

#[expect(clippy::cast_precision_loss, reason = "a person reads it")]
fn connection_row(connection: &ConnectionStatus) -> [String; 9] {
    let request = match (&connection.method, &connection.target) {
        (Some(method), Some(target)) => format!("{method} {target}"),
        (_, target) => target.clone().unwrap_or_default(),
    };
    [
        connection.service.clone(),
        connection.pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
        show_seconds(connection.age),
        connection.phase.clone(),
        connection.requests.to_string(),
        show_size(connection.bytes_out as f64),
        connection.status.map_or_else(|| "-".into(), |status| status.to_string()),
        connection.client().to_owned(),
        request,
    ]
}

/// Writes a table below an empty line, if it has rows. A heading that begins with `<` is that of numbers.
fn write_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    heading: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    // The report is from another process: nothing in it may control the terminal.
    let rows: Vec<_> = rows.map(|row| row.map(|cell| escape_for_line(cell.as_bytes()))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let is_number = heading.map(|name| name.starts_with('<'));
    let heading = heading.map(|name| name.trim_start_matches('<').to_owned());
    let width = |column: usize| {
        let cells = rows.iter().chain([&heading]).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    writeln!(f)?;
    for row in [&heading].into_iter().chain(&rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            match is_number[column] {
                true => write!(line, "{cell:>width$}  ")?,
                false => write!(line, "{cell:width$}  ")?,
            }
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::status::tests::example;

    #[test]
    fn text_has_no_control_characters() {
        let text = example().to_string();
        assert!(text.lines().all(|line| !line.contains(char::is_control)), "{text}");
        assert!(text.contains("  GET <script>\\x1b[2J\\x0a\\x22&'\n"), "{text}");
        assert!(text.contains("pids.max of /a.service    80  100  near  TasksMax="), "{text}");
        assert!(text.ends_with("5 younger connections are not listed\n"), "{text}");
    }
}
