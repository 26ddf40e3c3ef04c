//! What an attacker reaches, from a child of each kind: one attempt in each row. Prints the table of docs/security.md, and
//! fails if something works that must not, or if the document says otherwise. As root, with python3 and the feature
//! `attacks`.
//!
//!     tests/attacks/run [PART OF A ROW'S NAME]...        compares the table with docs/security.md
//!     tests/attacks/run --write                          writes it there
//!     tests/attacks/run --inside                         only attempts from a child; --outside: only those of clients

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test prints, waits and panics"
)]

mod arena;
mod attacker;
#[allow(dead_code, reason = "tests/it uses more of it")]
#[path = "../it/harness.rs"]
mod harness;
mod place;
mod rows;
mod steps;
mod table;

use std::collections::HashMap;
use std::env;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::ExitCode;

use arena::{Arena, Kind, Unit};
use rows::clients::ClientRow;
use rows::{Row, Scene};
use steps::Seen;

fn main() -> ExitCode {
    if env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        harness::skip("the attacks need root");
        return ExitCode::SUCCESS;
    }
    if env::args().any(|argument| argument == "--config") {
        let (folder, _) = env::var_os("ATTACKS_UNIT").map(find_unit).expect("the folder of the unit");
        place::prepare_folder(&folder);
        println!("{}", place::config(&folder));
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (options, parts): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|word| word.starts_with("--"));
    let landlock = landlock_abi();
    let unit = env::var_os("ATTACKS_UNIT").map(find_unit);
    let rows: Vec<_> = rows::all()
        .into_iter()
        .filter(|row| unit.is_none() || !row.needs_own_daemon)
        .filter(|row| parts.is_empty() || parts.iter().any(|part| row.name.contains(part.as_str())))
        .collect();
    let has = |option: &str| options.iter().any(|other| other == option);
    let (cells, mut faults) =
        if has("--outside") { Default::default() } else { try_all(&rows, landlock, &unit) };
    let outside =
        if has("--inside") || unit.is_some() { Vec::new() } else { try_clients(&parts, &mut faults) };
    let table = table::render(&rows, &cells, &outside);
    println!("{table}");
    for fault in &faults {
        println!("FAILED: {fault}");
    }
    let is_whole = unit.is_none() && parts.is_empty() && !has("--inside") && !has("--outside");
    let is_true = !is_whole || table::compare(&table, has("--write"));
    let (count, attempts) = (rows.len() + outside.len(), cells.len() + outside.len());
    println!("{count} rows, {attempts} attempts, Landlock ABI {landlock}, {} failed", faults.len());
    ExitCode::from(u8::from(!faults.is_empty() || !is_true))
}

/// The sockets of lsbaws.service in the container, as tests/system/77-attacks.sh makes them; the variable has the folder.
fn find_unit(folder: std::ffi::OsString) -> (PathBuf, [std::net::SocketAddr; 5]) {
    (folder.into(), [9001, 9002, 9003, 9004, 9005].map(|port| ([127, 0, 0, 1], port).into()))
}

/// What was seen, by row and kind, and what must not be.
type Cells = HashMap<(&'static str, Kind), Seen>;

fn try_all(rows: &[&'static Row], landlock: u32, unit: &Unit) -> (Cells, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = SocketAddr::from_abstract_name(abstract_name()).unwrap();
    let _abstract = UnixListener::bind_addr(&name).unwrap();
    let mut arena = Arena::start(unit);
    let mut socket = listen_at(&arena);
    let (mut cells, mut faults) = (Cells::new(), Vec::new());
    for row in rows {
        for &kind in row.kinds {
            let seen = (row.run)(&mut Scene::new(&mut arena, kind, &listener));
            let harm = arena.find_harm();
            let seen = match (seen, &harm) {
                // What else it breaks is a matter of time.
                (Seen::Open(what), Some(_)) if kind == Kind::Free => {
                    Seen::Open(format!("{what}; others are harmed"))
                }
                (Seen::Open(what), Some(harm)) => Seen::Open(format!("{what}; {harm}")),
                (_, Some(harm)) => Seen::Open(harm.clone()),
                (seen, None) => seen,
            };
            eprintln!("{}: {}: {seen}", row.name, kind.name());
            // The unit denies more.
            if unit.is_none() || matches!(seen, Seen::Open(_)) {
                faults.extend(judge(row, kind, &seen, landlock));
            }
            let is_spoilt = harm.is_some() || row.spoils && matches!(seen, Seen::Open(_));
            cells.insert((row.name, kind), seen);
            if is_spoilt {
                drop(socket);
                drop(arena); // a unit stops when its connections have ended
                arena = Arena::start(unit);
                socket = listen_at(&arena);
            }
        }
    }
    drop(socket);
    (cells, faults)
}

/// The name of an abstract socket. Tests that run at the same time have others.
fn abstract_name() -> String {
    format!("lsbaws-attacks-{}", std::process::id())
}

/// What clients try.
fn try_clients(parts: &[String], faults: &mut Vec<String>) -> Vec<(&'static ClientRow, Seen)> {
    let is_wanted =
        |row: &&ClientRow| parts.is_empty() || parts.iter().any(|part| row.name.contains(part.as_str()));
    rows::clients::ROWS
        .iter()
        .filter(is_wanted)
        .map(|row| {
            let seen = (row.run)();
            eprintln!("{}: {seen}", row.name);
            match &seen {
                Seen::Open(what) if row.why.is_empty() => faults.push(format!("{}: {what}", row.name)),
                Seen::Denied(how) if !row.why.is_empty() => {
                    faults.push(format!("{}: expected to work, and denied: {how}", row.name));
                }
                _ => {}
            }
            (row, seen)
        })
        .collect()
}

/// A Unix socket that everybody may connect to.
fn listen_at(arena: &Arena) -> UnixListener {
    let path = arena.path("socket");
    let _ = std::fs::remove_file(&path); // of the arena before
    let socket = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    socket
}

/// What is wrong with an attempt, if anything.
fn judge(row: &Row, kind: Kind, seen: &Seen, landlock: u32) -> Option<String> {
    let may_be_open = kind == Kind::Free || row.open.contains(&kind);
    match seen {
        Seen::Open(what) if !may_be_open && landlock >= row.landlock => {
            Some(format!("{}: {}: {what}", row.name, kind.name()))
        }
        Seen::Denied(how) if row.open.contains(&kind) => {
            Some(format!("{}: {}: expected to work, and denied: {how}", row.name, kind.name()))
        }
        _ => None,
    }
}

/// The Landlock ABI of this kernel; 0 without Landlock (landlock_create_ruleset(2)).
fn landlock_abi() -> u32 {
    // No attributes, and the flag LANDLOCK_CREATE_RULESET_VERSION.
    #[expect(unsafe_code, reason = "no crate of the tests has this call")]
    // SAFETY: asks for a number only.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) };
    u32::try_from(version).unwrap_or(0)
}
