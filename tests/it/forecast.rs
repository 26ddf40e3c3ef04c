//! System limits below those of the configuration: `check` and the start warn of them.

use crate::harness::{LSBAWS, Setup, can_open, command, run, unique_user};

/// Runs `check` with the default configuration, after the shell commands `prelude`.
fn check(prelude: &str, arguments: &[&str]) -> (i32, String) {
    let script = format!("{prelude}\nexec \"$@\"");
    let output = command("bash")
        .args(["-euc", &script, "bash", LSBAWS, "check"])
        .args(arguments)
        .env("LSBAWS_CONFIG", concat!(env!("CARGO_MANIFEST_DIR"), "/etc/lsbaws.toml"))
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn check_warns_and_exits_with_0() {
    let (code, text) = check("ulimit -n 10", &[]);
    assert_eq!(code, 0);
    assert!(text.starts_with("configuration OK\n"), "{text}");
    let warning = text.lines().find(|line| line.contains(" exceeds RLIMIT_NOFILE (10, ")).expect(&text);
    assert!(warning.contains("LimitNOFILE="), "{warning}");
    let (_, text) = check("ulimit -n 10", &["--show"]);
    assert!(text.contains(" exceeds RLIMIT_NOFILE (10, "), "{text}");
    toml::from_str::<toml::Table>(&text).unwrap();
    if !can_open(1000) {
        return;
    }
    let (_, text) = check("ulimit -n 1000", &[]);
    assert!(!text.contains("RLIMIT_NOFILE"), "{text}");
}

#[test]
fn start_warns_about_the_process_limit_of_the_user() {
    let (Some(user), Some(other)) = (unique_user(), unique_user()) else { return };
    let server = Setup::new("[limits]\nmax_connections = 300\n").user(user).prelude("ulimit -Su 300").serve();
    let line = server.wait_line("limits.max_connections = 300");
    assert!(
        line.contains("exceeds RLIMIT_NPROC (300, 1 in use): only 298 connections fit; raise LimitNPROC="),
        "{line}"
    );
    assert!(
        line.contains(" system_limit=\"RLIMIT_NPROC\" system_limit_max=300 system_limit_used=1"),
        "{line}"
    );
    // One process more is enough.
    let mut enough =
        Setup::new("[limits]\nmax_connections = 300\n").user(other).prelude("ulimit -Su 302").serve();
    enough.stop();
    let lines = enough.lines_to_end();
    assert!(lines.iter().all(|line| !line.contains("RLIMIT_NPROC")), "{lines:?}");
}

#[test]
fn ineffective_limits_of_a_service_are_reported() {
    let (_, _, message) = run(&["check", "--set", "service.web.processes=512"]);
    assert_eq!(message, "");
    let (_, text) = check("", &["--set", "service.web.processes=512"]);
    assert!(
        text.contains("\nwarning: service.web.processes = 512 must exceed limits.max_connections = 512: "),
        "{text}"
    );
    let (_, text) = check("", &["--set", "service.web.processes=513"]);
    assert!(!text.contains("service.web.processes"), "{text}");
    let (_, text) = check("", &["--set", "service.web.nice=19", "--set", "process.model=iterative"]);
    assert!(text.contains("\nwarning: service.web.nice is ignored"), "{text}");
}
