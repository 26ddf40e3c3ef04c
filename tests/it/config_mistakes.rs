//! The message for each error in a configuration.

use std::fs;

use crate::harness::{make_folder, run};

/// Runs `lsbaws check` with this text. Returns the exit code and standard error, in which FILE is the path.
pub fn check(text: &str) -> (i32, String) {
    let folder = make_folder();
    let file = folder.path().join("lsbaws.toml");
    fs::write(&file, text).unwrap();
    let (code, _, stderr) = run(&["check", "-c", file.to_str().unwrap()]);
    (code, stderr.replace(file.to_str().unwrap(), "FILE"))
}

#[test]
fn every_error_names_file_line_key_and_what_was_expected() {
    let cases = [
        (
            "\n[limits]\nmax_connexions = 3\n",
            "FILE:3: limits.max_connexions: unknown key, did you mean max_connections?\n",
        ),
        ("limit = 1\n", "FILE:1: limit: unknown key, did you mean limits?\n"),
        (
            "[log]\nfile = 1\n",
            "FILE:2: log.file: unknown key, expected one of target, level, max_rate, verbose, format, access\n",
        ),
        (
            "[log.access]\ntarget = 'access.log'\n",
            r#"FILE:2: log.access.target: expected "journal", "stderr" or the absolute path of a file, found "access.log""#,
        ),
        (
            "[log.access]\nformat = 'json'\n",
            r#"FILE:1: log.access: a format without a target; set target = "journal", "stderr" or the path of a file"#,
        ),
        (
            "[log.access]\ntarget = 'stderr'\nformat = '{status} {site}'\n",
            "FILE:3: log.access.format: unknown name {site}, expected one of {client}, {peer}, {user}, {time}, ",
        ),
        (
            "[log.access]\ntarget = 'stderr'\nformat = '{status'\n",
            "FILE:3: log.access.format: '{' stands alone; write {{ for a brace",
        ),
        (
            "[limits]\nmax_connections = 'many'\n",
            r#"FILE:2: limits.max_connections: expected an integer from 1 to 65536, found "many""#,
        ),
        (
            "[limits]\nmax_connections = '7'\n",
            r#"FILE:2: limits.max_connections: expected an integer from 1 to 65536, found "7""#,
        ),
        (
            "[limits]\nmax_connections = 1.5\n",
            "FILE:2: limits.max_connections: expected an integer from 1 to 65536, found 1.5",
        ),
        (
            "[limits]\nmax_connections = true\n",
            "FILE:2: limits.max_connections: expected an integer from 1 to 65536, found true",
        ),
        (
            "[limits]\nmax_connections = 0\n",
            "FILE:2: limits.max_connections: expected an integer from 1 to 65536, found 0",
        ),
        (
            "[limits]\n\nhead_timeout = 0\n",
            r#"FILE:3: limits.head_timeout: expected a time above zero and up to a year, such as 30, "30s", "1m 30s" or "500ms", found 0"#,
        ),
        (
            "[limits]\nmax_head_size = '16 Kb/s'\n",
            r#"FILE:2: limits.max_head_size: expected a size from 1 B to 1 MiB, such as 4096, "16 KiB", "16K" or "16 kB", found "16 Kb/s""#,
        ),
        ("limits = 3\n", "FILE:1: limits: expected a table, found 3"),
        (
            "[process]\nmodel = 'threads'\n",
            r#"FILE:2: process.model: expected one of "fork", "double-fork", "iterative", found "threads""#,
        ),
        (
            "[log]\nlevel = 'loud'\n",
            r#"FILE:2: log.level: expected one of "error", "warn", "info", "debug", found "loud""#,
        ),
        (
            "[listen.web]\naddress = 'localhost:80'\n",
            r#"FILE:2: listen.web.address: expected an address such as "127.0.0.1:8888", "[::1]:8888", "/run/lsbaws/web.sock" or "@name" (numbers, no host names; paths and names have at most 107 bytes), found "localhost:80""#,
        ),
        (
            "[service.web.route]\npath = '/'\n",
            "FILE:1: service.web.route: expected a list of tables, written [[service.web.route]] or [{ ... }]",
        ),
        (
            "[[service.web.route]]\nhost = ['a', 'b']\n",
            "FILE:2: service.web.route[0].host: expected a string, found a list",
        ),
        (
            "[log]\nlevel = {}\n",
            "FILE:2: log.level: expected one of \"error\", \"warn\", \"info\", \"debug\", found a table",
        ),
        (
            "[service.web]\nprotocol = 'exec'\ncommand = '/bin/cat'\nenvironment = ['A=1']\n",
            "FILE:4: service.web.environment: expected a table, such as { NAME = \"value\" }",
        ),
        (
            "[[service.web.route]]\nroot = '/srv'\n",
            "FILE:2: service.web.route[0].root: not a key of the handler \"respond\" (the default), but of \"files\", \"cgi\"; expected one of path",
        ),
        (
            "[[service.web.route]]\nhandler = 'cgi'\nroot = '/'\ninterpreter = 'php-cgi'\n",
            "FILE:4: service.web.route[0].interpreter: expected the absolute path of a program, such as \"/usr/bin/php-cgi\", found \"php-cgi\"",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\nroot = '/'\nerror_pages = { 404 = 'no/such/page' }\n",
            "FILE:4: service.web.route[0].error_pages.404: no such file below root: \"no/such/page\"",
        ),
        (
            "[[service.web.route]]\nhost = 'a..'\n",
            "FILE:2: service.web.route[0].host: expected a host such as \"example.org\"",
        ),
        (
            "[[service.web.route]]\nhandler = 'redirect'\nto = '/a?b'\n",
            "FILE:3: service.web.route[0].to: expected a URL without query or fragment when keep_path = true, found \"/a?b\"",
        ),
        (
            "[[service.web.route]]\npath = '/*.php'\n",
            "FILE:2: service.web.route[0].path: expected a path, not a pattern (see extension)",
        ),
        (
            "[[service.web.route]]\nhandler = 'redirect'\nto = 'https://{HOST}/'\n",
            "FILE:3: service.web.route[0].to: expected {host} or {scheme} as placeholders, found {HOST}\n",
        ),
        (
            "[service.web]\nprotocol = 'exec'\ncommand = '/bin/cat -n'\n",
            "No such file or directory; write a program and its arguments as a list: [",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\nroot = '/'\nprecompressed = true\nheaders = { vary = 'Cookie' }\n",
            "FILE:5: service.web.route[0].headers.vary: expected a value with Accept-Encoding when precompressed = true, found \"Cookie\"",
        ),
        ("[listen.web]\naddress = []\n", "FILE:2: listen.web.address: expected an address such as"),
        (
            "[listen.web]\naddress = [\n'127.0.0.1:1',\n'x']\n",
            "FILE:4: listen.web.address[1]: expected an address",
        ),
        (
            "[listen.web]\naddress = '@a'\nmode = '999'\n",
            r#"FILE:3: listen.web.mode: expected an octal access mode in quotes, such as "0660", found "999""#,
        ),
        (
            "[listen.'a b']\naddress = '@a'\n",
            "FILE:1: listen.\"a b\": expected a name of 1 to 64 letters, digits, _ or -",
        ),
        ("limits = [3, '1s']\n", "FILE:1: limits: expected a table, found a list"),
        ("[service]\nweb = ['http', []]\n", "FILE:2: service.web: expected a table, found a list"),
        ("'a.b' = 1\n", "FILE:1: \"a.b\": unknown key"),
        (
            "[listen.a]\n[service.b]\n[service.c]\n",
            "FILE:1: listen.a: no [service.a] for listener \"a\" (configured: b, c)",
        ),
        (
            "[listen.a]\naddress = '@x'\n[listen.b]\naddress = '@x'\n[service.a]\n[service.b]\n",
            "FILE:4: listen.b.address: @x is used by another listener",
        ),
        ("\n[limitz]\n", "FILE:2: limitz: unknown key, did you mean limits?"),
        ("[service.web]\nroute = []\n", "FILE:2: service.web.route: expected 1 to 65000 routes, found 0"),
        (
            "[[service.web.route]]\npath = 'a'\n",
            r#"FILE:2: service.web.route[0].path: expected a path that begins with /, found "a""#,
        ),
        (
            "[[service.web.route]]\n[[service.web.route]]\nbody = 'x'\n",
            r#"FILE:2: service.web.route[1].path: another route (FILE:1) has the same path, host and extension: "/""#,
        ),
        (
            "[[service.web.route]]\nhandler = 'magic'\n",
            r#"FILE:2: service.web.route[0].handler: expected one of "respond", "files", "redirect", "cgi""#,
        ),
        (
            "[[service.web.route]]\nstatus = 99\n",
            "FILE:2: service.web.route[0].status: expected an integer from 200 to 599, found 99",
        ),
        (
            "[[service.web.route]]\nheaders = { Date = 'x' }\n",
            "FILE:2: service.web.route[0].headers.Date: expected a field that lsbaws does not set itself",
        ),
        (
            "[[service.web.route]]\nheaders = { 'a:b' = 'x' }\n",
            "FILE:2: service.web.route[0].headers.\"a:b\": expected the name of a header field",
        ),
        (
            "[[service.web.route]]\nheaders = { a = \"x\\r\\ny: z\" }\n",
            "FILE:2: service.web.route[0].headers.a: expected a field value without control characters",
        ),
        (
            "[[service.web.route]]\ncontent_type = ''\n",
            "FILE:2: service.web.route[0].content_type: expected a media type",
        ),
        (
            "[[service.web.route]]\ndelay = '-1s'\n",
            "FILE:2: service.web.route[0].delay: expected a time above zero",
        ),
        (
            "[[service.web.route]]\nhandler = 'redirect'\nto = '/'\nbody = 'x'\n",
            "FILE:4: service.web.route[0].body: not a key of the handler \"redirect\", but of \"respond\"; expected one of path, handler, host, extension, headers, allow, deny, auth_users, auth_realm, auth_require, to, status, keep_path",
        ),
        (
            "[[service.web.route]]\nhandler = 'redirect'\n",
            "FILE:1: service.web.route[0].to: expected a URL such as",
        ),
        (
            "[[service.web.route]]\nhandler = 'redirect'\nto = '/'\nstatus = 200\n",
            "FILE:4: service.web.route[0].status: expected 301, 302, 303, 307 or 308, found 200",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\n",
            "FILE:1: service.web.route[0].root: expected a directory, such as \"/srv/www\", found nothing",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\nroot = '/nonexistent'\n",
            "FILE:3: service.web.route[0].root: expected a directory, found /nonexistent: No such file or directory",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\nroot = '/etc/passwd'\n",
            "FILE:3: service.web.route[0].root: expected a directory, found /etc/passwd: Not a directory",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\nroot = 'www'\n",
            "FILE:3: service.web.route[0].root: expected an absolute path, such as \"/srv/www\", found \"www\"",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\nroot = '/'\nindex = ['a', 'b/c']\n",
            "FILE:4: service.web.route[0].index: expected the name of a file, such as \"index.html\", found \"b/c\"",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\nroot = '/'\nsymlinks = 'outside'\n",
            "FILE:4: service.web.route[0].symlinks: expected one of \"inside\", \"refuse\", found \"outside\"",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\nroot = '/'\ncharset = 'a b'\n",
            "FILE:4: service.web.route[0].charset: expected a charset, such as \"utf-8\", found \"a b\"",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\nroot = '/'\ntypes = { foo = 'text' }\n",
            "FILE:4: service.web.route[0].types.foo: expected a media type, such as \"text/plain\", found \"text\"",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\nroot = '/'\ncache_control = ' '\n",
            "FILE:4: service.web.route[0].cache_control: expected a field value, such as \"max-age=3600\"",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\nroot = '/'\nerror_pages = { 304 = 'a' }\n",
            "FILE:4: service.web.route[0].error_pages.304: expected a status from 400 to 599, 4xx or 5xx",
        ),
        (
            "[service.web]\nerror_pages = { 6xx = '/a' }\n",
            "FILE:2: service.web.error_pages.6xx: expected a status from 400 to 599, 4xx or 5xx",
        ),
        (
            "[service.web]\nerror_pages = { 404 = 'a.html' }\n",
            "FILE:2: service.web.error_pages.404: expected an absolute path, such as \"/srv/errors/404.html\", found \"a.html\"",
        ),
        (
            "[service.web]\nerror_pages = { 404 = '/etc/..' }\n",
            "FILE:2: service.web.error_pages.404: expected an absolute path, such as \"/srv/errors/404.html\", found \"/etc/..\"",
        ),
        (
            "[service.web]\nerror_pages = { 404 = '/etc/no/such' }\n",
            "FILE:2: service.web.error_pages.404: expected a file, found /etc/no/such: No such file or directory",
        ),
        (
            "[service.web]\nerror_pages = { 404 = '/etc/no-such' }\n",
            "FILE:2: service.web.error_pages.404: expected a file, found /etc/no-such: No such file or directory",
        ),
        (
            "[service.web]\nerror_pages = { 404 = '/dev/null' }\n",
            "FILE:2: service.web.error_pages.404: expected a file, found /dev/null: not a regular file",
        ),
        (
            "[[service.web.route]]\nhandler = 'files'\nroot = '/'\nerror_pages = { 404 = '../a' }\n",
            "FILE:4: service.web.route[0].error_pages.404: expected a path below the root, such as \"errors/404.html\", found \"../a\"",
        ),
        (
            "[[service.web.route]]\npath = '/a/../b'\n",
            "FILE:2: service.web.route[0].path: expected a path without //",
        ),
        (
            "[[service.web.route]]\nhost = 'a:80'\n",
            "FILE:2: service.web.route[0].host: expected a host such as \"example.org\" or \"*.example.org\", without a port",
        ),
        (
            "[service.web]\nprotocol = 'exec'\n",
            "FILE:1: service.web.command: expected a program and its arguments",
        ),
        (
            "[service.web]\nprotocol = 'exec'\ncommand = '/no/such/program'\n",
            "FILE:3: service.web.command: expected a program, found /no/such/program: No such file or directory",
        ),
        (
            "[service.web]\nprotocol = 'exec'\ncommand = '/etc/passwd'\n",
            "FILE:3: service.web.command: expected an executable program, found /etc/passwd: Permission denied",
        ),
        (
            "[service.web]\nprotocol = 'exec'\ncommand = 'cat'\n",
            "FILE:3: service.web.command: expected the absolute path of a program, found \"cat\"",
        ),
        (
            "[service.web]\ncommand = '/bin/cat'\n",
            "FILE:2: service.web.command: not a key of the protocol \"http\" (the default), but of \"exec\"; expected one of protocol",
        ),
        ("a = \n", "FILE:1: a: expected a value; a string is written in quotes"),
        ("[limits]\nmax_connections = 99999999999999999999\n", "from 1 to 65536, found 1e20"),
        ("[limits]\n\"max\\nrate\" = 1\n", "FILE:2: limits.\"max\\nrate\": unknown key"),
        ("[limits]\nmax_connections = 1\nmax_connections = 2\n", "FILE:3: max_connections: duplicate key"),
        ("[limits]\n[log]\n[limits]\n", "FILE:3: limits: duplicate key"),
    ];
    for (text, expected) in cases {
        let (code, stderr) = check(text);
        assert_eq!(code, 78, "{text:?}: {stderr}");
        assert!(
            stderr.starts_with("lsbaws: ") && stderr.contains(expected),
            "{text:?}:\n{stderr}\n{expected}"
        );
        assert_eq!(stderr.lines().count(), 1, "{text:?}: {stderr}");
    }
}

#[test]
fn word_without_quotes_is_an_error() {
    for word in ["files", "true1", "cgi", "no", "inside", "10s"] {
        let (code, stderr) = check(&format!("[[service.web.route]]\nhandler = {word}\n"));
        assert_eq!(code, 78);
        assert_eq!(
            stderr,
            "lsbaws: FILE:2: service.web.route[0].handler: expected a value; a string is written in quotes\n",
            "{word}"
        );
    }
}

#[test]
fn only_builds_for_tests_have_the_probe() {
    let (code, message) = check("[[service.web.route]]\nhandler = 'probe'\n");
    if cfg!(feature = "attacks") {
        return;
    }
    let expected =
        r#"expected one of "respond", "files", "redirect", "cgi", "status", "health", "wsgi", found "probe""#;
    assert!(code == 78 && message.contains(expected), "{message}");
    let program = fs::read(crate::harness::LSBAWS).unwrap();
    let mark = b"text/x-lsbaws-probe"; // src/handler/probe.rs
    assert!(!program.windows(mark.len()).any(|part| part == mark));
}
