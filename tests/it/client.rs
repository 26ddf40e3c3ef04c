//! `lsbaws client` runs the load client, which has its own tests in client/tests.

use std::path::Path;
use std::process::Command;

use crate::harness::{LSBAWS, require_client, run, run_client, serve, skip};

#[test]
fn client_gets_the_arguments_unchanged() {
    let server = serve("");
    let report = run_client(server.address(), &["--max-clients", "2", "--max-conns", "3"]);
    assert_eq!((&report["clients"], &report["connections"]), (&2.into(), &6.into()), "{report}");
    assert_eq!(report["answered"]["200"], 6, "{report}");
}

#[test]
fn help_is_that_of_the_client() {
    require_client();
    for arguments in [&["client", "--help"][..], &["client", "-h"], &["client", "--json", "--help"]] {
        let (code, help, _) = run(arguments);
        assert_eq!(code, 0, "{arguments:?}");
        assert!(
            help.contains("Usage: lsbaws client [OPTIONS] <URL>") && help.contains("--max-conns"),
            "{help}"
        );
    }
}

#[test]
fn exit_code_is_that_of_the_client() {
    require_client();
    assert_eq!(run(&["client", "unix:/nonexistent/web.sock", "--max-conns", "1"]).0, 1);
    let (code, _, message) = run(&["client", "https://localhost/"]);
    assert_eq!(code, 64, "{message}");
    assert!(message.starts_with("lsbaws-client: invalid URL"), "{message}");
}

#[test]
fn missing_client_is_named_with_both_paths() {
    const INSTALLED: &str = "/usr/libexec/lsbaws/lsbaws-client";
    if Path::new(INSTALLED).exists() {
        return skip("the load client is installed on this host");
    }
    // By cp: a process that another test forks while this one writes the copy would keep it open for writing, and exec
    // would fail with ETXTBSY.
    let folder = tempfile::tempdir().unwrap();
    let daemon = folder.path().join("lsbaws");
    assert!(Command::new("cp").arg(LSBAWS).arg(&daemon).status().unwrap().success());
    let output = Command::new(&daemon).args(["client", "http://localhost/"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{message}");
    let beside = folder.path().join("lsbaws-client");
    assert!(message.contains(&format!("neither {} nor {INSTALLED} exists", beside.display())), "{message}");
}
