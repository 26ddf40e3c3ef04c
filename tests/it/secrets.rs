//! Values of `environment` that are read from credentials and files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::config_mistakes::check;
use crate::harness::{Setup, ask, command, make_folder, run};

/// A service whose program prints the variable SECRET.
fn printing(source: &str) -> String {
    format!(
        "[service.web]\nprotocol = 'exec'\ncommand = ['/bin/sh', '-c', 'read line; printf \"<%s>\" \"$SECRET\"']\n\
         environment = {{ SECRET = {source} }}\n"
    )
}

#[test]
fn programs_receive_credentials_and_files() {
    let folder = make_folder();
    let path = folder.path().display();
    fs::write(folder.path().join("db"), "first\n").unwrap();
    let set_folder = format!("export CREDENTIALS_DIRECTORY={path}");
    let server = Setup::new(&printing("{ credential = 'db' }")).prelude(&set_folder).serve();
    let print = || ask(server.connect(), "\n");
    assert_eq!(print(), "<first>");
    // The value is that of the start, until the next reload.
    fs::write(folder.path().join("db"), "two words").unwrap();
    assert_eq!(print(), "<first>");
    server.reload(&printing(&format!("{{ file = '{path}/db' }}")));
    server.wait_line("configuration reloaded");
    assert_eq!(print(), "<two words>");
    // A secret that cannot be read is an error that names the key and the file, but not the value.
    server.reload(&printing(&format!("{{ file = '{path}/none' }}")));
    let line = server.wait_line("reload failed");
    let expected = format!(":4: service.web.environment.SECRET: unable to read {path}/none: No such file");
    assert!(line.contains(&expected), "{line}");
    assert_eq!(print(), "<two words>");
}

#[test]
fn cgi_programs_receive_secrets() {
    let folder = make_folder();
    let path = folder.path().display();
    fs::write(folder.path().join("db"), "s3cr3t\n").unwrap();
    let script = folder.path().join("print");
    fs::write(&script, "#!/bin/sh\necho Content-Type: text/plain; echo; echo \"<$SECRET>\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let route = format!("[[service.web.route]]\nhandler = 'cgi'\nprogram = '{}'\n", script.display());
    let config = format!("{route}environment.SECRET.file = '{path}/db'\n");
    let server = Setup::new(&config).serve();
    let answer = server.get("/");
    assert!(answer.contains("<s3cr3t>"), "{answer}");
}

#[test]
fn check_shows_where_a_secret_is_and_not_its_value() {
    let folder = make_folder();
    let path = folder.path().display();
    fs::write(folder.path().join("db"), "s3cr3t\n").unwrap();
    let file = folder.path().join("x.toml");
    let source = format!("{{ file = '{path}/db' }}, OTHER = {{ credential = 'none' }}");
    fs::write(&file, printing(&source)).unwrap();
    let (code, shown, message) = run(&["check", "--show", "-c", file.to_str().unwrap()]);
    assert_eq!((code, message.as_str()), (0, ""), "a check outside of the unit has no credentials");
    assert!(!shown.contains("s3cr3t"), "{shown}");
    let line = shown.lines().find(|line| line.starts_with(&format!("file = \"{path}/db\""))).expect(&shown);
    assert!(line.ends_with(&format!(" # {path}/x.toml:4")), "{line}");
    assert!(shown.contains("\n[service.web.environment.OTHER]\ncredential = \"none\""), "{shown}");
    toml::from_str::<toml::Table>(&shown).unwrap();
}

#[test]
fn daemon_does_not_start_without_its_credentials() {
    let folder = make_folder();
    let file = folder.path().join("x.toml");
    fs::write(&file, printing("{ credential = 'db' }")).unwrap();
    let start = |credentials: Option<&str>| {
        let mut command = command(crate::harness::LSBAWS);
        command.arg("-c").arg(&file);
        command.envs(credentials.map(|folder| ("CREDENTIALS_DIRECTORY", folder)));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = start(None);
    assert_eq!(code, Some(78), "{message}");
    assert!(
        message.ends_with(
            "x.toml:4: service.web.environment.SECRET: no credential \"db\": $CREDENTIALS_DIRECTORY is not set; set LoadCredential= in the unit\n"
        ),
        "{message}"
    );
    let (code, message) = start(folder.path().to_str());
    assert_eq!(code, Some(78), "{message}");
    assert!(message.contains("/db: No such file or directory; set LoadCredential= in"), "{message}");
}

#[test]
fn errors_of_secrets_name_their_key() {
    let key = "FILE:4: service.web.environment.SECRET";
    for (source, problem) in [
        ("{}", ": expected a credential or a file, found neither\n"),
        ("{ file = '/a', credential = 'a' }", ": expected either a credential or a file, found both\n"),
        ("{ credential = '../a' }", ": expected the name of a credential, found \"../a\"\n"),
        ("{ file = 'a' }", ".file: expected an absolute path, such as \"/srv/www\", found \"a\"\n"),
        ("{ files = '/a' }", ".files: unknown key, did you mean file?\n"),
        ("{ file = '/dev/null' }", ": unable to read /dev/null: not a regular file\n"),
        ("1", ": expected a string, { credential = \"NAME\" } or { file = \"/PATH\" }, found 1\n"),
    ] {
        let (code, message) = check(&printing(source));
        assert_eq!((code, message), (78, format!("lsbaws: {key}{problem}")), "{source}");
    }
}
