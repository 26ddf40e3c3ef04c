//! Behind a proxy: whose word about a client is taken, and what follows from it.

use std::fs;
use std::io::{Read, Write};
use std::net::Ipv4Addr;

use crate::cgi::{dechunk, status};
use crate::harness::{Server, ask, connect_from, make_folder, serve, wait_until};

/// The address of the trusted proxy.
pub const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
pub const TRUSTED: &str = "trusted_proxies = ['127.0.0.9', '10.0.0.0/8']\n";

const CLOSE: &str = "Connection: close\r\n";

fn request(fields: &str) -> String {
    format!("GET /env.sh?a=b HTTP/1.1\r\nHost: inner\r\n{fields}\r\n")
}

/// A program that describes its request, and the configuration of a route to it.
pub fn environment_route(folder: &tempfile::TempDir) -> String {
    fs::write(folder.path().join("env.sh"), "printf 'Content-Type: text/plain\\n\\n'; env").unwrap();
    let root = folder.path().display();
    format!("[[service.web.route]]\nhandler = 'cgi'\nroot = '{root}'\ninterpreter = '/bin/sh'\n")
}

/// The values of these variables, `-` for those that are not set.
pub fn values(answer: &str, names: &[&str]) -> String {
    let content = dechunk(answer);
    let value = |name: &&str| content.lines().find_map(|line| line.strip_prefix(*name)?.strip_prefix('='));
    names.iter().map(|name| value(name).unwrap_or("-")).collect::<Vec<_>>().join(" ")
}

fn ask_from(from: Ipv4Addr, server: &Server, fields: &str) -> String {
    ask(connect_from(from, server.address()), &request(&format!("{CLOSE}{fields}")))
}

/// One request on a connection that stays open. The response has a length.
pub fn ask_again(stream: &mut (impl Read + Write), request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut content = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut content).unwrap();
    head + std::str::from_utf8(&content).unwrap()
}

#[test]
fn fields_of_a_trusted_proxy_describe_the_client() {
    let folder = make_folder();
    let server = serve(&format!("[service.web]\n{TRUSTED}{}", environment_route(&folder)));
    let names = [
        "REMOTE_ADDR",
        "REMOTE_HOST",
        "REMOTE_PORT",
        "HTTPS",
        "REQUEST_SCHEME",
        "SERVER_NAME",
        "SERVER_PORT",
        "HTTP_HOST",
    ];
    let own = server.address().port();
    for (fields, expected) in [
        ("", format!("127.0.0.9 127.0.0.9 PORT - http inner {own} inner")),
        ("X-Forwarded-For: 192.0.2.7\r\n", format!("192.0.2.7 192.0.2.7 - - http inner {own} inner")),
        (
            "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-For: 10.1.2.3\r\nX-Forwarded-Proto: https\r\n",
            "192.0.2.7 192.0.2.7 - on https inner 443 inner".into(),
        ),
        (
            "x-forwarded-for: 192.0.2.7:81\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.b\r\nX-Forwarded-Port: 8080\r\n",
            "192.0.2.7 192.0.2.7 81 - http a.b 8080 a.b".into(),
        ),
        (
            "Forwarded: for=\"[2001:db8::1]:82\";proto=https;host=\"a.b:8443\"\r\n",
            "2001:db8::1 2001:db8::1 82 on https a.b 8443 a.b:8443".into(),
        ),
    ] {
        let answer = ask_from(PROXY, &server, fields);
        assert_eq!(status(&answer), "200", "{answer}");
        let found = values(&answer, &names);
        let expected = expected.replace("PORT", &values(&answer, &["REMOTE_PORT"]));
        assert_eq!(found, expected, "{fields}");
        let record = server.record();
        let client = expected.split(' ').next().unwrap();
        assert!(record.get("peer").starts_with("127.0.0.9:"), "{}", record.line);
        match client {
            "127.0.0.9" => assert_eq!(record.get("client"), "", "{}", record.line),
            _ => {
                assert_eq!(record.get("client"), client, "{}", record.line);
                let sentence = format!(" via {}: GET /env.sh?a=b -> 200", record.get("peer"));
                assert!(record.line.contains(&sentence), "{}", record.line);
            }
        }
    }
}

#[test]
fn fields_of_other_peers_change_nothing() {
    let folder = make_folder();
    for keys in ["", TRUSTED] {
        let server = serve(&format!(
            "[limits]\ndeny = ['192.0.2.7']\n[service.web]\n{keys}{}",
            environment_route(&folder)
        ));
        let other = Ipv4Addr::new(127, 0, 0, 8);
        let fields = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
                      Forwarded: for=192.0.2.9;proto=nonsense\r\n";
        let answer = ask_from(other, &server, fields);
        let names = [
            "REMOTE_ADDR",
            "HTTPS",
            "REQUEST_SCHEME",
            "SERVER_NAME",
            "HTTP_X_FORWARDED_FOR",
            "HTTP_FORWARDED",
        ];
        assert_eq!(values(&answer, &names), "127.0.0.8 - http inner 192.0.2.7 for=192.0.2.9;proto=nonsense");
        let record = server.record();
        assert!(
            record.get("peer").starts_with("127.0.0.8:") && record.get("client").is_empty(),
            "{}",
            record.line
        );
    }
}

#[test]
fn fields_that_make_no_sense_or_differ_are_refused() {
    let server = serve(&format!("[service.web]\n{TRUSTED}"));
    for (fields, sentence) in [
        ("X-Forwarded-For: example.org\r\n", "invalid X-Forwarded-For"),
        ("X-Forwarded-Proto: gopher\r\n", "invalid X-Forwarded-Proto"),
        ("X-Forwarded-Host: a/b\r\n", "invalid X-Forwarded-Host"),
        ("Forwarded: for=192.0.2.1;for=192.0.2.2\r\n", "invalid Forwarded"),
        (
            "X-Forwarded-For: 192.0.2.7\r\nForwarded: for=6.6.6.6\r\n",
            "Forwarded and the X-Forwarded fields differ",
        ),
    ] {
        let answer = ask_from(PROXY, &server, fields);
        assert!(answer.ends_with(&format!("400 Bad Request: {sentence}\n")), "{answer}");
        let record = server.record();
        assert_eq!((record.get("outcome"), record.get("target")), ("client-error", "/env.sh?a=b"));
    }
}

#[test]
fn host_and_scheme_of_the_client_choose_routes_and_redirects() {
    let server = serve(&format!(
        "[service.web]\n{TRUSTED}[[service.web.route]]\nhandler = 'respond'\nbody = 'inner'\n\
         [[service.web.route]]\nhost = 'a.b'\nhandler = 'redirect'\nto = '{{scheme}}://www.{{host}}/'\n"
    ));
    let host = "X-Forwarded-Host: a.b\r\nX-Forwarded-Proto: https\r\n";
    let answer = ask_from(PROXY, &server, host);
    assert!(answer.contains("\r\nLocation: https://www.a.b/env.sh?a=b\r\n"), "{answer}");
    let answer = ask_from(PROXY, &server, "X-Forwarded-Host: a.b\r\n");
    assert!(answer.contains("\r\nLocation: http://www.a.b/env.sh?a=b\r\n"), "{answer}");
    assert!(ask_from(Ipv4Addr::LOCALHOST, &server, host).ends_with("\r\n\r\ninner"), "not trusted");
}

#[test]
fn clients_on_one_connection_are_told_apart() {
    for model in ["fork", "double-fork", "iterative"] {
        let server = serve(&format!(
            "[process]\nmodel = '{model}'\n[limits]\ndeny = ['192.0.2.66']\n\
             [log.access]\nformat = '<{{client}} {{scheme}} {{status}}>'\ntarget = 'stderr'\n[service.web]\n{TRUSTED}"
        ));
        let mut stream = connect_from(PROXY, server.address());
        let fields = |client: &str| request(&format!("X-Forwarded-For: {client}\r\n"));
        for client in ["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.1"] {
            assert_eq!(status(&ask_again(&mut stream, &fields(client))), "200", "{model}");
        }
        let answer = ask(stream, &fields("192.0.2.66"));
        assert!(answer.ends_with("403 Forbidden: this address is not allowed to connect\n"), "{answer}");
        // Each line has the client of its own request.
        for client in [1, 2, 2, 1] {
            server.wait_line(&format!("<192.0.2.{client} http 200>"));
        }
        server.wait_line("<192.0.2.66 http 403>");
        let record = server.record();
        assert_eq!(
            ["client", "outcome", "reason", "source", "status", "requests"].map(|name| record.get(name)),
            ["192.0.2.66", "refused", "denied", "192.0.2.66", "403", "5"],
            "{model}: {}",
            record.line
        );
        assert!(
            record.line.contains("refused by policy (denied by \"allow\" and \"deny\")"),
            "{}",
            record.line
        );
    }
}

#[test]
fn access_lists_apply_to_the_client_and_not_to_the_proxy() {
    let config = |keys: &str| serve(&format!("[service.web]\n{TRUSTED}{keys}"));
    let server = config("allow = ['192.0.2.0/24']\n");
    assert_eq!(status(&ask_from(PROXY, &server, "X-Forwarded-For: 192.0.2.1\r\n")), "200");
    assert_eq!(status(&ask_from(PROXY, &server, "X-Forwarded-For: 198.51.100.1\r\n")), "403");
    // A proxy that names no client is the client.
    assert_eq!(status(&ask_from(PROXY, &server, "")), "403");
    assert_eq!(status(&ask_from(Ipv4Addr::LOCALHOST, &server, "X-Forwarded-For: 192.0.2.1\r\n")), "403");
    let server = config("deny = ['127.0.0.9']\n");
    assert_eq!(status(&ask_from(PROXY, &server, "X-Forwarded-For: 192.0.2.1\r\n")), "200");
    // Spoofed by the client, on the left of what the proxy adds.
    let server = config("deny = ['192.0.2.1']\n");
    assert_eq!(status(&ask_from(PROXY, &server, "X-Forwarded-For: 127.0.0.1, 192.0.2.1\r\n")), "403");
}

#[test]
fn limits_count_the_client_and_never_the_proxy() {
    let server = serve(&format!(
        "[limits]\nexempt = []\nmax_connections_per_source = 2\npenalty_after = 2\n[service.web]\n{TRUSTED}\
         [[service.web.route]]\npath = '/'\nhandler = 'respond'\nbody = 'x'\n\
         [[service.web.route]]\npath = '/slow'\nhandler = 'respond'\nbody = 'x'\ndelay = '1h'\n"
    ));
    let from = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    let hold = |client: &str| {
        let mut stream = connect_from(PROXY, server.address());
        // The first request is answered when the client is known.
        assert_eq!(status(&ask_again(&mut stream, &request(&from(client)))), "200");
        let slow = request(&from(client)).replace("/env.sh", "/slow");
        stream.write_all(slow.as_bytes()).unwrap();
        stream
    };
    let held = [hold("192.0.2.1"), hold("192.0.2.1")];
    // Each is at work when it has left the phase in which it counts for no client.
    wait_until("the client has two connections", || {
        status(&ask_from(PROXY, &server, &from("192.0.2.1"))) == "503"
    });
    let answer = ask_from(PROXY, &server, &from("192.0.2.1"));
    assert!(answer.contains("\r\nRetry-After: 5\r\n"), "{answer}");
    assert!(
        answer.ends_with("503 Service Unavailable: too many connections from this address\n"),
        "{answer}"
    );
    assert_eq!(status(&ask_from(PROXY, &server, &from("192.0.2.2"))), "200");
    // What a proxy says does not touch a client that connects itself, even one with the same address.
    let _more = hold("127.0.0.8");
    let _most = hold("127.0.0.8");
    assert_eq!(status(&ask_from(Ipv4Addr::new(127, 0, 0, 8), &server, "")), "200");
    drop(held);
}

#[test]
fn what_names_no_client_counts_for_none() {
    let server = serve(&format!("[limits]\nexempt = []\npenalty_after = 2\n[service.web]\n{TRUSTED}"));
    let victim = request("X-Forwarded-For: 192.0.2.1\r\n");
    let invalid = "X-Forwarded-For: 192.0.2.2\r\n";
    let contradictory = format!("{invalid}Forwarded: for=192.0.2.3\r\n");
    let others = [request(invalid).replace("/env.sh", "/a/..%2fb"), request(&contradictory)];
    for other in others.iter().cycle().take(6) {
        // On the connection of the client before it.
        let mut stream = connect_from(PROXY, server.address());
        assert_eq!(status(&ask_again(&mut stream, &victim)), "200");
        assert_eq!(status(&ask_again(&mut stream, other)), "400");
        let record = server.record();
        assert_eq!((record.get("outcome"), record.get("client")), ("client-error", ""));
    }
    // The proxy itself is refused as little.
    assert_eq!(status(&ask_from(PROXY, &server, "")), "200");
}

#[test]
fn idle_connections_of_a_proxy_count_for_no_client() {
    let server = serve(&format!(
        "[limits]\nexempt = []\nmax_connections_per_source = 1\nkeepalive_timeout = '1h'\n[service.web]\n{TRUSTED}"
    ));
    let fields = request("X-Forwarded-For: 192.0.2.1\r\n");
    let mut held = Vec::new();
    for number in 1..=3 {
        wait_until("the connection before is idle", || {
            let mut stream = connect_from(PROXY, server.address());
            let is_served = status(&ask_again(&mut stream, &fields)) == "200";
            held.extend(is_served.then_some(stream));
            held.len() == number
        });
    }
}
