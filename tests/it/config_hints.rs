//! Errors of a configuration that name the remedy, and files that add to each other.

use std::fs;

use crate::config_mistakes::check;
use crate::harness::{make_folder, run};

#[test]
fn errors_name_the_remedy() {
    for (text, expected) in [
        // Text without quotes.
        (
            "[listen.web]\naddress = 127.0.0.1:8080\n",
            "FILE:2: listen.web.address: expected a value; a string is written in quotes\n",
        ),
        ("[limits]\nallow = [10.0.0.0/8]\n", "a string is written in quotes\n"),
        // Bits beyond the prefix.
        (
            "[limits]\ndeny = ['10.0.0.1/8']\n",
            "found \"10.0.0.1/8\"; it has bits beyond the first 8: write \"10.0.0.0/8\", or 10.0.0.1 alone\n",
        ),
        ("[limits]\ndeny = ['example.org']\n", " (numbers, no host names), found \"example.org\"\n"),
        // A key in another table.
        (
            "[service.web]\nroot = '/srv'\n",
            "service.web.root: unknown key here, it is a key of [[service.NAME.route]]\n",
        ),
        (
            "[service.web]\nformat = 'json'\n",
            "format: unknown key here, it is a key of [log], [log.access], [[service.NAME.route]]\n",
        ),
        ("[service.web]\napplication = 'a:b'\n", "it is a key of [[service.NAME.route]]\n"),
        ("[[route]]\npath = '/'\n", "FILE:1: route: unknown key here, it is a key of [service.NAME]\n"),
        ("[log]\nspares = 1\n", "log.spares: unknown key here, it is a key of [process]\n"),
        // Addresses of which the kernel takes only one.
        (
            "[listen.web]\naddress = ['0.0.0.0:18490', '127.0.0.1:18490']\n",
            "FILE:2: listen.web.address: 127.0.0.1:18490 is contained in 0.0.0.0:18490: remove one of them\n",
        ),
        (
            "[service.a]\n[service.b]\n[listen.a]\naddress = '[::1]:80'\n[listen.b]\naddress = '[::]:80'\n",
            "FILE:6: listen.b.address: [::1]:80 is contained in [::]:80: remove one of them\n",
        ),
    ] {
        let (code, message) = check(text);
        assert_eq!(code, 78, "{text}");
        assert!(message.ends_with(expected), "{text}{message}");
    }
    let (code, message) =
        check("[listen.web]\naddress = ['0.0.0.0:80', '[::]:80', '[::1]:81', '127.0.0.1:82']\n");
    assert_eq!(code, 0, "{message}");
}

#[test]
fn errors_behind_an_error_are_reported() {
    let text = "[service.web]\nuser = 'no-such-user'\ngroup = 'no-such-group'\nprotocol = 'exec'\ncommand = '/none'\n\
                [service.web.confine]\nwritable = ['/no/such/folder']\n";
    let (_, message) = check(text);
    let keys =
        ["user: no such user", "group: no such group", "command: expected", "confine.writable[0]: expected"];
    for key in keys {
        assert!(message.contains(&format!("service.web.{key}")), "{key}: {message}");
    }
    assert_eq!(message.lines().count(), keys.len(), "{message}");
}

/// Writes `lsbaws.toml` and the files of `lsbaws.d`, and runs `lsbaws check --show` with these arguments. FOLDER stands for the
/// folder in what it prints.
fn check_files(files: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let folder = make_folder();
    fs::create_dir(folder.path().join("lsbaws.d")).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let file = folder.path().join("lsbaws.toml").display().to_string();
    let (code, shown, message) = run(&[&["check", "--show", "-c", &file], arguments].concat());
    let replace = |text: String| text.replace(folder.path().to_str().unwrap(), "FOLDER");
    (code, replace(shown), replace(message))
}

#[test]
fn routes_of_several_files_add_up() {
    let files = [
        ("lsbaws.toml", "[[service.web.route]]\nbody = 'main'\n"),
        (
            "lsbaws.d/10-a.toml",
            "\n[[service.web.route]]\npath = '/a'\nbody = 'a'\n[[service.web.route]]\npath = '/aa'\n",
        ),
        (
            "lsbaws.d/20-b.toml",
            "[[service.web.route]]\npath = '/b'\nheaders = { X = 'b' }\n[service.web]\ndeny = ['10.0.0.1']\n",
        ),
        ("lsbaws.d/30-c.toml", "[service.web]\ndeny = ['10.0.0.2']\n"),
    ];
    let (code, shown, message) = check_files(&files, &[]);
    assert_eq!(code, 0, "{message}");
    let routes = shown.lines().filter(|line| line.starts_with("path = ")).collect::<Vec<_>>();
    assert_eq!(routes.len(), 4, "{shown}");
    for (route, place) in
        routes.iter().zip(["default", "FOLDER/lsbaws.d/10-a.toml:3", "10-a.toml:6", "20-b.toml:2"])
    {
        assert!(route.ends_with(place), "{route}");
    }
    // Other lists are replaced, and so are the routes by an argument.
    assert!(shown.contains("deny = [\"10.0.0.2\"]"), "{shown}");
    let (_, shown, _) = check_files(&files, &["--set", "service.web.route=[{path='/only'}]"]);
    let routes = shown.lines().filter(|line| line.starts_with("path = ")).collect::<Vec<_>>();
    assert!(routes.len() == 1 && routes[0].contains("# --set service.web.route="), "{shown}");
}

#[test]
fn errors_in_several_files_name_their_places() {
    let (code, _, message) = check_files(
        &[
            ("lsbaws.toml", ""),
            (
                "lsbaws.d/10-a.toml",
                "[[service.web.route]]\npath = '/a'\n\n[[service.web.route]]\nstatus = 'x'\npath = '/c'\n",
            ),
            (
                "lsbaws.d/20-b.toml",
                "[[service.web.route]]\npath = '/b'\nbody = 1\n[[service.web.route]]\npath = '/a'\n",
            ),
            ("lsbaws.d/30-c.toml", "[[service.web.route]]\npath = '/d'\nbody = 10s\n"),
        ],
        &[],
    );
    assert_eq!(code, 78);
    let lines: Vec<_> = message.lines().collect();
    for (line, expected) in lines.iter().zip([
        "FOLDER/lsbaws.d/10-a.toml:5: service.web.route[1].status: expected ",
        "FOLDER/lsbaws.d/20-b.toml:3: service.web.route[2].body: expected ",
        "FOLDER/lsbaws.d/20-b.toml:5: service.web.route[3].path: another route (FOLDER/lsbaws.d/10-a.toml:1) has the same path",
        "FOLDER/lsbaws.d/30-c.toml:3: service.web.route[4].body: expected a value; a string is written in quotes",
    ]) {
        assert!(line.contains(expected), "{expected}: {message}");
    }
    assert_eq!(lines.len(), 4, "{message}");
}
