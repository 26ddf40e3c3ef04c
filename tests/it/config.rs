//! Configuration: layers and provenance.

use std::fs;

use crate::config_mistakes::check;
use crate::harness::{LSBAWS, command, lsbaws, make_folder, run, unstamped};

#[test]
fn start_runs_the_same_checks() {
    let (code, _, stderr) = run(&["--set", "limits.max_connections=0"]);
    assert_eq!(code, 78);
    assert_eq!(
        unstamped(&stderr),
        "ERROR --set limits.max_connections=0: limits.max_connections: expected an integer from 1 to 65536, found 0\n"
    );
}

#[test]
fn layers_override_each_other_and_show_their_provenance() {
    let folder = make_folder();
    let (file, drop_ins) = (folder.path().join("x.toml"), folder.path().join("x.d"));
    fs::create_dir(&drop_ins).unwrap();
    fs::write(
        &file,
        "[limits]\nmax_connections = 1\nhead_timeout = '1s'\nwrite_timeout = '1s'\nmax_head_size = '1 KiB'\n",
    )
    .unwrap();
    fs::write(
        drop_ins.join("10.toml"),
        "[limits]\nhead_timeout = '2s'\nwrite_timeout = '2s'\nmax_head_size = '2 KiB'\n",
    )
    .unwrap();
    fs::write(drop_ins.join("20.toml"), "\n[limits]\nwrite_timeout = '3s'\nmax_head_size = '3 KiB'\n")
        .unwrap();
    fs::write(drop_ins.join("ignored.txt"), "nonsense").unwrap();
    let output = command(LSBAWS)
        .args(["check", "--show", "-c", file.to_str().unwrap(), "--set", "log.level=debug"])
        .env("LSBAWS_LIMITS__MAX_HEAD_SIZE", "4 KiB")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let path = folder.path().display();
    let expected = [
        ("max_connections = 1", format!("{path}/x.toml:2")),
        ("head_timeout = \"2s\"", format!("{path}/x.d/10.toml:2")),
        ("write_timeout = \"3s\"", format!("{path}/x.d/20.toml:3")),
        ("max_head_size = \"4 KiB\"", "environment variable LSBAWS_LIMITS__MAX_HEAD_SIZE".to_owned()),
        ("level = \"debug\"", "--set log.level=debug".to_owned()),
        ("model = \"fork\"", "default".to_owned()),
        ("body = \"Hello, World!\\n\"", "default".to_owned()),
    ];
    for (value, origin) in expected {
        let line =
            shown.lines().find(|line| line.starts_with(value)).unwrap_or_else(|| panic!("{value}: {shown}"));
        assert!(line.ends_with(&format!(" # {origin}")), "{line}");
    }
    // The output is a configuration with the same values.
    fs::write(&file, &shown).unwrap();
    fs::remove_dir_all(&drop_ins).unwrap();
    let (_, again, _) = run(&["check", "--show", "-c", file.to_str().unwrap()]);
    let values = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split(" #").next().unwrap().trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&shown));
}

#[test]
fn errors_of_all_layers_are_reported_in_their_order() {
    let folder = make_folder();
    let (file, drop_ins) = (folder.path().join("x.toml"), folder.path().join("x.d"));
    fs::create_dir(&drop_ins).unwrap();
    fs::write(&file, "[log]\nlevel = 'loud'\n[limits]\nmax = 1\n").unwrap();
    fs::write(drop_ins.join("10.toml"), "[log]\nlevel = 'info'\ntarget = 3\n").unwrap();
    let output = lsbaws()
        .args([
            "check",
            "-c",
            file.to_str().unwrap(),
            "--set",
            "log.max_rate=-1",
            "--set",
            "process.spares=[1",
        ])
        .env("LSBAWS_PROCESS__MODEL", "none")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap().replace(folder.path().to_str().unwrap(), "");
    let starts = [
        "lsbaws: /x.toml:4: limits.max: unknown key",
        "lsbaws: /x.d/10.toml:3: log.target: expected one of",
        "lsbaws: environment variable LSBAWS_PROCESS__MODEL: process.model: expected one of",
        "lsbaws: --set log.max_rate=-1: log.max_rate: expected an integer",
        "lsbaws: --set process.spares=[1: process.spares: invalid TOML at character 3",
    ];
    assert_eq!(stderr.lines().count(), starts.len(), "{stderr}");
    for (line, start) in stderr.lines().zip(starts) {
        assert!(line.starts_with(start), "{stderr}");
    }
    // Values that may depend on an unreadable file are not checked.
    fs::write(&file, [0xff]).unwrap();
    fs::write(drop_ins.join("10.toml"), "[log").unwrap();
    let (code, _, stderr) = run(&["check", "-c", file.to_str().unwrap(), "--set", "log.level=loud"]);
    assert_eq!((code, stderr.lines().count()), (78, 2), "{stderr}");
}

#[test]
fn last_setting_wins() {
    let arguments =
        ["check", "--show", "--set", "limits={max_connections=5}", "--set", "limits.max_connections=7"];
    for _ in 0..10 {
        let (_, shown, _) = run(&arguments);
        assert!(shown.contains("max_connections = 7 "), "{shown}");
    }
}

#[test]
fn keys_outside_files_have_no_index() {
    for key in ["service.web.route[0].body", "service.web.route[4294967295].body", "limits[-1]"] {
        let (code, _, stderr) = run(&["check", "--set", &format!("{key}=x")]);
        assert_eq!(code, 78);
        assert!(stderr.contains(&format!("{key}: expected a key without an index")), "{stderr}");
    }
    let deep = vec!["a"; 30_000].join(".");
    let (code, _, stderr) = run(&["check", "--set", &format!("{deep}=1")]);
    assert_eq!(code, 78);
    assert!(stderr.contains("expected a key of at most 8 names"));
}

#[test]
fn values_outside_files_are_toml_or_bare_strings() {
    for (pair, shown) in [
        ("limits.head_timeout=1m 30s", "head_timeout = \"1m 30s\""),
        ("limits.head_timeout=30", "head_timeout = \"30s\""),
        ("limits.max_body_size=10 MiB", "max_body_size = \"10 MiB\""),
        ("limits.max_body_size=1000000", "max_body_size = \"1000000 B\""),
        ("log.level=info", "level = \"info\""),
        ("log.level='warn'", "level = \"warn\""),
        ("service.web.route=[{body='x'}]", "body = \"x\""),
        ("listen.web.address=[::1]:80", "address = [\"[::1]:80\"]"),
        ("listen.web.mode=0600", "mode = \"0600\""),
    ] {
        let (code, text, stderr) = run(&["check", "--show", "--set", pair]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{pair}");
        assert!(text.lines().any(|line| line.starts_with(shown)), "{pair}: {text}");
    }
}

#[test]
fn values_that_only_begin_like_toml_are_errors() {
    for (pair, key, problem) in [
        ("limits.max_connections=[1", "limits.max_connections", "character 3 of the value: unclosed array"),
        (
            "service.web.route=[{path=\"/\"",
            "service.web.route",
            "character 11 of the value: unclosed inline table",
        ),
        ("log.level=\"info", "log.level", "character 6 of the value: invalid basic string"),
        ("log.level='é", "log.level", "character 3 of the value: invalid literal string"),
        (
            "listen.web.address=[@a]",
            "listen.web.address",
            "character 2 of the value: expected a value; a string is written in quotes",
        ),
    ] {
        let (code, _, stderr) = run(&["check", "--set", pair]);
        assert_eq!(code, 78);
        let expected = format!("lsbaws: --set {pair}: {key}: invalid TOML at {problem}");
        assert!(stderr.starts_with(&expected), "{stderr}");
    }
    let output = lsbaws().arg("check").env("LSBAWS_LISTEN__WEB__ADDRESS", "[\"a\"").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.starts_with(
            "lsbaws: environment variable LSBAWS_LISTEN__WEB__ADDRESS: listen.web.address: invalid TOML at character 5"
        ),
        "{stderr}"
    );
}

#[test]
fn unknown_variable_is_an_error() {
    let output = command(LSBAWS).args(["check", "-c", "/dev/null"]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "lsbaws: /dev/null: unable to read: not a regular file\n"
    );
    let output = lsbaws().arg("check").env("LSBAWS_LIMIT", "3").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.starts_with(
            "lsbaws: environment variable LSBAWS_LIMIT: limit: unknown key, did you mean limits?"
        ),
        "{stderr}"
    );
}

#[test]
fn table_made_by_a_single_key_has_its_provenance() {
    let output = lsbaws().arg("check").env("LSBAWS_LIMIT__MAX", "3").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.starts_with("lsbaws: environment variable LSBAWS_LIMIT__MAX: limit: unknown key"),
        "{stderr}"
    );
    // It replaces the list of the file, so the error is not in the file.
    let folder = make_folder();
    let file = folder.path().join("lsbaws.toml");
    fs::write(&file, "[[service.web.route]]\nbody = 'x'\n").unwrap();
    let pair = "service.web.route.body=y";
    let (code, _, stderr) = run(&["check", "-c", file.to_str().unwrap(), "--set", pair]);
    assert_eq!(code, 78);
    assert!(
        stderr.starts_with(&format!("lsbaws: --set {pair}: service.web.route: expected a list of tables")),
        "{stderr}"
    );
}

#[test]
fn missing_configuration_file_is_an_error() {
    let (code, _, stderr) = run(&["check", "-c", "/nonexistent/lsbaws.toml"]);
    assert_eq!(code, 78);
    assert_eq!(stderr, "lsbaws: /nonexistent/lsbaws.toml: unable to read: No such file or directory\n");
}

/// Keys without a default. The shipped file has examples of them.
const UNSET: [&str; 21] = [
    "status_socket",
    "max_connections = 100",
    "max_connections_per_source = 10",
    "delay",
    "target = \"/var/log/lsbaws/access.log\"",
    "host",
    "extension",
    "max_duration",
    "idle_timeout",
    "drain_lead",
    "request_id_header",
    "cpu_time",
    "memory",
    "file_size",
    "open_files",
    "processes",
    "core",
    "nice",
    "umask",
    "user",
    "group",
];

#[test]
fn shipped_file_names_every_key_at_its_default() {
    let shipped = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/etc/lsbaws.toml")).unwrap();
    assert_eq!(check(&shipped), (0, String::new()), "as it is shipped");
    let folder = make_folder();
    let file = folder.path().join("lsbaws.toml");
    let show = || {
        let (code, shown, stderr) = run(&["check", "--show", "-c", file.to_str().unwrap()]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        let values = shown.lines().map(|line| line.split(" #").next().unwrap().trim().to_owned());
        values.collect::<Vec<_>>()
    };
    fs::write(&file, "").unwrap();
    let defaults = show();
    // `#key` is a key with its default or an example, `# Text` is a comment.
    let uncommented: Vec<_> = shipped
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .collect();
    // A user without privileges cannot lower its nice value, which may be above the one of the example.
    fs::write(&file, uncommented.join("\n").replace("nice = 5", "nice = 19")).unwrap();
    let mut all = show();
    let unset = |line: &str| {
        UNSET
            .iter()
            .any(|key| line.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(" =")))
    };
    all.retain(|line| !unset(line));
    // The example has a user.
    for line in &mut all {
        *line = line.replace("as user nobody, ", "");
    }
    assert_eq!(all, defaults);
    let (_, shown, _) = run(&["check", "--show", "-c", file.to_str().unwrap()]);
    let missing: Vec<_> = shown.lines().filter(|line| line.ends_with("# default")).collect();
    assert!(missing.is_empty(), "the shipped file lacks {missing:?}");
}

#[test]
fn usage_errors_have_their_own_exit_code() {
    assert_eq!(run(&["--no-such-flag"]).0, 64);
    assert_eq!(run(&["check", "--set", "nonsense"]).0, 64);
    for arguments in [&["check", "site.toml"][..], &["site.toml"]] {
        let (code, _, stderr) = run(arguments);
        assert_eq!(code, 64);
        assert!(stderr.contains("tip: a configuration file is given with -c: '-c site.toml'"), "{stderr}");
    }
    let (code, stdout, _) = run(&["--version"]);
    assert_eq!((code, stdout.as_str()), (0, "lsbaws 0.1.0\n"));
}
