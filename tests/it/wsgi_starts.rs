//! Applications that cannot be loaded, or take long, beside others that are served: at the start, by a reload, and where a
//! path leads elsewhere.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgi::status;
use crate::fork_servers::kernel_is_before;
use crate::harness::{
    LSBAWS, Server, Setup, ask, command, connect, make_folder, serve, skip, wait_dead, wait_until,
};
use crate::wsgi_template::{content, route_in, write_module};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A module that writes its process to `pid`, and waits for a file `go`.
fn write_slow_module(folder: &Path) {
    let module = "import os, time\nopen(__file__ + '.pid', 'w').write(f'{os.getpid()}\\n')\n\
                  while not os.path.exists(__file__ + '.go'): time.sleep(0.01)\n\
                  def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'slow']\n";
    fs::write(folder.join("module.py"), module).unwrap();
}

/// The process that imports the slow module.
fn wait_import(folder: &Path) -> Pid {
    let file = folder.join("module.py.pid");
    wait_until("the import has begun", || fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')));
    Pid::from_raw(fs::read_to_string(file).unwrap().trim().parse().unwrap())
}

fn let_go(folder: &Path) {
    fs::write(folder.join("module.py.go"), "").unwrap();
}

/// A daemon with the services `web` and `slow`.
fn two_services(web: &Path, slow: &Path) -> (Setup, [std::net::SocketAddr; 2]) {
    let sockets = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let other = route_in(slow, "module:app", "").replace("service.web", "service.slow");
    let config = route_in(web, "module:app", "") + &other;
    let [first, second] = sockets;
    (Setup::new(&config).socket(first).socket(second).names("web:slow"), addresses)
}

#[test]
fn broken_application_restarts_after_a_slow_start_of_others() {
    let (web, slow) = (make_folder(), make_folder());
    fs::write(web.path().join("module.py"), "raise LookupError('no key')\n").unwrap();
    write_slow_module(slow.path());
    let (setup, addresses) = two_services(web.path(), slow.path());
    let server = setup.spawn();
    server.wait_line("unable to load module:app: LookupError: no key");
    // It comes each second: a further start would have failed by then.
    server.wait_notified("EXTEND_TIMEOUT_USEC=");
    server.wait_notified("EXTEND_TIMEOUT_USEC=");
    let_go(slow.path());
    server.wait_notified("READY=");
    write_module(web.path(), "mended");
    server.wait_line("service web: its fork server has started after");
    assert_eq!(content(&ask(connect(addresses[0]), GET)), "mended");
    assert_eq!(content(&ask(connect(addresses[1]), GET)), "slow");
}

#[test]
fn import_ends_when_the_daemon_is_killed() {
    let folder = make_folder();
    write_slow_module(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Setup::new(&route_in(folder.path(), "module:app", "")).socket(listener).names("web").spawn();
    let importer = wait_import(folder.path());
    server.signal(Signal::SIGKILL);
    wait_dead(importer);
}

#[test]
fn reopen_signal_during_an_import_is_kept() {
    let folder = make_folder();
    write_slow_module(folder.path());
    // Without a configuration, root serves as the user nobody.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut lsbaws = command(LSBAWS);
    lsbaws.args(["wsgi", "module:app", "--python", "/usr/bin/python3", "--listen", "127.0.0.1:0"]);
    let mut lsbaws = lsbaws.current_dir(&folder).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(lsbaws.id().cast_signed());
    wait_import(folder.path());
    kill(pid, Signal::SIGUSR2).unwrap();
    let_go(folder.path());
    let mut lines = BufReader::new(lsbaws.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("serving module:app in ")));
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(lsbaws.wait().unwrap().success());
}

#[test]
fn stop_does_not_wait_for_the_import_of_a_reload() {
    let folder = make_folder();
    write_module(folder.path(), "one");
    let config = route_in(folder.path(), "module:app", "");
    let mut server = serve(&config);
    write_slow_module(folder.path());
    server.reload(&config);
    let importer = wait_import(folder.path());
    server.stop();
    wait_dead(importer);
}

#[test]
fn reload_keeps_a_broken_application_broken_and_breaks_no_other() {
    let (web, other) = (make_folder(), make_folder());
    fs::write(web.path().join("module.py"), "raise LookupError('no key')\n").unwrap();
    write_module(other.path(), "one");
    let (setup, addresses) = two_services(web.path(), other.path());
    let server = setup.start();
    server.wait_line("LookupError: no key");
    server.signal(Signal::SIGHUP);
    server.wait_line_without("configuration reloaded", "reload failed");
    assert_eq!(status(&ask(connect(addresses[0]), GET)), "503");
    fs::write(other.path().join("module.py"), "raise LookupError('new')\n").unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_line("reload failed, keeping the running configuration: service slow: unable to load");
    assert_eq!(content(&ask(connect(addresses[1]), GET)), "one");
    write_module(web.path(), "mended");
    server.wait_line("service web: its fork server has started after");
    assert_eq!(content(&ask(connect(addresses[0]), GET)), "mended");
}

#[test]
fn interpreter_that_cannot_run_is_not_a_change_to_wait_for() {
    let folder = make_folder();
    write_module(folder.path(), "one");
    let python = folder.path().join("python");
    fs::write(&python, "#!/nonexistent/interpreter\n").unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let config = route_in(folder.path(), "module:app", "reload = 'watch'");
    let server = serve(&config.replace("/usr/bin/python3", python.to_str().unwrap()));
    // The supervisor alone logs it.
    let line = server.wait_line_without("service web: unable to run ", "INFO web: ");
    assert!(line.contains("; starting it again in 100ms"), "{line}");
    fs::remove_file(&python).unwrap();
    symlink("/usr/bin/python3", &python).unwrap();
    server.wait_line_without("its fork server has started after", "INFO web: ");
    assert_eq!(content(&server.get("/")), "one");
}

#[test]
fn broken_version_at_the_path_of_a_root_keeps_the_old_one() {
    let folder = make_folder();
    let write = |version: &str| {
        let path = folder.path().join(version);
        fs::create_dir_all(path.join("static")).unwrap();
        fs::write(path.join("static/file.txt"), version).unwrap();
        path
    };
    write_module(&write("one"), "one");
    fs::write(write("two").join("module.py"), "raise LookupError('two')\n").unwrap();
    write_module(&write("six"), "six");
    let current = folder.path().join("current");
    let lead_to = |version: &str| {
        symlink(version, folder.path().join("next")).unwrap();
        fs::rename(folder.path().join("next"), &current).unwrap();
    };
    lead_to("one");
    let files = format!(
        "[[service.web.route]]\npath = '/static/'\nhandler = 'files'\nroot = '{}/static'\n",
        current.display()
    );
    let server = serve(&(files + &route_in(&current, "module:app", "")));
    let get_until = |part: &str| {
        wait_until(part, || {
            assert_eq!(status(&server.get("/")), "200");
            server.rest().iter().any(|line| line.contains(part))
        });
    };
    assert_eq!(content(&server.get("/static/file.txt")), "one");
    lead_to("two");
    get_until("reload failed, keeping the running application: ");
    assert_eq!(content(&server.get("/")), "one");
    assert_eq!(content(&server.get("/static/file.txt")), "one");
    lead_to("six");
    get_until("service web: application reloaded");
    assert_eq!(content(&server.get("/")), "six");
    assert_eq!(content(&server.get("/static/file.txt")), "six");
}

#[test]
fn killed_fork_server_of_an_application_costs_no_connection() {
    let folder = make_folder();
    write_module(folder.path(), "served");
    let server = serve(&route_in(folder.path(), "module:app", ""));
    for has_served in [false, true] {
        let [fork_server] = server.fork_servers()[..] else { panic!() };
        kill(Pid::from_raw(fork_server), Signal::SIGKILL).unwrap();
        for _ in 0..3 {
            assert_eq!(content(&server.get("/")), "served");
        }
        let line = server.wait_line("service web: its fork server was killed by SIGKILL; starting it again");
        // Without a pause, if it has served.
        assert_eq!(line.contains("starting it again in 100ms"), !has_served, "{line}");
    }
}

/// A request whose process ends without having read it.
fn ask_in_vain(server: &Server) {
    let (mut stream, mut answer) = (server.connect(), Vec::new());
    stream.write_all(GET.as_bytes()).unwrap();
    let _ = stream.read_to_end(&mut answer); // the end, or a reset
    assert!(answer.is_empty());
}

#[test]
fn on_fork_has_the_time_of_a_start() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wsgi"));
    let config = route_in(folder, "forks:app", "on_fork = 'forks:hang'\nstart_timeout = '3s'");
    let server = serve(&config);
    let first = server.fork_servers();
    ask_in_vain(&server);
    let record = server.record();
    assert_eq!((record.get("terminated_by"), record.get("phase")), ("start", "starting"), "{}", record.line);
    assert!(record.line.contains("(terminated: start_timeout exceeded in on_fork)"), "{}", record.line);
    assert_eq!(server.fork_servers(), first);
    let server = serve(&(config + "[process]\nspares = 1\n"));
    let first = server.fork_servers();
    // No connection is handed to a spare that is not ready.
    ask_in_vain(&server);
    server.wait_line("on_fork has not returned within 3s (start_timeout)");
    assert_eq!(server.record().get("terminated_by"), "start");
    assert_eq!(server.fork_servers(), first);
}

#[test]
fn threads_of_on_fork_are_confined_as_their_process() {
    if kernel_is_before(6, 12) {
        return skip("Landlock has no scope of signals");
    }
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wsgi"));
    let config = route_in(folder, "forks:app", "on_fork = 'forks:reach'");
    for spares in [0, 1] {
        let server = serve(&format!("{config}[process]\nspares = {spares}\n"));
        assert_eq!(content(&server.get("/calls")), "['denied']", "{spares} spares");
    }
}
