//! No client holds a place for long: slow requests, slow readers, and clients of other protocols.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use tempfile::TempDir;

use crate::harness::{
    Server, Setup, ask, connect, connect_from, connect_unix, make_folder, read_to_end, run, serve, skip,
};

/// Between two pieces of a slow client.
const PAUSE: Duration = Duration::from_millis(50);

/// Sends `piece` again and again until the response arrives, and returns it.
fn trickle(stream: TcpStream, piece: &[u8]) -> String {
    let mut sender = stream.try_clone().unwrap();
    stream.set_read_timeout(Some(PAUSE)).unwrap();
    for _ in 0..200 {
        let _ = sender.write_all(piece); // the daemon may have closed
        match stream.peek(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => return read_to_end(stream),
        }
    }
    panic!("the daemon has accepted 200 pieces");
}

#[test]
fn framing_of_chunks_does_not_count_for_min_rate() {
    // Six bytes in a chunk of one, 20 times a second.
    let server = serve(
        "[limits]\nbody_timeout = '500ms'\nmin_rate = '60 B'\n[[service.web.route]]\nhandler = 'cgi'\nprogram = '/bin/cat'\n",
    );
    let mut stream = server.connect();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let answer = trickle(stream, b"1\r\nx\r\n");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn content_of_a_request_has_a_ceiling() {
    let limits = "[limits]\nbody_timeout = '300ms'\nbody_timeout_max = '600ms'\nmin_rate = '1 B'\n";
    let server = serve(&format!("{limits}[[service.web.route]]\nhandler = 'cgi'\nprogram = '/bin/cat'\n"));
    let mut stream = server.connect();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").unwrap();
    let answer = trickle(stream, b"x");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(server.record().get("outcome"), "client-error");
}

/// A daemon that serves a large file at `/large`, and what holds it.
fn serve_large(limits: &str, listen: &str) -> (Server, TempDir) {
    let folder = make_folder();
    File::create(folder.path().join("large")).unwrap().set_len(64 << 20).unwrap();
    let route = format!("[[service.web.route]]\nhandler = 'files'\nroot = '{}'\n", folder.path().display());
    let config = format!("[limits]\n{limits}\n{listen}{route}");
    let is_bound = !listen.is_empty();
    let server = if is_bound { Setup::new(&config).start() } else { serve(&config) };
    (server, folder)
}

const CLOSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const GET_LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn response_to_a_slow_reader_has_a_ceiling() {
    let socket = make_folder();
    let path = socket.path().join("web.sock"); // the buffer of a Unix socket is small and does not grow
    let listen = format!("[listen.web]\naddress = '{}'\n", path.display());
    let limits = "write_timeout = '300ms'\nwrite_timeout_max = '600ms'\nmin_rate = '1 B'\n";
    let (server, _folder) = serve_large(limits, &listen);
    let mut stream = connect_unix(&path);
    stream.write_all(GET_LARGE).unwrap();
    let (mut buffer, mut total) = ([0; 16 << 10], 0);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        total += count;
        assert!(total < 16 << 20, "the daemon has sent {total} bytes");
        thread::sleep(Duration::from_millis(20));
    }
    let record = server.record();
    assert_eq!((record.get("outcome"), record.get("phase")), ("client-error", "writing"));
}

#[test]
fn reader_that_is_given_up_is_reset() {
    let (server, _folder) = serve_large("write_timeout = '200ms'", "");
    let mut stream = server.connect();
    stream.write_all(GET_LARGE).unwrap();
    let record = server.record();
    assert_eq!((record.get("outcome"), record.get("phase")), ("client-error", "writing"));
    assert_eq!(record.get("client_gone"), "", "{}", record.line);
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// Closes a connection without any packet, as a host does that loses its power (TCP_REPAIR). False: the test is skipped,
/// since that requires CAP_NET_ADMIN.
fn vanish(stream: TcpStream) -> bool {
    let result = setsockopt(&stream, sockopt::TcpRepair, &1);
    if result.is_err() {
        skip("TCP_REPAIR requires CAP_NET_ADMIN");
    }
    drop(stream);
    result.is_ok()
}

#[test]
fn vanished_peer_of_a_program_is_found() {
    let program = "[service.web]\nprotocol = 'exec'\ncommand = '/bin/cat'\n";
    let server = serve(&format!("[limits]\npeer_timeout = '2s'\n{program}"));
    let mut stream = server.connect();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    if vanish(stream) {
        assert_eq!(server.record().get("exit_code"), "1");
    }
}

#[test]
fn keepalive_of_the_service_manager_is_kept() {
    let [own, foreign] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    setsockopt(&foreign, sockopt::KeepAlive, &true).unwrap();
    setsockopt(&foreign, sockopt::TcpKeepIdle, &77).unwrap();
    let sockets = [own.try_clone().unwrap(), foreign.try_clone().unwrap()];
    let [one, two] = sockets;
    let server =
        Setup::new("[limits]\npeer_timeout = '40s'\n").socket(one).socket(two).names("web:web").start();
    let idle = |socket: &TcpListener| getsockopt(socket, sockopt::TcpKeepIdle).unwrap();
    let timeout = |socket: &TcpListener| getsockopt(socket, sockopt::TcpUserTimeout).unwrap();
    assert_eq!((idle(&own), timeout(&own)), (20, 40_000));
    assert_eq!((idle(&foreign), timeout(&foreign)), (77, 0));
    server.reload("[limits]\npeer_timeout = '1m'\n");
    server.wait_line("configuration reloaded");
    assert_eq!((idle(&own), idle(&foreign)), (30, 77));
}

#[test]
fn flood_of_one_source_does_not_suppress_records_of_others() {
    let server = serve("[log]\nmax_rate = 4\n");
    let get = |last: u8| ask(connect_from(Ipv4Addr::new(127, 0, 0, last), server.address()), CLOSE);
    for _ in 0..40 {
        get(2);
    }
    get(3);
    server.wait_line(" peer=127.0.0.3:");
}

/// A daemon with an exec service `one` and an HTTP service `two`, and the addresses of both.
fn serve_two(config: &str) -> (Server, [SocketAddr; 2]) {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let [one, two] = sockets;
    let services = "[service.one]\nprotocol = 'exec'\ncommand = '/bin/cat'\n[service.two]\n";
    let setup = Setup::new(&format!("{config}{services}")).socket(one).socket(two).names("one:two");
    (setup.start(), addresses)
}

#[test]
fn connections_of_one_service_leave_places_for_another() {
    let (server, [one, two]) = serve_two("[limits]\nmax_connections = 8\n");
    let mut held: Vec<_> = (0..8).map(|_| connect(one)).collect();
    for stream in &mut held {
        stream.write_all(b"x").unwrap();
    }
    for stream in &mut held[..7] {
        stream.read_exact(&mut [0]).unwrap();
    }
    for _ in 0..3 {
        assert!(ask(connect(two), CLOSE).starts_with("HTTP/1.1 200 "));
    }
    held[7].set_nonblocking(true).unwrap();
    let error = held[7].read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "the last place is kept");
    drop(server);
}

#[test]
fn reserved_places_are_checked_and_shown() {
    let check = |more: &[&str]| {
        run(&[
            &[
                "check",
                "--show",
                "--set",
                "service.one.max_duration=1h",
                "--set",
                "service.two.max_duration=1h",
            ],
            more,
        ]
        .concat())
    };
    let (code, text, _) = check(&[]);
    assert_eq!((code, text.matches("reserve = 64").count()), (0, 2), "{text}");
    let (_, text, _) = check(&["--set", "service.one.reserve=312"]);
    assert!(text.contains("reserve = 312") && text.contains("reserve = 25"), "{text}");
    let (_, text, _) = check(&["--set", "service.two.max_connections=500"]);
    assert!(text.contains("service.two.max_connections = 500 exceeds what other services leave of limits.max_connections = 512: they reserve 64"), "{text}");
    let (code, _, message) = check(&["--set", "service.one.reserve=500", "--set", "service.two.reserve=13"]);
    assert_eq!(code, 78);
    assert!(
        message.contains(
            "service.two.reserve: all services together reserve more than limits.max_connections = 512"
        ),
        "{message}"
    );
}

const KEEP: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends one request and reads the response.
fn hold(mut stream: TcpStream) -> TcpStream {
    stream.write_all(KEEP.as_bytes()).unwrap();
    assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    stream
}

#[test]
fn idle_connections_make_room_the_longest_idle_first() {
    let server = serve("[limits]\nmax_connections = 3\nkeepalive_timeout = '1h'\n");
    let hold_idle = |_| {
        let stream = hold(server.connect());
        // A client has its response before the child begins to wait for the next request.
        server.wait_idle_children();
        stream
    };
    let mut held: Vec<_> = (0..3).map(hold_idle).collect();
    assert!(server.get("/").starts_with("HTTP/1.1 200 "));
    assert_eq!(read_to_end(&held[0]), "", "it has made room");
    assert_eq!(server.record().get("outcome"), "served");
    for stream in &mut held[1..] {
        stream.write_all(KEEP.as_bytes()).unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0, "the others have not");
    }
}

#[test]
fn slow_heads_make_room() {
    let server = serve("[limits]\nmax_connections = 2\nhead_timeout = '1h'\n");
    let mut slow: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    }
    assert!(server.get("/").starts_with("HTTP/1.1 200 "));
    assert!(read_to_end(&slow[0]).starts_with("HTTP/1.1 408 "));
}

#[test]
fn slow_transfers_make_room() {
    let limits = "max_connections = 1\nbody_timeout = '1h'\nwrite_timeout = '1h'\n";
    let (server, _folder) = serve_large(limits, "");
    let mut stream = server.connect();
    stream.write_all(GET_LARGE).unwrap();
    // The reader waits for its whole life.
    assert!(server.get("/none").starts_with("HTTP/1.1 404 "));
    let record = server.record_of("/large");
    assert_eq!((record.get("outcome"), record.get("phase")), ("client-error", "writing"));
}

#[test]
fn program_without_traffic_ends_at_its_idle_timeout() {
    let server = serve("[service.web]\nprotocol = 'exec'\ncommand = '/bin/cat'\nidle_timeout = '600ms'\n");
    let mut stream = server.connect();
    for _ in 0..10 {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(read_to_end(stream), "");
    let record = server.record();
    assert_eq!((record.get("terminated_by"), record.get("signal")), ("idle", "SIGTERM"));
    assert!(record.line.contains(" (terminated: idle_timeout exceeded)"), "{}", record.line);
}

#[test]
fn single_connection_of_a_program_has_its_idle_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect(listener.local_addr().unwrap());
    let (connection, _) = listener.accept().unwrap();
    let config = "[service.web]\nprotocol = 'exec'\ncommand = '/bin/cat'\nidle_timeout = '200ms'\n";
    let server = Setup::new(config).socket(connection).names("connection").spawn();
    assert_eq!(read_to_end(client), "");
    assert_eq!(server.record().get("terminated_by"), "idle");
}

#[test]
fn client_of_another_protocol_is_refused_at_once() {
    let server = serve("[limits]\nhead_timeout = '1h'\n");
    // The beginning of a ClientHello, with a line feed among its random bytes.
    let mut stream = server.connect();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\x8f").unwrap();
    assert_eq!(read_to_end(stream), "");
    let record = server.record();
    assert_eq!(
        (record.get("target"), record.get("outcome"), record.get("status")),
        ("TLS handshake on a plain HTTP port", "client-error", "")
    );
    for (bytes, target) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2"),
        ("EHLO a\r\n", "EHLO a"),
        ("\u{80}\0\u{1}", r"\\xc2\\x80\\x00\\x01"),
        ("\r\n{\"a\":1}", r"{\\x22a\\x22:1}"),
    ] {
        let answer = ask(server.connect(), bytes);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert_eq!(server.record().get("target"), target);
    }
}
