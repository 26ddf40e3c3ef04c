//! What `check` finds of applications, and the extension that their interpreter loads.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::cgi::status;
use crate::harness::{LSBAWS, Setup, command, make_folder, wait_until};
use crate::wsgi_template::{content, route_in, write_module};

/// What `check` writes about this configuration.
fn check(folder: &Path, config: &str) -> String {
    let file = folder.join("lsbaws.toml");
    fs::write(&file, config).unwrap();
    let output = command(LSBAWS).arg("check").arg("-c").arg(&file).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn check_warns_of_code_that_all_users_may_write() {
    let folder = make_folder();
    let (code, package) = (folder.path().join("code"), folder.path().join("code/shop"));
    fs::create_dir_all(&package).unwrap();
    for path in ["shop/__init__.py", "shop/wsgi.py", "other.py"] {
        fs::write(code.join(path), "").unwrap();
    }
    let config = route_in(&code, "shop.wsgi:app", "on_fork = 'other:connect'");
    let open = |text: &str, path: &Path| text.contains(&format!("all users may write {},", path.display()));
    let text = check(folder.path(), &config);
    assert!(!text.contains("all users may write"), "{text}");
    for path in ["", "shop", "shop/__init__.py", "shop/wsgi.py", "other.py"] {
        let path = if path.is_empty() { code.clone() } else { code.join(path) };
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        set_mode(&path, mode | 0o002);
        let text = check(folder.path(), &config);
        assert!(open(&text, &path) && text.matches("all users may write").count() == 1, "{text}");
        set_mode(&path, mode);
    }
}

#[test]
fn check_warns_of_an_interpreter_that_the_user_cannot_use() {
    if !geteuid().is_root() {
        return;
    }
    let folder = make_folder();
    write_module(folder.path(), "one");
    // A virtual environment of an interpreter in somebody's home.
    let (home, virtualenv) = (folder.path().join("home"), folder.path().join("venv"));
    fs::create_dir_all(home.join("bin")).unwrap();
    fs::create_dir_all(virtualenv.join("bin")).unwrap();
    let python = home.join("bin/python3");
    fs::write(&python, "#!/bin/sh\n").unwrap();
    set_mode(&python, 0o755);
    std::os::unix::fs::symlink(&python, virtualenv.join("bin/python")).unwrap();
    let config = format!(
        "[service.web]\nuser = 'nobody'\n{}",
        route_in(folder.path(), "module:app", &format!("virtualenv = '{}'", virtualenv.display()))
            .replace("python = '/usr/bin/python3'\n", "")
    );
    let text = check(folder.path(), &config);
    assert!(!text.contains("may not"), "{text}");
    set_mode(&home, 0o700);
    let text = check(folder.path(), &config);
    let expected = format!("warning: service.web: user nobody may not search {}, ", home.display());
    assert!(text.contains(&expected), "{text}");
    set_mode(&home, 0o755);
    set_mode(&python, 0o744);
    let text = check(folder.path(), &config);
    let expected = format!("warning: service.web: user nobody may not execute {}\n", python.display());
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn loaded_application_is_served_without_its_extension() {
    let folder = make_folder();
    let (program, extension) = (folder.path().join("lsbaws"), folder.path().join("_lsbaws.abi3.so"));
    let built = Path::new(LSBAWS).with_file_name("_lsbaws.abi3.so");
    let install = || {
        let _ = fs::remove_file(&extension);
        fs::copy(&built, &extension).unwrap();
    };
    fs::copy(LSBAWS, &program).unwrap();
    install();
    write_module(folder.path(), "one");
    let config = route_in(folder.path(), "module:app", "");
    let server = Setup::new(&config).program(&program).serve();
    fs::remove_file(&extension).unwrap();
    server.signal(Signal::SIGHUP);
    let line = server.wait_line("reload failed, keeping the running configuration: ");
    assert!(line.contains("the handler wsgi needs the package lsbaws-wsgi"), "{line}");
    assert_eq!(content(&server.get("/")), "one");
    fs::write(&extension, "another file").unwrap();
    server.signal(Signal::SIGHUP);
    let line = server.wait_line("reload failed, keeping the running configuration: ");
    assert!(line.contains("service web: unable to import ") && line.contains("_lsbaws.abi3.so: "), "{line}");
    assert_eq!(content(&server.get("/")), "one");
    // Without the fork server there is no application.
    let [fork_server] = server.fork_servers()[..] else { panic!("{:?}", server.fork_servers()) };
    kill(Pid::from_raw(fork_server), Signal::SIGKILL).unwrap();
    server.wait_line("service web: unable to import ");
    assert_eq!(status(&server.get("/")), "503");
    install();
    wait_until("it is loaded again", || status(&server.get("/")) == "200");
}
