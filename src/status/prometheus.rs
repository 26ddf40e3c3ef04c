//! The status in the text format of Prometheus. What clients send, such as targets and addresses, is no label: each value
//! would be a new time series.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{ServiceStatus, StatusReport};

/// Of the text format, version 0.0.4.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes a report.
pub(crate) fn write(report: &StatusReport) -> String {
    let mut text = Metrics::default();
    let daemon = &report.daemon;
    text.gauge("build_info", "The version of lsbaws.").add(&[("version", &daemon.version)], 1);
    text.gauge("start_time_seconds", "When the daemon was started, since the epoch.")
        .add(&[], daemon.started);
    text.gauge("draining", "Whether the daemon drains: checks of balancers fail.")
        .add(&[], u8::from(daemon.state != "serving"));
    text.counter("reloads_total", "Reloads of the configuration, by result.")
        .add(&[("result", "applied")], daemon.reloads)
        .add(&[("result", "failed")], daemon.failed_reloads);
    text.counter("orphans_reaped_total", "Processes that programs had left behind.")
        .add(&[], daemon.orphans_reaped);
    text.gauge("penalized_sources", "Sources that are refused for a while.")
        .add(&[], daemon.penalized_sources);
    text.gauge("connections_limit", "Connections at the same time at most: limits.max_connections.")
        .add(&[], report.connections.max);
    write_services(&mut text, &report.services);
    let waiting = "Connections in the queue of the kernel, by listener.";
    let metric = text.gauge("listener_waiting_connections", waiting);
    for listener in &report.listeners {
        let labels = [("listener", &*listener.address), ("service", &*listener.service)];
        metric.add(&labels, listener.waiting);
    }
    let metric = text.gauge("limit_used", "How much of a limit of the system is used, by limit and unit.");
    for limit in &report.limits {
        metric.add(&[("limit", &limit.name), ("unit", &limit.unit)], limit.used);
    }
    let metric = text.gauge("limit_max", "A limit of the system, by limit and unit.");
    for limit in &report.limits {
        metric.add(&[("limit", &limit.name), ("unit", &limit.unit)], limit.max);
    }
    text.text
}

fn write_services(text: &mut Metrics, services: &[ServiceStatus]) {
    let words = |metric: &mut Metrics, service: &str, label, counts: &BTreeMap<String, u64>| {
        for (word, count) in counts {
            metric.add(&[("service", service), (label, word)], count);
        }
    };
    let metric = text.gauge("connections", "Connections that have a process, by service and phase.");
    for service in services {
        for (phase, count) in &service.phases {
            metric.add(&[("service", &service.name), ("phase", phase)], count);
        }
    }
    let metric = text.gauge("service_connections_limit", "The limit of a service, if it has one.");
    for service in services {
        if let Some(max) = service.max {
            metric.add(&[("service", &service.name)], max);
        }
    }
    let metric = text.counter("connections_total", "Connections that have ended, by service and outcome.");
    for service in services {
        words(metric, &service.name, "outcome", &service.ended);
    }
    let refused = "Connections that were refused, by service and reason.";
    let metric = text.counter("connections_refused_total", refused);
    for service in services {
        words(metric, &service.name, "reason", &service.refused);
    }
    let each = |metric: &mut Metrics, value: fn(&ServiceStatus) -> f64| {
        for service in services {
            metric.add(&[("service", &service.name)], value(service));
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    {
        let accepted = "Connections that were accepted, refused ones included, by service.";
        each(text.counter("connections_accepted_total", accepted), |service| service.accepted as f64);
        each(text.gauge("spares", "Processes that wait for a connection."), |service| service.spares as f64);
        each(text.counter("requests_total", "Requests, by service."), |service| service.requests as f64);
        let received = "Bytes from clients, by service.";
        each(text.counter("received_bytes_total", received), |service| service.bytes_in as f64);
        let sent = "Bytes to clients, by service.";
        each(text.counter("sent_bytes_total", sent), |service| service.bytes_out as f64);
        let cpu = "Processor time of the children that have ended, and of what they have waited for.";
        each(text.counter("cpu_seconds_total", cpu), |service| service.cpu);
    }
    let duration = "How long connections lasted, from accept to end, by service.";
    let metric = text.begin("connection_duration_seconds", duration, "histogram");
    for ServiceStatus { name, durations, .. } in services {
        for (bound, count) in &durations.buckets {
            metric.add_to("_bucket", &[("service", name), ("le", &bound.to_string())], count);
        }
        metric.add_to("_bucket", &[("service", name), ("le", "+Inf")], durations.count);
        metric.add_to("_sum", &[("service", name)], durations.sum);
        metric.add_to("_count", &[("service", name)], durations.count);
    }
}

/// The text so far, and the name of the metric that samples belong to.
#[derive(Debug, Default)]
struct Metrics {
    text: String,
    name: &'static str,
}

impl Metrics {
    fn gauge(&mut self, name: &'static str, help: &str) -> &mut Self {
        self.begin(name, help, "gauge")
    }

    fn counter(&mut self, name: &'static str, help: &str) -> &mut Self {
        self.begin(name, help, "counter")
    }

    fn begin(&mut self, name: &'static str, help: &str, kind: &str) -> &mut Self {
        self.name = name;
        let _ = write!(self.text, "# HELP lsbaws_{name} {help}\n# TYPE lsbaws_{name} {kind}\n"); // never fails
        self
    }

    fn add(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) -> &mut Self {
        self.add_to("", labels, value)
    }

    fn add_to(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) -> &mut Self {
        let shown: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let labels = if shown.is_empty() { String::new() } else { format!("{{{}}}", shown.join(",")) };
        let _ = writeln!(self.text, "lsbaws_{}{suffix}{labels} {value}", self.name); // never fails
        self
    }
}

/// The value of a label.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn text_has_no_client_and_escaped_labels() {
        let mut report = example();
        report.limits[0].name = "a\\\"\n".into();
        let text = write(&report);
        assert!(!text.contains("script") && !text.contains("192.0.2.7"), "{text}");
        assert!(text.contains("lsbaws_limit_used{limit=\"a\\\\\\\"\\n\",unit=\"processes\"} 80\n"), "{text}");
        assert!(text.contains("lsbaws_connections{service=\"web\",phase=\"handling\"} 1\n"), "{text}");
        let bucket = "lsbaws_connection_duration_seconds_bucket{service=\"web\",le=\"0.001\"} 5\n";
        assert!(text.contains(bucket), "{text}");
    }
}
