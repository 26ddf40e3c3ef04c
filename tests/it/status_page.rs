//! The handler `status`: a page for people, metrics for Prometheus, JSON.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use crate::browser::Browser;
use crate::harness::{LSBAWS, Server, Setup, ask, command, find_program, make_folder, serve, wait_until};

const ROUTES: &str = "[[service.web.route]]\n\
     [[service.web.route]]\npath = '/status'\nhandler = 'status'\n";

/// The content of a response to a request with this value of Accept.
fn get(server: &Server, target: &str, accept: &str) -> (String, String) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\nAccept: {accept}\r\n\r\n");
    // It ends by itself: the connection is closed after each status.
    let response = ask(server.connect(), &request);
    let (head, content) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\nConnection: close"), "{response}");
    (head.to_owned(), content.to_owned())
}

/// The value of a sample.
fn sample(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

#[test]
fn status_has_the_format_that_the_client_prefers() {
    let server = serve(ROUTES);
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let scraper = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let (page, metrics) = ("<!DOCTYPE html>", "# HELP lsbaws_build_info ");
    for (target, accept, media_type, begin) in [
        ("/status", browser, "text/html; charset=utf-8", page),
        ("/status", scraper, "text/plain; version=0.0.4; charset=utf-8", metrics),
        ("/status", "*/*", "text/plain; version=0.0.4; charset=utf-8", metrics),
        ("/status", "application/json", "application/json", "{\"time\":"),
        ("/status/metrics", browser, "text/plain; version=0.0.4; charset=utf-8", metrics),
        ("/status/x.json", browser, "application/json", "{\"time\":"),
    ] {
        let (head, content) = get(&server, target, accept);
        assert!(head.contains(&format!("\r\nContent-Type: {media_type}\r\n")), "{target} {accept}: {head}");
        assert!(head.contains("\r\nCache-Control: no-store\r\n") && content.starts_with(begin), "{content}");
    }
    assert!(
        get(&server, "/status", "text/html").0.contains("\r\nContent-Security-Policy: default-src 'none';")
    );
    assert!(server.get("/status").contains("\r\nVary: Accept\r\n"));
    let head = ask(server.connect(), "HEAD /status HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let post = "POST /status HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert!(ask(server.connect(), post).starts_with("HTTP/1.1 405 "));
    let server = serve(&format!("{ROUTES}format = 'html'\n"));
    assert!(get(&server, "/status/metrics", scraper).1.starts_with(page));
}

#[test]
fn metrics_are_what_prometheus_expects() {
    let server = serve(ROUTES);
    let scrape = || get(&server, "/status/metrics", "*/*").1;
    let served = "lsbaws_connections_total{service=\"web\",outcome=\"served\"}";
    assert_eq!(sample(&scrape(), served), 0.0);
    server.record();
    for _ in 0..3 {
        server.get("/");
        server.record();
    }
    let metrics = scrape();
    assert_eq!(sample(&metrics, served), 4.0);
    for (name, value) in [
        ("lsbaws_connections_accepted_total{service=\"web\"}", 4.0),
        ("lsbaws_requests_total{service=\"web\"}", 4.0),
        ("lsbaws_connection_duration_seconds_count{service=\"web\"}", 4.0),
        ("lsbaws_connections_refused_total{service=\"web\",reason=\"denied\"}", 0.0),
        ("lsbaws_connections_limit", 512.0),
    ] {
        assert_eq!(sample(&metrics, name), value, "{name}");
    }
    let Some(promtool) = find_program("promtool") else { return };
    let mut promtool = command(promtool);
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = promtool.spawn().unwrap();
    process.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
}

#[test]
fn status_is_shown_in_every_model() {
    for process in ["model = 'fork'", "model = 'double-fork'", "spares = 2", "model = 'iterative'"] {
        let mut server = serve(&format!("[process]\n{process}\n{ROUTES}"));
        for _ in 0..4 {
            assert_eq!(
                sample(&get(&server, "/status/metrics", "*/*").1, "lsbaws_draining"),
                0.0,
                "{process}"
            );
        }
        server.reload(&format!("[process]\n{process}\n[[service.web.route]]\nhandler = 'status'\n"));
        server.wait_line("configuration reloaded");
        let applied = "lsbaws_reloads_total{result=\"applied\"}";
        assert_eq!(sample(&get(&server, "/metrics", "*/*").1, applied), 1.0, "{process}");
        server.stop();
    }
}

#[test]
fn single_connection_has_no_status() {
    let (client, socket) = UnixStream::pair().unwrap();
    let mut server = Setup::new(ROUTES).socket(socket).names("connection").spawn();
    let response = ask(client, "GET /status HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(
        response.contains("this process serves a single connection, and has no supervisor"),
        "{response}"
    );
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn status_on_a_used_connection_closes_it() {
    let server = serve(ROUTES);
    let mut client = server.connect();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\nGET /status HTTP/1.1\r\nHost: test\r\n\r\n")
        .unwrap();
    let mut responses = String::new();
    client.read_to_string(&mut responses).unwrap();
    assert_eq!(responses.matches("HTTP/1.1 200 ").count(), 2, "{responses}");
    assert_eq!(sample(&responses, "lsbaws_connections_accepted_total{service=\"web\"}"), 0.0, "as it came");
}

#[test]
fn clients_that_are_not_allowed_get_no_status() {
    let server = serve(&format!("{ROUTES}deny = ['127.0.0.0/8']\n"));
    assert!(server.get("/status").starts_with("HTTP/1.1 403 "));
    assert!(server.get("/").starts_with("HTTP/1.1 200 "));
}

/// Whether the page is wider than the window.
const IS_WIDE: &str = "document.documentElement.scrollWidth > innerWidth";

#[test]
fn page_updates_itself_in_a_browser() {
    let config = format!(
        "{ROUTES}[[service.web.route]]\npath = '/slow'\nhandler = 'respond'\ndelay = '1h'\n\
"
    );
    let server = serve(&config);
    let Some(mut browser) = Browser::start() else { return };
    browser.set_screen(360, true);
    browser.open(&format!("http://{}/status", server.address()));
    browser.evaluate("window.is_same_page = true");
    assert_eq!(browser.evaluate(IS_WIDE), false);
    let mut slow = server.connect();
    let target = format!("/slow/{}?q=%3Cscript%3E", "long-name-".repeat(30));
    write!(slow, "GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let is_shown = "[...document.querySelectorAll('td.request')].some(cell => \
                    cell.textContent.startsWith('GET /slow/long-name-'))";
    wait_until("the page shows the request", || browser.evaluate(is_shown) == true);
    assert_eq!(browser.evaluate("window.is_same_page"), true);
    for width in [360, 800, 1280] {
        browser.set_screen(width, false);
        assert_eq!(browser.evaluate(IS_WIDE), false, "{width}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert!(browser.requests().iter().all(|url| url.ends_with("/status")), "{:?}", browser.requests());
    server.signal(nix::sys::signal::Signal::SIGSTOP);
    drop(server);
    wait_until("the page shows that it is old", || browser.evaluate("document.body.className") == "stale");
}

#[test]
fn dashboard_and_alerts_use_the_metrics_that_exist() {
    let read = |name: &str| {
        std::fs::read_to_string(format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana-dashboard.json")).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
    let server = serve(ROUTES);
    let metrics = get(&server, "/status/metrics", "*/*").1;
    let existing: BTreeSet<_> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let text = read("grafana-dashboard.json") + &read("prometheus-alerts.yml");
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let used: BTreeSet<_> = words
        .filter(|word| word.starts_with("lsbaws_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
        .collect();
    // Of others than the process that is about to stop, and the limits that only some have, the dashboard shows all.
    let hidden = ["lsbaws_connections_accepted_total", "lsbaws_draining", "lsbaws_service_connections_limit"];
    let shown: BTreeSet<_> = existing.into_iter().filter(|name| !hidden.contains(name)).collect();
    assert_eq!(used, shown);
}

#[test]
fn check_warns_of_a_status_for_everybody() {
    let route = "[[service.web.route]]\npath = '/status'\nhandler = 'status'\n";
    let warning =
        "warning: service.web.route: the route of \"/status\" shows the clients and requests of all services";
    for (keys, is_public) in
        [("", true), ("allow = ['127.0.0.1']\n", false), ("[service.web]\nallow = ['127.0.0.1']\n", false)]
    {
        let config = if keys.starts_with('[') { format!("{keys}{route}") } else { format!("{route}{keys}") };
        let folder = make_folder();
        let file = folder.path().join("lsbaws.toml");
        std::fs::write(&file, config).unwrap();
        let output = command(LSBAWS).args(["check", "-c", file.to_str().unwrap()]).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        assert_eq!(String::from_utf8_lossy(&text).contains(warning), is_public, "{keys}");
    }
}
