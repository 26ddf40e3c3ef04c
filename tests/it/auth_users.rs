//! Files of users: their mistakes, and their changes.

use std::fs;

use crate::auth::{ALICE, ALICE_LINE, BOB, BOB_LINE, get, make_users, route, status};
use crate::harness::{Server, run, serve, wait_until};

fn check(users: &std::path::Path, keys: &str) -> (i32, String) {
    let folder = crate::harness::make_folder();
    let file = folder.path().join("x.toml");
    fs::write(&file, route("/", users, keys)).unwrap();
    let (code, _, message) = run(&["check", "-c", file.to_str().unwrap()]);
    (code, message.replace(file.to_str().unwrap(), "FILE"))
}

#[test]
fn mistakes_name_the_file_the_line_and_the_remedy() {
    let expensive = ALICE_LINE.replace("$05$", "$16$");
    for (text, expected) in [
        (
            "a:$apr1$z/iOvTzI$V1pZsJpmTnTF0cGPJ5WrC0\n",
            "found an MD5 hash, $apr1$; set the password again: htpasswd -B PATH a",
        ),
        (
            "# x\n\na:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n",
            "PATH:3: expected a bcrypt or sha-crypt hash for the user \"a\", found a SHA-1 hash, {SHA}; ",
        ),
        ("a:rEK1ecacw.7.c\n", "found a DES hash, or a password itself; "),
        ("a:secret\n", "found a password itself, or an unknown hash; "),
        (
            &expensive,
            "PATH:1: expected a bcrypt or sha-crypt hash for the user \"alice\", found a bcrypt hash of the cost 16, which takes seconds of processor time; the maximum is 14; ",
        ),
        ("alice\n", "PATH:1: expected NAME:HASH"),
        (":x\n", "PATH:1: expected NAME:HASH"),
        (&format!("{ALICE_LINE}{ALICE_LINE}"), "PATH:2: the user \"alice\" has an earlier line"),
    ] {
        let (_folder, users) = make_users(text);
        let (code, message) = check(&users, "");
        assert_eq!(code, 78);
        let expected = expected.replace("PATH", users.to_str().unwrap());
        assert!(message.contains("FILE:3: service.web.route[0].auth_users: "), "{message}");
        assert!(message.contains(&expected), "{expected}\n{message}");
    }
    let (folder, users) = make_users(ALICE_LINE);
    let large = folder.path().join("large");
    fs::write(&large, "#\n".repeat(128 << 10) + ALICE_LINE).unwrap();
    for (path, keys, expected) in [
        (large, "", "auth_users: unable to read PATH: larger than 256 KiB"),
        (folder.path().join("none"), "", "auth_users: unable to read PATH: No such file"),
        (folder.path().to_owned(), "", "auth_users: unable to read PATH: not a regular file"),
        (users.clone(), "auth_require = ['bob']", "auth_users: PATH: no user \"bob\""),
        (users.clone(), "auth_realm = \"a\\nb\"", "auth_realm: expected ASCII characters, found \"a\\nb\""),
    ] {
        let (code, message) = check(&path, keys);
        let expected = expected.replace("PATH", path.to_str().unwrap());
        assert!(code == 78 && message.contains(&expected), "{expected}\n{message}");
    }
    let (code, _, message) = run(&["check", "--set", "service.web.route=[{auth_realm='x'}]"]);
    assert!(code == 78 && message.contains("auth_realm: expected only with auth_users"), "{message}");
}

#[test]
fn check_does_not_show_hashes() {
    let (_folder, users) = make_users(ALICE_LINE);
    let set = format!("service.web.route=[{{auth_users='{}', allow='10.0.0.0/8'}}]", users.display());
    let (code, shown, _) = run(&["check", "--show", "--set", &set]);
    assert!(code == 0 && !shown.contains("$2y$"), "{shown}");
    assert!(shown.contains("\nallow = [\"10.0.0.0/8\"] ") && shown.contains("\nauth_users = "), "{shown}");
}

fn wait_accepted(server: &Server, credentials: &str) {
    wait_until("the user is accepted", || status(&get(server, "/", credentials)) == "200");
}

#[test]
fn changed_file_takes_effect_without_a_reload() {
    for process in ["", "fork_servers = 2", "spares = 1", "model = 'iterative'"] {
        let (folder, users) = make_users(ALICE_LINE);
        let server = serve(&format!("[process]\n{process}\n{}", route("/", &users, "")));
        assert_eq!(status(&get(&server, "/", ALICE)), "200", "{process}");
        assert_eq!(status(&get(&server, "/", BOB)), "401");
        // As editors do, and as htpasswd does.
        fs::write(folder.path().join("new"), BOB_LINE).unwrap();
        fs::rename(folder.path().join("new"), &users).unwrap();
        wait_accepted(&server, BOB);
        server.wait_line(&format!("service web: users of {} read again", users.display()));
        assert_eq!(status(&get(&server, "/", ALICE)), "401", "{process}");
        fs::write(&users, format!("{ALICE_LINE}{BOB_LINE}")).unwrap();
        wait_accepted(&server, ALICE);
    }
}

#[test]
fn users_stay_while_the_file_is_broken() {
    let (_folder, users) = make_users(ALICE_LINE);
    let routes = route("/", &users, "") + &route("/other", &users, "");
    let server = serve(&format!("[process]\nfork_servers = 2\n{routes}"));
    assert_eq!(status(&get(&server, "/", ALICE)), "200");
    fs::write(&users, "alice:secret\n").unwrap();
    let error = format!(
        "service web: {}:1: expected a bcrypt or sha-crypt hash for the user \"alice\"",
        users.display()
    );
    let is_logged = |lines: &[String]| lines.iter().filter(|line| line.contains(&error)).count();
    let mut lines = Vec::new();
    wait_until("the error is logged", || {
        assert_eq!(status(&get(&server, "/", ALICE)), "200");
        lines.extend(server.rest());
        is_logged(&lines) > 0
    });
    assert!(lines.iter().any(|line| line.contains("; the users that were read before are still accepted")));
    // The next change is read.
    fs::write(&users, BOB_LINE).unwrap();
    wait_accepted(&server, BOB);
    lines.extend(server.rest());
    assert_eq!(is_logged(&lines), 1, "{lines:#?}");
    // A file that is missing changes nothing.
    fs::remove_file(&users).unwrap();
    wait_until("a warning is logged", || {
        assert_eq!(status(&get(&server, "/", BOB)), "200");
        server.rest().iter().any(|line| line.contains("those that were read are still accepted"))
    });
    fs::write(&users, ALICE_LINE).unwrap();
    wait_accepted(&server, ALICE);
}
