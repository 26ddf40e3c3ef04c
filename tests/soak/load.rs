//! Clients that ask again and again, each time on a new connection, and count what became of it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n";
/// Longer than any fault lasts.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Tally {
    answered: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
}

/// What became of the connections that were offered.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// With the status 200, to the last byte.
    pub answered: u64,
    /// With another status.
    pub refused: u64,
    /// Without a whole answer.
    pub lost: u64,
}

impl Counts {
    pub fn offered(self) -> u64 {
        self.answered + self.refused + self.lost
    }
}

/// Clients at work.
pub struct Load {
    tally: Arc<Tally>,
    shall_stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// So many clients begin to ask `server`, from that address.
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

    /// Waits until so many more have been answered, for a minute at most.
    pub fn wait_answered(&self, more: u64) {
        let (until, start) = (self.answered() + more, Instant::now());
        while self.answered() < until && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets each client finish what it is at.
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

/// A connection from one of the addresses of the loopback interface.
pub fn open(server: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let SocketAddr::V4(server) = server else { return Err(io::ErrorKind::Unsupported.into()) };
    let fd: OwnedFd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let [a, b, c, d] = from.octets();
    bind(fd.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0))?;
    connect(fd.as_raw_fd(), &SockaddrIn::from(server))?;
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The status of a whole answer.
fn ask(server: SocketAddr, from: Ipv4Addr) -> io::Result<u16> {
    let mut stream = open(server, from)?;
    stream.write_all(REQUEST)?;
    read_answer(&mut stream)
}

/// Reads to the end, and compares the length with what was announced.
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
