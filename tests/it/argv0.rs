//! The key `argv0`: what a program sees as its own name.

use std::fs;

use crate::cgi::write_program;
use crate::config_mistakes::check;
use crate::harness::{ask, find_program, make_folder, serve};

/// Prints its arguments, from argv[0] on.
const PRINT: &str = "['/bin/sh', '-c', 'read line; tr \"\\\\0\" \" \" </proc/$$/cmdline', 'one']";

#[test]
fn program_sees_the_name_that_is_configured() {
    for (key, expected) in [("", "/bin/sh -c "), ("argv0 = 'in.something'\n", "in.something -c ")] {
        let config = format!("[service.web]\nprotocol = 'exec'\n{key}command = {PRINT}\n");
        let answer = ask(serve(&config).connect(), "x\n");
        assert!(answer.starts_with(expected), "{answer}");
    }
}

#[test]
fn tcpd_starts_the_program_of_its_name() {
    let Some(tcpd) = find_program("tcpd") else { return };
    let server = serve(&format!(
        "[service.web]\nprotocol = 'exec'\ncommand = ['{}', '-n', '1']\nargv0 = '/usr/bin/head'\n",
        tcpd.display()
    ));
    assert_eq!(ask(server.connect(), "hello\n"), "hello\n");
    let record = server.record();
    assert_eq!((record.get("handler"), record.get("exit_code")), ("exec", "0"), "{}", record.line);
}

#[test]
fn busybox_is_the_applet_of_its_name() {
    let Some(busybox) = find_program("busybox") else { return };
    let folder = make_folder();
    let root = folder.path().display();
    let script = "printf 'Content-Type: text/plain\\r\\n\\r\\n%s' \"$0\"\n";
    fs::write(folder.path().join("a.sh"), script).unwrap();
    let server = serve(&format!(
        "[[service.web.route]]\nextension = '.sh'\nhandler = 'cgi'\nroot = '{root}'\ninterpreter = '{0}'\nargv0 = 'ash'\n\
         [[service.web.route]]\npath = '/one'\nhandler = 'cgi'\nprogram = '{0}'\nargv0 = 'false'\n",
        busybox.display()
    ));
    let answer = server.get("/a.sh");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("/a.sh"), "{answer}");
    assert!(server.get("/one").starts_with("HTTP/1.1 502 "));
    let record = server.record_of("/one");
    assert_eq!(record.get("program_end"), "exit code 1", "{}", record.line);
}

#[test]
fn script_without_an_interpreter_line_runs_by_its_path() {
    let folder = make_folder();
    let program = folder.path().join("program");
    write_program(&program, "printf 'Content-Type: text/plain\\r\\n\\r\\n%s' \"$0\"\n");
    let keys = format!("handler = 'cgi'\nprogram = '{}'\nargv0 = 'other'\n", program.display());
    let answer = serve(&format!("[[service.web.route]]\n{keys}")).get("/");
    assert!(answer.contains(program.to_str().unwrap()), "{answer}");
}

#[test]
fn name_needs_a_program_that_can_have_it() {
    for (text, expected) in [
        (
            "[[service.web.route]]\nhandler = 'cgi'\nroot = '/'\nargv0 = 'x'\n",
            "FILE:4: service.web.route[0].argv0: expected only with program or interpreter",
        ),
        (
            "[service.web]\nprotocol = 'exec'\ncommand = '/bin/cat'\nargv0 = ''\n",
            "FILE:4: service.web.argv0: expected the name that the program sees as its own, such as \"in.fingerd\"",
        ),
    ] {
        let (code, stderr) = check(text);
        assert_eq!(code, 78);
        assert!(stderr.contains(expected), "{stderr}");
    }
}
