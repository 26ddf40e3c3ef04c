//! What a child sends to the supervisor, or locks against its siblings: lines of requests, clients of a trusted proxy, logins.
//! Each attempt has a daemon of its own. And the status, for other users.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::clients::request;
use super::state::list_descriptors;
use super::{HTTP, Row, Scene, row};
use crate::arena::Kind;
use crate::attacker::Attacker;
use crate::call;
use crate::harness::{Server, Setup, command, connect_from};
use crate::place::{make_root_folder, prepare_folder, status_socket, user};
use crate::steps::{Arg, Part, Seen, Steps, name_error};

/// Places of connections, and so of slots.
const PLACES: u32 = 16;
const REQUESTS_MAX: usize = 100;
/// An address whose connections are the victim's.
const VICTIM: [u8; 4] = [127, 0, 0, 9];

pub const ROWS: &[Row] = &[
    row(
        "access lines in the name of another connection: its slot, its process in SCM_CREDENTIALS",
        forge_lines,
    )
    .by(HTTP)
    .with_own_daemon(),
    row("a flood of access lines", flood_lines).by(HTTP).with_own_daemon(),
    row(
        "report a false client of a trusted proxy: its places and its failures, for one that connects itself",
        |scene| false_client(scene, false),
    )
    .by(HTTP)
    .with_own_daemon(),
    row("the same for another client of that proxy", |scene| false_client(scene, true))
        .by(HTTP)
        .open(
            HTTP,
            "a report counts for the clients of that proxy; those that connect themselves are counted apart",
        )
        .with_own_daemon(),
    row("hold every place in which passwords are verified", hold_logins)
        .by(HTTP)
        .open(
            HTTP,
            "the children of a service share the places; the locks end with the child: set `max_duration`",
        )
        .with_own_daemon(),
];

/// A daemon with one service of a kind.
struct Den {
    server: Server,
    kind: Kind,
    _folder: TempDir,
}

impl Den {
    /// `keys`: of the service.
    fn start(kind: Kind, tables: &str, keys: &str) -> Self {
        let folder = make_root_folder();
        prepare_folder(folder.path());
        let path = folder.path().display();
        fs::write(folder.path().join("users"), ALICE).unwrap();
        let programs = match kind {
            Kind::Mixed => {
                format!("[[service.web.route]]\npath = '/cgi/'\nhandler = 'cgi'\nroot = '{path}/cgi'\n")
            }
            _ => String::new(),
        };
        let config = format!(
            "[limits]\nexempt = []\nkeepalive_timeout = '1h'\nmax_connections = {PLACES}\nmax_requests = {REQUESTS_MAX}\n{tables}\n\
             [service.web]\n{keys}\n[[service.web.route]]\n[[service.web.route]]\npath = '/probe'\nhandler = 'probe'\n\
             [[service.web.route]]\npath = '/login'\nauth_users = '{path}/users'\n{programs}"
        );
        Self { server: Setup::new(&config).user(user()).serve(), kind, _folder: folder }
    }

    fn attacker(&self) -> Attacker {
        Attacker::new(self.kind, self.server.address())
    }

    /// The targets of access lines, and the peers that they name, up to a request of the test.
    fn read_lines(&mut self) -> Vec<(String, String)> {
        self.server.get("/end");
        let mut lines = Vec::new();
        while let Some(line) = self.server.line_within("access ", Duration::from_secs(10)) {
            let words = line.split_once("access ").unwrap().1;
            let (peer, target) = words.split_once(' ').unwrap();
            if target == "/end" {
                break;
            }
            lines.push((peer.to_owned(), target.to_owned()));
        }
        lines
    }
}

const LINES: &str = "[log.access]\ntarget = 'stderr'\nformat = 'access {peer} {target}'";

/// The descriptors of a child that are sockets, but for its connection.
fn list_sockets(child: i32) -> Vec<i32> {
    let is_socket = |(number, target): &(i32, String)| *number > 3 && target.starts_with("socket:");
    list_descriptors(child).into_iter().filter(is_socket).map(|(number, _)| number).collect()
}

/// A number as postcard writes it.
fn varint(mut number: u32, bytes: &mut Vec<u8>) {
    while number > 127 {
        bytes.push(number.to_le_bytes()[0] | 128);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// The message about an answered request: see src/uplink.rs.
fn line_message(slot: u32, target: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(slot, &mut bytes);
    bytes.extend(b"\0\x03GET");
    varint(u32::try_from(target.len()).unwrap(), &mut bytes);
    bytes.extend(target.as_bytes());
    bytes.extend(b"\x01\0\0\0\0\0"); // the version; no host, TLS, referer, agent and user
    varint(200, &mut bytes);
    bytes.extend(b"\0\0"); // content and duration
    bytes
}

/// A message for sendmsg(2).
fn message(s: &mut Steps, bytes: &[u8], control: &[u8]) -> Arg {
    let data = s.bytes(bytes);
    let vector = s.parts(&[Part::Of(&data), Part::Bytes(&bytes.len().to_ne_bytes())]);
    let count = 1_u64.to_ne_bytes();
    let head = [Part::Zeros(16), Part::Of(&vector), Part::Bytes(&count)];
    if control.is_empty() {
        return s.parts(&[head, [Part::Zeros(8), Part::Zeros(8), Part::Zeros(8)]].concat());
    }
    let length = control.len().to_ne_bytes();
    let control = s.bytes(control);
    s.parts(&[head, [Part::Of(&control), Part::Bytes(&length), Part::Zeros(8)]].concat())
}

fn send(s: &mut Steps, socket: i32, message: &Arg) {
    call!(s, SYS_sendmsg, socket, message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
}

/// SCM_CREDENTIALS of another process (unix(7)).
fn credentials(pid: i32) -> Vec<u8> {
    let ids = [libc::SOL_SOCKET, libc::SCM_CREDENTIALS, pid, user().cast_signed(), user().cast_signed(), 0];
    [28_u64.to_ne_bytes().to_vec(), ids.map(i32::to_ne_bytes).concat()].concat()
}

fn forge_lines(scene: &mut Scene<'_>) -> Seen {
    let mut den = Den::start(scene.facts.kind, LINES, "");
    let (mut victim, mut attacker) = (den.attacker(), den.attacker());
    let (other, child) = (victim.hold(), attacker.child());
    let mut steps = Steps::default();
    for socket in list_sockets(child) {
        for slot in (0..PLACES).chain([u32::MAX]) {
            for control in [Vec::new(), credentials(other)] {
                let message = message(&mut steps, &line_message(slot, "/forged"), &control);
                send(&mut steps, socket, &message);
            }
        }
    }
    attacker.run(&steps);
    let own = attacker.address().to_string();
    let mut lines = den.read_lines();
    lines.retain(|(_, target)| target == "/forged");
    match lines.iter().find(|(peer, _)| *peer != own) {
        Some(_) => Seen::Open("forged".into()),
        None if lines.is_empty() => Seen::Denied("no line".into()),
        None => Seen::Denied("its own connection only".into()),
    }
}

fn flood_lines(scene: &mut Scene<'_>) -> Seen {
    let mut den = Den::start(scene.facts.kind, LINES, "");
    let mut attacker = den.attacker();
    let child = attacker.child();
    for _ in 0..10 {
        let mut steps = Steps::default();
        for socket in list_sockets(child) {
            let slots = 0..PLACES;
            let messages: Vec<_> =
                slots.map(|slot| message(&mut steps, &line_message(slot, "/flood"), &[])).collect();
            for message in messages.iter().cycle().take(messages.len() * 50) {
                send(&mut steps, socket, message);
            }
        }
        attacker.run(&steps);
    }
    let mut lines = den.read_lines();
    lines.retain(|(_, target)| target == "/flood");
    match lines.len() {
        0 => Seen::Denied("no line".into()),
        count if count <= REQUESTS_MAX + 1 => Seen::Denied("as many as its requests may be".into()),
        count => Seen::Open(format!("{count} lines")),
    }
}

/// Several children report the same client, and hold its places or fail for it.
fn false_client(scene: &mut Scene<'_>, is_of_proxy: bool) -> Seen {
    let hold = |s: &mut Steps| s.sleep(10_000);
    let fail = |s: &mut Steps| _ = call!(s, SYS_exit_group, 1); // an error of the client
    let attempts: [(fn(&mut Steps), _); 2] = [(hold, "503 at its limits"), (fail, "503 as penalized")];
    let seen: Vec<_> = attempts
        .into_iter()
        .filter_map(|(end, what)| is_victim_refused(scene.facts.kind, is_of_proxy, end).then_some(what))
        .collect();
    if seen.is_empty() { Seen::Denied("served".into()) } else { Seen::Open(seen.join(", ")) }
}

fn is_victim_refused(kind: Kind, is_of_proxy: bool, end: fn(&mut Steps)) -> bool {
    let limits = "max_connections_per_source = 2\npenalty_after = 3";
    let den = Den::start(kind, limits, "trusted_proxies = ['127.0.0.1']");
    let [a, b, c, d] = VICTIM;
    let mut attackers: Vec<_> = (0..4).map(|_| den.attacker()).collect();
    for attacker in &mut attackers {
        let child = attacker.child();
        let mut steps = Steps::default();
        for socket in list_sockets(child) {
            let report = message(&mut steps, &[1, 0, a, b, c, d, 0], &[]); // see src/clients.rs
            send(&mut steps, socket, &report);
        }
        end(&mut steps);
        attacker.send(&steps);
    }
    let is_refused = |through_proxy: bool| {
        let from = if through_proxy { [127, 0, 0, 1] } else { VICTIM };
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {a}.{b}.{c}.{d}\r\nConnection: close\r\n\r\n"
        );
        !request(connect_from(from.into(), den.server.address()), &head).starts_with("HTTP/1.1 200 ")
    };
    // What is reported counts for clients of the proxy.
    let start = Instant::now();
    while !is_refused(true) {
        assert!(start.elapsed() < Duration::from_secs(10), "the reports have no effect");
    }
    is_refused(is_of_proxy)
}

/// `alice:secret`, by `htpasswd -nbB -C 5`, and how a client sends them.
const ALICE: &str = "alice:$2y$05$i/U2s11qsq91FgPy8etq9ObuN8LgV5z6FLvc8YYPGh0yDvK9LI/Py\n";
const CREDENTIALS: &str = "Authorization: Basic YWxpY2U6c2VjcmV0\r\n";

fn log_in(address: SocketAddr) -> String {
    let head = format!("GET /login HTTP/1.1\r\nHost: a\r\n{CREDENTIALS}Connection: close\r\n\r\n");
    let answer = request(connect_from([127, 0, 0, 1].into(), address), &head);
    answer.split(' ').nth(1).unwrap_or("no answer").to_owned()
}

fn hold_logins(scene: &mut Scene<'_>) -> Seen {
    let den = Den::start(scene.facts.kind, "", "");
    let address = den.server.address();
    assert_eq!(log_in(address), "200");
    let mut attacker = den.attacker();
    let descriptors = list_descriptors(attacker.child());
    let Some((file, _)) = descriptors.iter().find(|(_, target)| target.contains("lsbaws-logins")) else {
        return Seen::Denied("no places".into());
    };
    let mut steps = Steps::default();
    // F_WRLCK of 10,000 bytes from the first on (struct flock of fcntl(2)).
    let lock = [1_u64, 0, 10_000, 0].map(u64::to_ne_bytes).concat();
    let lock = steps.bytes(&lock);
    let locked = call!(steps, SYS_fcntl, *file, libc::F_SETLK, &lock);
    match attacker.run(&steps).get(&locked) {
        Some(error) if error < 0 => return Seen::Denied(name_error(error)),
        _ => {}
    }
    let during = log_in(address);
    attacker.close();
    let start = Instant::now();
    while log_in(address) != "200" {
        if start.elapsed() > Duration::from_secs(20) {
            return Seen::Open(format!("{during} for ever"));
        }
    }
    if during == "200" {
        Seen::Denied("logged in".into())
    } else {
        Seen::Open(format!("{during} while it lives"))
    }
}

/// As the user of a service that has its own, or as any other.
pub(super) fn read_status() -> Seen {
    let folder = make_root_folder();
    prepare_folder(folder.path());
    let path = status_socket(folder.path());
    let _server = Setup::new(&format!("process.status_socket = '{path}'\n")).user(user()).serve();
    let read =
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.recv(64))";
    let run = |uid: u32| {
        let mut python = command("python3");
        python.args(["-IS", "-c", read, &path]).uid(uid).gid(uid);
        let output = python.output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(0).starts_with("b'"), "root reads it");
    match run(user() + 1) {
        answer if answer.contains("PermissionError") => Seen::Denied("EACCES".into()),
        answer => Seen::Open(answer),
    }
}
