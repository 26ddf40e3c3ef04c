//! Sockets: new ones, and the connection itself.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::{CONFINED, LOOSE, Row, Scene, row};
use crate::arena::Kind;
use crate::place::status_socket;
use crate::steps::{Arg, Part, Seen, Steps, name_error};
use crate::{call, goal};

use libc::{AF_INET, AF_UNIX, SOCK_DGRAM, SOCK_STREAM};

const UNIX: &str =
    "Landlock has no right for connect(2) to a path: who may write to a socket decides its mode";

pub const ROWS: &[Row] = &[
    row("connect to a TCP port of this host", |scene| {
        scene.attempt(|s, facts| {
            let address = internet(s, facts.port);
            let socket = call!(s, SYS_socket, AF_INET, SOCK_STREAM, 0);
            s.is_means(&socket);
            goal!(s, "connected", SYS_connect, &socket, &address, 16);
        })
    }),
    row("connect to its own daemon", |scene| {
        let port = scene.arena.address(Kind::Http).port();
        scene.attempt(|s, _| {
            let address = internet(s, port);
            let socket = call!(s, SYS_socket, AF_INET, SOCK_STREAM, 0);
            s.is_means(&socket);
            goal!(s, "connected", SYS_connect, &socket, &address, 16);
        })
    }),
    row("listen at a TCP port", |scene| {
        scene.attempt(|s, _| {
            let address = internet(s, 0);
            let socket = call!(s, SYS_socket, AF_INET, SOCK_STREAM, 0);
            s.is_means(&socket);
            goal!(s, "bound", SYS_bind, &socket, &address, 16);
            // Without bind(2), the kernel chooses the port.
            let socket = call!(s, SYS_socket, AF_INET, SOCK_STREAM, 0);
            s.is_means(&socket);
            goal!(s, "listening", SYS_listen, &socket, 8);
        })
    }),
    row("send UDP datagrams", |scene| {
        scene.attempt(|s, facts| {
            let (address, text) = (internet(s, facts.port), s.text("attack"));
            let socket = call!(s, SYS_socket, AF_INET, SOCK_DGRAM, 0);
            s.is_means(&socket);
            goal!(s, "sent", SYS_sendto, &socket, &text, 6, 0, &address, 16);
        })
    }),
    row("other families of sockets: netlink, packet, raw, vsock, AF_ALG", |scene| {
        scene.attempt(|s, _| {
            let families = [
                (libc::AF_NETLINK, libc::SOCK_RAW),
                (libc::AF_PACKET, libc::SOCK_RAW),
                (AF_INET, libc::SOCK_RAW),
            ];
            for (family, kind) in families {
                goal!(s, "created", SYS_socket, family, kind, 0);
            }
            goal!(s, "created", SYS_socket, libc::AF_VSOCK, SOCK_STREAM, 0);
            goal!(s, "created", SYS_socket, libc::AF_ALG, libc::SOCK_SEQPACKET, 0);
        })
    }),
    row("connect to an abstract Unix socket", |scene| {
        scene.attempt(|s, _| {
            let (address, length) = unix(s, &format!("\0{}", crate::abstract_name()));
            let socket = call!(s, SYS_socket, AF_UNIX, SOCK_STREAM, 0);
            s.is_means(&socket);
            goal!(s, "connected", SYS_connect, &socket, &address, length);
        })
    })
    .landlock(6),
    row("connect to a Unix socket by its path, such as the journal's", |scene| {
        scene.attempt(|s, facts| {
            let (address, length) = unix(s, &facts.path("socket"));
            let socket = call!(s, SYS_socket, AF_UNIX, SOCK_STREAM, 0);
            s.is_means(&socket);
            goal!(s, "connected", SYS_connect, &socket, &address, length);
        })
    })
    .open(LOOSE, UNIX),
    row("read the status of the daemon from its socket", read_status),
    row("a pair of sockets", |scene| {
        scene.attempt(|s, _| {
            let pair = s.zeros(8);
            goal!(s, "created", SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, &pair);
        })
    })
    .open(super::CONFINED, "of its own; spares need it"),
    row("connect its own connection to something else: connect(AF_UNSPEC), then connect", |scene| {
        if !has_socket(scene) {
            return Seen::Absent;
        }
        while scene.has_arrived() {}
        let seen = scene.attempt(|s, facts| {
            let (none, address) = (s.zeros(16), internet(s, facts.port));
            goal!(s, "disconnected", SYS_connect, facts.connection, &none, 16);
            call!(s, SYS_connect, facts.connection, &address, 16);
        });
        match seen {
            _ if scene.has_arrived() => Seen::Open("connected".into()),
            Seen::Open(_) => Seen::Denied("ends its own connection".into()),
            denied => denied,
        }
    })
    .landlock(4),
    row("make a listening socket of its own connection: connect(AF_UNSPEC), listen", listen_on_connection)
        .by(CONFINED)
        .open(
            &[Kind::Mixed, Kind::App],
            "a port of the kernel's choice, as long as the child lives: Landlock does not see listen(2)",
        ),
    row("send descriptors to the client over a Unix socket: SCM_RIGHTS", |scene| {
        scene.attempt(|s, _| {
            let pair = s.zeros(8);
            call!(s, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, &pair);
            let (text, right) = (s.text("x"), s.bytes(&0i32.to_ne_bytes()));
            let _ = right;
            let vector = s.parts(&[Part::Of(&text), Part::Bytes(&1u64.to_ne_bytes())]);
            // struct cmsghdr: length, SOL_SOCKET, SCM_RIGHTS; descriptor 0
            let control =
                [&20u64.to_ne_bytes()[..], &1i32.to_ne_bytes(), &1i32.to_ne_bytes(), &[0; 8]].concat();
            let control = s.bytes(&control);
            let message = s.parts(&[
                Part::Zeros(16),
                Part::Of(&vector),
                Part::Bytes(&1u64.to_ne_bytes()),
                Part::Of(&control),
                Part::Bytes(&24u64.to_ne_bytes()),
                Part::Zeros(8),
            ]);
            goal!(s, "sent", SYS_sendmsg, 3, &message, 0);
        })
    })
    .by(&[Kind::Http])
    .open(&[Kind::Http], "its own descriptors, to the owner of its connection"),
    row("terminals: TIOCSTI, TIOCSCTTY", |scene| {
        scene.attempt(|s, _| {
            let byte = s.text("x");
            for number in 0..3 {
                goal!(s, "TIOCSTI", SYS_ioctl, number, libc::TIOCSTI, &byte);
                goal!(s, "TIOCSCTTY", SYS_ioctl, number, libc::TIOCSCTTY, 1);
            }
        })
    }),
];

/// Whether the attacker's process holds the connection.
fn has_socket(scene: &Scene<'_>) -> bool {
    !matches!(scene.facts.kind, Kind::Cgi | Kind::Free)
}

fn internet(s: &mut Steps, port: u16) -> Arg {
    let family = libc::AF_INET.cast_unsigned().to_ne_bytes();
    s.bytes(&[&family[..2], &port.to_be_bytes(), &[127, 0, 0, 1], &[0; 8]].concat())
}

fn unix(s: &mut Steps, name: &str) -> (Arg, usize) {
    let family = libc::AF_UNIX.cast_unsigned().to_ne_bytes();
    let address = [&family[..2], name.as_bytes()].concat();
    (s.bytes(&address), address.len())
}

fn listen_on_connection(scene: &mut Scene<'_>) -> Seen {
    if !has_socket(scene) {
        return Seen::Absent;
    }
    let connection = scene.facts.connection;
    let before = list_listeners();
    let mut steps = Steps::default();
    let none = steps.zeros(16);
    goal!(steps, "disconnected", SYS_connect, connection, &none, 16);
    goal!(steps, "listening", SYS_listen, connection, 8);
    steps.sleep(1); // its answer does not arrive any more
    scene.attacker.send(&steps);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        // Not their number: one of an earlier attempt may end meanwhile.
        if !list_listeners().is_subset(&before) {
            return Seen::Open("listening".into());
        }
    }
    match steps.judge(&scene.attacker.receive()) {
        Seen::Open(_) => Seen::Denied("ends its own connection".into()),
        denied => denied,
    }
}

/// The inodes of the TCP sockets of the daemon's user that listen.
fn list_listeners() -> HashSet<String> {
    let user = crate::place::user().to_string();
    let find_inode = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_own = fields.get(3) == Some(&"0A") && fields.get(7) == Some(&user.as_str());
        fields.get(9).filter(|_| is_own).map(|&inode| inode.to_owned())
    };
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|path| {
            let table = std::fs::read_to_string(path).unwrap();
            table.lines().filter_map(find_inode).collect::<Vec<_>>()
        })
        .collect()
}

/// The answer is a message and a descriptor. A process that gets none can connect as well.
fn read_status(scene: &mut Scene<'_>) -> Seen {
    let path = status_socket(scene.arena.folder());
    let mut steps = Steps::default();
    let (address, length) = unix(&mut steps, &path);
    let socket = call!(steps, SYS_socket, AF_UNIX, SOCK_STREAM, 0);
    let connected = call!(steps, SYS_connect, &socket, &address, length);
    let buffer = steps.zeros(64);
    let received = call!(steps, SYS_recvfrom, &socket, &buffer, 64, 0, 0, 0);
    let answer = scene.attacker.run(&steps);
    match [socket, connected, received].map(|result| answer.get(&result).unwrap_or(-1)) {
        [error @ ..0, ..] | [_, error @ ..0, _] | [.., error @ ..0] => Seen::Denied(name_error(error)),
        [_, _, 0] => Seen::Denied("closed without an answer".into()),
        _ => Seen::Open("read".into()),
    }
}
