//! `headers` of a service and of a route.

use crate::harness::{ask, command, find_program, serve};

const CONFIG: &str = "\
[service.web.headers]\nX-All = 'service'\nStrict-Transport-Security = 'max-age=300'\nX-Content-Type-Options = ''\n\
[[service.web.route]]\npath = '/a'\n\
[[service.web.route]]\npath = '/b'\nheaders = { x-all = 'route', X-Own = '1' }\n\
[[service.web.route]]\npath = '/c'\nhandler = 'redirect'\nto = '/'\nheaders = { X-All = '' }\n";

/// The values of a field.
fn values<'a>(answer: &'a str, name: &str) -> Vec<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

#[test]
fn every_response_of_a_service_has_its_fields() {
    let server = serve(CONFIG);
    for (request, status, expected) in [
        ("GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", "200", &["service"][..]),
        ("BREW /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", "501", &["service"]),
        ("GET /none HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", "404", &["service"]),
        ("OPTIONS * HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", "200", &["service"]),
        ("GET /a HTTP/1.1\r\n\r\n", "400", &["service"]),
        ("GET /%zz HTTP/1.1\r\nHost: t\r\n\r\n", "400", &["service"]),
        ("GET /a HTTP/3.0\r\nHost: t\r\n\r\n", "505", &["service"]),
        // A field of the route replaces that of the service, or removes it.
        ("GET /b HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", "200", &["route"]),
        ("GET /c HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", "301", &[]),
    ] {
        let answer = ask(server.connect(), request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert_eq!(values(&answer, "X-All"), expected, "{request}: {answer}");
        assert_eq!(values(&answer, "Strict-Transport-Security"), ["max-age=300"], "{request}: {answer}");
        assert!(values(&answer, "X-Content-Type-Options").is_empty(), "{request}: {answer}");
    }
}

#[test]
fn refusals_of_the_supervisor_have_the_fields_of_the_service() {
    let server = serve(&format!("[service.web]\ndeny = ['127.0.0.1']\n{CONFIG}"));
    let answer = server.get("/");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(values(&answer, "X-All"), ["service"]);
    assert!(values(&answer, "X-Content-Type-Options").is_empty(), "{answer}");
}

#[test]
fn curl_shows_the_fields_of_a_service() {
    let Some(curl) = find_program("curl") else { return };
    let server = serve(CONFIG);
    let url = format!("http://{}/none", server.address());
    let output = command(curl).args(["-sS", "-I", &url]).output().unwrap();
    let head = String::from_utf8(output.stdout).unwrap();
    assert!(head.contains("\r\nX-All: service\r\n"), "{head}");
}
