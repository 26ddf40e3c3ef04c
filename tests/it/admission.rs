//! Admission: which connections get a process, and how the others are refused.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;

use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;

use crate::harness::{
    Server, Setup, ask, can_look_inside, can_open, connect, connect_from, connect_unix, make_folder,
    read_to_end, reset, serve, wait_dead, wait_until,
};

const KEEP: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const CLOSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// The loopback address 127.0.0.`number`.
fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number)
}

/// Sends one request and keeps the connection open after its response.
fn hold(mut stream: impl Read + Write) -> impl Read + Write {
    stream.write_all(KEEP.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let count = stream.read(&mut answer).unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..count]));
    stream
}

fn get_from(server: &Server, number: u8) -> String {
    ask(connect_from(address(number), server.address()), CLOSE)
}

/// Sends requests until one is served, as soon as the limit permits it.
fn wait_served(server: &Server, number: u8) {
    wait_until("a request is served again", || get_from(server, number).starts_with("HTTP/1.1 200 "));
}

fn is_refused(answer: &str, retry_after: u32) -> bool {
    let (head, content) = answer.split_once("\r\n\r\n").unwrap();
    let date = head.split_once("\r\nDate: ").map(|(_, rest)| rest.lines().next().unwrap());
    answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n")
        && date.is_some_and(|date| httpdate::parse_http_date(date).is_ok())
        && head.contains("\r\nX-Content-Type-Options: nosniff\r\n")
        && content.ends_with('\n')
        && head.contains(&format!("\r\nContent-Length: {}\r\n", content.len()))
        && head.contains(&format!("\r\nRetry-After: {retry_after}\r\n"))
        && head.ends_with("\r\nConnection: close")
}

#[test]
fn source_over_its_limit_is_refused_and_others_are_served() {
    for model in ["fork", "double-fork"] {
        let limits = "[limits]\nexempt = []\nmax_connections_per_source = 2\n";
        let server = serve(&format!("{limits}[process]\nmodel = '{model}'\n"));
        let first = hold(connect_from(address(2), server.address()));
        let _second = hold(connect_from(address(2), server.address()));
        let answer = get_from(&server, 2);
        assert!(is_refused(&answer, 5), "{answer}");
        assert!(answer.ends_with("too many connections from this address\n"), "{answer}");
        let record = server.record();
        let get = |name: &str| record.get(name).to_owned();
        assert_eq!(
            [get("end"), get("outcome"), get("reason"), get("source"), get("status")],
            ["refused", "refused", "max_connections_per_source", "127.0.0.2", "503"]
        );
        assert!(
            record.line.contains("its source already has 2 connections (limits.max_connections_per_source)"),
            "{}",
            record.line
        );
        assert!(get_from(&server, 3).starts_with("HTTP/1.1 200 "), "{model}");
        drop(first);
        wait_served(&server, 2);
    }
}

#[test]
fn refusal_arrives_whatever_the_client_has_sent() {
    let server = serve("[limits]\nexempt = []\nmax_connections_per_source = 1\n");
    let _held = hold(server.connect());
    let mut stream = server.connect();
    let content = "x".repeat(200_000);
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len());
    stream.write_all((head + &content).as_bytes()).unwrap();
    assert!(is_refused(&read_to_end(stream), 5));
}

#[test]
fn many_refusals_arrive_and_leave_no_descriptor_open() {
    if !can_open(1200) || !can_look_inside() {
        return;
    }
    let server = serve("[limits]\nexempt = []\nmax_connections_per_source = 1\n");
    let before = server.count_fds();
    let held = hold(server.connect());
    let mut streams: Vec<TcpStream> = (0..600).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(CLOSE.as_bytes()).unwrap();
    }
    for stream in &mut streams {
        assert!(is_refused(&read_to_end(stream), 5));
    }
    assert!(server.count_fds() <= before + 260, "at most 256 refusals linger");
    drop(streams);
    drop(held);
    wait_until("a request is served again", || server.get("/").starts_with("HTTP/1.1 200 "));
    wait_until("all refusals are closed", || server.count_fds() <= before);
}

#[test]
fn source_over_its_rate_is_refused_for_a_moment() {
    let server = serve("[limits]\nexempt = []\nmax_rate_per_source = 3\n");
    // Connections in the backlog of a stopped daemon arrive at once when it continues.
    server.signal(Signal::SIGSTOP);
    let streams = [(); 12].map(|()| {
        let mut stream = connect_from(address(2), server.address());
        stream.write_all(CLOSE.as_bytes()).unwrap();
        stream
    });
    server.signal(Signal::SIGCONT);
    let answers = streams.map(read_to_end);
    assert!(answers[..3].iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")), "{answers:?}");
    let refused = answers.iter().find(|answer| !answer.starts_with("HTTP/1.1 200 ")).expect("a refusal");
    assert!(is_refused(refused, 1), "{refused}");
    assert!(get_from(&server, 3).starts_with("HTTP/1.1 200 "));
    server.wait_line("connection rate of its source exceeds limits.max_rate_per_source");
    wait_served(&server, 2);
}

#[test]
fn addresses_of_one_prefix_are_one_source() {
    let server = serve("[limits]\nexempt = []\nmax_connections_per_source = 1\nsource_prefix_v4 = 24\n");
    let _held = hold(connect_from(address(2), server.address()));
    assert!(is_refused(&get_from(&server, 3), 5));
    assert_eq!(server.record().get("source"), "127.0.0.0/24");
    assert!(
        ask(connect_from(Ipv4Addr::new(127, 0, 1, 1), server.address()), CLOSE).starts_with("HTTP/1.1 200 ")
    );
}

#[test]
fn loopback_is_exempt_by_default() {
    let server = serve("[limits]\nmax_connections_per_source = 1\nmax_rate_per_source = 1\n");
    let _held: Vec<_> = (0..3).map(|_| hold(server.connect())).collect();
}

#[test]
fn access_lists_decide_which_clients_may_connect() {
    let server = serve(
        "[limits]\ndeny = '127.0.0.0/30'\nallow = ['127.0.0.1', '127.0.0.128/25']\n[service.web]\ndeny = '127.0.0.200'\n",
    );
    for (number, is_admitted) in [(1, true), (2, false), (99, false), (199, true), (200, false)] {
        let answer = get_from(&server, number);
        assert_eq!(answer.starts_with("HTTP/1.1 200 "), is_admitted, "{number}: {answer}");
        assert!(is_admitted || answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{number}: {answer}");
        assert!(!answer.contains("Retry-After") && answer.ends_with('\n'), "{answer}");
        assert_eq!(answer.matches("\r\nDate: ").count(), 1, "{answer}");
        let record = server.record();
        assert_eq!(record.get("reason") == "denied", !is_admitted, "{}", record.line);
    }
    server.reload("[limits]\nallow = '127.0.0.2'\n");
    server.wait_line("configuration reloaded");
    assert!(get_from(&server, 2).starts_with("HTTP/1.1 200 "));
    assert!(get_from(&server, 1).starts_with("HTTP/1.1 403 "));
}

#[test]
fn users_of_a_unix_socket_are_sources() {
    let folder = make_folder();
    let path = folder.path().join("web");
    let uid = nix::unistd::getuid();
    let start = |limits: &str| {
        let _ = std::fs::remove_file(&path);
        Setup::new(limits).socket(UnixListener::bind(&path).unwrap()).names("web").start()
    };
    let server = start("[limits]\nexempt = []\nmax_connections_per_source = 1\n");
    let _held = hold(connect_unix(&path));
    // The request must be read: closing a Unix socket with unread bytes resets the connection as well.
    assert!(is_refused(&ask(connect_unix(&path), CLOSE), 5));
    assert_eq!(server.record().get("source"), format!("uid:{uid}"));
    let _other = start(&format!("[limits]\ndeny = ['uid:{uid}']\n"));
    assert!(ask(connect_unix(&path), CLOSE).starts_with("HTTP/1.1 403 "));
}

#[test]
fn refused_client_of_a_program_receives_its_refusal_text() {
    let service = "[service.web]\nprotocol = 'exec'\ncommand = '/bin/cat'\nmax_connections_per_source = 1\n";
    let server = serve(&format!("[limits]\nexempt = []\n{service}refusal = \"421 too many of you\\r\\n\"\n"));
    let mut held = connect_from(address(2), server.address());
    held.write_all(b"x").unwrap();
    held.read_exact(&mut [0]).unwrap();
    assert_eq!(read_to_end(connect_from(address(2), server.address())), "421 too many of you\r\n");
    let record = server.record();
    assert_eq!((record.get("reason"), record.get("status")), ("max_connections_per_source", ""));
    assert!(record.line.contains("max_connections_per_source of the service"), "{}", record.line);
}

#[test]
fn penalties_follow_errors_and_grow_and_end() {
    let penalty = "penalty_after = 2\npenalty_time = '300ms'\npenalty_time_max = '1m'\n";
    let server = serve(&format!("[log]\nmax_rate = 0\n[limits]\nexempt = []\n{penalty}"));
    for time in ["300ms", "600ms"] {
        let is_bad = |answer: String| assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        is_bad(ask(connect_from(address(2), server.address()), "nonsense\r\n\r\n"));
        server.wait_line("400, ");
        let mut last = connect_from(address(2), server.address());
        wait_until("the connection has a child", || !server.children().is_empty());
        server.wait_idle_children(); // it has reported that it has started
        server.wait_idle();
        // When the daemon continues from poll(2), it reaps the child before it accepts: the next connection arrives
        // within the penalty, however slow this host is.
        server.signal(Signal::SIGSTOP);
        last.write_all(b"nonsense\r\n\r\n").unwrap();
        is_bad(read_to_end(last));
        wait_dead(Pid::from_raw(server.children()[0]));
        let next = connect_from(address(2), server.address());
        server.signal(Signal::SIGCONT);
        let line = server.wait_line("refusing 127.0.0.2 for ");
        assert!(
            line.contains(&format!("for {time} after 2 failed connections (limits.penalty_after)")),
            "{line}"
        );
        let answer = ask(next, CLOSE);
        assert!(is_refused(&answer, 1), "{time}: {answer}");
        server.wait_line("its source is penalized for another");
        assert!(get_from(&server, 3).starts_with("HTTP/1.1 200 "));
        wait_served(&server, 2);
        // A served connection cancels a failed one when its child is reaped.
        wait_until("all children are reaped", || server.children().is_empty());
    }
}

#[test]
fn service_at_its_own_limit_defers_connections() {
    let sockets = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let [one, two] = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let [first, second] = sockets;
    let config = "[service.one]\nmax_connections = 1\n[service.two]\n";
    let server = Setup::new(config).socket(first).socket(second).names("one:two").start();
    let held = hold(connect(one));
    let mut waiting = connect(one);
    waiting.write_all(CLOSE.as_bytes()).unwrap();
    for _ in 0..3 {
        assert!(ask(connect(two), CLOSE).starts_with("HTTP/1.1 200 "));
    }
    waiting.set_nonblocking(true).unwrap();
    assert_eq!(
        waiting.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "the connection is in the backlog"
    );
    waiting.set_nonblocking(false).unwrap();
    drop(held);
    assert!(read_to_end(waiting).starts_with("HTTP/1.1 200 "));
    for _ in 0..5 {
        assert_eq!(server.record().get("outcome"), "served");
    }
}

#[test]
fn connected_socket_is_refused_by_the_access_list() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let setup = Setup::new("[limits]\ndeny = '127.0.0.0/8'\n");
    let mut server = setup.socket(connection).names("connection").spawn();
    assert!(ask(client, CLOSE).starts_with("HTTP/1.1 403 "));
    assert_eq!(server.wait().code(), Some(3));
}

#[test]
fn errors_in_access_lists_are_reported() {
    for (value, key) in
        [("'10.0.0.1/8'", "limits.allow"), ("['localhost']", "limits.deny"), ("1", "limits.exempt")]
    {
        let folder = make_folder();
        let file = folder.path().join("lsbaws.toml");
        let name = key.strip_prefix("limits.").unwrap();
        std::fs::write(&file, format!("[limits]\n{name} = {value}\n")).unwrap();
        let (code, _, message) = crate::harness::run(&["check", "-c", file.to_str().unwrap()]);
        assert_eq!(code, 78);
        assert!(message.contains("expected a network such as \"192.0.2.7\""), "{message}");
        assert!(message.contains(key), "{message}");
    }
}

#[test]
fn refused_client_can_send_for_a_while() {
    let server = serve("[limits]\nexempt = []\nmax_connections_per_source = 1\n");
    let _held = hold(server.connect());
    let mut stream = server.connect();
    setsockopt(&stream, sockopt::SndBuf, &(64 << 10)).unwrap();
    assert!(is_refused(&read_to_end(&mut stream), 5));
    // More than the socket buffers hold: the write fails if the daemon closes, and blocks if it does not read.
    stream.write_all(&vec![b'x'; 1 << 20]).unwrap();
    stream.write_all(b"x").unwrap();
}

#[test]
fn refusals_are_closed_when_descriptors_run_out() {
    let server = serve("[limits]\nexempt = []\nmax_connections_per_source = 1\n");
    let _held = hold(connect_from(address(2), server.address()));
    let refused: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect_from(address(2), server.address());
            assert!(is_refused(&read_to_end(&mut stream), 5));
            stream
        })
        .collect();
    crate::exhaustion::set_limit(&server, "--nofile=18:");
    assert!(get_from(&server, 3).starts_with("HTTP/1.1 200 "));
    drop(refused);
    loop {
        let line = server.wait_line("");
        assert!(!line.contains("unable to accept"), "{line}");
        if line.contains("peer=127.0.0.3:") {
            break;
        }
    }
}

#[test]
fn served_and_dropped_connections_are_not_penalized() {
    let penalty = "[limits]\nexempt = []\npenalty_after = 2\npenalty_time = '1h'\npenalty_time_max = '1h'\n";
    let folder = make_folder();
    std::fs::File::create(folder.path().join("large")).unwrap().set_len(64 << 20).unwrap();
    let route = format!("[[service.web.route]]\nhandler = 'files'\nroot = '{}'\n", folder.path().display());
    let server = serve(&format!("{penalty}{route}"));
    // The outcome of a connection counts when its child is reaped, which is when its record is written.
    let serve_bad = || {
        assert!(ask(server.connect(), "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
        server.record();
    };
    let serve_good = || {
        assert!(ask(server.connect(), CLOSE).starts_with("HTTP/1.1 404 "));
        assert_eq!(server.record().get("outcome"), "served");
    };
    // A served connection cancels a failed one.
    serve_bad();
    serve_good();
    serve_bad();
    serve_good();
    // A client may disconnect during a response or before a request.
    for _ in 0..3 {
        let mut stream = server.connect();
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 4096]).unwrap();
        drop(stream);
        server.wait_line("client error while writing");
    }
    for _ in 0..3 {
        reset(server.connect());
        server.wait_line("no request");
    }
    serve_good();
    // Exit codes of programs do not count.
    let server = serve(&format!("{penalty}[service.web]\nprotocol = 'exec'\ncommand = '/bin/false'\n"));
    for _ in 0..4 {
        read_to_end(server.connect());
        assert_eq!(server.record().get("exit_code"), "1");
    }
}
