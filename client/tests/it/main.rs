//! The load client against servers that are made up here: each has one fault, or none.
#![forbid(unsafe_code)]
// A test may panic, and start threads: it does not fork.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "this is a test")]

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
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, getsockname, listen, socket,
};
use nix::unistd::Pid;
use serde_json::{Value, json};

const CLIENT: &str = env!("CARGO_BIN_EXE_lsbaws-client");

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nHello, World!\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/// Maximum wait for an event that must happen.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A timeout of the client that passes, but not before its connections are open.
const SHORT: &str = "1s";

/// The client with these arguments, not started yet.
fn client(url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(CLIENT);
    command.arg(url).args(args).stdin(Stdio::null());
    command
}

/// Runs the client until it exits. Returns its exit code and its report.
fn report(url: &str, args: &[&str]) -> (Option<i32>, Value) {
    parse(&client(url, args).arg("--json").output().unwrap())
}

fn parse(output: &Output) -> (Option<i32>, Value) {
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|error| panic!("{error} in {output:?}"));
    (output.status.code(), json)
}

/// Waits for a client that was started with piped output.
fn finish(child: Child) -> (Option<i32>, Value) {
    parse(&child.wait_with_output().unwrap())
}

/// Runs a server in a thread that the test does not wait for, so that a test that fails does not hang.
fn start(server: impl FnOnce() + Send + 'static) {
    std::thread::spawn(server);
}

/// A TCP server that accepts `count` connections, then calls `handle` for each, with its number. Returns its
/// URL.
fn serve(count: usize, handle: impl Fn(usize, TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hello?x=1", listener.local_addr().unwrap());
    start(move || {
        let held: Vec<_> = (0..count).map(|_| listener.accept().unwrap().0).collect();
        for (number, connection) in held.into_iter().enumerate() {
            handle(number, connection);
        }
        drop(listener); // not before: the server must not refuse a connection
    });
    url
}

/// Reads the head of a request: a close with unread input would reset the connection.
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
fn all_connections_are_open_at_the_same_time() {
    let url = serve(12, |_, mut connection| answer(&mut connection, OK));
    let (code, report) = report(&url, &["--max-clients", "3", "--max-conns", "4"]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["ok"], json!(true));
    assert_eq!(report["url"], json!(url));
    assert_eq!((&report["clients"], &report["connections"]), (&json!(3), &json!(12)));
    assert_eq!((&report["connected"], &report["not_connected"]), (&json!(12), &json!({})));
    assert_eq!(report["answered"], json!({"200": 12}));
    for key in ["invalid", "truncated", "timed_out", "lost"] {
        assert_eq!(report[key], json!(0), "{key}");
    }
    for times in ["response_usec", "connect_usec"] {
        let times = ["min", "p50", "p90", "p99", "max"].map(|key| report[times][key].as_u64().unwrap());
        assert!(times.is_sorted(), "{times:?}");
    }
    assert!(report["duration_seconds"].as_f64().unwrap() > 0.0);
    assert!(report["responses_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn request_has_target_host_and_connection_close() {
    let (sender, receiver) = mpsc::channel();
    let url = serve(1, move |_, mut connection| {
        sender.send(read_request(&mut connection)).unwrap();
    });
    let (code, _) = report(&url, &["--max-conns", "1"]);
    assert_eq!(code, Some(1));
    let request = receiver.recv_timeout(TIMEOUT).unwrap();
    let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap();
    assert!(request.starts_with("GET /hello?x=1 HTTP/1.1\r\n"), "{request}");
    for field in [&format!("Host: {host}"), "Connection: close", "User-Agent: lsbaws/"] {
        assert!(request.contains(&format!("\r\n{field}")), "no {field} in {request}");
    }
}

#[test]
fn status_503_is_a_failure() {
    let url = serve(4, |number, mut connection| {
        answer(&mut connection, if number == 0 { BUSY } else { OK });
    });
    let (code, report) = report(&url, &["--max-conns", "4"]);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(report["answered"], json!({"200": 3, "503": 1}));
    assert_eq!((&report["ok"], &report["notes"]), (&json!(false), &json!([])));
}

#[test]
fn truncated_and_invalid_responses_are_counted() {
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
    assert_eq!((&report["truncated"], &report["invalid"]), (&json!(4), &json!(2)), "{report}");
    assert_eq!((&report["connected"], &report["answered"]), (&json!(6), &json!({})));
}

/// A port of both loopback addresses that is bound but does not listen, until the socket is dropped.
fn closed_port() -> (OwnedFd, u16) {
    let any = SockFlag::empty();
    let socket = socket(AddressFamily::Inet6, SockType::Stream, any, None).unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn6::from("[::]:0".parse::<SocketAddrV6>().unwrap())).unwrap();
    let port = getsockname::<SockaddrIn6>(socket.as_raw_fd()).unwrap().port();
    (socket, port)
}

#[test]
fn connect_errors_are_counted_by_name() {
    let (_socket, port) = closed_port();
    for host in ["127.0.0.1", "localhost"] {
        let (code, report) = report(&format!("http://{host}:{port}/"), &["--max-conns", "3"]);
        assert_eq!(code, Some(1), "{report}");
        assert_eq!((&report["connected"], &report["lost"]), (&json!(0), &json!(0)));
        assert_eq!(report["not_connected"], json!({"ECONNREFUSED": 3}));
        assert!(report["response_usec"].is_null() && report["connect_usec"].is_null());
    }
    let (code, report) = report("unix:/nonexistent/web.sock", &["--max-conns", "2"]);
    assert_eq!((code, &report["not_connected"]), (Some(1), &json!({"ENOENT": 2})));
}

/// A listener on ::1, and a socket that is bound to the same port of 127.0.0.1, but does not listen.
fn ipv6_listener() -> (TcpListener, OwnedFd, u16) {
    loop {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
        if bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).is_ok() {
            return (listener, socket, port);
        }
    }
}

#[test]
fn localhost_falls_back_to_ipv6() {
    let (listener, _socket, port) = ipv6_listener();
    start(move || answer(&mut listener.accept().unwrap().0, OK));
    let (code, report) = report(&format!("http://localhost:{port}/"), &["--max-conns", "1"]);
    assert_eq!((code, &report["answered"]), (Some(0), &json!({"200": 1})), "{report}");
}

#[test]
fn server_that_sends_nothing_times_out() {
    let (hold, held) = mpsc::channel();
    let url = serve(3, move |_, connection| hold.send(connection).unwrap());
    let (code, report) = report(&url, &["--max-conns", "3", "--timeout", SHORT]);
    drop(held);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!((&report["connected"], &report["timed_out"]), (&json!(3), &json!(3)), "{report}");
}

#[test]
fn server_that_does_not_close_times_out() {
    let (hold, held) = mpsc::channel();
    let url = serve(1, move |_, mut connection| {
        answer(&mut connection, OK);
        hold.send(connection).unwrap();
    });
    let (code, report) = report(&url, &["--max-conns", "1", "--timeout", SHORT]);
    drop(held);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!((&report["answered"], &report["timed_out"]), (&json!({}), &json!(1)), "{report}");
}

#[test]
fn no_request_is_sent_before_all_clients_have_connected() {
    let (listener, url) = narrow_listener("barrier");
    let clients = client(&url, &["--max-clients", "3", "--max-conns", "1", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, receiver) = mpsc::channel();
    start(move || {
        // The backlog has room for the second client; the third has to wait.
        let (mut first, _) = listener.accept().unwrap();
        first.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        sender.send(first.read(&mut [0]).map_err(|error| error.kind())).unwrap();
        // A response before the request, as from a server with a timeout.
        let late = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
        first.write_all(late.as_bytes()).unwrap();
        drop(first);
        let mut others = [listener.accept().unwrap().0, listener.accept().unwrap().0];
        others.iter_mut().for_each(|other| answer(other, OK));
    });
    let read = receiver.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(read, Err(std::io::ErrorKind::WouldBlock), "a request was sent too early");
    let (code, report) = finish(clients);
    assert_eq!(code, Some(1));
    assert_eq!(report["answered"], json!({"200": 2, "408": 1}), "{report}");
}

/// A Unix listener in the abstract namespace with a backlog of one connection.
fn narrow_listener(name: &str) -> (UnixListener, String) {
    let name = format!("lsbaws-{name}-{}", std::process::id());
    let address = UnixAddress::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    (listener, format!("unix:@{name}:/hello"))
}

#[test]
fn full_backlog_of_a_unix_socket_times_out() {
    let (listener, url) = narrow_listener("full");
    let (code, report) = report(&url, &["--max-conns", "3", "--timeout", SHORT]);
    drop(listener);
    assert_eq!(code, Some(1));
    assert_eq!((&report["connected"], &report["timed_out"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!(report["not_connected"], json!({"ETIMEDOUT": 2}));
    assert!(report["notes"][0].as_str().unwrap().contains("--timeout"));
}

#[test]
fn connections_of_a_killed_client_process_are_lost() {
    let (connect, connected) = mpsc::channel();
    let (proceed, may_proceed) = mpsc::channel();
    let url = serve(4, move |number, mut connection| {
        if number == 0 {
            connect.send(()).unwrap();
            may_proceed.recv().unwrap();
        }
        // Fails for the connections of the killed process.
        let _ = connection.read(&mut [0; 4096]);
        let _ = connection.write_all(OK.as_bytes());
    });
    let clients = client(&url, &["--max-clients", "2", "--max-conns", "2", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    connected.recv_timeout(TIMEOUT).unwrap();
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
fn too_few_descriptors_are_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 32; exec \"$@\"", "sh", CLIENT])
        .args([&url, "--max-conns", "40", "--timeout", SHORT, "--json"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("at most 32 files"), "{stderr}");
    let (code, report) = parse(&output);
    assert_eq!(code, Some(1));
    assert!(report["not_connected"]["EMFILE"].as_u64().unwrap() > 8, "{report}");
    assert!(report["notes"][0].as_str().unwrap().contains("ulimit -n"), "{report}");
}

#[test]
fn report_is_text_by_default() {
    let url = serve(2, |number, mut connection| {
        answer(&mut connection, if number == 0 { BUSY } else { OK });
    });
    let output = client(&url, &["--max-conns", "2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("\nconnected      2 of 2\nnot connected  0\nanswered       2 (200: 1, 503: 1)\n"),
        "{text}"
    );
    assert!(text.contains("\nresponse       min "), "{text}");
    assert!(output.stderr.is_empty(), "no progress bar without a terminal: {output:?}");
}

#[test]
fn closed_standard_output_does_not_panic() {
    let url = serve(1, |_, mut connection| answer(&mut connection, OK));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = client(&url, &["--max-conns", "1"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn invalid_url_is_a_usage_error() {
    for (url, reason) in [
        ("https://127.0.0.1/", "https is not supported"),
        ("http://example.org/", "only host name"),
        ("127.0.0.1:8888", "must start"),
    ] {
        let output = client(url, &[]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{url}: {stderr}");
        assert!(stderr.contains(reason) && stderr.lines().count() == 1, "{url}: {stderr}");
        assert!(output.stdout.is_empty(), "{url}");
    }
}
