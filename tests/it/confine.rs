//! Real programs, with the keys that the manual names for them, and without. Folders are outside /tmp, where programs may
//! write without any key.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use crate::cgi::write_program;
use crate::harness::{
    LSBAWS, Server, command, find_program, make_folder_outside_tmp, read_to_end, run, serve,
};

/// A folder below that of the build.
fn make_folder() -> TempDir {
    make_folder_outside_tmp()
}

fn git(arguments: &[&str], folder: &Path) -> Output {
    let mut git = command("git");
    git.args(["-c", "user.name=test", "-c", "user.email=test@example.org"]);
    git.args(arguments).env("HOME", folder).current_dir(folder).output().unwrap()
}

fn serve_git(repositories: &Path, confine: &str) -> Server {
    serve(&format!(
        "[service.web.confine]\n{confine}\n\
         [[service.web.route]]\nhandler = 'cgi'\nprogram = '/usr/lib/git-core/git-http-backend'\n\
         environment = {{ GIT_PROJECT_ROOT = '{0}', GIT_HTTP_EXPORT_ALL = '', HOME = '{0}' }}\n",
        repositories.display()
    ))
}

#[test]
fn git_push_takes_the_key_writable() {
    if find_program("git").is_none() {
        return;
    }
    let folder = make_folder();
    let path = folder.path();
    assert!(git(&["init", "--quiet", "--bare", "-b", "main", "some.git"], path).status.success());
    assert!(git(&["-C", "some.git", "config", "http.receivepack", "true"], path).status.success());
    let push = |confine: &str, clone: &str| {
        let server = serve_git(path, confine);
        let url = format!("http://{}/some.git", server.address());
        assert!(git(&["clone", "--quiet", &url, clone], path).status.success());
        fs::write(path.join(clone).join("file"), clone).unwrap();
        assert!(git(&["-C", clone, "add", "file"], path).status.success());
        assert!(git(&["-C", clone, "commit", "--quiet", "-m", "One"], path).status.success());
        git(&["-C", clone, "push", "--quiet", "origin", "main"], path)
    };
    assert!(!push("", "denied").status.success());
    let pushed = push(&format!("writable = '{}'", path.join("some.git").display()), "pushed");
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
}

#[test]
fn php_sessions_take_the_key_writable() {
    let Some(php) = find_program("php-cgi") else { return };
    let folder = make_folder();
    let at = |name: &str| folder.path().join(name);
    for name in ["www", "sessions"] {
        fs::create_dir(at(name)).unwrap();
    }
    let script = format!(
        "<?php session_save_path('{}'); echo @session_start() && @session_write_close() ? 'kept' : 'lost';",
        at("sessions").display()
    );
    fs::write(at("www/index.php"), script).unwrap();
    let ask = |confine: &str| {
        let server = serve(&format!(
            "[service.web.confine]\n{confine}\n\
             [[service.web.route]]\nhandler = 'cgi'\nextension = '.php'\nroot = '{}'\ninterpreter = '{}'\n",
            at("www").display(),
            php.display()
        ));
        server.get("/index.php")
    };
    let answer = ask("");
    assert!(answer.contains("lost"), "{answer}");
    let answer = ask(&format!("writable = '{}'", at("sessions").display()));
    assert!(answer.contains("kept"), "{answer}");
}

/// A site with one program, in Perl with modules, that prints what it can do.
fn ask_perl(confine: &str, service: &str, script: &str) -> String {
    let folder = make_folder();
    let program = folder.path().join("program");
    let head = "#!/usr/bin/perl\nuse strict; use POSIX; use File::Temp; use Socket;\nprint \"Content-Type: text/plain\\n\\n\";\n";
    write_program(&program, &format!("{head}{script}\n"));
    let server = serve(&format!(
        "[service.web]\n{service}\n[service.web.confine]\n{confine}\n\
         [[service.web.route]]\nhandler = 'cgi'\nroot = '{}'\n",
        folder.path().display()
    ));
    let answer = server.get("/program");
    answer.split_once("\r\n\r\n").unwrap().1.replace("\r\n", "\n")
}

#[test]
fn programs_use_modules_and_temporary_files() {
    let script =
        "my $file = File::Temp->new; print $file 'x'; print `echo shell`, getpwuid($<) ? 'user' : '';";
    assert!(ask_perl("", "", script).contains("shell\nuser"));
}

#[test]
fn programs_have_the_network_by_its_key() {
    let script = "my $s; print socket($s, AF_INET, SOCK_STREAM, 0) ? 'yes' : 'no', socket($s, AF_UNIX, SOCK_STREAM, 0) ? 'yes' : 'no';";
    assert!(ask_perl("", "", script).contains("noyes"));
    assert!(ask_perl("network = true", "", script).contains("yesyes"));
}

#[test]
fn programs_run_as_the_user_of_the_service() {
    if !geteuid().is_root() {
        return;
    }
    assert!(ask_perl("", "user = 'nobody'", "print \"$< $( end\";").contains("65534 65534 65534 end"));
}

#[test]
fn program_cannot_reach_the_child_that_started_it() {
    let script =
        "my $p = getppid; print kill(0, $p), open(my $f, '<', \"/proc/$p/environ\") ? 'open' : 'closed';";
    assert!(ask_perl("", "", script).contains("0closed"));
}

#[test]
fn check_names_what_each_service_reaches() {
    let folder = make_folder();
    let file = folder.path().join("lsbaws.toml");
    let www: PathBuf = folder.path().join("www");
    fs::create_dir(&www).unwrap();
    fs::write(
        &file,
        format!(
            "[[service.a.route]]\nhandler = 'files'\nroot = '{}'\n\
             [service.b]\nprotocol = 'exec'\ncommand = '/bin/cat'\nconfine = false\n",
            www.display()
        ),
    )
    .unwrap();
    let (code, text, _) = run(&["check", "-c", file.to_str().unwrap()]);
    assert_eq!(code, 0);
    let children = format!("service.a: children read {}, write nothing, start no program", www.display());
    assert!(text.contains(&children), "{text}");
    assert!(text.contains("service.b: not confined (confine = false): "), "{text}");
}

#[test]
fn check_names_what_applications_do_not_reach() {
    let folder = make_folder();
    let file = folder.path().join("lsbaws.toml");
    let application = folder.path().join("application");
    fs::create_dir(&application).unwrap();
    let route = format!(
        "[[service.a.route]]\nhandler = 'wsgi'\napplication = 'hello:app'\ndirectory = '{}'\n",
        application.display()
    );
    let check = |keys: &str| {
        fs::write(&file, format!("[service.a.confine]\n{keys}\n{route}")).unwrap();
        let (code, text, message) = run(&["check", "-c", file.to_str().unwrap()]);
        assert_eq!(code, 0, "{message}");
        text
    };
    let write =
        format!("service.a: applications cannot write below {} (confine.writable)", application.display());
    let network = "reach a database or another service at a TCP port (confine.network)";
    let text = check("");
    assert!(text.contains(&format!("{write}, nor {network}, unless")), "{text}");
    let text = check("network = true");
    assert!(text.contains(&write) && !text.contains(network), "{text}");
    let text = check(&format!("writable = '{}'", folder.path().display()));
    assert!(text.contains(&format!("service.a: applications cannot {network}, unless")), "{text}");
    let text = check(&format!("network = true\nwritable = '{}'", application.display()));
    assert!(!text.contains("cannot"), "{text}");
}

#[test]
fn link_to_python_opens_nothing_beside_it() {
    let folder = make_folder();
    fs::create_dir(folder.path().join("bin")).unwrap();
    let python = folder.path().join("bin/python3");
    std::os::unix::fs::symlink("/usr/bin/python3", &python).unwrap();
    let file = folder.path().join("lsbaws.toml");
    let route = "[[service.a.route]]\nhandler = 'wsgi'\napplication = 'hello:app'\n";
    fs::write(&file, format!("{route}python = '{}'\n", python.display())).unwrap();
    let names = |path: &Path| {
        run(&["check", "-c", file.to_str().unwrap()]).1.contains(&format!(" {} ", path.display()))
    };
    assert!(names(&python) && !names(folder.path()));
    fs::write(folder.path().join("pyvenv.cfg"), "").unwrap();
    assert!(names(folder.path()) && !names(&python));
}

/// A script whose interpreter is neither below its root nor in a system directory.
fn write_script_of_foreign_interpreter(folder: &Path) -> PathBuf {
    for name in ["venv", "cgi"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let shell = folder.join("venv/shell");
    fs::copy("/bin/sh", &shell).unwrap();
    let script = folder.join("cgi/script");
    write_program(
        &script,
        &format!("#! {} -e\necho Content-Type: text/plain; echo; echo run\n", shell.display()),
    );
    script
}

#[test]
fn denied_interpreter_is_named_with_its_key() {
    let folder = make_folder();
    let script = write_script_of_foreign_interpreter(folder.path());
    let (cgi, venv) = (folder.path().join("cgi"), folder.path().join("venv"));
    let route = format!("[[service.web.route]]\nhandler = 'cgi'\nroot = '{}'\n", cgi.display());
    let cause = format!(
        ": its interpreter {}/shell is outside the system directories, the roots and service.web.confine.execute",
        venv.display()
    );
    let server = serve(&route);
    assert!(server.get("/script").starts_with("HTTP/1.1 403 "));
    let line = server.wait_line("unable to run ");
    assert!(line.contains(&format!("{}: Permission denied{cause}", script.display())), "{line}");
    // Its mode is another cause.
    let plain = cgi.join("plain");
    fs::write(&plain, "#!/bin/sh\n").unwrap();
    server.get("/plain");
    let line = server.wait_line("unable to run ");
    assert!(line.contains(&format!("{}: Permission denied", plain.display())), "{line}");
    assert!(!line.contains("confine"), "{line}");
    drop(server);
    let server = serve(&format!("[service.web.confine]\nexecute = '{}'\n{route}", venv.display()));
    assert!(server.get("/script").contains("run\n"));
    let file = folder.path().join("lsbaws.toml");
    fs::write(&file, format!("[service.web]\nprotocol = 'exec'\ncommand = '{}'\n", script.display()))
        .unwrap();
    let (_, text, _) = run(&["check", "-c", file.to_str().unwrap()]);
    assert!(
        text.contains(&format!("warning: service.web: {} cannot be run{cause}", script.display())),
        "{text}"
    );
}

#[test]
fn paths_of_the_confinement_must_exist() {
    let config = "[service.a]\nprotocol = 'exec'\ncommand = '/bin/cat'\n[service.a.confine]\nwritable = ['/tmp', '/none']\n";
    let folder = make_folder();
    let file = folder.path().join("lsbaws.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        run(&["check", "-c", file.to_str().unwrap()]).2
    };
    let errors = check(config);
    assert!(
        errors.contains("service.a.confine.writable[1]: expected a file or directory, found /none"),
        "{errors}"
    );
    let errors = check("[service.web.confine]\nnetwork = true\n");
    assert!(
        errors.contains("service.web.confine.network: expected only in a service that starts programs"),
        "{errors}"
    );
}

#[test]
fn check_warns_of_what_the_user_may_not_use() {
    if !geteuid().is_root() {
        return;
    }
    let folder = make_folder();
    let at = |name: &str| folder.path().join(name);
    for name in ["open", "closed", "data"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    let check = |user: &str| {
        let text = format!(
            "[service.web]\nuser = '{user}'\n[service.web.confine]\nwritable = '{}'\n\
             [[service.web.route]]\nhandler = 'cgi'\nroot = '{}'\n\
             [[service.web.route]]\npath = '/open'\nhandler = 'files'\nroot = '{}'\n",
            at("data").display(),
            at("closed").display(),
            at("open").display()
        );
        fs::write(at("lsbaws.toml"), text).unwrap();
        run(&["check", "-c", at("lsbaws.toml").to_str().unwrap()]).1
    };
    let text = check("nobody");
    let closed = at("closed").display().to_string();
    let searched = format!(
        "warning: service.web: user nobody may not search {closed}, so that it cannot serve {closed}\n"
    );
    assert!(text.contains(&searched), "{text}");
    let data = at("data").display().to_string();
    let written = format!("warning: service.web.confine.writable: user nobody may not write {data}\n");
    assert!(text.contains(&written), "{text}");
    assert_eq!(text.matches("may not").count(), 2, "{text}");
    let text = check("root");
    assert!(text.contains("note: service.web.user: serves as root\n") && !text.contains("may not"), "{text}");
}

#[test]
fn keys_of_the_confinement_are_suggested() {
    let folder = make_folder();
    let file = folder.path().join("lsbaws.toml");
    fs::write(&file, "[service.web]\nnetwork = true\nwritable = '/srv'\n").unwrap();
    let (_, _, errors) = run(&["check", "-c", file.to_str().unwrap()]);
    for name in ["network", "writable"] {
        let error = format!("service.web.{name}: unknown key, did you mean confine.{name}?");
        assert!(errors.contains(&error), "{errors}");
    }
}

#[test]
fn missing_path_is_named_with_its_key() {
    let folder = make_folder();
    let writable = folder.path().join("data");
    fs::create_dir(&writable).unwrap();
    let mut server = serve(&format!(
        "[service.web]\nprotocol = 'exec'\ncommand = '/bin/cat'\n[service.web.confine]\nwritable = '{}'\n",
        writable.display()
    ));
    let [fork_server] = server.fork_servers()[..] else { panic!() };
    fs::remove_dir(&writable).unwrap();
    kill(Pid::from_raw(fork_server), Signal::SIGKILL).unwrap();
    let failure = format!(
        "unable to open {}: No such file or directory (service.web.confine.writable)",
        writable.display()
    );
    server.wait_line(&format!("service web: {failure}; starting it again"));
    let stream = server.connect();
    assert_eq!(read_to_end(stream), "");
    let record = server.wait_line(" reason=\"no_process\"");
    assert!(record.contains(&format!("its fork server cannot start: {failure}")), "{record}");
    fs::create_dir(&writable).unwrap();
    server.stop();
}

#[test]
fn root_must_be_permitted() {
    if !geteuid().is_root() {
        return;
    }
    let folder = make_folder();
    fs::write(folder.path().join("empty.toml"), "").unwrap();
    let mut command = command(LSBAWS);
    command.env_remove("LSBAWS_PROCESS__ALLOW_ROOT").args(["serve", "--config"]);
    let output = command.arg(folder.path().join("empty.toml")).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("service.web: refusing to serve as root; set service.web.user, for example --set service.web.user=www-data, "), "{text}");
}
