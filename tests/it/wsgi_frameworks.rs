//! Applications of frameworks, from the virtualenv that tests/wsgi/make-virtualenv makes.

use std::path::{Path, PathBuf};

use crate::cgi::{dechunk, post, status};
use crate::harness::{Server, command, make_folder, serve, skip};
use crate::wsgi::{APPLICATIONS, content};

/// The virtualenv. `None` if it is missing: the test is skipped.
pub fn find_virtualenv() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_TARGET_TMPDIR")).ancestors();
    let mut places = above.map(|folder| folder.join("wsgi-venv"));
    let found = places.find(|place| place.join("requirements.txt").exists());
    if found.is_none() {
        skip("target/wsgi-venv is missing; run: tests/wsgi/make-virtualenv");
    }
    found
}

pub fn route(virtualenv: &Path, application: &str, keys: &str) -> String {
    format!(
        "[[service.web.route]]\nhandler = 'wsgi'\napplication = '{application}'\nvirtualenv = '{}'\n\
         directory = '{APPLICATIONS}'\n{keys}",
        virtualenv.display()
    )
}

/// Runs a client of tests/wsgi/clients, which asserts what it expects.
pub fn run_client(virtualenv: &Path, name: &str, server: &Server, arguments: &[&str]) {
    let mut client = command(virtualenv.join("bin/python"));
    client.arg(format!("{APPLICATIONS}/clients/{name}.py")).arg(format!("http://{}", server.address()));
    let output = client.args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("done"), "{text}\n{:#?}", server.rest());
}

#[test]
fn flask_is_served() {
    let Some(virtualenv) = find_virtualenv() else { return };
    let server = serve(&route(&virtualenv, "flaskapp:app", ""));
    assert_eq!(content(&server.get("/hello")), "Hello world from Flask!\n");
    assert_eq!(status(&server.get("/none")), "404");
    let form = "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nvalue\r\n--b\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n12345\r\n--b--\r\n";
    let answer = post(&server, "/form", "Content-Type: multipart/form-data; boundary=b\r\n", form.as_bytes());
    assert_eq!(content(&answer), "{\"file\":5,\"name\":\"value\"}\n");
    assert_eq!(status(&server.get("/fail")), "500");
    let line = server.wait_line("ValueError: a view has failed");
    assert!(line.contains("target=\"/fail\""), "{line}");
}

#[test]
fn pyramid_is_served() {
    let Some(virtualenv) = find_virtualenv() else { return };
    let server = serve(&route(&virtualenv, "pyramidapp:app", ""));
    assert_eq!(content(&server.get("/hello")), "Hello world from Pyramid!\n");
    assert_eq!(status(&server.get("/none")), "404");
}

#[test]
fn django_is_served() {
    let Some(virtualenv) = find_virtualenv() else { return };
    let server = serve(&route(&virtualenv, "djangoapp:app", ""));
    assert_eq!(content(&server.get("/hello")), "Hello world from Django!\n");
    let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
    assert_eq!(dechunk(&server.get("/stream")), expected);
    // Django logs the exception with DEBUG or a logging configuration only.
    assert_eq!(status(&server.get("/fail")), "500");
}

#[test]
fn django_admin_takes_concurrent_writes() {
    let Some(virtualenv) = find_virtualenv() else { return };
    let folder = make_folder();
    let data = folder.path().to_str().unwrap();
    let mut prepare = command(virtualenv.join("bin/python"));
    prepare.args(["-B", "-m", "djangosite.prepare"]).current_dir(APPLICATIONS).env("DATA", data);
    assert!(prepare.status().unwrap().success());
    let keys = format!("environment = {{ DATA = '{data}' }}\n");
    let files =
        format!("[[service.web.route]]\npath = '/static/'\nhandler = 'files'\nroot = '{data}/static'\n");
    let server = serve(&(route(&virtualenv, "djangosite.wsgi:application", &keys) + &files));
    run_client(&virtualenv, "admin", &server, &[]);
}
