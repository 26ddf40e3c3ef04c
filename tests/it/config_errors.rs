//! Several errors of a configuration, reported together.

use crate::config_mistakes::check;

/// The locations and keys of all errors in a text.
fn list_errors(text: &str) -> Vec<String> {
    let (code, stderr) = check(text);
    assert_eq!(code, 78, "{stderr}");
    let lines =
        stderr.lines().map(|line| line.strip_prefix("lsbaws: FILE:").unwrap_or_else(|| panic!("{stderr}")));
    lines.map(|line| line.splitn(3, ": ").take(2).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn all_errors_are_reported_in_the_order_of_the_file() {
    let text = "[service.web]
memory = '1 KiB'
nice = 30
[[service.web.route]]
handler = 'files'
root = '/nonexistent'
charset = 'a b'
error_pages = { 404 = '../x' }
[[service.web.route]]
path = 'x'
handler = 'redirect'
body = 'x'
[[service.web.route]]
handler = 'cgi'
environment = { a = 1, 'b=' = 'c' }
path = '/c'
[service.other]
protocol = 'exec'
command = ['/no/such', \"a\"]
directory = '/no/such'
[limits]
max_conections = 3
head_timeout = 'soon'
max_body_size = 10M
[process]
model = 'double-fork'
spares = 2
[log]
level = 'loud'
target = 'loud'
[listen.web]
address = '@x'
[listen.b]
address = [x, '@x', 7]
[listen.'']
address = '@x'
";
    let expected = [
        "2 service.web.memory",
        "3 service.web.nice",
        "6 service.web.route[0].root",
        "7 service.web.route[0].charset",
        "8 service.web.route[0].error_pages.404",
        "9 service.web.route[1].to",
        "10 service.web.route[1].path",
        "12 service.web.route[1].body",
        "13 service.web.route[2].root",
        "15 service.web.route[2].environment.a",
        "15 service.web.route[2].environment.\"b=\"",
        "19 service.other.command",
        "20 service.other.directory",
        "22 limits.max_conections",
        "23 limits.head_timeout",
        "24 limits.max_body_size",
        "27 process.spares",
        "29 log.level",
        "30 log.target",
        "32 listen.web.address",
        "33 listen.b",
        "34 listen.b.address[0]",
        "34 listen.b.address[2]",
        "35 listen.\"\"",
    ];
    assert_eq!(list_errors(text), expected);
}

#[test]
fn error_of_one_value_causes_no_others() {
    for (text, key) in [
        // Not an address that another listener has by default, ...
        ("[listen.a]\naddress = 'x'\n[listen.b]\n[service.a]\n[service.b]\n", "2 listen.a.address"),
        // ... a path that another route has by default, ...
        ("[[service.web.route]]\npath = 7\n[[service.web.route]]\n", "2 service.web.route[0].path"),
        // ... a missing key, ...
        ("[[service.web.route]]\nhandler = 'cgi'\nprogram = 7\n", "3 service.web.route[0].program"),
        ("[[service.web.route]]\nhandler = 'files'\nroot = srv\n", "3 service.web.route[0].root"),
        ("[service.web]\nprotocol = 'exec'\ncommand = [7]\n", "3 service.web.command[0]"),
        // ... keys of another handler or protocol, ...
        ("[[service.web.route]]\nhandler = 'file'\nroot = '/'\n", "2 service.web.route[0].handler"),
        ("[service.web]\nprotocol = 'exe'\ncommand = '/bin/cat'\n", "2 service.web.protocol"),
        // ... or a service that a listener leads to.
        ("[listen.a]\n[service.a]\nnice = 99\n[service.b]\n", "3 service.a.nice"),
    ] {
        assert_eq!(list_errors(text), [key], "{text}");
    }
}

#[test]
fn errors_of_the_syntax_are_reported_together() {
    let errors =
        list_errors("[log]\nmax_rate = 5x\nmax_rate = 6\nlevel = loud\n[limits]\nhead_timeout = 'x'\n");
    assert_eq!(errors, ["2 log.max_rate", "3 max_rate", "4 log.level", "6 limits.head_timeout"]);
    // After a missing bracket, the structure of the rest is unknown.
    let errors = list_errors("[limits\nmax_rate = 'x'\n[log]\nlevel = [1\n");
    assert_eq!(errors[0], "1 unclosed table, expected `]`");
    assert!(errors.iter().all(|error| !error.contains("max_rate")), "{errors:?}");
}

#[test]
fn many_errors_are_counted() {
    let keys: String = (0..1_000).map(|number| format!("k{number} = 1\n")).collect();
    let (code, stderr) = check(&keys);
    assert_eq!((code, stderr.lines().count()), (78, 101));
    assert!(stderr.starts_with("lsbaws: FILE:1: k0: unknown key"), "{stderr}");
    assert!(stderr.ends_with("lsbaws: FILE: 900 more errors\n"), "{stderr}");
}
