//! What a person meets at the command line: which files count, what a mistake is, and what to write instead.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use nix::unistd::geteuid;

use crate::harness::{LSBAWS, command, make_folder, run};

/// Standard output of a check that succeeds.
fn check(arguments: &[&str]) -> String {
    let (code, text, message) = run(&[&["check"], arguments].concat());
    assert_eq!(code, 0, "{message}");
    text
}

#[test]
fn check_names_the_files_that_count_and_those_that_do_not() {
    let folder = make_folder();
    let file = folder.path().join("l.toml");
    let drop_ins = folder.path().join("l.d");
    fs::write(&file, "").unwrap();
    fs::create_dir_all(drop_ins.join("folder")).unwrap();
    for name in ["10-a.toml", "20-b.conf", "README", "README.md", "a.toml~", "b.bak", ".c.conf", "d.dpkg-old"]
    {
        fs::write(drop_ins.join(name), "").unwrap();
    }
    let text = check(&["-c", file.to_str().unwrap()]);
    let shown = drop_ins.display();
    assert!(text.contains(&format!("\nread {}, {shown}/10-a.toml\n", file.display())), "{text}");
    let warning = format!("warning: {shown}/20-b.conf is not read: the names of drop-ins end in .toml\n");
    assert!(text.contains(&warning) && text.matches("is not read").count() == 1, "{text}");
    fs::remove_file(&file).unwrap();
    let mut check = command(LSBAWS);
    let output = check.args(["check"]).env("LSBAWS_CONFIG", &file).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("No such file or directory; LSBAWS_CONFIG names it"), "{message}");
}

#[test]
fn wide_networks_of_proxies_are_a_warning() {
    let warned = |networks: &str| check(&["--set", &format!("service.web.trusted_proxies={networks}")]);
    let text = warned("['0.0.0.0/0', '::/0', '10.0.0.0/8']");
    let sentence = "warning: service.web.trusted_proxies: each client in ";
    assert_eq!(text.matches(sentence).count(), 2, "{text}");
    assert!(text.contains(&format!("{sentence}0.0.0.0/0 can choose its own address")), "{text}");
    assert!(!warned("['10.0.0.0/8', '2001:db8::/32', 'unix']").contains(sentence));
}

#[test]
fn empty_or_open_file_of_users_is_a_warning() {
    let folder = make_folder();
    let users = folder.path().join("users");
    let shown = users.display().to_string();
    let file = folder.path().join("l.toml");
    fs::write(&file, format!("[[service.web.route]]\nauth_users = '{shown}'\n")).unwrap();
    fs::write(&users, "# nothing yet\n").unwrap();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o666)).unwrap();
    let text = check(&["-c", file.to_str().unwrap()]);
    let empty = format!("{shown} has no users: every login fails; htpasswd -B {shown} NAME\n");
    let open = format!("every user of this host may write {shown}, and so add users; chmod o-w {shown}\n");
    assert!(text.contains(&empty) && text.contains(&open), "{text}");
    fs::write(&users, crate::auth::ALICE_LINE).unwrap();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o644)).unwrap();
    let text = check(&["-c", file.to_str().unwrap()]);
    assert!(!text.contains("warning: service.web.route"), "{text}");
}

#[test]
fn mistakes_of_the_command_line_have_a_remedy() {
    let folder = make_folder();
    let path = folder.path().to_str().unwrap();
    for (arguments, code, words) in [
        (&["serve", path, "-l", "70000"][..], 78, "--listen 70000: a port is a number from 1 to 65535"),
        (
            &["serve", path, "-l", "localhost"],
            78,
            "--listen localhost: the port is missing, such as localhost:8000",
        ),
        (&["serve", path, "-p", "8000"], 64, "'lsbaws serve FOLDER --listen 8000'"),
        (&["serve", path, "--port=8000"], 64, "'lsbaws serve FOLDER --listen 8000'"),
        (&[path], 64, "the files of a folder are served by: 'lsbaws serve /"),
        (
            &["check", "--set", "log.access.format={client} {status}"],
            78,
            "; a text that begins with { needs quotes: --set",
        ),
    ] {
        let (found, _, message) = run(arguments);
        assert!(found == code && message.contains(words), "{arguments:?}: {found} {message}");
    }
    let (_, _, message) = run(&["check", "--set", "limits={max_connections=}"]);
    assert!(!message.contains("needs quotes"), "{message}");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let mut arguments = vec!["serve", path, "-l", &address];
    if geteuid().is_root() {
        arguments.extend(["--set", "service.web.user=daemon"]);
    }
    let (_, _, message) = run(&arguments);
    assert!(
        message.contains("; to choose another address, use --listen, for example --listen 127"),
        "{message}"
    );
    assert!(!message.contains("os error"), "{message}");
}
