//! What a client can do, and a local user who may write to a root: from outside.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::messages::read_status;
use super::slow_clients::{
    flood_log, hide_request, hold_other_service, hold_places, rename_race, slow_content, slow_head, vanish,
};
use crate::harness::{Record, Server, Setup, connect_from};
use crate::place::{make_root_folder, user};
use crate::steps::Seen;

/// An attempt from outside.
pub struct ClientRow {
    pub name: &'static str,
    pub run: fn() -> Seen,
    /// Why it may work; empty if it must not.
    pub why: &'static str,
}

const fn row(name: &'static str, run: fn() -> Seen) -> ClientRow {
    ClientRow { name, run, why: "" }
}

pub const ROWS: &[ClientRow] = &[
    row("forge entries or lines of the log: escapes, line ends, quotes, 15 KiB of target", forge_log),
    row("leave a root by a path: .., %2e, %2f, %00, symbolic links, FIFOs, devices", leave_root),
    row("script in a listing: names with markup, quotes, control characters", inject_listing),
    row("split a response, or lead elsewhere, by a redirect", inject_redirect),
    row("smuggle requests: lengths, codings, line ends", smuggle),
    row("a TLS client on a plain port holds a child", tls_hello),
    row("Range: 1500 ranges, overlaps, overflow", ranges),
    row("urgent data, for SIGURG", urgent_data),
    row("descriptors for a child over a Unix socket: SCM_RIGHTS", send_rights),
    row("5000 pipelined requests", pipeline),
    row("500 connections that are reset", reset_flood),
    row("500 connections from a denied address, kept open", refused_flood),
    row("a head that never ends, a byte at a time", slow_head),
    row("content that trickles, in chunks of one byte", slow_content),
    row("hold every place by idle connections", || hold_places(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
    row("hold every place by slow heads", || hold_places(b"GET / HTTP/1.1\r\nHos")),
    row("hold every place of one service, and so those of others", hold_other_service),
    row("a peer that vanishes without a FIN", vanish),
    row("read the status as another user of the host", read_status),
    row("flood the log through a program's standard error", flood_log),
    ClientRow {
        name: "run a script outside the root: renames between lookup and start",
        run: || rename_race("/cgi/d/a.sh", ""),
        why: "the interpreter opens it a second time, by its path; `read` limits what it may open",
    },
    row("the same where `read` is set", || rename_race("/cgi/d/a.sh", "[service.web.confine]\nread = []\n")),
    row("send a file from outside the root: the same renames", || rename_race("/www/d/a.sh", "")),
    ClientRow {
        name: "hide a request behind another on the same connection",
        run: hide_request,
        why: "a record names the last request, and their number",
    },
];

/// The daemon of one attempt.
pub(super) struct Site {
    pub(super) server: Server,
    pub(super) folder: TempDir,
}

/// Serves files, listings, programs and redirects; `limits` are lines of `[limits]`.
pub(super) fn serve(limits: &str, more: &str) -> Site {
    let folder = make_root_folder();
    for name in ["www", "cgi", "outside", "www/d", "www/e"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
        chown(folder.path().join(name), Some(user()), Some(user())).unwrap();
    }
    fs::write(folder.path().join("www/page"), "page").unwrap();
    let path = folder.path().display();
    let server = Setup::new(&format!(
        r#"
[limits]
{limits}
[service.web]
[[service.web.route]]
path = "/"
[[service.web.route]]
path = "/www/"
handler = "files"
root = "{path}/www"
listing = true
[[service.web.route]]
path = "/r/"
handler = "redirect"
to = "/www"
[[service.web.route]]
path = "/cgi/"
handler = "cgi"
root = "{path}/cgi"
{more}
"#
    ))
    .user(user())
    .serve();
    Site { server, folder }
}

pub(super) fn request(stream: TcpStream, text: &str) -> String {
    let mut stream = stream;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer); // a reset after the answer
    String::from_utf8_lossy(&answer).into_owned()
}

pub(super) fn get(site: &Site, target: &str) -> String {
    request(site.server.connect(), &format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
}

pub(super) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

/// `Denied` if nothing was found.
fn none_of(found: &[String], how: &str) -> Seen {
    if found.is_empty() { Seen::Denied(how.into()) } else { Seen::Open(found.join(", ")) }
}

pub(super) fn judge_others(are_served: bool) -> Seen {
    match are_served {
        true => Seen::Denied("others are served".into()),
        false => Seen::Open("others are not served".into()),
    }
}

pub(super) fn serves(site: &Site) -> bool {
    status(&get(site, "/")) == "200"
}

fn forge_log() -> Seen {
    let site = serve("", "");
    let targets = [
        "/%0aLSBAWS_OUTCOME=forged",
        "/a\x1b[2J",
        "/\"outcome=\"forged",
        "/a\u{202e}",
        "/a\nb",
        &"/x".repeat(7500),
    ];
    let mut found = Vec::new();
    for target in targets {
        get(&site, target);
        let Some(line) = site.server.line_within(" connection=", Duration::from_secs(10)) else {
            found.push(format!("no record of {target:?}"));
            continue;
        };
        let is_forged = Record::parse(&line).get("outcome").contains("forged");
        if is_forged || line.contains(char::is_control) || line.len() > 3000 {
            found.push(format!("{target:?}"));
        }
    }
    none_of(&found, "escaped and cut")
}

fn leave_root() -> Seen {
    let site = serve("", "");
    let www = site.folder.path().join("www");
    fs::write(site.folder.path().join("outside/secret"), "SECRET root:x:").unwrap();
    symlink("../outside/secret", www.join("relative")).unwrap();
    symlink("/etc/passwd", www.join("absolute")).unwrap();
    symlink("/proc/self/root", www.join("proc")).unwrap();
    symlink("/dev/zero", www.join("zero")).unwrap();
    nix::unistd::mkfifo(&www.join("fifo"), nix::sys::stat::Mode::from_bits_retain(0o666)).unwrap();
    let targets = [
        "/www/../outside/secret",
        "/www/%2e%2e/outside/secret",
        "/www/..%2foutside/secret",
        "/www/..%5coutside/secret",
        "/www/%252e%252e/outside/secret",
        "/www/page%00",
        "//etc/passwd",
        "/www//etc/passwd",
        "/www/relative",
        "/www/absolute",
        "/www/proc/etc/passwd",
        "/www/zero",
        "/www/fifo",
        "http://a/www/../outside/secret",
        "/cgi/../outside/secret",
    ];
    let mut found = Vec::new();
    for target in targets {
        let start = Instant::now();
        let answer = get(&site, target);
        // Without its segments `..`, a target may belong to the route "/".
        let is_elsewhere = status(&answer).starts_with('4') || answer.ends_with("\r\n\r\nHello, World!\n");
        if answer.contains("root:x:") || !is_elsewhere || start.elapsed() > Duration::from_secs(5) {
            found.push(format!("{target}: {}", status(&answer)));
        }
    }
    none_of(&found, "400, 404, or another route")
}

fn inject_listing() -> Seen {
    let site = serve("", "");
    let names =
        ["<img src=x onerror=alert(1)>", "\"'><script>", "javascript:alert(1)", "a\nb", "a\x1bb", "?#%"];
    for name in names {
        fs::write(site.folder.path().join("www/e").join(name), "").unwrap();
    }
    let answer = get(&site, "/www/e/");
    let bad = ["<img", "<script", "href=\"javascript:", "a\nb", "\x1b"];
    none_of(
        &bad.iter().filter(|text| answer.contains(**text)).map(|text| (*text).to_owned()).collect::<Vec<_>>(),
        "escaped",
    )
}

fn inject_redirect() -> Seen {
    let site = serve("", "");
    let mut found = Vec::new();
    for target in [
        "/r/%0d%0aSet-Cookie:a=b",
        "/r//evil.example",
        "/r/%5cevil.example",
        "/r/@evil.example",
        "/r/x?a%0d%0aSet-Cookie:a=b",
    ] {
        let answer = get(&site, target);
        let location = answer.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap_or("/www");
        let is_own = location.starts_with("/www") && !answer.contains("\r\nSet-Cookie:");
        if !is_own {
            found.push(location.to_owned());
        }
    }
    none_of(&found, "encoded")
}

fn smuggle() -> Seen {
    let site = serve("", "");
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let heads = [
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Content-Length: -1",
        "Content-Length: +1",
        "Content-Length: 1,1",
        "Content-Length: 99999999999999999999",
        "X: a\n\nGET /hidden HTTP/1.1",
        "A B: c",
        " Content-Length: 5",
    ];
    let mut found = Vec::new();
    for head in heads {
        let answer =
            request(site.server.connect(), &format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{hidden}"));
        if answer.matches("HTTP/1.1 ").count() != 1 || answer.starts_with("HTTP/1.1 2") {
            found.push(format!("{head:?}"));
        }
    }
    none_of(&found, "refused, and the connection closed")
}

fn tls_hello() -> Seen {
    let site = serve("", "");
    let mut stream = site.server.connect();
    let start = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Seen::Open("held until head_timeout".into()),
        _ if start.elapsed() < Duration::from_secs(4) => Seen::Denied("refused at its first byte".into()),
        _ => Seen::Open("held".into()),
    }
}

fn ranges() -> Seen {
    let site = serve("", "");
    fs::write(site.folder.path().join("www/large"), vec![b'x'; 100_000]).unwrap();
    let many: Vec<_> = (0..1500).map(|at| format!("{at}-{at}")).collect();
    let mut found = Vec::new();
    for range in [
        many.join(","),
        "0-,0-,0-,0-,0-,0-,0-,0-".into(),
        "0-18446744073709551615".into(),
        "18446744073709551615-".into(),
    ] {
        let head = format!(
            "GET /www/large HTTP/1.1\r\nHost: a\r\nRange: bytes={range}\r\nConnection: close\r\n\r\n"
        );
        let answer = request(site.server.connect(), &head);
        if answer.len() > 200_000 || !["200", "206", "416", "431"].contains(&status(&answer)) {
            found.push(status(&answer).to_owned());
        }
    }
    none_of(&found, "one answer of bounded size")
}

fn urgent_data() -> Seen {
    let site = serve("", "");
    let stream = site.server.connect();
    let flags = nix::sys::socket::MsgFlags::MSG_OOB;
    for _ in 0..100 {
        let _ = nix::sys::socket::send(std::os::fd::AsRawFd::as_raw_fd(&stream), b"!", flags);
    }
    drop(stream);
    let line = site.server.line_within(" connection=", Duration::from_secs(15)).unwrap_or_default();
    let is_well = line.contains("outcome=") && !line.contains("killed") && serves(&site);
    if is_well { Seen::Denied("no signal".into()) } else { Seen::Open(line) }
}

fn send_rights() -> Seen {
    let folder = make_root_folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = folder.path().join("web.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let server = Setup::new("").socket(listener).names("web").user(user()).start();
    let stream = UnixStream::connect(&path).unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let files: Vec<_> = (0..8).map(|_| fs::File::open("/etc/passwd").unwrap()).collect();
    let rights: Vec<_> = files.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
    nix::sys::socket::sendmsg::<()>(
        std::os::fd::AsRawFd::as_raw_fd(&stream),
        &[std::io::IoSlice::new(request)],
        &[nix::sys::socket::ControlMessage::ScmRights(&rights)],
        nix::sys::socket::MsgFlags::empty(),
        None,
    )
    .unwrap();
    let mut first = [0; 15];
    let _ = (&stream).read_exact(&mut first);
    let held = |pid: &i32| {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        links
            .filter(|link| fs::read_link(link.path()).is_ok_and(|path| path == Path::new("/etc/passwd")))
            .count()
    };
    match server.children().iter().map(held).sum::<usize>() {
        0 if &first == b"HTTP/1.1 200 OK" => Seen::Denied("dropped by the kernel".into()),
        count => Seen::Open(format!("{count} received")),
    }
}

fn pipeline() -> Seen {
    let site = serve("", "");
    let answer = request(site.server.connect(), &"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5000));
    let count = answer.matches("HTTP/1.1 200 OK").count();
    if count <= 1000 && serves(&site) {
        Seen::Denied("closed after max_requests".into())
    } else {
        Seen::Open(count.to_string())
    }
}

fn reset_flood() -> Seen {
    let site = serve("", "");
    for _ in 0..500 {
        crate::harness::reset(site.server.connect());
    }
    judge_others(serves(&site))
}

fn refused_flood() -> Seen {
    let site = serve("deny = [\"127.0.0.9\"]", "");
    let held: Vec<_> =
        (0..500).map(|_| connect_from(Ipv4Addr::new(127, 0, 0, 9), site.server.address())).collect();
    let is_served = serves(&site);
    drop(held);
    judge_others(is_served)
}
