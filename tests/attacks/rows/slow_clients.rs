//! Clients that are slow or many, and local users who rename: the attempts of [`super::clients`] that take time.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::clients::{get, judge_others, request, serve, serves, status};
use crate::arena::{Arena, Kind};
use crate::call;
use crate::harness::{Setup, ask};
use crate::place::user;
use crate::steps::{Seen, Steps};

/// Whether the daemon ends the connection in this time, while it gets a byte now and then.
fn is_ended_within(mut stream: TcpStream, byte: &[u8], time: Duration) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let start = Instant::now();
    let mut part = [0; 4096];
    while start.elapsed() < time {
        let _ = stream.write_all(byte);
        match stream.read(&mut part) {
            Ok(0) => return true,
            Err(error) if error.kind() != ErrorKind::WouldBlock => return true,
            _ => {}
        }
    }
    false
}

pub(super) fn slow_head() -> Seen {
    let site = serve("head_timeout = \"1s\"", "");
    let mut stream = site.server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ").unwrap();
    if is_ended_within(stream, b"x", Duration::from_secs(8)) {
        Seen::Denied("408 after head_timeout".into())
    } else {
        Seen::Open("held".into())
    }
}

pub(super) fn slow_content() -> Seen {
    let site = serve("body_timeout = \"1s\"\nmin_rate = 100", "");
    let program = site.folder.path().join("cgi/read");
    fs::write(&program, "#!/bin/sh\ncat >/dev/null\necho\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut stream = site.server.connect();
    stream.write_all(b"POST /cgi/read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    // 60 bytes of framing for each 6 of content: above the rate only if framing counted.
    if is_ended_within(stream, &b"01;aaaaaaa\r\nx\r\n".repeat(2), Duration::from_secs(10)) {
        Seen::Denied("408: content is counted, not framing".into())
    } else {
        Seen::Open("held".into())
    }
}

/// Connections that hold all places, and one more.
pub(super) fn hold_places(text: &[u8]) -> Seen {
    let site = serve("max_connections = 8\nkeepalive_timeout = \"1h\"\nhead_timeout = \"1h\"", "");
    let held: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = site.server.connect();
            stream.write_all(text).unwrap();
            stream
        })
        .collect();
    site.server.wait_idle();
    let are_served = serves(&site);
    drop(held);
    judge_others(are_served)
}

pub(super) fn hold_other_service() -> Seen {
    let listeners: Vec<_> = (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let config = "[limits]\nmax_connections = 8\n[service.web]\nreserve = 1\n\
                  [service.cat]\nprotocol = 'exec'\ncommand = '/bin/cat'\n";
    let mut setup = Setup::new(config).names("web:cat").user(user());
    for listener in listeners {
        setup = setup.socket(listener);
    }
    let server = setup.start();
    let held: Vec<_> = (0..8).map(|_| TcpStream::connect(addresses[1]).unwrap()).collect();
    server.wait_idle();
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = request(TcpStream::connect(addresses[0]).unwrap(), text);
    drop(held);
    match status(&answer) {
        "200" => Seen::Denied("`reserve` keeps places".into()),
        _ => Seen::Open("others are not served".into()),
    }
}

/// Whether the kernel would find out (tcp(7)): the program asks for the options of its connection.
pub(super) fn vanish() -> Seen {
    let arena = Arena::start(&None);
    let mut steps = Steps::default();
    let (value, length) = (steps.zeros(4), steps.bytes(&4i32.to_ne_bytes()));
    call!(steps, SYS_getsockopt, 0, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &value, &length);
    steps.show(&value);
    let answer = arena.attacker(Kind::Exec).run(&steps);
    match answer.bytes(&value)[..] {
        [1, 0, 0, 0] => Seen::Denied("found by keep-alive".into()),
        _ => Seen::Open("held for ever".into()),
    }
}

pub(super) fn flood_log() -> Seen {
    let site = serve("", "");
    let program = site.folder.path().join("cgi/flood");
    fs::write(&program, "#!/bin/sh\ni=0\nwhile [ $i -lt 20000 ]; do echo line >&2; i=$((i+1)); done\nprintf 'Status: 200\\n\\n'\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    get(&site, "/cgi/flood");
    let mut count = 0;
    while let Some(line) = site.server.line_within("", Duration::from_secs(5)) {
        count += 1;
        if line.contains(" outcome=") {
            break;
        }
    }
    if count < 1000 {
        Seen::Denied("a bounded number of lines".into())
    } else {
        Seen::Open(format!("{count} lines"))
    }
}

pub(super) fn rename_race(target: &str, confine: &str) -> Seen {
    let site = serve("max_requests = 1000000000\nmax_connections = 64", confine);
    let root = site.folder.path().join(&target[1..4]);
    let outside = site.folder.path().join("outside");
    for folder in [root.join("d"), outside.clone()] {
        fs::create_dir_all(&folder).unwrap();
        let place = if folder == outside { "OUTSIDE" } else { "inside" };
        fs::write(
            folder.join("a.sh"),
            format!("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n{place}'\n"),
        )
        .unwrap();
        fs::set_permissions(folder.join("a.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    }
    symlink(&outside, root.join("link")).unwrap();
    let stop = AtomicBool::new(false);
    let mut outside_count = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                renameat2(
                    AT_FDCWD,
                    &root.join("d"),
                    AT_FDCWD,
                    &root.join("link"),
                    RenameFlags::RENAME_EXCHANGE,
                )
                .unwrap();
            }
        });
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(4) {
            outside_count += usize::from(get(&site, target).contains("OUTSIDE"));
        }
        stop.store(true, Relaxed);
    });
    if outside_count == 0 { Seen::Denied("never".into()) } else { Seen::Open("sometimes".into()) }
}

pub(super) fn hide_request() -> Seen {
    let site = serve("", "");
    let text =
        "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\nGET /seen HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    ask(site.server.connect(), text);
    let line = site.server.line_within(" connection=", Duration::from_secs(10)).unwrap_or_default();
    if line.contains("hidden") {
        Seen::Denied("named".into())
    } else {
        Seen::Open("not named, but counted".into())
    }
}
