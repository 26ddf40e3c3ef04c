//! Which process holds an address that is in use, as far as this user may see it (proc(5)).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt};
use nix::unistd::geteuid;

use crate::escape::escape_for_line;

/// `TCP_LISTEN` in the kernel's include/net/tcp_states.h.
const LISTENING: u8 = 10;

/// Another socket at the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HeldSocket {
    is_listening: bool,
    uid: u32,
    inode: u64,
}

/// A process, as `/proc/PID/status` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    uid: u32,
    name: String,
}

/// What holds the address of a TCP socket, as a part of a sentence, and whether it is this process itself.
pub(super) fn describe_tcp(address: SocketAddr) -> (String, bool) {
    let tables =
        ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default());
    let sockets =
        tables.iter().flat_map(|table| table.lines()).filter_map(|line| parse_socket(line, address));
    // Another one is that of a client whose own port this is.
    let Some(socket) = sockets.max_by_key(|socket| socket.is_listening) else {
        return ("the socket that has it is not visible here (as root, ss -tanp shows all)".into(), false);
    };
    let verb = if socket.is_listening { "listens there" } else { "has a connection from there" };
    let processes = list_processes();
    let holders: Vec<_> =
        processes.iter().filter(|process| process.holds(socket.inode) == Some(true)).collect();
    if let Some(first) = find_first(&holders).next() {
        let more = match holders.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let is_own = first.pid == std::process::id();
        return (format!("{} (PID {}{more}) {verb}", first.name, first.pid), is_own);
    }
    // The descriptors of a daemon that is not dumpable are hidden even from its own user.
    let own_name = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let is_hidden = |process: &&Process| {
        let is_alike = process.uid == socket.uid && process.name == own_name.trim_end();
        is_alike && process.holds(socket.inode).is_none()
    };
    let hidden: Vec<_> = processes.iter().filter(is_hidden).collect();
    let pids: Vec<_> = find_first(&hidden).map(|process| process.pid.to_string()).collect();
    let sentence = match pids.first() {
        Some(_) if socket.uid == geteuid().as_raw() => {
            format!("probably {} (PID {}) {verb}", own_name.trim_end(), pids.join(" or "))
        }
        _ if socket.uid == 0 => format!("a process of root {verb}, or systemd for a socket unit"),
        _ => format!("a process of the user with UID {} {verb}", socket.uid),
    };
    (format!("{sentence} (as root, ss -ltnp names it)"), false)
}

/// Those of these processes that no other of them has started.
fn find_first<'a>(processes: &[&'a Process]) -> impl Iterator<Item = &'a Process> {
    let is_first = |process: &&&Process| processes.iter().all(|other| other.pid != process.parent);
    processes.iter().filter(is_first).copied()
}

/// The same for a Unix socket. Connects to it, since the kernel names its server to clients (`SO_PEERCRED` in unix(7)).
pub(super) fn describe_unix(address: &UnixAddr) -> String {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let Ok(client) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else {
        return "a server has it".into();
    };
    match connect(client.as_raw_fd(), address) {
        Ok(()) => {
            let peer = getsockopt(&client, sockopt::PeerCredentials);
            let pid = peer.ok().and_then(|peer| u32::try_from(peer.pid()).ok()); // 0: of another PID namespace
            let server =
                pid.and_then(Process::read).map(|server| format!("{} (PID {})", server.name, server.pid));
            format!("{} listens there", server.unwrap_or_else(|| "a server".into()))
        }
        Err(Errno::EAGAIN) => "a server listens there, and its backlog is full".into(),
        Err(Errno::EPROTOTYPE) => "it is a socket of another type, such as a datagram socket".into(),
        Err(Errno::ECONNREFUSED) => "a process has it that does not listen".into(),
        Err(_) => "a server has it".into(),
    }
}

/// Reads a line of `/proc/net/tcp` or `tcp6`, if its socket is in the way of the address.
fn parse_socket(line: &str, address: SocketAddr) -> Option<HeldSocket> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (ip, port) = words.get(1)?.split_once(':')?;
    let (ip, port) = (parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?);
    let own = address.ip().to_canonical();
    let conflicts = ip == own || ip.is_unspecified() || own.is_unspecified();
    let is_listening = u8::from_str_radix(words.get(3)?, 16).ok()? == LISTENING;
    let socket =
        HeldSocket { is_listening, uid: words.get(7)?.parse().ok()?, inode: words.get(9)?.parse().ok()? };
    (port == address.port() && conflicts && socket.inode != 0).then_some(socket)
}

/// An address as the kernel writes it: words of 32 bits in the order of this machine.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(8 * at..8 * at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical())
        }
        _ => None,
    }
}

/// All processes, the oldest first as a rule.
fn list_processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut processes: Vec<_> = pids.filter_map(Process::read).collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let uid = field("Uid:")?.split_whitespace().next()?.parse().ok()?;
        // The process may have chosen it to control the terminal of its reader.
        let name = escape_for_line(field("Name:")?.as_bytes());
        Some(Self { pid, parent: field("PPid:")?.parse().ok()?, uid, name })
    }

    /// Whether it has a descriptor of this socket. None: this user may not see that.
    fn holds(&self, inode: u64) -> Option<bool> {
        let target = format!("socket:[{inode}]");
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.pid)).ok()?;
        let is_target =
            |path: &Path| fs::read_link(path).is_ok_and(|link| link.as_os_str() == target.as_str());
        Some(descriptors.flatten().any(|entry| is_target(&entry.path())))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn names_of_processes_are_harmless() {
        nix::sys::prctl::set_name(c"\x1b[31mred").unwrap();
        let own = Process::read(nix::unistd::gettid().as_raw().unsigned_abs()).unwrap();
        assert_eq!(own.name, "\\x1b[31mred");
    }

    #[test]
    fn line_of_a_socket_in_the_way_is_found() {
        let line = "   0: 0100007F:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 1065 1 0";
        let socket = HeldSocket { is_listening: true, uid: 33, inode: 1065 };
        if cfg!(target_endian = "little") {
            for (address, expected) in [
                ("127.0.0.1:8888", Some(socket)),
                ("0.0.0.0:8888", Some(socket)),
                ("[::]:8888", Some(socket)),
                ("127.0.0.2:8888", None),
                ("127.0.0.1:8889", None),
            ] {
                assert_eq!(parse_socket(line, address.parse().unwrap()), expected, "{address}");
            }
        }
        assert_eq!(parse_ip("0000000000000000FFFF00000100007F"), parse_ip("0100007F"));
        assert_eq!(parse_socket("  sl  local_address rem_address   st", "0.0.0.0:1".parse().unwrap()), None);
    }

    #[test]
    fn own_listener_is_recognized() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (sentence, is_own) = describe_tcp(listener.local_addr().unwrap());
        assert!(is_own && sentence.contains(&format!("(PID {}", std::process::id())), "{sentence}");
    }
}
