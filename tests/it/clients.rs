//! Clients of the daemon, and commands that run to their end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, getsockname, setsockopt, socket,
    sockopt,
};

use super::{LSBAWS, TIMEOUT, command, lsbaws, skip};

/// A connection from another address of the loopback interface.
pub fn connect_from(from: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let SocketAddr::V4(address) = address else { unreachable!("tests listen at 127.0.0.1") };
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let [a, b, c, d] = from.octets();
    bind(fd.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
    nix::sys::socket::connect(fd.as_raw_fd(), &SockaddrIn::from(address)).unwrap();
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

pub fn connect_unix(path: impl AsRef<Path>) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Closes a connection by a reset.
#[allow(dead_code)] // tests/soak does not use it
pub fn reset(stream: TcpStream) {
    setsockopt(&stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    drop(stream);
}

/// A port that no other test receives while the socket is open. The daemon can bind it too, since both set
/// SO_REUSEADDR and this socket does not listen (socket(7)).
pub fn reserve_port() -> (OwnedFd, u16) {
    let socket = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn6::from("[::]:0".parse::<SocketAddrV6>().unwrap())).unwrap();
    let port = getsockname::<SockaddrIn6>(socket.as_raw_fd()).unwrap().port();
    (socket, port)
}

/// Sends `request` and reads to the end of the response.
pub fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    read_to_end(stream)
}

pub fn read_to_end(mut stream: impl Read) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The JSON report of `lsbaws client` about `address`.
pub fn run_client(address: SocketAddr, arguments: &[&str]) -> serde_json::Value {
    require_client();
    let url = format!("http://{address}/");
    let output = command(LSBAWS).args(["client", &url, "--json"]).args(arguments).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&output.stderr)))
}

/// Fails if the load client, which is a package of its own, was not built beside the daemon.
pub fn require_client() {
    let client = Path::new(LSBAWS).with_file_name("lsbaws-client");
    assert!(client.exists(), "{} does not exist; run: cargo build -p lsbaws-client", client.display());
}

/// Runs `lsbaws` to its end: exit code, standard output, standard error.
pub fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = lsbaws().args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().or(output.status.signal().map(|signal| 128 + signal)).unwrap();
    (code, text(output.stdout), text(output.stderr))
}

/// A program of a Debian package. `None` if it is missing: the test is skipped.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    let found = folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    if found.is_none() {
        skip(&format!("{name} is not installed"));
    }
    found
}
