//! Activation: sockets from systemd, from inetd and similar programs, or none.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;

use crate::harness::{
    LSBAWS, Record, Setup, ask, command, connect, connect_unix, find_program, lsbaws, make_folder,
    read_to_end, reset,
};

const REQUEST: &str = "GET /x HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

/// The shipped configuration, which has the defaults. It replaces the one of this host.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/lsbaws.toml");

const THREE_SERVICES: &str = "
    [[service.a.route]]
    body = 'this is a'
    [[service.b.route]]
    body = 'this is b'
    [[service.c.route]]
    body = 'this is c'
";

fn tcp() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn one_socket_with_a_name() {
    let listener = tcp();
    let address = listener.local_addr().unwrap();
    let server = Setup::new("").socket(listener).names("web").start();
    assert!(ask(connect(address), REQUEST).ends_with("Hello, World!\n"));
    assert_eq!(server.record().get("listener"), "web");
}

#[test]
fn three_sockets_lead_to_the_services_of_their_names() {
    let listeners = [tcp(), tcp(), tcp()];
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let [first, second, third] = listeners;
    let setup = Setup::new(THREE_SERVICES).socket(first).socket(second).socket(third);
    let server = setup.names("c:a.socket:b").start();
    for (address, name) in addresses.into_iter().zip(["c", "a", "b"]) {
        assert!(ask(connect(address), REQUEST).ends_with(&format!("this is {name}")));
        assert_eq!(server.record().get("service"), name);
    }
}

#[test]
fn three_sockets_without_names_lead_to_the_service_web() {
    let listeners = [tcp(), tcp(), tcp()];
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let [first, second, third] = listeners;
    let server = Setup::new("").socket(first).socket(second).socket(third).start();
    for address in addresses {
        assert!(ask(connect(address), REQUEST).ends_with("Hello, World!\n"));
        assert_eq!(server.record().get("listener"), "unknown");
    }
}

#[test]
fn unix_socket_records_uid_and_pid_of_the_peer() {
    let folder = make_folder();
    let path = folder.path().join("web.sock");
    let server = Setup::new("").socket(UnixListener::bind(&path).unwrap()).names("web").start();
    assert!(ask(connect_unix(&path), REQUEST).ends_with("Hello, World!\n"));
    let (uid, pid) = (nix::unistd::geteuid(), std::process::id());
    assert_eq!(server.record().get("peer"), format!("unix:uid={uid},pid={pid}"));
}

#[test]
fn sockets_for_another_listen_pid_are_ignored() {
    // The prelude replaces the LISTEN_PID that the harness sets.
    let folder = make_folder();
    let path = folder.path().join("bound.sock");
    let config = format!("[listen.web]\naddress = '{}'\n", path.display());
    let setup = Setup::new(&config).prelude("set -- env LISTEN_PID=1 \"$@\"").socket(tcp());
    let server = setup.start();
    assert!(ask(connect_unix(&path), REQUEST).ends_with("Hello, World!\n"));
    drop(server);
}

#[test]
fn more_names_than_sockets_is_an_error() {
    let mut server = Setup::new("").socket(tcp()).names("a:b").spawn();
    assert_eq!(server.wait().code(), Some(71));
    server.wait_line(
        "ERROR unable to use the sockets handed in: LISTEN_FDNAMES has 2 names for LISTEN_FDS=1 sockets",
    );
}

#[test]
fn datagram_socket_is_an_error() {
    let mut server = Setup::new("").socket(UdpSocket::bind("127.0.0.1:0").unwrap()).names("web").spawn();
    assert_eq!(server.wait().code(), Some(71));
    server.wait_line(
        "socket \"web\" (descriptor 3): expected a stream socket (ListenStream=), found a datagram socket",
    );
}

#[test]
fn file_is_an_error() {
    let mut server = Setup::new("").socket(fs::File::open("/dev/null").unwrap()).names("web").spawn();
    assert_eq!(server.wait().code(), Some(71));
    server.wait_line("socket \"web\" (descriptor 3): expected a socket, found something else");
}

#[test]
fn name_without_a_service_is_an_error() {
    let mut server = Setup::new(THREE_SERVICES).socket(tcp()).names("d").spawn();
    assert_eq!(server.wait().code(), Some(78));
    server.wait_line("no [service.d] for listener \"d\" (configured: a, b, c)");
}

#[test]
fn connected_socket_is_served_without_a_child() {
    let (client, socket) = UnixStream::pair().unwrap();
    let mut server = Setup::new("").socket(socket).names("connection").spawn();
    assert!(ask(client, REQUEST).ends_with("Hello, World!\n"));
    let record = server.record();
    assert_eq!((record.get("outcome"), record.get("target")), ("served", "/x"));
    assert_eq!(record.number("pid"), i64::from(server.pid().as_raw()));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn client_error_on_a_connected_socket_is_exit_code_1() {
    let (client, socket) = UnixStream::pair().unwrap();
    let mut server = Setup::new("").socket(socket).spawn();
    assert!(ask(client, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert_eq!(server.wait().code(), Some(1));
}

/// An accepted socket whose client has reset the connection already.
fn reset_connection() -> OwnedFd {
    let listener = tcp();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket = listener.accept().unwrap().0;
    reset(client);
    socket.into()
}

#[test]
fn connection_reset_before_a_request_is_served() {
    let mut server = Setup::new("").socket(reset_connection()).names("connection").spawn();
    assert_eq!(server.wait().code(), Some(0), "as from Accept=yes");
    assert_eq!(server.record().get("peer"), "unknown");

    let mut inetd = lsbaws();
    inetd.args(["--set", "log.target=stderr"]).stdin(reset_connection()).stderr(Stdio::piped());
    let output = inetd.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "as from inetd");
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("outcome=\"served\"") && !log.contains("serving on"), "{log}");
}

#[test]
fn listening_socket_on_standard_input_is_served() {
    let listener = tcp();
    let address = listener.local_addr().unwrap();
    let mut inetd = lsbaws();
    let mut server = inetd.stdin(OwnedFd::from(listener)).stderr(Stdio::null()).spawn().unwrap();
    assert!(ask(connect(address), REQUEST).ends_with("Hello, World!\n"));
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn socketpair_on_standard_input_is_not_inetd() {
    let folder = make_folder();
    let address = format!("--set=listen.web.address={}/web.sock", folder.path().display());
    let (ours, theirs) = UnixStream::pair().unwrap();
    let theirs = OwnedFd::from(theirs);
    let mut daemon = lsbaws();
    daemon.args([&address, "--set=log.target=stderr"]).stdin(theirs.try_clone().unwrap()).stdout(theirs);
    let mut server = daemon.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("serving on"), "{line}");
    server.kill().unwrap();
    server.wait().unwrap();
    drop(ours);
}

#[test]
fn too_large_listen_fds_is_an_error() {
    let mut server = Setup::new("").prelude("export LISTEN_FDS=18446744073709551615").spawn();
    assert_eq!(server.wait().code(), Some(71));
    server.wait_line("LISTEN_FDS=18446744073709551615 is more than 65536");
}

#[test]
fn blocking_listener_does_not_block_the_others() {
    let first = tcp(); // listeners of std are blocking
    let second = tcp();
    let address = second.local_addr().unwrap();
    let first_address = first.local_addr().unwrap();
    let server = Setup::new("").socket(first).socket(second).start();
    assert!(ask(connect(first_address), REQUEST).ends_with("Hello, World!\n"));
    assert!(ask(connect(address), REQUEST).ends_with("Hello, World!\n"));
    drop(server);
}

#[test]
fn inherited_socket_outlives_the_daemon() {
    let listener = tcp();
    let address = listener.local_addr().unwrap();
    let mut first = Setup::new("").socket(listener.try_clone().unwrap()).start();
    first.stop();
    // The kernel accepts the connection into the backlog although no process serves it.
    let waiting = connect(address);
    let second = Setup::new("").socket(listener).start();
    assert!(ask(waiting, REQUEST).ends_with("Hello, World!\n"));
    drop(second);
}

#[test]
fn inherited_unix_socket_keeps_its_file() {
    let folder = make_folder();
    let path = folder.path().join("web.sock");
    let mut server = Setup::new("").socket(UnixListener::bind(&path).unwrap()).start();
    server.stop();
    assert!(path.exists());
}

#[test]
fn connections_from_tcpserver_are_served() {
    let Some(tcpserver) = find_program("tcpserver") else {
        return;
    };
    // -1 prints the port that the kernel chose for 0.
    let mut server = command(tcpserver)
        .args(["-1", "-HRl0", "127.0.0.1", "0", LSBAWS, "--set", "log.target=stderr"])
        .env("LSBAWS_CONFIG", SHIPPED)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let address = format!("127.0.0.1:{}", port.trim()).parse().unwrap();
    let answers = [0, 1].map(|_| ask(connect(address), REQUEST));
    server.kill().unwrap();
    let log = read_to_end(server.stderr.take().unwrap());
    server.wait().unwrap();
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("Hello, World!\n"), "{answer}");
    }
    let record = Record::parse(log.lines().find(|line| line.contains(" connection=")).unwrap());
    assert_eq!((record.get("listener"), record.get("target")), ("inetd", "/x"));
}

#[test]
fn inetd_client_receives_only_the_response() {
    // inetd connects standard error to the client as well.
    let listener = tcp();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket: OwnedFd = listener.accept().unwrap().0.into();
    let copy = || Stdio::from(socket.try_clone().unwrap());
    for bad_config in [false, true] {
        let mut command = lsbaws();
        command.stdin(copy()).stdout(copy()).stderr(copy());
        if bad_config {
            command.args(["--set", "log.level=loud"]);
            assert_eq!(command.status().unwrap().code(), Some(78));
            continue;
        }
        (&client).write_all(REQUEST.as_bytes()).unwrap();
        assert_eq!(command.status().unwrap().code(), Some(0));
    }
    drop((socket, listener));
    let answer = read_to_end(&client);
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nHello, World!\n"),
        "{answer}"
    );
}

/// Starts systemd-socket-activate, listening on these Unix sockets.
fn socket_activate(arguments: &[&str], paths: &[String]) -> Option<std::process::Child> {
    let program = find_program("systemd-socket-activate")?;
    let mut command = command(program);
    for path in paths {
        command.args(["-l", path]);
    }
    command.args(["-E", &format!("LSBAWS_CONFIG={SHIPPED}"), "-E", "LSBAWS_PROCESS__ALLOW_ROOT=true"]);
    command.args(arguments).arg(LSBAWS).args(["--set", "log.target=stderr"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // It prints a line for each socket when it listens.
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    for _ in paths {
        lines.find(|line| line.as_ref().unwrap().contains("Listening on ")).unwrap().unwrap();
    }
    Some(child)
}

#[test]
fn systemd_socket_activate_starts_it() {
    let folder = make_folder();
    let paths: Vec<_> = (0..3).map(|number| format!("{}/{number}.sock", folder.path().display())).collect();
    for (arguments, count) in
        [(&[][..], 1), (&["--fdname=web"][..], 1), (&[][..], 3), (&["--fdname=web:web:web"][..], 3)]
    {
        let Some(mut server) = socket_activate(arguments, &paths[..count]) else {
            return;
        };
        for path in &paths[..count] {
            assert!(ask(connect_unix(path), REQUEST).ends_with("Hello, World!\n"), "{arguments:?}");
            fs::remove_file(path).unwrap();
        }
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

#[test]
fn connections_from_systemd_socket_activate_are_served() {
    let folder = make_folder();
    for arguments in [&["--accept"][..], &["--accept", "--inetd"][..]] {
        let path = format!("{}/{}.sock", folder.path().display(), arguments.len());
        let Some(mut server) = socket_activate(arguments, std::slice::from_ref(&path)) else {
            return;
        };
        for _ in 0..2 {
            assert!(ask(connect_unix(&path), REQUEST).ends_with("Hello, World!\n"), "{arguments:?}");
        }
        server.kill().unwrap(); // an ignored SIGTERM would not end it
        server.wait().unwrap();
    }
}
