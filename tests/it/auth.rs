//! Basic authentication of routes.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::cgi::write_program;
use crate::harness::{Server, Setup, ask, command, find_program, make_folder, serve, unique_user};

/// `alice:secret`, `bob:geheim` and `mallory:guess`, as clients send them.
pub const ALICE: &str = "YWxpY2U6c2VjcmV0";
pub const BOB: &str = "Ym9iOmdlaGVpbQ==";
pub const MALLORY: &str = "bWFsbG9yeTpndWVzcw==";
/// The line of alice, by `htpasswd -nbB -C 5`, and that of bob, by `openssl passwd -6`.
pub const ALICE_LINE: &str = "alice:$2y$05$i/U2s11qsq91FgPy8etq9ObuN8LgV5z6FLvc8YYPGh0yDvK9LI/Py\n";
pub const BOB_LINE: &str = "bob:$6$abcdefghijklmnop$JvBvFzS7bx5/.PiHlhRnluMqz2HAddQ0ILwiZwVIGbHSmqD0N1urH2yLAtPQt2yDGgpsKgGMQQqy/gKrHOw.T.\n";

/// A folder with a file of users.
pub fn make_users(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = make_folder();
    let path = folder.path().join("users");
    fs::write(&path, text).unwrap();
    (folder, path)
}

pub fn route(path: &str, users: &Path, keys: &str) -> String {
    let users = users.display();
    format!("[[service.web.route]]\npath = '{path}'\nauth_users = '{users}'\n{keys}\n")
}

/// The response to a GET, with or without credentials.
pub fn get(server: &Server, target: &str, credentials: &str) -> String {
    ask(server.connect(), &request("GET", target, credentials))
}

pub fn request(method: &str, target: &str, credentials: &str) -> String {
    let field = match credentials {
        "" => String::new(),
        credentials => format!("Authorization: Basic {credentials}\r\n"),
    };
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{field}Connection: close\r\n\r\n")
}

pub fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn users_of_the_file_are_answered() {
    let (_folder, users) = make_users(&format!("# staff\n\n{ALICE_LINE}{BOB_LINE}"));
    let server = serve(&route("/", &users, "auth_realm = 'the \"office\"'"));
    let answer = get(&server, "/", "");
    assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
    let challenge = "\r\nWWW-Authenticate: Basic realm=\"the \\\"office\\\"\", charset=\"UTF-8\"\r\n";
    assert!(answer.contains(challenge), "{answer}");
    let record = server.record();
    assert_eq!((record.get("outcome"), record.get("user")), ("served", ""), "no failure of the client");
    for (credentials, user) in [(ALICE, "alice"), (BOB, "bob")] {
        assert!(get(&server, "/", credentials).ends_with("\r\n\r\nHello, World!\n"));
        let record = server.record();
        assert_eq!((record.get("outcome"), record.get("user")), ("served", user));
    }
    // An unknown user; the passwords of others; no password; nonsense.
    for credentials in
        [MALLORY, "YWxpY2U6Z2VoZWlt", "Ym9iOnNlY3JldA==", "YWxpY2U6", "YWxpY2U=", "%%%", "Og=="]
    {
        let answer = get(&server, "/", credentials);
        assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains(challenge), "{credentials}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        let record = server.record();
        let fields = ["outcome", "phase", "user"].map(|name| record.get(name).to_owned());
        assert_eq!(fields, ["client-error", "handling", ""], "{credentials}");
    }
    // Another scheme is no attempt.
    let bearer = "GET / HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&ask(server.connect(), bearer)), "401");
    assert_eq!(server.record().get("outcome"), "served");
}

#[test]
fn only_required_users_are_answered() {
    let (_folder, users) = make_users(&format!("{ALICE_LINE}{BOB_LINE}"));
    let server = serve(&route("/", &users, "auth_require = ['bob']"));
    // With another password, alice is a client that guesses.
    for (credentials, expected) in [
        (ALICE, ["403", "refused", "auth_require", "user alice is not in auth_require", "alice"]),
        ("YWxpY2U6Z2VoZWlt", ["401", "client-error", "wrong_password", "wrong password of user alice", ""]),
        (BOB, ["200", "served", "", "", "bob"]),
    ] {
        assert_eq!(status(&get(&server, "/", credentials)), expected[0]);
        let record = server.record();
        let fields = ["status", "outcome", "reason", "error", "user"].map(|name| record.get(name).to_owned());
        assert_eq!(fields, expected);
    }
    // A user that another route of the connection accepts is none of this one.
    let others = route("/all", &users, "").split_once('\n').unwrap().1.to_owned();
    let config = format!("{}[[service.web.route]]\n{others}", route("/", &users, "auth_require = ['bob']"));
    let server = serve(&config);
    let kept = |path| request("GET", path, ALICE).replace("Connection: close\r\n", "");
    let answers = ask(server.connect(), &format!("{}{}", kept("/all"), kept("/")));
    assert!(answers.contains("HTTP/1.1 200 ") && answers.contains("HTTP/1.1 403 "), "{answers}");
}

#[test]
fn record_says_why_a_login_failed() {
    let (_folder, users) = make_users(ALICE_LINE);
    let server = serve(&route("/", &users, ""));
    for (credentials, reason, error) in [
        ("", "", "the request has no credentials"),
        (MALLORY, "unknown_user", "no user mallory"),
        ("YWxpY2U6Z2VoZWlt", "wrong_password", "wrong password of user alice"),
        ("%%%", "unknown_user", "malformed credentials"),
    ] {
        assert_eq!(status(&get(&server, "/", credentials)), "401");
        let record = server.record();
        assert_eq!((record.get("reason"), record.get("error")), (reason, error));
        assert!(record.line.contains(&format!(" ({error}), after ")), "{}", record.line);
    }
}

#[test]
fn nothing_of_a_route_acts_before_its_authentication() {
    let (folder, users) = make_users(ALICE_LINE);
    let root = folder.path().join("www");
    fs::create_dir_all(root.join("docs")).unwrap();
    fs::write(root.join("docs/a.txt"), "a").unwrap();
    let keys = format!("handler = 'files'\nlisting = true\nroot = '{}'", root.display());
    let server = serve(&route("/", &users, &keys));
    for (method, target) in [
        ("GET", "/docs/a.txt"),
        ("GET", "/docs/"),
        ("GET", "/docs"),
        ("GET", "/none"),
        ("POST", "/docs/"),
        ("BREW", "/docs/"),
        ("OPTIONS", "/docs/"),
        ("TRACE", "/docs/"),
    ] {
        let answer = ask(server.connect(), &request(method, target, ""));
        assert_eq!(status(&answer), "401", "{method} {target}: {answer}");
        let answer = ask(server.connect(), &request(method, target, ALICE));
        assert_ne!(status(&answer), "401", "{method} {target}: {answer}");
    }
    // A client that waits for 100 Continue sends no content in vain.
    let post = "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(status(&ask(server.connect(), post)), "401");
}

#[test]
fn programs_receive_the_user_and_no_password() {
    let (folder, users) = make_users(ALICE_LINE);
    let program = folder.path().join("program");
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n\
                  echo \"<$AUTH_TYPE> <$REMOTE_USER> <$HTTP_AUTHORIZATION>\"\n";
    write_program(&program, script);
    let keys = format!("handler = 'cgi'\nprogram = '{}'", program.display());
    let open = format!("[[service.web.route]]\npath = '/open'\n{keys}\n");
    let server = serve(&(route("/", &users, &keys) + &open));
    assert!(get(&server, "/", ALICE).contains("<Basic> <alice> <>"));
    // Without authentication by lsbaws it is up to the program.
    assert!(get(&server, "/open", ALICE).contains(&format!("<> <> <Basic {ALICE}>")));
}

#[test]
fn internal_redirect_does_not_pass_the_authentication() {
    let (folder, users) = make_users(ALICE_LINE);
    let other = folder.path().join("others");
    fs::write(&other, BOB_LINE).unwrap();
    let program = folder.path().join("program");
    write_program(&program, "#!/bin/sh\nprintf \"Location: $QUERY_STRING\\n\\n\"\n");
    let keys = format!("handler = 'cgi'\nprogram = '{}'", program.display());
    let server = serve(&format!(
        "[[service.web.route]]\npath = '/to'\n{keys}\n{}{}{}",
        route("/from", &users, &keys),
        route("/a", &users, "body = 'a'"),
        route("/b", &other, "body = 'b'"),
    ));
    for (target, credentials, expected) in [
        ("/to?/a", "", "401"),
        ("/to?/a", ALICE, "200"),
        ("/to?/b", ALICE, "401"),
        ("/from?/a", ALICE, "200"),
        ("/from?/b", ALICE, "401"),
        ("/from?/b", BOB, "401"),
    ] {
        let answer = get(&server, target, credentials);
        assert_eq!(status(&answer), expected, "{target} {credentials}: {answer}");
    }
}

#[test]
fn wrong_passwords_are_penalized_and_missing_ones_are_not() {
    let (_folder, users) = make_users(ALICE_LINE);
    let limits = "[limits]\nexempt = []\npenalty_after = 3\n";
    let server = serve(&format!("{limits}{}", route("/", &users, "")));
    for _ in 0..5 {
        assert_eq!(status(&get(&server, "/", "")), "401");
    }
    for turn in 1..=3 {
        // Requests that are answered make up for no guess.
        assert_eq!(status(&get(&server, "/", "")), "401");
        assert_eq!(status(&get(&server, "/", ALICE)), "200");
        assert_eq!(status(&get(&server, "/", MALLORY)), "401");
        server.wait_ended(5 + 3 * turn);
    }
    assert_eq!(status(&get(&server, "/", ALICE)), "503");
}

#[test]
fn every_way_to_serve_authenticates() {
    let (_folder, users) = make_users(ALICE_LINE);
    for process in ["model = 'double-fork'", "model = 'iterative'", "spares = 2", "fork_servers = 2"] {
        let server = serve(&format!("[process]\n{process}\n{}", route("/", &users, "")));
        assert_eq!(status(&get(&server, "/", MALLORY)), "401", "{process}");
        assert_eq!(status(&get(&server, "/", ALICE)), "200", "{process}");
    }
}

#[test]
fn children_need_no_access_to_the_file() {
    let Some(user) = unique_user() else { return };
    let (_folder, users) = make_users(ALICE_LINE);
    fs::set_permissions(&users, fs::Permissions::from_mode(0o600)).unwrap();
    let config = format!("[service.web]\nuser = '{user}'\ngroup = '{user}'\n{}", route("/", &users, ""));
    let server = Setup::new(&config).serve();
    assert_eq!(status(&get(&server, "/", ALICE)), "200");
    // Nor to notice that it has changed.
    fs::write(&users, BOB_LINE).unwrap();
    crate::harness::wait_until("bob is a user", || status(&get(&server, "/", BOB)) == "200");
}

#[test]
fn file_out_of_reach_is_read_at_a_reload() {
    let Some(user) = unique_user() else { return };
    for process in ["", "fork_servers = 2", "spares = 1"] {
        let (folder, users) = make_users(ALICE_LINE);
        let private = folder.path().join("private");
        fs::create_dir(&private).unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
        let file = private.join("users");
        fs::rename(users, &file).unwrap();
        let keys = format!("user = '{user}'\ngroup = '{user}'");
        let routes = route("/", &file, "");
        let config = format!("[process]\n{process}\n[service.web]\n{keys}\n{routes}");
        let server = Setup::new(&config).serve();
        assert_eq!(status(&get(&server, "/", ALICE)), "200", "{process}");
        // The supervisor may look, but it would wait for a file system that does not answer.
        let warning =
            format!("users {}: Permission denied; a change takes effect at a reload", file.display());
        server.wait_line(&warning);
        fs::write(&file, BOB_LINE).unwrap();
        server.signal(Signal::SIGHUP);
        server.wait_line("configuration reloaded");
        assert_eq!(status(&get(&server, "/", BOB)), "200", "{process}");
        assert_eq!(status(&get(&server, "/", ALICE)), "401", "{process}");
    }
}

#[test]
fn files_of_htpasswd_are_accepted_by_curl() {
    let (Some(htpasswd), Some(curl)) = (find_program("htpasswd"), find_program("curl")) else { return };
    let folder = make_folder();
    let users = folder.path().join("users");
    for (arguments, password) in
        [(&["-cbB", "-C", "4"][..], "s e:c r\u{e9}t"), (&["-b5"], ""), (&["-b2"], "x")]
    {
        let mut htpasswd = command(&htpasswd);
        htpasswd.args(arguments).arg(&users).args([format!("user{}", arguments.len()), password.to_owned()]);
        let output = htpasswd.output().unwrap();
        if !output.status.success() {
            continue; // -2 and -5 came with Apache 2.5
        }
        let server = serve(&route("/", &users, ""));
        let url = format!("http://{}/", server.address());
        let answer = |password: &str| {
            let mut curl = command(&curl);
            curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--user"]);
            let output = curl.arg(format!("user{}:{password}", arguments.len())).arg(&url).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(answer(password), "200");
        assert_eq!(answer("wrong"), "401");
    }
}

#[test]
fn connection_stays_open_without_credentials() {
    let (_folder, users) = make_users(ALICE_LINE);
    let server = serve(&route("/", &users, ""));
    let first = request("GET", "/", "").replace("Connection: close\r\n", "");
    let mut stream = server.connect();
    let answers = ask(&mut stream, &(first + &request("GET", "/", ALICE)));
    assert!(answers.starts_with("HTTP/1.1 401 ") && answers.contains("HTTP/1.1 200 "), "{answers}");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}
