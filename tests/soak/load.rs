//! Clients that send requests in a loop, each on a new connection, and count the results.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n";
/// Longer than any fault.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Tally {
    answered: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
}

/// The results of the connections.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// A complete answer with the status 200.
    pub answered: u64,
    /// A complete answer with another status.
    pub refused: u64,
    /// No complete answer.
    pub lost: u64,
}

impl Counts {
    pub fn offered(self) -> u64 {
        self.answered + self.refused + self.lost
    }
}

/// Running clients.
pub struct Load {
    tally: Arc<Tally>,
    shall_stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` clients of `server`, with that source address.
    pub fn start(server: SocketAddr, clients: usize, from: Ipv4Addr) -> Self {
        let (tally, shall_stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let client = |_| {
            let (tally, shall_stop) = (Arc::clone(&tally), Arc::clone(&shall_stop));
            thread::spawn(move || {
                while !shall_stop.load(Relaxed) {
                    match ask(server, from) {
                        Ok(200) => &tally.answered,
                        Ok(_) => &tally.refused,
                        Err(_) => &tally.lost,
                    }
                    .fetch_add(1, Relaxed);
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { tally, shall_stop, clients }
    }

    pub fn answered(&self) -> u64 {
        self.tally.answered.load(Relaxed)
    }

    pub fn clients(&self) -> u64 {
        self.clients.len() as u64
    }

    /// Waits for that number of further answers, for a minute at most.
    pub fn wait_answered(&self, more: u64) {
        let (until, start) = (self.answered() + more, Instant::now());
        while self.answered() < until && start.elapsed() < TIMEOUT {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until each client has finished its request.
    pub fn finish(self) -> Counts {
        self.shall_stop.store(true, Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let load = |count: &AtomicU64| count.load(Relaxed);
        let Tally { answered, refused, lost } = &*self.tally;
        Counts { answered: load(answered), refused: load(refused), lost: load(lost) }
    }
}

/// A connection from an address of the loopback interface.
pub fn open(server: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let SocketAddr::V4(server) = server else { return Err(io::ErrorKind::Unsupported.into()) };
    let fd: OwnedFd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let [a, b, c, d] = from.octets();
    bind(fd.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0))?;
    connect(fd.as_raw_fd(), &SockaddrIn::from(server))?;
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// The status of a complete answer.
fn ask(server: SocketAddr, from: Ipv4Addr) -> io::Result<u16> {
    let mut stream = open(server, from)?;
    stream.write_all(REQUEST)?;
    read_answer(&mut stream)
}

/// Reads to the end, and compares the length with Content-Length.
pub fn read_answer(stream: &mut TcpStream) -> io::Result<u16> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let text = String::from_utf8_lossy(&answer);
    let (head, content) = text.split_once("\r\n\r\n").ok_or_else(cut)?;
    let length: usize = head
        .split_once("Content-Length: ")
        .and_then(|(_, rest)| rest.lines().next()?.parse().ok())
        .ok_or_else(cut)?;
    if content.len() != length {
        return Err(cut());
    }
    head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(cut)
}
