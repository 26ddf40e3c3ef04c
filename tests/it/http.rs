//! Requests and responses as a client sees them.

use std::io::{BufRead, BufReader, Write};

use nix::sys::signal::Signal;

use crate::cgi::{programs, say};
use crate::gate::Gate;
use crate::harness::{ask, command, find_program, read_to_end, serve};

#[test]
fn hello_answers_get_and_head_on_any_path() {
    let server = serve("");
    let get = server.get("/any/path?with=query");
    let (head, content) = get.split_once("\r\n\r\n").unwrap();
    assert_eq!(content, "Hello, World!\n");
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some("HTTP/1.1 200 OK"));
    let names: Vec<_> = lines.map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(names, ["Date", "Content-Type", "Content-Length", "Connection"]);
    let date = head.lines().find_map(|line| line.strip_prefix("Date: ")).unwrap();
    assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
    let record = server.record();
    assert_eq!(record.number("bytes_out"), i64::try_from(get.len()).unwrap());

    let answer = ask(server.connect(), "HEAD / HTTP/1.0\r\n\r\n");
    assert!(answer.contains("\r\nContent-Length: 14\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn hello_says_what_it_is_told_to() {
    let server = serve(
        "[[service.web.route]]\nbody = '<b>hi</b>'\nstatus = 418\ncontent_type = 'text/html'\nheaders = { X-A = 'b' }\n\
         [[service.web.route]]\npath = '/empty'\nstatus = 204\n",
    );
    let answer = server.get("/");
    assert!(answer.starts_with("HTTP/1.1 418 I'm a teapot\r\n"), "{answer}");
    assert!(
        answer.contains("\r\nContent-Type: text/html\r\n") && answer.contains("\r\nX-A: b\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\n<b>hi</b>"), "{answer}");
    let answer = server.get("/empty");
    assert!(
        answer.starts_with("HTTP/1.1 204 No Content\r\n") && !answer.contains("Content-Length"),
        "{answer}"
    );
}

#[test]
fn path_without_a_route_is_not_found() {
    let server = serve("[[service.web.route]]\npath = '/a'\n");
    assert!(server.get("/a/b").starts_with("HTTP/1.1 200 "));
    assert_eq!(server.record().get("handler"), "respond");
    assert!(server.get("/ab").starts_with("HTTP/1.1 404 "));
    assert_eq!(server.record().get("handler"), "");
}

#[test]
fn invalid_requests_have_their_status() {
    let server = serve("[limits]\nmax_head_size = '1 KiB'\n");
    let long = "x".repeat(2000);
    let cases = [
        ("nonsense\r\n\r\n".to_owned(), "400", "client-error"),
        ("GET / HTTP/1.1\n\n".to_owned(), "400", "client-error"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400", "client-error"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), "400", "client-error"),
        ("GET / HTTP/1.1\r\nHost: a\r\nA\0: b\r\n\r\n".to_owned(), "400", "client-error"),
        ("GET / HTTP/3.0\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), "505", "client-error"),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), "414", "client-error"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n"), "431", "client-error"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody".to_owned(),
            "405",
            "served",
        ),
        ("BREW / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), "501", "served"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), "200", "served"),
    ];
    for (request, status, outcome) in cases {
        let answer = ask(server.connect(), &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        let record = server.record();
        assert_eq!((record.get("status"), record.get("outcome")), (status, outcome), "{request:?}");
    }
}

#[test]
fn status_405_lists_the_allowed_methods() {
    let server = serve("");
    let answer = ask(server.connect(), "DELETE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"), "{answer}");
}

#[test]
fn early_response_arrives_while_the_client_sends() {
    let server = serve("");
    let mut stream = server.connect();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").unwrap();
    stream.write_all(&[b'x'; 100_000]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_to_end(stream).starts_with("HTTP/1.1 405 "));
}

#[test]
fn half_closed_client_receives_its_response() {
    let server = serve("");
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_to_end(stream).ends_with("Hello, World!\n"));
}

#[test]
fn request_can_arrive_byte_by_byte() {
    let server = serve("");
    let mut stream = server.connect();
    stream.set_nodelay(true).unwrap();
    for byte in b"\r\nGET /pieces HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(read_to_end(stream).ends_with("Hello, World!\n"));
    assert_eq!(server.record().get("target"), "/pieces");
}

#[test]
fn record_is_one_line_whatever_the_client_sends() {
    let server = serve("");
    ask(
        server.connect(),
        "GET /\u{1b}[31m\u{7}\" outcome=\"served HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    let record = server.record();
    assert_eq!(record.get("outcome"), "client-error");
    assert!(!record.line.contains('\u{1b}') && record.line.contains("\\\\x1b"), "{}", record.line);
}

#[test]
fn incomplete_head_is_status_400() {
    let server = serve("");
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.0\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_to_end(stream).starts_with("HTTP/1.1 400 "));
    let record = server.record();
    assert_eq!((record.get("outcome"), record.get("phase")), ("client-error", "reading"));
}

#[test]
fn pipelined_bytes_do_not_destroy_the_response() {
    let mut gate = Gate::new();
    let server = serve(&gate.route("/"));
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    gate.wait_reached();
    stream.write_all(b"GET /more HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    gate.open();
    assert!(read_to_end(stream).ends_with("passed"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = serve("[[service.web.route]]\n[[service.web.route]]\npath = '/b'\nbody = 'second'\n");
    let answers = ask(
        server.connect(),
        "GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody\
         HEAD /b HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\n\r\n",
    );
    let statuses: Vec<_> =
        answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "405", "200", "200"], "{answers}");
    assert_eq!(answers.matches("Connection: close").count(), 1);
    assert!(answers.ends_with("\r\n\r\nsecond"), "{answers}");
    let record = server.record();
    assert_eq!((record.number("requests"), record.get("target"), record.get("outcome")), (4, "/b", "served"));
}

#[test]
fn http_1_0_connection_persists_on_request() {
    let server = serve("");
    let answers =
        ask(server.connect(), "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert!(
        answers.contains("\r\nConnection: keep-alive\r\n") && answers.contains("\r\nConnection: close\r\n")
    );
}

#[test]
fn idle_connection_closes_at_the_keepalive_timeout() {
    let server = serve("[limits]\nkeepalive_timeout = '100ms'\n");
    let answer = ask(server.connect(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    let record = server.record();
    assert_eq!((record.get("outcome"), record.get("phase")), ("served", "idle"));
}

#[test]
fn max_requests_closes_after_the_last_response() {
    let server = serve("[limits]\nmax_requests = 2\n");
    let answers = ask(server.connect(), &"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert_eq!(answers.matches("Connection: close").count(), 1, "{answers}");
}

#[test]
fn max_duration_ends_every_connection() {
    let server = serve("[limits]\nmax_duration = '1s'\n");
    let mut idle = server.connect();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(read_to_end(idle).matches("HTTP/1.1").count(), 1);
    let mut sending = server.connect();
    sending.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").unwrap();
    assert!(read_to_end(sending).starts_with("HTTP/1.1 405 "));
    let server = serve("[limits]\nmax_duration = '150ms'\n[[service.web.route]]\ndelay = '1h'\n");
    assert!(server.get("/").starts_with("HTTP/1.1 504 "), "a delay ends too");
}

#[test]
fn drain_closes_idle_connections_and_lets_others_finish() {
    let mut gate = Gate::new();
    let limits = "[limits]\nkeepalive_timeout = '1h'\n[[service.web.route]]\n";
    let mut server = serve(&format!("{limits}{}", gate.route("/slow")));
    let mut busy = server.connect();
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    gate.wait_reached();
    let mut idle = server.connect();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    std::io::Read::read_exact(&mut idle, &mut [0]).unwrap();
    server.signal(Signal::SIGTERM);
    assert_eq!(read_to_end(idle).matches("Hello").count(), 1);
    gate.open();
    assert!(read_to_end(busy).ends_with("passed"));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn request_half_received_at_a_drain_is_the_last() {
    let server = serve("");
    let mut stream = server.connect();
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\n").unwrap();
    let mut first = String::new();
    let mut reader = BufReader::new(&stream);
    while !first.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut first).unwrap() > 0);
    }
    server.signal(Signal::SIGTERM);
    // Sent after the children were informed of the drain. The message in the log precedes that.
    server.wait_notified("STOPPING=");
    (&stream).write_all(b"Host: a\r\n\r\n").unwrap();
    let second = read_to_end(stream);
    assert!(!first.contains("Connection: close") && second.contains("\r\nConnection: close\r\n"), "{second}");
}

#[test]
fn redirects_keep_the_rest_of_the_path() {
    let server = serve(
        "[[service.web.route]]\nhandler = 'redirect'\nto = 'https://{host}/'\n\
         [[service.web.route]]\npath = '/old'\nhandler = 'redirect'\nto = '/new'\nstatus = 307\n\
         [[service.web.route]]\npath = '/fixed'\nhandler = 'redirect'\nto = '/x'\nkeep_path = false\n\
         [[service.web.route]]\npath = '/bare'\nhandler = 'redirect'\nto = 'https://example.org'\n\
         [[service.web.route]]\npath = '/query'\nhandler = 'redirect'\nto = 'https://example.org?a'\nkeep_path = false\n",
    );
    for (target, status, location) in [
        ("/a%20b/c?d=e", "301", "https://test/a%20b/c?d=e"),
        ("/old/%0d%0aX:y?q", "307", "/new/%0D%0AX:y?q"),
        ("/old", "307", "/new"),
        ("/fixed/more?q", "301", "/x"),
        ("/bare/.evil.test/", "301", "https://example.org/.evil.test/"),
        ("/query/b", "301", "https://example.org/?a"),
    ] {
        let answer = server.get(target);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(&format!("\r\nLocation: {location}\r\n")), "{answer}");
    }
}

#[test]
fn routes_have_their_own_hosts_and_fields() {
    let server = serve(
        "[[service.web.route]]\nbody = 'any'\n[[service.web.route]]\nhost = 'One.test.'\nbody = 'one'\n\
         headers = { X-One = '1' }\n",
    );
    let get = |host: &str| {
        ask(server.connect(), &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    let one = get("one.TEST:80");
    assert!(one.ends_with("one") && one.contains("\r\nX-One: 1\r\n"), "{one}");
    let dotted = get("one.test.:80");
    assert!(dotted.ends_with("one"), "{dotted}");
    let escaped = get("%6Fne%2Etest");
    assert!(escaped.ends_with("one"), "{escaped}");
    let any = get("two.test");
    assert!(any.ends_with("any") && !any.contains("X-One"), "{any}");
    let absolute =
        ask(server.connect(), "GET http://one.test/ HTTP/1.1\r\nHost: two.test\r\nConnection: close\r\n\r\n");
    assert!(absolute.ends_with("one"), "{absolute}");
}

/// RFC 9112, section 3.2.2: the field Host is replaced.
#[test]
fn program_receives_the_host_of_an_absolute_target() {
    let it = programs("host = 'one.test'", &[("host", &say("echo $HTTP_HOST,$SERVER_NAME,$SERVER_PORT"))]);
    for (head, expected) in [
        ("GET http://one.test:81/cgi/host HTTP/1.1\r\nHost: two.test\r\n", "one.test:81,one.test,81\n"),
        ("GET http://one.test:81/cgi/host HTTP/1.0\r\n", "one.test:81,one.test,81\n"),
        ("GET /cgi/host HTTP/1.2\r\nHost: One.test:82\r\n", "One.test:82,One.test,82\n"),
    ] {
        let answer = ask(it.server.connect(), &format!("{head}Connection: close\r\n\r\n"));
        assert!(answer.contains(expected), "{answer}");
    }
    let Some(curl) = find_program("curl") else { return };
    let mut curl = command(curl);
    curl.args(["--silent", "--fail", "--header", "Host: two.test", "--noproxy", "", "--proxy"]);
    let output = curl.arg(it.server.address().to_string()).arg("http://one.test/cgi/host").output().unwrap();
    assert!(output.stdout.starts_with(b"one.test,one.test,"), "{output:?}");
}

#[test]
fn each_listener_leads_to_its_service() {
    use std::net::TcpListener;
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let mut setup =
        crate::harness::Setup::new("[[service.one.route]]\nbody = '1'\n[[service.two.route]]\nbody = '2'\n");
    for listener in listeners {
        setup = setup.socket(listener);
    }
    let _server = setup.names("one:two").start();
    for (address, body) in addresses.iter().zip(["1", "2"]) {
        let answer = ask(crate::harness::connect(*address), "GET / HTTP/1.0\r\n\r\n");
        assert!(answer.ends_with(body), "{answer}");
    }
}

#[test]
fn early_refusal_arrives_after_megabytes_of_content() {
    let server = serve("");
    let mut stream = server.connect();
    let size = 8 << 20;
    write!(stream, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n").unwrap();
    stream.write_all(&vec![b'x'; size]).unwrap();
    let answer = read_to_end(stream);
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[test]
fn record_does_not_mix_two_requests() {
    let server = serve("");
    let mut stream = server.connect();
    stream.write_all(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n").unwrap();
    assert!(read_to_end(stream).contains("HTTP/1.1 400 "));
    let record = server.record();
    let get = |name: &str| record.get(name).to_owned();
    assert_eq!([get("method"), get("handler"), get("target"), get("status")], ["", "", "nonsense", "400"]);
}
