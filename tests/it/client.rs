//! `lsbaws client` against servers that are made up here: each does one thing wrong, or right.

use std::io::{Read, Write};
use std::net::{SocketAddrV6, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn6, bind, getsockname, listen, socket,
};
use nix::unistd::Pid;
use serde_json::{Value, json};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nHello, World!\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/// Longest wait for something that must come.
const LONG: Duration = Duration::from_secs(30);

/// `lsbaws client` with these arguments, not yet started.
fn client(url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lsbaws"));
    command.args(["client", url]).args(args).stdin(Stdio::null());
    command
}

/// Runs the client to its end; returns its exit code and its report.
fn report(url: &str, args: &[&str]) -> (Option<i32>, Value) {
    parse(&client(url, args).arg("--json").output().unwrap())
}

fn parse(output: &Output) -> (Option<i32>, Value) {
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|error| panic!("{error} in {output:?}"));
    (output.status.code(), json)
}

/// Waits for a client that was started with its output piped.
fn finish(child: Child) -> (Option<i32>, Value) {
    parse(&child.wait_with_output().unwrap())
}

/// Runs a server beside the test. It is not waited for: a test that fails must not hang on it.
fn beside(server: impl FnOnce() + Send + 'static) {
    std::thread::spawn(server);
}

/// A TCP server that accepts `count` connections before it reads from any, then deals with each, by
/// its number. Returns its URL.
fn serve(count: usize, deal: impl Fn(usize, TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hello?x=1", listener.local_addr().unwrap());
    beside(move || {
        let held: Vec<_> = (0..count).map(|_| listener.accept().unwrap().0).collect();
        for (number, connection) in held.into_iter().enumerate() {
            deal(number, connection);
        }
        drop(listener); // not before: the client must never see it refuse
    });
    url
}

/// Reads the head of a request, so that closing resets nothing.
fn read_request(connection: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

fn answer(connection: &mut (impl Read + Write), text: &str) {
    read_request(connection);
    connection.write_all(text.as_bytes()).unwrap();
}

#[test]
fn all_connections_are_held_open_together_and_answered() {
    let url = serve(12, |_, mut connection| answer(&mut connection, OK));
    let (code, report) = report(&url, &["--max-clients", "3", "--max-conns", "4"]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["ok"], json!(true));
    assert_eq!(report["url"], json!(url));
    assert_eq!((&report["clients"], &report["connections"]), (&json!(3), &json!(12)));
    assert_eq!((&report["connected"], &report["refused"]), (&json!(12), &json!({})));
    assert_eq!(report["answered"], json!({"200": 12}));
    for nothing in ["wrong", "short", "timed_out", "lost"] {
        assert_eq!(report[nothing], json!(0), "{nothing}");
    }
    for times in ["answer_usec", "connect_usec"] {
        let times = ["min", "p50", "p90", "p99", "max"].map(|key| report[times][key].as_u64().unwrap());
        assert!(times.is_sorted(), "{times:?}");
    }
    assert!(report["wall_seconds"].as_f64().unwrap() > 0.0);
    assert!(report["answers_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_request_asks_for_the_target_of_the_url_and_a_close() {
    let (sender, receiver) = mpsc::channel();
    let url = serve(1, move |_, mut connection| {
        sender.send(read_request(&mut connection)).unwrap();
    });
    let (code, _) = report(&url, &["--max-conns", "1"]);
    assert_eq!(code, Some(1));
    let request = receiver.recv_timeout(LONG).unwrap();
    let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap();
    assert!(request.starts_with("GET /hello?x=1 HTTP/1.1\r\n"), "{request}");
    for field in [&format!("Host: {host}"), "Connection: close", "User-Agent: lsbaws/"] {
        assert!(request.contains(&format!("\r\n{field}")), "{field} is not in {request}");
    }
}

#[test]
fn answers_are_counted_by_status_and_503_is_a_failure() {
    let url = serve(4, |number, mut connection| {
        answer(&mut connection, if number == 0 { BUSY } else { OK });
    });
    let (code, report) = report(&url, &["--max-conns", "4"]);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(report["answered"], json!({"200": 3, "503": 1}));
    assert_eq!((&report["ok"], &report["notes"]), (&json!(false), &json!([])));
}

#[test]
fn short_and_wrong_answers_are_told_apart() {
    let url = serve(6, |number, mut connection| match number {
        0 => answer(&mut connection, &OK[..OK.len() - 1]),
        1 => answer(&mut connection, "HTTP/1.1 200 OK\r\nContent-"),
        2 => drop(read_request(&mut connection)),
        3 => drop(connection), // with the request unread, closing resets the connection
        4 => answer(&mut connection, "220 mail.example ESMTP\r\n"),
        _ => answer(&mut connection, &format!("{OK}and more")),
    });
    let (code, report) = report(&url, &["--max-conns", "6"]);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!((&report["short"], &report["wrong"]), (&json!(4), &json!(2)), "{report}");
    assert_eq!((&report["connected"], &report["answered"]), (&json!(6), &json!({})));
}

/// A port of both loopbacks that nobody listens on, as long as the socket is held.
fn taken_port() -> (OwnedFd, u16) {
    let any = SockFlag::empty();
    let socket = socket(AddressFamily::Inet6, SockType::Stream, any, None).unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn6::from("[::]:0".parse::<SocketAddrV6>().unwrap())).unwrap();
    let port = getsockname::<SockaddrIn6>(socket.as_raw_fd()).unwrap().port();
    (socket, port)
}

#[test]
fn refused_connections_name_the_error() {
    let (_taken, port) = taken_port();
    for host in ["127.0.0.1", "localhost"] {
        let (code, report) = report(&format!("http://{host}:{port}/"), &["--max-conns", "3"]);
        assert_eq!(code, Some(1), "{report}");
        assert_eq!((&report["connected"], &report["lost"]), (&json!(0), &json!(0)));
        assert_eq!(report["refused"], json!({"ECONNREFUSED": 3}));
        assert!(report["answer_usec"].is_null() && report["connect_usec"].is_null());
    }
    let (code, report) = report("unix:/nonexistent/web.sock", &["--max-conns", "2"]);
    assert_eq!((code, &report["refused"]), (Some(1), &json!({"ENOENT": 2})));
}

#[test]
fn localhost_is_tried_by_ipv6_when_ipv4_refuses() {
    // A port of ::1 whose namesake of 127.0.0.1 is free.
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    beside(move || answer(&mut listener.accept().unwrap().0, OK));
    let (code, report) = report(&format!("http://localhost:{port}/"), &["--max-conns", "1"]);
    assert_eq!((code, &report["answered"]), (Some(0), &json!({"200": 1})), "{report}");
}

#[test]
fn a_server_that_never_answers_times_out() {
    let (hold, held) = mpsc::channel();
    let url = serve(3, move |_, connection| hold.send(connection).unwrap());
    let (code, report) = report(&url, &["--max-conns", "3", "--timeout", "200ms"]);
    drop(held);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!((&report["connected"], &report["timed_out"]), (&json!(3), &json!(3)), "{report}");
}

#[test]
fn a_server_that_does_not_close_times_out() {
    let (hold, held) = mpsc::channel();
    let url = serve(1, move |_, mut connection| {
        answer(&mut connection, OK);
        hold.send(connection).unwrap();
    });
    let (code, report) = report(&url, &["--max-conns", "1", "--timeout", "200ms"]);
    drop(held);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!((&report["answered"], &report["timed_out"]), (&json!({}), &json!(1)), "{report}");
}

#[test]
fn nobody_asks_before_everybody_has_connected() {
    let (listener, url) = narrow_listener("barrier");
    let clients = client(&url, &["--max-clients", "3", "--max-conns", "1", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, receiver) = mpsc::channel();
    beside(move || {
        // The second client fits into the backlog now, the third not before the second is accepted.
        let (mut first, _) = listener.accept().unwrap();
        first.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        sender.send(first.read(&mut [0]).map_err(|error| error.kind())).unwrap();
        // An answer that comes before the question, as from a server that is tired of waiting.
        let late = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
        first.write_all(late.as_bytes()).unwrap();
        drop(first);
        let mut others = [listener.accept().unwrap().0, listener.accept().unwrap().0];
        others.iter_mut().for_each(|other| answer(other, OK));
    });
    let heard = receiver.recv_timeout(LONG).unwrap();
    assert_eq!(heard, Err(std::io::ErrorKind::WouldBlock), "one asked too early");
    let (code, report) = finish(clients);
    assert_eq!(code, Some(1));
    assert_eq!(report["answered"], json!({"200": 2, "408": 1}), "{report}");
}

/// A Unix listener in the abstract name space that holds no more than one connection unaccepted.
fn narrow_listener(name: &str) -> (UnixListener, String) {
    let name = format!("lsbaws-{name}-{}", std::process::id());
    let address = UnixAddress::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    (listener, format!("unix:@{name}:/hello"))
}

#[test]
fn a_full_backlog_of_a_unix_socket_times_out() {
    let (listener, url) = narrow_listener("full");
    let (code, report) = report(&url, &["--max-conns", "3", "--timeout", "200ms"]);
    drop(listener);
    assert_eq!(code, Some(1));
    assert_eq!((&report["connected"], &report["timed_out"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!(report["refused"], json!({"ETIMEDOUT": 2}));
    assert!(report["notes"][0].as_str().unwrap().contains("--timeout"));
}

#[test]
fn connections_of_a_client_that_died_are_lost() {
    let (ask, asked) = mpsc::channel();
    let (proceed, may_proceed) = mpsc::channel();
    let url = serve(4, move |number, mut connection| {
        if number == 0 {
            ask.send(()).unwrap();
            may_proceed.recv().unwrap();
        }
        // One of the two clients is dead: its connections may take no answer.
        let _ = connection.read(&mut [0; 4096]);
        let _ = connection.write_all(OK.as_bytes());
    });
    let clients = client(&url, &["--max-clients", "2", "--max-conns", "2", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    asked.recv_timeout(LONG).unwrap();
    kill(children_of(clients.id())[0], Signal::SIGKILL).unwrap();
    proceed.send(()).unwrap();
    let (code, report) = finish(clients);
    assert_eq!(code, Some(1));
    assert_eq!((&report["lost"], &report["answered"]), (&json!(2), &json!({"200": 2})), "{report}");
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.ends_with("was killed by SIGKILL"), "{note}");
}

fn children_of(pid: u32) -> Vec<Pid> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

#[test]
fn too_few_descriptors_are_announced_and_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 32; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_lsbaws")])
        .args(["client", &url, "--max-conns", "40", "--timeout", "200ms", "--json"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("no more than 32 files"), "{stderr}");
    let (code, report) = parse(&output);
    assert_eq!(code, Some(1));
    assert!(report["refused"]["EMFILE"].as_u64().unwrap() > 8, "{report}");
    assert!(report["notes"][0].as_str().unwrap().contains("ulimit -n"), "{report}");
}

#[test]
fn people_get_a_readable_report() {
    let url = serve(2, |number, mut connection| {
        answer(&mut connection, if number == 0 { BUSY } else { OK });
    });
    let output = client(&url, &["--max-conns", "2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("\nconnected  2 of 2\nrefused    0\nanswered   2 (200: 1, 503: 1)\n"), "{text}");
    assert!(text.contains("\nanswer     min "), "{text}");
    assert!(output.stderr.is_empty(), "no progress bar without a terminal: {output:?}");
}

#[test]
fn a_closed_standard_output_is_no_panic() {
    let url = serve(1, |_, mut connection| answer(&mut connection, OK));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = client(&url, &["--max-conns", "1"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn an_unusable_url_is_a_usage_error() {
    for (url, reason) in [
        ("https://127.0.0.1/", "https is not supported"),
        ("http://example.org/", "not looked up"),
        ("127.0.0.1:8888", "begins neither"),
    ] {
        let output = client(url, &[]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{url}: {stderr}");
        assert!(stderr.contains(reason) && stderr.lines().count() == 1, "{url}: {stderr}");
        assert!(output.stdout.is_empty(), "{url}");
    }
}
