//! The rows of the table, one for each fault.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::day::{self, Day, Row};
use crate::load::{self, Counts, Load, open};
use crate::slow::{self, LARGE};

type Run = fn() -> Option<Row>;

pub const ALL: &[(&str, Run)] = &[
    ("no fault", nothing),
    ("100,000 connections, log.max_rate = 100", flood),
    ("no descriptors for 3 s", no_descriptors),
    ("no processes for 3 s (RLIMIT_NPROC)", no_processes),
    ("full process table for 3 s (pid_max)", full_table),
    ("300 children killed", kill_children),
    ("spares killed 100 times", kill_spares),
    ("fork servers killed 100 times", kill_fork_servers),
    ("supervisor killed 30 times", kill_parent),
    ("10,000 connections open at the same time", hold_many),
    ("300 slow senders", slow_senders),
    ("300 clients that read nothing", slow_readers),
    ("slowhttptest: 200 slow heads", slowhttptest),
    ("one source over its per-source limit", greedy_source),
    ("standard error not read for 3 s", unread_log),
    ("SIGTERM during a download of 1 GiB", stop_in_download),
    ("1000 reloads", reload),
    ("100 restarts", restart),
];

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;
const WHILE: Duration = Duration::from_secs(3);

fn pause() {
    thread::sleep(Duration::from_millis(300));
}

fn nothing() -> Option<Row> {
    let day = Day::begin("");
    let load = Load::start(day.address(), 8, LOCAL);
    thread::sleep(WHILE);
    Some(day.end(load.finish(), String::new()))
}

fn flood() -> Option<Row> {
    let day = Day::begin("[log]\nmax_rate = 100\n");
    let load = Load::start(day.address(), 16, LOCAL);
    load.wait_answered(100_000);
    Some(day.end(load.finish(), String::new()))
}

/// Changes a limit of the running daemon, as its user.
fn set_limit(day: &Day, limit: &str, user: u32) {
    set_limit_of(day.now().pid().as_raw(), limit, user);
}

fn set_limit_of(pid: i32, limit: &str, user: u32) {
    let pid = format!("--pid={pid}");
    assert!(Command::new("prlimit").args([&pid, limit]).uid(user).gid(user).status().unwrap().success());
}

/// Measures the supervisor's processor time during a fault, and the time until service is normal after it: until each
/// client has received two answers on average.
fn watch(day: &Day, load: &Load, begin: impl FnOnce(), end: impl FnOnce()) -> Watched {
    pause();
    begin();
    let (ticks, answered) = (day.ticks(), load.answered());
    thread::sleep(WHILE);
    let (busy, meanwhile) = (to_percent(day.ticks() - ticks), load.answered() - answered);
    end();
    let start = Instant::now();
    load.wait_answered(2 * load.clients());
    let back = start.elapsed();
    pause();
    Watched { busy, meanwhile, back }
}

struct Watched {
    /// Processor time of the supervisor, in percent of a core.
    busy: f64,
    /// Connections served during the fault.
    meanwhile: u64,
    back: Duration,
}

impl Watched {
    /// Requires that the supervisor does not spin, that service is normal within a second, and that the fault had an effect.
    fn finish(self, day: Day, counts: Counts) -> Row {
        let Self { busy, meanwhile, back } = self;
        let back = back.as_millis();
        let mut row = day.end(counts, String::new());
        row.note = format!(
            "supervisor: {busy:.1}% of a core; {meanwhile} served during the fault; normal after {back} ms"
        );
        row.is_as_asked = busy < 5.0 && back < 1000 && meanwhile < counts.answered / 4;
        row
    }
}

/// Hundredths of a second in [`WHILE`], as percent.
#[allow(clippy::cast_precision_loss)]
fn to_percent(ticks: u64) -> f64 {
    ticks as f64 / WHILE.as_secs_f64()
}

fn no_descriptors() -> Option<Row> {
    let day = Day::begin("");
    let load = Load::start(day.address(), 8, LOCAL);
    let user = geteuid().as_raw();
    let watched = watch(
        &day,
        &load,
        || set_limit(&day, "--nofile=5:", user),
        || set_limit(&day, "--nofile=256:", user),
    );
    Some(watched.finish(day, load.finish()))
}

fn no_processes() -> Option<Row> {
    if !geteuid().is_root() {
        return None;
    }
    // Another user, since the limit counts all processes of a user.
    let user = 65_529;
    let day = Day::begin_as("", "ulimit -Su 100", Some(user));
    let load = Load::start(day.address(), 8, LOCAL);
    let set = |limit| day.now().fork_servers().iter().for_each(|&pid| set_limit_of(pid, limit, user));
    let watched = watch(&day, &load, || set("--nproc=1:"), || set("--nproc=100:"));
    Some(watched.finish(day, load.finish()))
}

/// Before Linux 6.14, `pid_max` is one value for the whole host.
fn has_own_pid_max() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}

/// Runs in a PID namespace, which has its own `pid_max` since Linux 6.14.
fn full_table() -> Option<Row> {
    const HERE: &str = "SOAK_PID_NAMESPACE";
    if !geteuid().is_root() || !has_own_pid_max() {
        return None;
    }
    if std::env::var_os(HERE).is_none() {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount", "--mount-proc"]).arg(program).arg("full process table");
        let output = command.env(HERE, "1").stderr(Stdio::inherit()).output().ok()?;
        let text = String::from_utf8(output.stdout).unwrap();
        let row = text.lines().nth(2).and_then(Row::parse);
        let mut row = row.expect("the row that was made in the namespace");
        row.is_as_asked = output.status.success();
        return Some(row);
    }
    let day = Day::begin("");
    fs::write("/proc/sys/kernel/pid_max", "400").unwrap();
    let load = Load::start(day.address(), 4, LOCAL);
    let sleepers = RefCell::new(Vec::new());
    let fill = || {
        // Repeatedly, since children that exit make room.
        let mut failures = 0;
        while failures < 200 {
            match Command::new("sleep").arg("1000").spawn() {
                Ok(sleeper) => sleepers.borrow_mut().push(sleeper),
                Err(_) => failures += 1,
            }
            thread::sleep(Duration::from_millis(1));
        }
    };
    let clear = || {
        for mut sleeper in sleepers.take() {
            let _ = sleeper.kill();
            let _ = sleeper.wait();
        }
    };
    let watched = watch(&day, &load, fill, clear);
    Some(watched.finish(day, load.finish()))
}

/// Kills all living children. Returns their number.
fn kill_all(day: &Day) -> u64 {
    let children = day.now().children().into_iter().filter(|&child| day::state_of(child) != Some('Z'));
    children.map(|child| u64::from(kill(Pid::from_raw(child), Signal::SIGKILL).is_ok())).sum()
}

fn kill_children() -> Option<Row> {
    let day = Day::begin("");
    let load = Load::start(day.address(), 8, LOCAL);
    let mut killed = 0;
    while killed < 300 {
        killed += kill_all(&day);
        thread::sleep(Duration::from_millis(10));
    }
    let mut row = day.end(load.finish(), "at most one connection lost for each child killed".into());
    row.spent = killed;
    Some(row)
}

fn kill_spares() -> Option<Row> {
    let day = Day::begin("[process]\nspares = 4\n");
    let load = Load::start(day.address(), 4, LOCAL);
    let mut killed = 0;
    for _ in 0..100 {
        killed += kill_all(&day);
        thread::sleep(Duration::from_millis(20));
    }
    let mut row = day.end(load.finish(), "serving children are killed as well".into());
    row.spent = killed;
    Some(row)
}

fn kill_fork_servers() -> Option<Row> {
    let day = Day::begin("[process]\nfork_servers = 2\n");
    let load = Load::start(day.address(), 8, LOCAL);
    let mut killed = 0;
    while killed < 100 {
        for pid in day.now().fork_servers() {
            killed += u64::from(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok());
        }
        thread::sleep(Duration::from_millis(30));
    }
    Some(day.end(load.finish(), format!("{killed} killed")))
}

fn kill_parent() -> Option<Row> {
    let mut day = Day::begin("");
    let load = Load::start(day.address(), 8, LOCAL);
    for _ in 0..30 {
        thread::sleep(Duration::from_millis(50));
        day.end_life(Signal::SIGKILL);
        day.start();
    }
    let mut row = day.end(load.finish(), "the records of its last children are not written".into());
    // At each kill, one connection may be accepted and not forked for yet.
    row.spent = 30;
    row.recorded = None;
    Some(row)
}

fn hold_many() -> Option<Row> {
    let day = Day::begin("[limits]\nmax_connections = 10000\nhead_timeout = '2m'\n[log]\nmax_rate = 0\n");
    let streams: Vec<_> = (0..10_000).map(|_| open(day.address(), LOCAL).unwrap()).collect();
    while day.now().children().len() < streams.len() {
        thread::sleep(Duration::from_millis(10));
    }
    let children = day.now().children();
    let private: u64 = children.iter().step_by(100).map(|&child| day::private_kib(child)).sum();
    let each = private / (children.len() as u64 / 100);
    let mut counts = Counts::default();
    for mut stream in streams {
        match stream.write_all(load::REQUEST).and_then(|()| load::read_answer(&mut stream)) {
            Ok(200) => counts.answered += 1,
            Ok(_) => counts.refused += 1,
            Err(_) => counts.lost += 1,
        }
    }
    let note = format!("{} processes, {each} KiB of private memory each", children.len());
    Some(day.end(counts, note))
}

fn slow_senders() -> Option<Row> {
    let day = Day::begin("[limits]\nhead_timeout = '3s'\n");
    let load = Load::start(day.address(), 4, LOCAL);
    let slow = slow::send_slowly(day.address(), 300);
    let mut counts = load.finish();
    counts.refused += slow.refused;
    counts.lost += slow.lost;
    let mut row = day.end(counts, format!("{} received 408", slow.refused));
    row.is_as_asked = slow.refused == 300;
    Some(row)
}

fn slow_readers() -> Option<Row> {
    let folder = tempfile::tempdir().unwrap();
    File::create(folder.path().join("large")).unwrap().set_len(LARGE).unwrap();
    fs::write(folder.path().join("index.html"), "Hello, World!\n").unwrap();
    let root = folder.path().display();
    let route = format!("[[service.web.route]]\nhandler = 'files'\nroot = '{root}'\n");
    let day = Day::begin(&format!("[limits]\nwrite_timeout = '3s'\n{route}"));
    let load = Load::start(day.address(), 4, LOCAL);
    let left = slow::read_nothing(day.address(), 300, Duration::from_secs(5));
    let mut row = day.end(load.finish(), format!("{left} closed after write_timeout"));
    row.extra = 300;
    row.is_as_asked = left == 300;
    Some(row)
}

fn slowhttptest() -> Option<Row> {
    Command::new("slowhttptest").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    let day = Day::begin("[limits]\nhead_timeout = '3s'\n");
    let load = Load::start(day.address(), 4, LOCAL);
    let url = format!("http://{}/", day.address());
    let arguments = ["-H", "-c", "200", "-r", "200", "-i", "1", "-l", "5", "-u", &url];
    assert!(Command::new("slowhttptest").args(arguments).stdout(Stdio::null()).status().unwrap().success());
    let mut row = day.end(load.finish(), String::new());
    // Its own connections, and one with which it checks the server.
    row.extra = row.recorded.unwrap_or(0).saturating_sub(row.counts.offered());
    row.note = format!("in addition its own {} connections", row.extra);
    row.is_as_asked = (200..=210).contains(&row.extra);
    Some(row)
}

/// The source over its limit receives 503 without a process. Another source is not affected.
fn greedy_source() -> Option<Row> {
    let day = Day::begin("[limits]\nexempt = []\nmax_connections_per_source = 8\n");
    let greedy = Load::start(day.address(), 24, Ipv4Addr::new(127, 0, 0, 2));
    let modest = Load::start(day.address(), 3, Ipv4Addr::new(127, 0, 0, 3));
    thread::sleep(WHILE);
    let (greedy, modest) = (greedy.finish(), modest.finish());
    let counts = Counts {
        answered: greedy.answered + modest.answered,
        refused: greedy.refused + modest.refused,
        lost: greedy.lost + modest.lost,
    };
    let note = format!("refused: {} of this source, {} of another", greedy.refused, modest.refused);
    let mut row = day.end(counts, note);
    row.may_refuse = true;
    row.is_as_asked = greedy.refused > 0 && modest.refused == 0;
    Some(row)
}

fn unread_log() -> Option<Row> {
    let day = Day::begin("[log]\nmax_rate = 0\n");
    let load = Load::start(day.address(), 8, LOCAL);
    pause();
    day.now().pause_reading(true);
    thread::sleep(WHILE);
    day.now().pause_reading(false);
    pause();
    Some(day.end(load.finish(), String::new()))
}

fn stop_in_download() -> Option<Row> {
    const SIZE: u64 = 1 << 30;
    let folder = tempfile::tempdir().unwrap();
    File::create(folder.path().join("large")).unwrap().set_len(SIZE).unwrap();
    fs::write(folder.path().join("index.html"), "Hello, World!\n").unwrap();
    let root = folder.path().display();
    let mut day = Day::begin(&format!("[[service.web.route]]\nhandler = 'files'\nroot = '{root}'\n"));
    let load = Load::start(day.address(), 4, LOCAL);
    let mut stream = open(day.address(), LOCAL).unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_exact(&mut vec![0; 64 << 20]).unwrap();
    let download = thread::spawn(move || {
        thread::sleep(Duration::from_secs(1)); // the stop comes first
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap() + (64 << 20)
    });
    day.end_life(Signal::SIGTERM);
    let arrived = download.join().unwrap();
    day.start();
    load.wait_answered(1);
    let mut counts = load.finish();
    match arrived > SIZE {
        true => counts.answered += 1,
        false => counts.lost += 1,
    }
    Some(day.end(counts, format!("{arrived} bytes of head and content received")))
}

fn reload() -> Option<Row> {
    let day = Day::begin("");
    let load = Load::start(day.address(), 8, LOCAL);
    for number in 0..1000 {
        day.now().reload(&format!(
            "[limits]\nmax_connections = {}\n[process]\nspares = {}\n",
            100 + number % 7,
            number % 3
        ));
        day.now().notification_with("READY=1");
        load.wait_answered(5);
    }
    Some(day.end(load.finish(), String::new()))
}

fn restart() -> Option<Row> {
    let mut day = Day::begin("");
    let load = Load::start(day.address(), 8, LOCAL);
    for _ in 0..100 {
        load.wait_answered(20);
        day.end_life(Signal::SIGTERM);
        day.start();
    }
    Some(day.end(load.finish(), String::new()))
}
