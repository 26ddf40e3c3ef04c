//! How many passwords a service verifies at the same time.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};

use tempfile::TempDir;

use crate::auth::{ALICE, ALICE_LINE, MALLORY, get, make_users, request, route, status};
use crate::harness::{Server, can_look_inside, connect_from, read_to_end, serve, wait_until};

/// More than the places of any service, but for those of sources.
const ALL: i64 = 10_000;
/// How long a request waits until its password can be verified.
const GIVES_UP: Duration = Duration::from_secs(5);

/// The file on which children that verify a password hold locks.
struct Places(File);

impl Places {
    fn open(server: &Server) -> Self {
        for link in fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap() {
            let path = link.unwrap().path();
            let is_it = |target: &Path| target.to_string_lossy().contains("lsbaws-logins");
            if fs::read_link(&path).is_ok_and(|target| is_it(&target)) {
                return Self(File::options().read(true).write(true).open(path).unwrap());
            }
        }
        panic!("the supervisor has no such file");
    }

    fn lock(&self, kind: i32, first: i64, count: i64) -> libc::flock {
        libc::flock { l_type: kind.try_into().unwrap(), l_whence: 0, l_start: first, l_len: count, l_pid: 0 }
    }

    fn take(&self, first: i64, count: i64) {
        fcntl(&self.0, FcntlArg::F_SETLK(&self.lock(libc::F_WRLCK, first, count))).unwrap();
    }

    fn release(&self) {
        fcntl(&self.0, FcntlArg::F_SETLK(&self.lock(libc::F_UNLCK, 0, 0))).unwrap();
    }

    /// Another process holds a place of these; a count of 0 is all from the first on.
    fn is_taken(&self, first: i64, count: i64) -> bool {
        self.look(first, count).is_some()
    }

    /// The process that holds a place.
    fn find_holder(&self, place: i64) -> Option<i32> {
        self.look(place, 1)
    }

    /// The process that holds one of these places.
    fn look(&self, first: i64, count: i64) -> Option<i32> {
        let mut lock = self.lock(libc::F_WRLCK, first, count);
        fcntl(&self.0, FcntlArg::F_GETLK(&mut lock)).unwrap();
        (i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid)
    }
}

#[test]
fn full_service_answers_503_and_verifies_nothing() {
    if !can_look_inside() {
        return;
    }
    let (_folder, users) = make_users(ALICE_LINE);
    let open = "[[service.web.route]]\npath = '/open'\nbody = 'open'\n";
    let server = serve(&(route("/", &users, "") + open));
    let places = Places::open(&server);
    let keep = request("GET", "/", ALICE).replace("Connection: close\r\n", "");
    let mut kept = server.connect();
    let mut exchange = |request: &str| {
        kept.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let count = kept.read(&mut answer).unwrap();
        String::from_utf8(answer[..count].to_vec()).unwrap()
    };
    assert_eq!(status(&exchange(&keep)), "200");
    places.take(0, ALL);
    // The credentials that were accepted last on a connection are not verified again.
    assert_eq!(status(&exchange(&keep)), "200");
    // A user that does not exist costs as much as one that does.
    let waiting = [ALICE, MALLORY].map(|credentials| send(&server, 1, credentials));
    kept.write_all(keep.replace(ALICE, MALLORY).as_bytes()).unwrap();
    for answer in waiting.map(read_to_end) {
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 5\r\n"), "{answer}");
    }
    assert_eq!(status(&read_to_end(kept)), "503");
    for _ in 0..3 {
        let record = server.record();
        assert_eq!((record.get("outcome"), record.get("reason")), ("refused", "logins"));
    }
    // Others, and what needs no verification, go on.
    assert_eq!(status(&get(&server, "/open", "")), "200");
    assert_eq!(status(&get(&server, "/", "")), "401");
    assert_eq!(status(&get(&server, "/", "%%%")), "401");
    places.release();
    assert_eq!(status(&get(&server, "/", ALICE)), "200");
}

/// The places to verify in.
fn count_places() -> i64 {
    let processors = std::thread::available_parallelism().unwrap().get();
    i64::try_from(processors / 2).unwrap().clamp(1, 16)
}

/// A daemon that verifies as many passwords as it may.
fn serve_full() -> (TempDir, Server, Places) {
    let (folder, users) = make_users(ALICE_LINE);
    let server = serve(&route("/", &users, ""));
    let places = Places::open(&server);
    places.take(0, count_places());
    (folder, server, places)
}

/// Sends a request from an address of the loopback network.
fn send(server: &Server, last: u8, credentials: &str) -> TcpStream {
    let mut client = connect_from(Ipv4Addr::new(127, 0, 0, last), server.address());
    client.write_all(request("GET", "/", credentials).as_bytes()).unwrap();
    client
}

#[test]
fn guesses_of_few_addresses_leave_turns_to_others() {
    if !can_look_inside() {
        return;
    }
    assert!((0..12).any(|_| try_guesses()), "the other client had no turn in any try");
}

/// Guesses of few addresses fill their turns, then another client comes. False: it took so long that a guess may have given up.
fn try_guesses() -> bool {
    let (_folder, server, places) = serve_full();
    let queue = count_places();
    let begin = Instant::now();
    let is_late = || begin.elapsed() >= GIVES_UP;
    let guesses: Vec<_> = (0..8).map(|number| send(&server, 2 + number % 4, MALLORY)).collect();
    let waits = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|name| name.contains("nanosleep"))
    };
    // One by one: between its looks for a free place, each is awake for a moment.
    let mut guessers = HashSet::new();
    wait_until("all guesses wait", || {
        guessers.extend(server.children().into_iter().filter(waits));
        guessers.len() == 8 || is_late()
    });
    wait_until("each address has a turn", || {
        (0..4).all(|turn| places.is_taken(queue + turn, 1)) || is_late()
    });
    let honest = send(&server, 9, ALICE);
    wait_until("the next turn is the other's", || {
        places.find_holder(queue + 4).is_some_and(|pid| !guessers.contains(&pid)) || is_late()
    });
    let has_more = places.is_taken(queue + 5, 50);
    if is_late() {
        return false;
    }
    assert!(!has_more, "an address has several turns");
    places.release();
    let honest = read_to_end(honest);
    if status(&honest) == "503" && is_late() {
        return false;
    }
    assert_eq!(status(&honest), "200");
    for answer in guesses.into_iter().map(read_to_end) {
        assert!(["401", "503"].contains(&status(&answer)), "{answer}");
    }
    true
}

#[test]
fn parallel_requests_of_one_address_wait_for_one_another() {
    if !can_look_inside() {
        return;
    }
    let (_folder, server, places) = serve_full();
    let clients: Vec<_> = (0..6).map(|_| send(&server, 1, ALICE)).collect();
    wait_until("a request waits", || places.is_taken(count_places(), 1));
    places.release();
    for answer in clients.into_iter().map(read_to_end) {
        assert_eq!(status(&answer), "200");
    }
}

#[test]
fn request_waits_for_a_place() {
    if !can_look_inside() {
        return;
    }
    let (_folder, server, places) = serve_full();
    let mut client = server.connect();
    client.write_all(request("GET", "/", ALICE).as_bytes()).unwrap();
    client.set_nonblocking(true).unwrap();
    wait_until("the request waits or is answered", || places.is_taken(0, 0) || client.peek(&mut [0]).is_ok());
    client.set_nonblocking(false).unwrap();
    places.release();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "200");
    wait_until("no place is taken", || !places.is_taken(0, 0));
}
