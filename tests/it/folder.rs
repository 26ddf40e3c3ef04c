//! `lsbaws serve FOLDER`: a folder in one command.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::cgi::write_program;
use crate::harness::{Server, Setup, ask, connect, connect_unix, make_folder, run, skip};

/// The request of each client here.
fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.0\r\n\r\n")
}

/// A daemon that serves a folder, and the line with its URLs.
struct Folder {
    server: Server,
    line: String,
}

impl Folder {
    /// Starts it in the folder `place`, with a configuration file.
    fn serve_with(config: &str, place: &Path, arguments: &[&str]) -> Self {
        let setup = Setup::new(config).prelude(&format!("cd {}", place.display())).arguments(arguments);
        let server = setup.start();
        let line = server.wait_line("serving ");
        Self { server, line }
    }

    fn serve(place: &Path, arguments: &[&str]) -> Self {
        Self::serve_with("", place, arguments)
    }

    /// The URLs in the line, without their ends.
    fn urls(&self) -> Vec<String> {
        let urls = self.line.split("http://").skip(1).map(|rest| rest.split('/').next().unwrap().to_owned());
        urls.collect()
    }

    fn get(&self, target: &str) -> String {
        ask(connect(self.urls()[0].parse().unwrap()), &request(target))
    }

    /// Presses Ctrl-C.
    fn stop(mut self) {
        self.server.signal(Signal::SIGINT);
        self.server.wait_line("stopping: ");
        assert_eq!(self.server.wait().code(), Some(0));
    }
}

/// A folder `public` with an index, a folder without one, and a program.
fn make_public() -> TempDir {
    let place = make_folder();
    let public = place.path().join("public");
    fs::create_dir_all(public.join("sub")).unwrap();
    fs::write(public.join("index.html"), "welcome").unwrap();
    fs::write(public.join("sub/file2.txt"), "text").unwrap();
    write_program(&public.join("cgi-bin/who"), "#!/bin/sh\necho 'Content-Type: text/plain'\necho\nid -u\n");
    place
}

#[test]
fn folder_is_served_until_the_user_stops_it() {
    let place = make_public();
    let folder = Folder::serve(place.path(), &["public", "--listen", "127.0.0.1:0"]);
    let public = place.path().join("public");
    assert!(folder.line.contains(&format!("serving {}", public.display())), "{}", folder.line);
    assert!(folder.get("/").ends_with("welcome"));
    assert!(folder.get("/sub/file2.txt").ends_with("text"));
    assert!(folder.get("/sub/").starts_with("HTTP/1.1 404 "));
    // Without --cgi, no program is run.
    assert!(folder.get("/cgi-bin/who").ends_with(
        "
id -u
"
    ));
    folder.stop();
}

#[test]
fn options_of_a_folder_add_listings_programs_and_a_page() {
    let place = make_public();
    let options =
        ["public", "--listing", "--cgi", "cgi-bin/", "--fallback", "/index.html", "-l", "127.0.0.1:0"];
    let folder = Folder::serve(place.path(), &options);
    assert!(folder.get("/sub/").contains("file2.txt"));
    assert!(folder.get("/anything").ends_with("welcome"));
    let who = folder.get("/cgi-bin/who");
    let (_, uid) = who.split_once("\r\n\r\n").unwrap();
    assert!(uid.trim().parse::<u32>().is_ok_and(|uid| uid != 0), "{who}");
    folder.stop();
}

#[test]
fn folder_is_served_on_each_address() {
    let place = make_public();
    let options = ["public", "--listen", "127.0.0.1:0", "--listen", ":0", "--listen", "./web.sock"];
    let folder = Folder::serve(place.path(), &options);
    // Of all addresses of the host, the loopback address is one.
    let urls = folder.urls();
    assert!(urls.iter().filter(|url| url.starts_with("127.0.0.1:")).count() >= 2, "{urls:?}");
    for url in urls.iter().filter(|url| url.starts_with("127.0.0.1:")) {
        assert!(ask(connect(url.parse().unwrap()), &request("/")).ends_with("welcome"), "{url}");
    }
    assert!(folder.line.ends_with("/web.sock"), "{}", folder.line);
    assert!(ask(connect_unix(place.path().join("web.sock")), &request("/")).ends_with("welcome"));
    folder.stop();
    assert!(!place.path().join("web.sock").exists());
}

#[test]
fn files_and_settings_lie_around_those_of_a_folder() {
    let place = make_public();
    let config = "[[service.web.route]]\nbody = 'from the file'\n[service.web]\nheaders = { X-From = 'file' }\n\
                  [listen.web]\naddress = '127.0.0.1:1'\n[log]\nlevel = 'error'\n";
    let options = ["public", "--listen", "127.0.0.1:0", "--set", "log.level=info"];
    let folder = Folder::serve_with(config, place.path(), &options);
    let answer = folder.get("/");
    assert!(answer.ends_with("welcome") && answer.contains("\r\nX-From: file\r\n"), "{answer}");
    folder.stop();
}

#[test]
fn root_serves_a_folder_as_its_owner_or_as_nobody() {
    if !geteuid().is_root() {
        skip("needs root to serve a folder as another user");
        return;
    }
    let place = make_public();
    let public = place.path().join("public");
    let options = ["public", "--cgi", "cgi-bin", "--listen", "127.0.0.1:0"];
    let serve = |more: &[&str]| Folder::serve(place.path(), &[&options, more].concat());
    let expect = |folder: Folder, name: &str, uid: &str| {
        assert!(folder.line.contains(&format!(" as the user {name} on ")), "{}", folder.line);
        let who = folder.get("/cgi-bin/who");
        assert!(who.contains(&format!("\n{uid}\n")), "{who}");
        folder.stop();
    };
    expect(serve(&[]), "nobody", "65534");
    expect(serve(&["--set", "service.web.user=daemon"]), "daemon", "1");
    chown(&public, Some(1), Some(1)).unwrap();
    expect(serve(&[]), "daemon", "1");
    // A user without a name.
    chown(&public, Some(54_321), Some(54_321)).unwrap();
    expect(serve(&[]), "54321", "54321");
    chown(&public, Some(0), Some(0)).unwrap();
    fs::set_permissions(&public, fs::Permissions::from_mode(0o700)).unwrap();
    let (code, _, message) = run(&["serve", public.to_str().unwrap()]);
    let expected = format!("service.web: user nobody may not search {}; chmod o+rx, or ", public.display());
    assert!(code == 78 && message.contains(&expected), "{message}");
}

#[test]
fn mistakes_with_a_folder_are_explained() {
    let place = make_public();
    fs::write(place.path().join("my.toml"), "").unwrap();
    let path = |name: &str| place.path().join(name).display().to_string();
    let (public, page, config) = (path("public"), path("public/index.html"), path("my.toml"));
    for (arguments, code, expected) in [
        (&[&*path("none")][..], 78, format!("serve {}: no such folder", path("none"))),
        (
            &[&page],
            78,
            format!("serve {page}: expected a folder, found a file; name the folder that it is in"),
        ),
        (&[&config], 78, "expected a folder, found a file; a configuration file is given with -c".into()),
        (&[&public, "--cgi", "bin"], 78, "--cgi bin: no such folder".into()),
        (
            &[&public, "--cgi", "../x"],
            78,
            format!("--cgi ../x: expected a folder below {public}, such as cgi-bin"),
        ),
        (
            &[&public, "-l", "a:80"],
            78,
            "--listen a:80: listen.web.address[0]: expected an address such as ".into(),
        ),
        (
            &[&public, "-l", "99999"],
            78,
            "--listen 99999: a port is a number from 1 to 65535, found 99999".into(),
        ),
        (&[&public, "--fallback", "x"], 78, "service.web.route[0].fallback: no such file: \"/x\"".into()),
        (&["--listing"], 64, "<FOLDER>".into()),
    ] {
        let (found, _, message) = run(&[&["serve"], arguments].concat());
        assert!(found == code && message.contains(&expected), "{arguments:?}: {message}");
    }
}

#[test]
fn folder_without_a_page_has_a_note_at_start() {
    let place = make_public();
    let note = "(no index.html: / is answered 404; --listing lists the folder)";
    for (arguments, is_noted) in [
        (&["public/sub"][..], true),
        (&["public/sub", "--listing"], false),
        (&["public/sub", "--fallback", "file2.txt"], false),
        (&["public"], false),
    ] {
        let folder = Folder::serve(place.path(), &[arguments, &["--listen", "127.0.0.1:0"]].concat());
        assert_eq!(folder.line.contains(note), is_noted, "{}", folder.line);
        folder.stop();
    }
}
