//! The process that has loaded an application, and the forks of it: what they call, when it cannot be loaded, and how it is
//! replaced.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgi::status;
use crate::harness::{LSBAWS, command, make_folder, read_to_end, serve, wait_until};

const APPLICATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wsgi");

fn route(application: &str, keys: &str) -> String {
    route_in(Path::new(APPLICATIONS), application, keys)
}

pub fn route_in(directory: &Path, application: &str, keys: &str) -> String {
    let directory = directory.display();
    format!(
        "[[service.web.route]]\nhandler = 'wsgi'\napplication = '{application}'\npython = '/usr/bin/python3'\n\
         directory = '{directory}'\n{keys}\n"
    )
}

pub fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}")).1
}

/// A module whose application answers this text.
pub fn write_module(folder: &Path, text: &str) {
    let module = format!(
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{text}']\n"
    );
    fs::write(folder.join("module.py"), module).unwrap();
}

#[test]
fn broken_application_is_answered_at_once_and_logged_once() {
    let folder = make_folder();
    write_module(folder.path(), "mended");
    let app = fs::read_to_string(folder.path().join("module.py")).unwrap();
    let module = "import os\nopen(__file__ + '.starts', 'a').write('x')\ndef broken():\n    raise LookupError('no key')\n\
                  if not os.path.exists(__file__ + '.go'):\n    broken()\n";
    fs::write(folder.path().join("module.py"), module.to_owned() + &app).unwrap();
    let server = serve(&route_in(folder.path(), "module:app", ""));
    let line = server.wait_line("unable to load module:app: LookupError: no key; starting it again in 100ms");
    assert!(line.contains("ERROR service web: "), "{line}");
    for part in ["Traceback (most recent call last)", "in <module>", "broken()"] {
        server.wait_line(part);
    }
    let answer = server.get("/");
    assert!(status(&answer) == "503" && answer.contains("\r\nRetry-After: "), "{answer}");
    assert!(answer.contains("the application is not available"), "{answer}");
    let record = server.record();
    // It has not waited for a further start.
    assert_eq!((record.get("outcome"), record.get("reason")), ("system-error", "no_process"));
    let starts = folder.path().join("module.py.starts");
    wait_until("the import is tried again", || fs::metadata(&starts).is_ok_and(|file| file.len() >= 3));
    fs::write(folder.path().join("module.py.go"), "").unwrap(); // the module stays, so that its tracebacks do
    let line = server.wait_line_without("its fork server has started after", "unable to load");
    assert!(line.contains("service web: "), "{line}");
    assert_eq!(content(&server.get("/")), "mended");
}

#[test]
fn another_error_of_a_broken_application_is_logged() {
    let folder = make_folder();
    fs::write(folder.path().join("module.py"), "raise LookupError('one')\n").unwrap();
    let server = serve(&route_in(folder.path(), "module:app", ""));
    server.wait_line("LookupError: one");
    fs::write(folder.path().join("module.py"), "raise LookupError('another')\n").unwrap();
    server.wait_line("unable to load module:app: LookupError: another");
}

#[test]
fn import_that_takes_too_long_names_the_key() {
    let folder = make_folder();
    fs::write(folder.path().join("module.py"), "import time\nwhile True: time.sleep(9)\n").unwrap();
    let server = serve(&route_in(folder.path(), "module:app", "start_timeout = '300ms'"));
    server.wait_line(
        "service web: its fork server has not started within 300ms (start_timeout); starting it again",
    );
    assert_eq!(status(&server.get("/")), "503");
}

#[test]
fn slow_request_of_warm_up_is_not_repeated_for_long() {
    let folder = make_folder();
    write_module(folder.path(), "slow");
    let module = fs::read_to_string(folder.path().join("module.py")).unwrap();
    let module = module.replace("    start_response", "    import time; time.sleep(0.4)\n    start_response");
    fs::write(folder.path().join("module.py"), module).unwrap();
    let server = serve(&route_in(folder.path(), "module:app", "warm_up = '/'\nstart_timeout = '5s'"));
    assert_eq!(content(&server.get("/")), "slow");
    assert!(server.rest().iter().all(|line| !line.contains("has not started")));
}

#[test]
fn each_process_calls_on_fork_once_before_its_requests() {
    let server = serve(&route("forks:app", "on_fork = 'forks:record'"));
    for _ in 0..2 {
        let request =
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = crate::harness::ask(server.connect(), request);
        assert_eq!(answer.matches("True ").count(), 2, "{answer}");
    }
    let server = serve(&(route("forks:app", "on_fork = 'forks:record'") + "[process]\nspares = 1\n"));
    assert!(content(&server.get("/")).starts_with("True "));
}

#[test]
fn failure_of_on_fork_fails_the_requests_of_its_process() {
    let server = serve(&route("forks:app", "on_fork = 'forks:fail'"));
    assert_eq!(status(&server.get("/")), "500");
    server.wait_line("Traceback (most recent call last)");
    server.wait_line("forks:app failed: LookupError: no database");
    assert_eq!(server.record().get("outcome"), "handler-error");
    let server = serve(&route("forks:app", "on_fork = 'forks:missing'"));
    server.wait_line("unable to load forks:missing: AttributeError");
}

#[test]
fn run_once_is_true_where_a_connection_has_one_request() {
    let server = serve(&route("forks:app", ""));
    assert!(content(&server.get("/")).ends_with(" False"));
    let server = serve(&(route("forks:app", "") + "[limits]\nmax_requests = 1\n"));
    assert!(content(&server.get("/")).ends_with(" True"));
}

#[test]
fn double_fork_serves_an_application() {
    let config = route("forks:app", "on_fork = 'forks:record'") + "[process]\nmodel = 'double-fork'\n";
    let server = serve(&config);
    for _ in 0..3 {
        assert_eq!(content(&server.get("/")), format!("True {} False", server.pid()));
    }
    assert_eq!(server.record().get("outcome"), "served");
}

#[test]
fn iterative_model_is_refused_with_an_application() {
    let folder = make_folder();
    let file = folder.path().join("lsbaws.toml");
    fs::write(&file, route("forks:app", "") + "[process]\nmodel = 'iterative'\n").unwrap();
    let output = command(LSBAWS).arg("check").arg("-c").arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("process.model") && text.contains("service web: the handler \"wsgi\" needs"),
        "{text}"
    );
}

/// Serves a module of this folder, and loads it again when it changes.
fn serve_watched(folder: &Path) -> crate::harness::Server {
    serve(&route_in(folder, "module:app", "reload = 'watch'"))
}

#[test]
fn changed_application_is_loaded_again() {
    let folder = make_folder();
    write_module(folder.path(), "one");
    let server = serve_watched(folder.path());
    assert_eq!(content(&server.get("/")), "one");
    write_module(folder.path(), "two");
    server.wait_line("service web: application reloaded");
    assert_eq!(content(&server.get("/")), "two");
    // As many editors do it, in the very second, with a text of the same length.
    let module = fs::read_to_string(folder.path().join("module.py")).unwrap();
    fs::write(folder.path().join(".module.py.swp"), module.replace("two", "ten")).unwrap();
    write_module(folder.path(), "six");
    fs::rename(folder.path().join(".module.py.swp"), folder.path().join("module.py")).unwrap();
    server.wait_line("application reloaded");
    assert_eq!(content(&server.get("/")), "ten");
}

#[test]
fn many_changes_at_once_are_one_reload() {
    let folder = make_folder();
    write_module(folder.path(), "one");
    let server = serve_watched(folder.path());
    fs::create_dir(folder.path().join("package")).unwrap();
    for number in 0..100 {
        fs::write(folder.path().join(format!("package/m{number}.py")), "x = 1\n").unwrap();
    }
    write_module(folder.path(), "new");
    server.wait_line("application reloaded");
    assert_eq!(content(&server.get("/")), "new");
    // A further reload would come before that of the next change.
    fs::write(folder.path().join("module.py"), "raise LookupError('broken')\n").unwrap();
    server.wait_line_without("reload failed", "application reloaded");
}

#[test]
fn broken_change_keeps_the_running_application() {
    let folder = make_folder();
    write_module(folder.path(), "one");
    let server = serve_watched(folder.path());
    fs::write(folder.path().join("module.py"), "def app(:\n").unwrap();
    let line = server.wait_line("service web: reload failed, keeping the running application: ");
    assert!(line.contains("application: unable to load module:app: SyntaxError: "), "{line}");
    server.wait_line("def app(:");
    assert_eq!(content(&server.get("/")), "one");
    write_module(folder.path(), "two");
    server.wait_line("application reloaded");
    assert_eq!(content(&server.get("/")), "two");
}

#[test]
fn application_broken_at_the_start_is_loaded_when_mended() {
    let folder = make_folder();
    fs::write(folder.path().join("module.py"), "import missing_module\n").unwrap();
    let server = serve_watched(folder.path());
    server
        .wait_line("ModuleNotFoundError: No module named 'missing_module'; trying again when a file changes");
    assert_eq!(status(&server.get("/")), "503");
    fs::write(folder.path().join("missing_module.py"), "").unwrap();
    server.wait_line("unable to load module:app: AttributeError");
    write_module(folder.path(), "mended");
    server.wait_line("its fork server has started after 2 failures");
    assert_eq!(content(&server.get("/")), "mended");
}

#[test]
fn module_that_the_application_writes_again_is_no_change() {
    let folder = make_folder();
    let write = |text: &str| {
        write_module(folder.path(), text);
        let module = fs::read_to_string(folder.path().join("module.py")).unwrap();
        let generated = "open(__file__.replace('module', 'version'), 'w').write('x = 1')\n";
        fs::write(folder.path().join("module.py"), generated.to_owned() + &module).unwrap();
    };
    fs::write(folder.path().join("version.py"), "x = 1").unwrap();
    write("one");
    let server = serve_watched(folder.path());
    write("two");
    server.wait_line("application reloaded");
    fs::write(folder.path().join("module.py"), "raise LookupError('broken')\n").unwrap();
    server.wait_line_without("reload failed", "application reloaded");
    assert_eq!(content(&server.get("/")), "two");
}

#[test]
fn module_that_the_import_writes_is_no_change() {
    let folder = make_folder();
    fs::create_dir(folder.path().join("code")).unwrap();
    let code = folder.path().join("code");
    // Each import writes another content, under a link, and as Python's own tools do: beside the file, and renamed.
    std::os::unix::fs::symlink("code", folder.path().join("link")).unwrap();
    let write = |text: &str, end: &str| {
        write_module(&code, text);
        let module = fs::read_to_string(code.join("module.py")).unwrap();
        let generated = "import os, time\nfolder = os.path.realpath(os.path.dirname(__file__))\n\
                         open(folder + '/new', 'w').write(str(time.time_ns()))\n\
                         os.replace(folder + '/new', folder + '/version.py')\n\
                         open(folder + '/other.py', 'w').write(str(time.time_ns()))\n";
        fs::write(code.join("module.py"), generated.to_owned() + &module + end).unwrap();
    };
    write("one", "");
    let server = serve_watched(&folder.path().join("link"));
    assert_eq!(server.line_within("reload", Duration::from_secs(1)), None);
    assert_eq!(content(&server.get("/")), "one");
    write("two", "");
    server.wait_line_without("application reloaded", "reload failed");
    assert_eq!(server.line_within("reload", Duration::from_secs(1)), None);
    write("broken", "raise LookupError('broken')\n");
    server.wait_line_without("reload failed", "application reloaded");
    assert_eq!(server.line_within("reload", Duration::from_secs(1)), None);
    assert_eq!(content(&server.get("/")), "two");
}

#[test]
fn broken_start_that_writes_modules_waits_for_a_change() {
    let folder = make_folder();
    let module = "import time\nopen(__file__ + '.starts', 'a').write('x')\n\
                  open(__file__.replace('module', 'version'), 'w').write(str(time.time_ns()))\n\
                  raise LookupError('broken')\n";
    fs::write(folder.path().join("module.py"), module).unwrap();
    let server = serve_watched(folder.path());
    server.wait_line("LookupError: broken; trying again when a file changes");
    assert_eq!(server.line_within("unable to load", Duration::from_secs(1)), None);
    write_module(folder.path(), "mended");
    server.wait_line("its fork server has started after a failure");
    assert_eq!(fs::read_to_string(folder.path().join("module.py.starts")).unwrap(), "x");
}

#[test]
fn spare_whose_on_fork_fails_gets_no_connection() {
    let folder = make_folder();
    write_module(folder.path(), "served");
    let module = fs::read_to_string(folder.path().join("module.py")).unwrap();
    let connect = "import os\ndef connect():\n    if not os.path.exists(__file__ + '.go'):\n        \
                   raise LookupError('no database\\nsecond line')\n";
    fs::write(folder.path().join("module.py"), connect.to_owned() + &module).unwrap();
    let config = route_in(folder.path(), "module:app", "on_fork = 'module:connect'");
    let server = serve(&(config + "[process]\nspares = 2\n"));
    let line = server.wait_line("on_fork failed: ");
    assert!(
        line.contains("ERROR service web: on_fork failed: LookupError: no database, in a spare child"),
        "{line}"
    );
    server.wait_line("in connect");
    fs::write(folder.path().join("module.py.go"), "").unwrap();
    for _ in 0..3 {
        assert_eq!(content(&server.get("/")), "served");
    }
}

#[test]
fn watch_needs_a_directory() {
    let folder = make_folder();
    let file = folder.path().join("lsbaws.toml");
    fs::write(&file, route_in(folder.path(), "module:app", "").replace("directory", "reload = 'watch'\n#"))
        .unwrap();
    let output = command(LSBAWS).arg("check").arg("-c").arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("\"watch\" needs a directory to watch"), "{text}");
}

#[test]
fn reload_option_of_the_command_line_watches() {
    let folder = make_folder();
    write_module(folder.path(), "one");
    let arguments =
        ["wsgi", "module:app", "--python", "/usr/bin/python3", "--listen", "127.0.0.1:0", "--reload"];
    let mut lsbaws = command(LSBAWS);
    let mut lsbaws = lsbaws.args(arguments).current_dir(&folder).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(lsbaws.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut wait_line = |part: &str| assert!(lines.any(|line| line.contains(part)), "{part}");
    wait_line("serving module:app in ");
    write_module(folder.path(), "two");
    wait_line("application reloaded");
    kill(Pid::from_raw(lsbaws.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(lsbaws.wait().unwrap().success());
}

#[test]
fn single_connection_loads_the_application_for_itself() {
    let folder = make_folder();
    let file = folder.path().join("lsbaws.toml");
    for (application, expected) in [("forks:app", "200"), ("forks:missing", "503")] {
        fs::write(&file, route(application, "")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let socket: OwnedFd = listener.accept().unwrap().0.into();
        let mut lsbaws = command(LSBAWS);
        lsbaws.arg("-c").arg(&file).args(["--set", "log.target=stderr"]).stdin(socket).stderr(Stdio::piped());
        let mut process = lsbaws.spawn().unwrap();
        drop(lsbaws); // it has the connection
        assert_eq!(status(&read_to_end(&client)), expected);
        drop(client);
        let mut text = String::new();
        process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(process.wait().unwrap().success(), "{text}");
        assert!(text.contains(&format!("status={expected}")), "{text}");
    }
}
