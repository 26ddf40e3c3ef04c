//! Header fields: their syntax, and Host.

use super::{Case, case, get, rules};

pub fn cases() -> Vec<Case> {
    let mut cases = syntax();
    cases.extend(hosts());
    cases
}

fn syntax() -> Vec<Case> {
    vec![
        case("a folded value", get("/", "A: b\r\n c\r\n"), "400 -"),
        case("a value folded by a tab", get("/", "A: b\r\n\tc\r\n"), "400 -"),
        case("an empty folded line", get("/", "A: b\r\n \r\n"), "400 -"),
        case("a fold before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400 -"),
        case("a space before the colon", get("/", "A : b\r\n"), "400 -"),
        case("a tab before the colon", get("/", "A\t: b\r\n"), "400 -"),
        case("an empty name", get("/", ": b\r\n"), "400 -"),
        case("no colon", get("/", "A\r\n"), "400 -"),
        case("a space in a name", get("/", "A B: c\r\n"), "400 -"),
        case("a delimiter in a name", get("/", "A(B): c\r\n"), "400 -"),
        case("NUL in a name", get("/", "A\0: b\r\n"), "400 -"),
        case("a name beyond ASCII", get("/", "\u{e9}: b\r\n"), "400 -"),
        case("every other byte in a name", get("/", "!#$%&'*+-.^_`|~9: b\r\n"), "200 +"),
        case("NUL in a value", get("/", "A: b\0c\r\n"), "400 -"),
        case("a control byte in a value", get("/", "A: b\x01c\r\n"), "400 -"),
        case("ESC in a value", get("/", "A: b\x1b[0m\r\n"), "400 -"),
        case("DEL in a value", get("/", "A: b\x7fc\r\n"), "400 -"),
        case("a tab in a value", get("/", "A: b\tc\r\n"), "200 +"),
        case("a value beyond ASCII", get("/", "A: \u{e9}\u{ff}\r\n"), "200 +"),
        case("an empty value", get("/", "A:\r\nB: \t \r\n"), "200 +"),
        case("no space after the colon", "GET / HTTP/1.1\r\nHost:a\r\n\r\n", "200 +"),
        case("a colon in a value", get("/", "A: b: c\r\n"), "200 +"),
    ]
}

fn hosts() -> Vec<Case> {
    let host = |lines: &str| format!("GET /where/ HTTP/1.1\r\n{lines}\r\n");
    vec![
        case("no Host", host(""), "400 -").but_hyper("301=http:/// +", rules::HOST),
        case("no Host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "200 -"),
        case("two Hosts", host("Host: a\r\nHost: b\r\n"), "400 -").but_hyper("301=http://a/ +", rules::HOST),
        case("the same Host twice", host("Host: a\r\nhost: a\r\n"), "400 -")
            .but_hyper("301=http://a/ +", rules::HOST),
        case("two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400 -")
            .but_hyper("200 -", rules::HOST),
        // The route redirects to the host of the request.
        case("an empty Host", host("Host:\r\n"), "400 +").but_hyper("301=http:/// +", rules::HOST),
        case("a space in Host", host("Host: a b\r\n"), "400 -").but_hyper("301=http://a b/ +", rules::HOST),
        case("a slash in Host", host("Host: a/b\r\n"), "400 -").but_hyper("301=http://a/b/ +", rules::HOST),
        case("a path after Host", host("Host: a/../b\r\n"), "400 -")
            .but_hyper("301=http://a/../b/ +", rules::HOST),
        case("a user in Host", host("Host: u@a\r\n"), "400 -").but_hyper("301=http://u@a/ +", rules::HOST),
        case("a list in Host", host("Host: a, b\r\n"), "400 -").but_hyper("301=http://a, b/ +", rules::HOST),
        case("an escape in Host", host("Host: %61\r\n"), "301=http://%61/ +"),
        case("escapes beyond ASCII in Host", host("Host: %c3%A9\r\n"), "301=http://%c3%A9/ +"),
        case("half an escape in Host", host("Host: a%6\r\n"), "400 -")
            .but_hyper("301=http://a%6/ +", rules::HOST),
        case("an encoded slash in Host", host("Host: a%2Fb\r\n"), "400 -")
            .but_hyper("301=http://a%2Fb/ +", rules::HOST_ESCAPE),
        case("an encoded colon in Host", host("Host: a%3A80\r\n"), "400 -")
            .but_hyper("301=http://a%3A80/ +", rules::HOST_ESCAPE),
        case("Host beyond ASCII", host("Host: \u{e9}\r\n"), "400 -").but_hyper("301=http:/// +", rules::HOST),
        case("a port in Host", get("/", "").replace("Host: a", "Host: a:80"), "200 +"),
        case("an empty port in Host", get("/", "").replace("Host: a", "Host: a:"), "200 +"),
        case("letters for a port in Host", host("Host: a:b\r\n"), "400 -")
            .but_hyper("301=http://a:b/ +", rules::HOST),
        case("two ports in Host", host("Host: a:80:80\r\n"), "400 -")
            .but_hyper("301=http://a:80:80/ +", rules::HOST),
        case("an address in Host", host("Host: [::1]\r\n"), "301=http://[::1]/ +"),
        case("an address that does not end", host("Host: [::1\r\n"), "400 -")
            .but_hyper("301=http://[::1/ +", rules::HOST),
        case("letters after an address", host("Host: [::1]b\r\n"), "400 -")
            .but_hyper("301=http://[::1]b/ +", rules::HOST),
        case("a Host with a folded second one", host("Host: a\r\n Host: b\r\n"), "400 -"),
    ]
}
