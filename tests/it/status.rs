//! `lsbaws status` and the status socket.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use serde_json::Value;
use tempfile::TempDir;

use crate::gate::Gate;
use crate::harness::{
    LSBAWS, Server, Setup, ask, command, connect, connect_unix, make_folder, read_to_end, run, skip,
    wait_until,
};

/// A user without privileges, for root.
const OTHER: u32 = 65534;

/// A daemon with a status socket in this folder.
fn setup(folder: &TempDir, config: &str) -> Setup {
    // The daemon may have another user.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    Setup::new(&format!("process.status_socket = '{}'\n{config}", socket(folder)))
}

fn socket(folder: &TempDir) -> String {
    folder.path().join("status.sock").to_str().unwrap().to_owned()
}

/// The status as JSON.
fn report(path: &str) -> Value {
    let (code, text, message) = run(&["status", "--json", "--socket", path]);
    assert_eq!((code, &*message), (0, ""));
    serde_json::from_str(&text).unwrap()
}

/// Waits for a report of which this is true.
fn wait_report(path: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    wait_until(what, || {
        last = report(path);
        is_so(&last)
    });
    last
}

/// Sends a request on a connection that stays open.
fn ask_for(stream: &mut impl Write, target: &str) {
    write!(stream, "GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
}

/// Reads the response of the default service.
fn read_hello(stream: &mut impl Read) {
    let (mut response, mut some) = (Vec::new(), [0; 512]);
    while !response.ends_with(b"Hello, World!\n") {
        let count = stream.read(&mut some).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&response));
        response.extend(&some[..count]);
    }
}

#[test]
fn status_shows_connections_and_services() {
    let folder = make_folder();
    let path = socket(&folder);
    let mut server = setup(&folder, "[limits]\nmax_connections = 7\n").serve();
    let mut idle = server.connect();
    ask_for(&mut idle, "/a?b=%22");
    read_hello(&mut idle);
    let _reading = server.connect();
    let status = wait_report(&path, "one connection is idle, one is read", |status| {
        let phases = &status["services"][0]["phases"];
        phases["idle"] == 1 && phases["reading"] == 1
    });
    assert_eq!(status["daemon"]["pid"], i64::from(server.pid().as_raw()));
    assert_eq!((&status["daemon"]["state"], &status["daemon"]["reloads"]), (&"serving".into(), &0.into()));
    assert_eq!((&status["connections"]["now"], &status["connections"]["max"]), (&2.into(), &7.into()));
    let web = &status["services"][0];
    assert_eq!(
        (&web["name"], &web["protocol"], &web["accepted"]),
        (&"web".into(), &"http".into(), &2.into())
    );
    assert_eq!((&web["requests"], &web["ended"]["served"]), (&1.into(), &0.into()));
    let oldest = &status["oldest"][0];
    assert_eq!((&oldest["method"], &oldest["target"]), (&"GET".into(), &"/a?b=%22".into()));
    assert_eq!(
        (&oldest["status"], &oldest["peer"]),
        (&200.into(), &idle.local_addr().unwrap().to_string().into())
    );
    assert!(server.children().contains(&i32::try_from(oldest["pid"].as_i64().unwrap()).unwrap()));
    assert_eq!(status["listeners"][0]["address"], server.address().to_string());
    assert_eq!(status["sources"][0]["source"], "127.0.0.1");
    let places = &status["limits"][0];
    assert_eq!((&places["name"], &places["used"]), (&"limits.max_connections".into(), &2.into()));
    assert!(status["limits"].as_array().unwrap().iter().any(|limit| limit["name"] == "RLIMIT_NOFILE"));

    let (code, text, _) = run(&["status", "--socket", &path]);
    let row = text.lines().find(|line| line.contains("GET /a?b=%22")).unwrap_or_else(|| panic!("{text}"));
    assert!(row.starts_with("web ") && row.contains(" idle ") && row.contains(" 200 "), "{text}");
    assert!(code == 0 && text.contains("2/7 connections"), "{text}");

    drop(idle);
    let status = wait_report(&path, "it has ended", |status| status["services"][0]["ended"]["served"] == 1);
    let web = &status["services"][0];
    assert_eq!(
        (&web["requests"], &web["now"], &web["durations"]["count"]),
        (&1.into(), &1.into(), &1.into())
    );
    assert!(web["cpu"].as_f64().unwrap() > 0.0 && web["bytes_out"].as_u64().unwrap() > 100, "{web}");
    assert!(status["rates"]["last_60s"]["accepted"].as_f64().unwrap() > 0.0, "{status}");
    server.stop();
    assert!(!Path::new(&path).exists());
    let (code, _, message) = run(&["status", "--socket", &path]);
    assert_eq!(code, 69);
    assert_eq!(
        message,
        format!(
            "lsbaws: the daemon is not running, or has no status socket at {path} (process.status_socket)\n"
        )
    );
}

#[test]
fn service_at_its_own_limit_is_marked() {
    let folder = make_folder();
    let path = socket(&folder);
    let server = setup(&folder, "[service.web]\nmax_connections = 5\n").serve();
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let wait_row = |count: usize, row: &str| {
        wait_report(&path, row, |status| status["services"][0]["now"] == count);
        let (_, text, _) = run(&["status", "--socket", &path]);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.lines().any(|line| words(line) == row), "{row}: {text}");
    };
    wait_row(4, "service.web.max_connections 4 5 near service.web.max_connections");
    clients.push(server.connect());
    wait_row(5, "service.web.max_connections 5 5 full service.web.max_connections");
}

#[test]
fn client_that_a_proxy_names_is_shown_before_its_request() {
    let folder = make_folder();
    let path = socket(&folder);
    let server = setup(&folder, "[service.web]\ntrusted_proxies = ['127.0.0.1']\n").serve();
    let mut proxy = server.connect();
    let request = "GET /a HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n";
    proxy.write_all(request.as_bytes()).unwrap();
    read_hello(&mut proxy);
    wait_report(&path, "it is idle", |status| status["services"][0]["phases"]["idle"] == 1);
    let (_, text, _) = run(&["status", "--socket", &path]);
    let row = text.lines().find(|line| line.contains("GET /a")).unwrap();
    assert!(row.ends_with(" 198.51.100.7  GET /a"), "{text}");
}

#[test]
fn refusals_and_failures_have_counters() {
    let folder = make_folder();
    let path = socket(&folder);
    let config = "limits.max_connections_per_source = 1\nlimits.exempt = []\n";
    let server = setup(&folder, config).serve();
    let mut first = server.connect();
    ask_for(&mut first, "/");
    read_hello(&mut first);
    assert!(read_to_end(server.connect()).starts_with("HTTP/1.1 503 "));
    drop(first);
    let count = |status: &Value| status["services"][0]["ended"]["served"].clone();
    wait_report(&path, "its place is free", |status| count(status) == 1);
    assert!(ask(server.connect(), "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let status =
        wait_report(&path, "both have ended", |status| status["services"][0]["ended"]["client-error"] == 1);
    let web = &status["services"][0];
    assert_eq!((&web["accepted"], &web["refused"]["max_connections_per_source"]), (&3.into(), &1.into()));
    assert_eq!((&web["refused"]["denied"], &web["ended"]["killed"]), (&0.into(), &0.into()));
}

#[test]
fn status_socket_follows_the_configuration() {
    let (folder, other) = (make_folder(), make_folder());
    let path = socket(&folder);
    let mut server = setup(&folder, "").serve();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    server.reload(&format!("process.status_socket = '{}'\n", socket(&other)));
    server.wait_line("configuration reloaded");
    assert!(!Path::new(&path).exists());
    assert_eq!(report(&socket(&other))["daemon"]["reloads"], 1);
    server.reload("process.status_socket = ''\n");
    server.wait_line("configuration reloaded");
    assert!(!Path::new(&socket(&other)).exists());
    server.reload("process.status_socket = '/nonexistent/status.sock'\n");
    server.wait_line("unable to listen on /nonexistent/status.sock (process.status_socket): ");
    server.stop();
    assert!(run(&["check", "--set", "process.status_socket=x"]).2.contains("expected an absolute path"));
}

#[test]
fn runtime_directory_has_the_status_socket_by_default() {
    let folder = make_folder();
    let prelude = format!("export RUNTIME_DIRECTORY='{}':/nonexistent", folder.path().display());
    let _server = Setup::new("").prelude(&prelude).serve();
    assert_eq!(report(&socket(&folder))["daemon"]["state"], "serving");
    let other = make_folder();
    let prelude = format!("export RUNTIME_DIRECTORY='{}'", other.path().display());
    let _server = Setup::new("process.status_socket = ''\n").prelude(&prelude).serve();
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
}

#[test]
fn callers_that_do_not_read_block_nothing() {
    let folder = make_folder();
    let path = socket(&folder);
    let server = setup(&folder, "").serve();
    let callers: Vec<_> = (0..100).map(|_| connect_unix(&path)).collect();
    assert!(server.get("/").ends_with("Hello, World!\n"));
    assert_eq!(report(&path)["services"][0]["accepted"], 1);
    drop(callers);
}

#[test]
fn drain_is_in_the_status() {
    let folder = make_folder();
    let path = socket(&folder);
    let mut gate = Gate::new();
    let mut server = setup(&folder, &gate.route("/")).serve();
    let mut client = server.connect();
    ask_for(&mut client, "/");
    gate.wait_reached();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_notified("STOPPING="), "1");
    assert_eq!(report(&path)["daemon"]["state"], "draining");
    gate.open();
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn idle_daemon_exits_although_its_status_is_read() {
    let folder = make_folder();
    let path = socket(&folder);
    let mut server = setup(&folder, "process.idle_timeout = '1s'\n").serve();
    wait_until("the daemon has exited", || run(&["status", "--socket", &path]).0 == 69);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn other_users_get_no_status() {
    if !geteuid().is_root() {
        return skip("only root can be two users");
    }
    let folder = make_folder();
    let path = socket(&folder);
    let _server = setup(&folder, "").user(OTHER).serve();
    let status = |uid| {
        let mut status = command(LSBAWS);
        status.args(["status", "--socket", &path]).uid(uid).gid(uid);
        let output = status.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(status(OTHER), (Some(0), String::new()));
    let refused = format!("lsbaws: the status socket {path} is for root and the user of the daemon only\n");
    assert_eq!(status(OTHER - 1), (Some(77), refused.clone()));
    // Not even when the file lets them connect.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(status(OTHER - 1), (Some(77), refused));
}

#[test]
fn programs_of_a_service_get_no_status() {
    let folder = make_folder();
    let path = socket(&folder);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let program = format!(
        "[service.web]\nprotocol = 'exec'\ncommand = ['{LSBAWS}', 'status', '--socket', '{path}']\n\
         [service.web.confine]\nexecute = '{}'\n",
        Path::new(LSBAWS).parent().unwrap().display()
    );
    let mut setup = setup(&folder, &program).socket(listener).names("web");
    if geteuid().is_root() {
        setup = setup.user(OTHER);
    }
    let server: Server = setup.start();
    assert_eq!(read_to_end(connect(address)), "");
    assert_eq!(server.record().number("exit_code"), 77);
}
