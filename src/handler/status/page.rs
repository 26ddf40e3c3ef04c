//! The status as a page for people. It is complete without its script, which only fetches it again.

use std::fmt::{Arguments, Write};

use crate::http::page::{self, escape};
use crate::status::format::{show_count, show_duration, show_rate, show_seconds, show_size, show_time};
use crate::status::{ConnectionStatus, LimitStatus, ServiceStatus, StatusReport};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The field Content-Security-Policy: its style, and its script by its hash (SHA-256).
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'sha256-MIrypELhavZGZH0IfRcDIF+pT3+kvIn/FhjXd6fL9vc='; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Renders a report.
pub(super) fn render(report: &StatusReport) -> String {
    let mut page = page::begin(&format!("{}: lsbaws", escape(&report.daemon.host)), STYLE);
    push_summary(&mut page, report);
    push_connections(&mut page, report);
    push_services(&mut page, &report.services);
    push_limits(&mut page, &report.limits);
    let sources = report.sources.iter().map(|source| {
        let penalized = source.penalized.map(|time| format!("for {}", show_seconds(time.ceil())));
        [source.source.clone(), show_count(source.now as u64), penalized.unwrap_or_default()]
    });
    push_table(&mut page, "Sources", ["Source", "<Connections", "Penalized"], sources);
    let listeners = report.listeners.iter().map(|listener| {
        [listener.address.clone(), listener.service.clone(), show_count(listener.waiting as u64)]
    });
    push_table(&mut page, "Listeners", ["Address", "Service", "<Waiting"], listeners);
    let end = page::END.replacen("</main>\n", "", 1);
    push(&mut page, format_args!("</main>\n<script>{SCRIPT}</script>\n{end}"));
    page
}

/// Appends formatted text, which cannot fail for a `String`.
fn push(page: &mut String, text: Arguments<'_>) {
    let _ = page.write_fmt(text);
}

fn push_summary(page: &mut String, report: &StatusReport) {
    let (daemon, places) = (&report.daemon, &report.connections);
    let [host, state] = [&daemon.host, &daemon.state].map(|text| escape(text));
    let [version, model] = [&daemon.version, &daemon.model].map(|text| escape(text));
    let (pid, uptime) = (daemon.pid, show_seconds(daemon.uptime));
    push(page, format_args!("<h1>lsbaws on {host} <small>{state}</small></h1>\n<p class=\"facts\">"));
    push(page, format_args!("Version {version}, process {pid}, model {model}, up for {uptime}"));
    let counts = [
        (daemon.reloads, "reloads"),
        (daemon.failed_reloads, "failed reloads"),
        (daemon.orphans_reaped, "orphaned processes reaped"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        push(page, format_args!(", {} {what}", show_count(count)));
    }
    let time = show_time(report.time);
    push(
        page,
        format_args!(
            ". As of <time datetime=\"{time}\">{}</time>. ",
            time.replace('T', " ").replace('Z', " UTC")
        ),
    );
    page.push_str("<span class=\"old\">The server does not answer: these numbers are old.</span>");
    page.push_str("<noscript>Reload the page for new numbers.</noscript></p>\n<dl>\n");
    let (now, then) = (&report.rates.last_10s, &report.rates.last_60s);
    let limit = format!("of {}, {} spares", show_count(places.max as u64), places.spares);
    push_tile(page, "Connections", &show_count(places.now as u64), &limit);
    for (name, rate) in [
        ("Connections/s", [now.accepted, then.accepted]),
        ("Requests/s", [now.requests, then.requests]),
        ("Refused/s", [now.refused, then.refused]),
    ] {
        let [now, then] = rate.map(show_rate);
        push_tile(page, name, &now, &format!("{then} over a minute"));
    }
    for (name, rate) in
        [("Received/s", [now.bytes_in, then.bytes_in]), ("Sent/s", [now.bytes_out, then.bytes_out])]
    {
        let [now, then] = rate.map(show_size);
        push_tile(page, name, &now, &format!("{then} over a minute"));
    }
    push_tile(page, "Sources penalized", &show_count(daemon.penalized_sources as u64), "");
    page.push_str("</dl>\n");
}

fn push_tile(page: &mut String, name: &str, value: &str, more: &str) {
    push(page, format_args!("<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>\n"));
}

fn push_connections(page: &mut String, report: &StatusReport) {
    let heading = [
        "Client",
        "Service",
        "#Request",
        "<Status",
        "Phase",
        "<Age",
        "<Requests",
        "<Received",
        "<Sent",
        "<Process",
    ];
    push_table(page, "Connections", heading, report.oldest.iter().map(connection_row));
    if report.oldest.is_empty() {
        page.push_str("<h2>Connections</h2>\n<p class=\"muted\">None.</p>\n");
    }
    if report.omitted > 0 {
        let more = show_count(report.omitted as u64);
        push(page, format_args!("<p class=\"muted\">{more} younger connections are not listed.</p>\n"));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a person reads it")]
fn connection_row(connection: &ConnectionStatus) -> [String; 10] {
    let request = match (&connection.method, &connection.target) {
        (Some(method), Some(target)) => format!("{method} {target}"),
        (_, target) => target.clone().unwrap_or_default(),
    };
    [
        connection.client().to_owned(),
        connection.service.clone(),
        request,
        connection.status.map_or_else(String::new, |status| status.to_string()),
        connection.phase.clone(),
        show_seconds(connection.age),
        show_count(connection.requests),
        show_size(connection.bytes_in as f64),
        show_size(connection.bytes_out as f64),
        connection.pid.map_or_else(String::new, |pid| pid.to_string()),
    ]
}

fn push_services(page: &mut String, services: &[ServiceStatus]) {
    let heading = [
        "Service",
        "<Now",
        "Phases",
        "<Ended",
        "<Failed",
        "<Refused",
        "<Requests",
        "<Received",
        "<Sent",
        "<CPU",
        "<Average",
    ];
    push_table(page, "Services", heading, services.iter().map(service_row));
}

#[expect(clippy::cast_precision_loss, reason = "a person reads it")]
fn service_row(service: &ServiceStatus) -> [String; 11] {
    let phases = service.phases.iter().filter(|(_, count)| **count > 0);
    let phases: Vec<_> = phases.map(|(phase, count)| format!("{count} {phase}")).collect();
    let max = service.max.map_or_else(String::new, |max| format!(" of {max}"));
    let durations = &service.durations;
    let average = durations.sum / durations.count as f64;
    [
        service.name.clone(),
        format!("{}{max}", show_count(service.now as u64)),
        phases.join(", "),
        show_count(service.count_ended()),
        show_count(service.count_failed()),
        show_count(service.count_refused()),
        show_count(service.requests),
        show_size(service.bytes_in as f64),
        show_size(service.bytes_out as f64),
        show_duration(service.cpu),
        if durations.count > 0 { show_duration(average) } else { String::new() },
    ]
}

fn push_limits(page: &mut String, limits: &[LimitStatus]) {
    page.push_str(
        "<h2>Limits</h2>\n<table>\n<thead>\n<tr><th scope=\"col\">Limit</th><th scope=\"col\">Use</th>",
    );
    page.push_str(
        "<th scope=\"col\" class=\"number\">Used</th><th scope=\"col\" class=\"number\">Maximum</th>",
    );
    page.push_str("<th scope=\"col\">State</th></tr>\n</thead>\n<tbody>\n");
    for limit in limits {
        #[expect(clippy::cast_precision_loss, reason = "a person reads it")]
        let show = |amount: u64| match &*limit.unit {
            "bytes" => show_size(amount as f64),
            _ => show_count(amount),
        };
        let (name, used, max) = (escape(&limit.name), show(limit.used), show(limit.max));
        let mark = limit.mark().map(|mark| format!("{mark}: raise {}", escape(&limit.raise)));
        let mark = mark.unwrap_or_default();
        push(page, format_args!("<tr><th scope=\"row\" class=\"name\">{name}</th><td data-name=\"Use\">"));
        let (value, most, high) = (limit.used, limit.max, limit.max / 5 * 4);
        push(page, format_args!("<meter value=\"{value}\" max=\"{most}\" high=\"{high}\"></meter></td>"));
        push(page, format_args!("<td data-name=\"Used\" class=\"number\">{used}</td>"));
        push(page, format_args!("<td data-name=\"Maximum\" class=\"number\">{max}</td>"));
        push(page, format_args!("<td data-name=\"State\" class=\"near\">{mark}</td></tr>\n"));
    }
    page.push_str("</tbody>\n</table>\n");
}

/// A table, if it has rows, with its caption above it. A heading that begins with `<` is that of numbers, one with `#` that
/// of requests.
fn push_table<const N: usize>(
    page: &mut String,
    caption: &str,
    heading: [&str; N],
    rows: impl ExactSizeIterator<Item = [String; N]>,
) {
    if rows.len() == 0 {
        return;
    }
    let class = |name: &str| match name.as_bytes().first() {
        Some(b'<') => " class=\"number\"",
        Some(b'#') => " class=\"request\"",
        _ => " class=\"name\"",
    };
    push(page, format_args!("<h2>{caption}</h2>\n<table>\n<thead>\n<tr>"));
    for name in heading {
        let shown = name.trim_start_matches(['<', '#']);
        let class = if name.starts_with('<') { class(name) } else { "" };
        push(page, format_args!("<th scope=\"col\"{class}>{shown}</th>"));
    }
    page.push_str("</tr>\n</thead>\n<tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for (at, (name, cell)) in heading.into_iter().zip(row).enumerate() {
            let (class, shown, cell) = (class(name), name.trim_start_matches(['<', '#']), escape(&cell));
            match at {
                0 => push(page, format_args!("<th scope=\"row\"{class}>{cell}</th>")),
                _ => push(page, format_args!("<td data-name=\"{shown}\"{class}>{cell}</td>")),
            }
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::example;

    #[test]
    fn page_has_no_markup_of_clients() {
        let mut report = example();
        report.services[0].name = "<i>".into();
        report.limits[0].name = "<u>".into();
        let page = render(&report);
        assert!(page.contains(">GET &lt;script&gt;"), "{page}");
        assert_eq!(page.matches("<script>").count(), 1, "its own");
        assert!(!page.contains("<i>") && !page.contains("<u>"), "{page}");
        assert!(
            page.contains("raise TasksMax=") && page.ends_with("</script>\n</body>\n</html>\n"),
            "{page}"
        );
    }
}
