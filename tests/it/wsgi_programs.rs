//! Programs that others have written as WSGI applications, and their usual clients.

use std::fs;

use crate::harness::{command, find_program, make_folder, serve};
use crate::wsgi_frameworks::{find_virtualenv, route, run_client};

#[test]
fn httpbin_answers_requests() {
    let Some(virtualenv) = find_virtualenv() else { return };
    let server = serve(&route(&virtualenv, "httpbin:app", ""));
    run_client(&virtualenv, "httpbin", &server, &[]);
}

#[test]
fn pypiserver_takes_a_package_of_twine_and_pip_installs_it() {
    let Some(virtualenv) = find_virtualenv() else { return };
    let (packages, work) = (make_folder(), make_folder());
    let keys = format!("environment = {{ DATA = '{}' }}\n", packages.path().display());
    let server = serve(&route(&virtualenv, "pypiapp:app", &keys));
    run_client(&virtualenv, "pypi", &server, &[work.path().to_str().unwrap()]);
    assert_eq!(fs::read_dir(packages.path()).unwrap().count(), 1);
}

#[test]
fn litmus_finds_no_fault_in_wsgidav() {
    let (Some(virtualenv), Some(litmus)) = (find_virtualenv(), find_program("litmus")) else { return };
    let (data, state) = (make_folder(), make_folder());
    let folders = format!("DATA = '{}', STATE = '{}'", data.path().display(), state.path().display());
    let server = serve(&route(&virtualenv, "davapp:app", &format!("environment = {{ {folders} }}\n")));
    let mut litmus = command(litmus);
    litmus.arg(format!("http://{}/", server.address())).current_dir(state.path());
    let output = litmus.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for suite in ["basic", "copymove", "props", "locks", "http"] {
        let summary = text.lines().find(|line| line.contains(&format!("summary for `{suite}'")));
        assert!(summary.is_some_and(|line| line.contains(" 0 failed")), "{text}");
    }
}
