//! Persistence, pipelined requests, responses without content, expectations.

use super::{Case, case, get, post, rules};

pub fn cases() -> Vec<Case> {
    let mut cases = persistence();
    cases.extend(rows());
    cases.extend(expectations());
    cases
}

fn persistence() -> Vec<Case> {
    let connection = |value: &str| get("/", &format!("Connection:{value}\r\n"));
    let old = |fields: &str| format!("GET / HTTP/1.0\r\n{fields}\r\n");
    vec![
        case("close", connection(" close"), "200 -"),
        case("close in upper case", connection(" CLOSE"), "200 -"),
        case("close without a space", connection("close"), "200 -"),
        case("close in a list", connection(" x, close"), "200 -"),
        case("close first in a list", connection(" close,x"), "200 -"),
        case("close among spaces, tabs and empty elements", connection(" ,,\t close \t,"), "200 -"),
        case("close in a second field", connection(" x\r\nConnection: close"), "200 -"),
        case("close wins over keep-alive", connection(" keep-alive, close"), "200 -"),
        case("close wins whatever the order", connection(" close\r\nConnection: keep-alive"), "200 -"),
        case("an option that begins like close", connection(" closed"), "200 +"),
        case("an option that ends like close", connection(" x-close"), "200 +"),
        case("an empty list of options", connection(""), "200 +"),
        case("keep-alive", connection(" keep-alive"), "200 +"),
        case("a field of proxies", get("/", "Proxy-Connection: close\r\n"), "200 +"),
        case(
            "an upgrade that is not supported",
            get("/", "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
            "200 +",
        ),
        case("HTTP/1.0", old(""), "200 -"),
        case("HTTP/1.0 with keep-alive", old("Connection: keep-alive\r\n"), "200 +"),
        case("HTTP/1.0 with keep-alive in a list", old("Connection: x, Keep-Alive\r\n"), "200 +"),
        case("HTTP/1.0 with both", old("Connection: keep-alive, close\r\n"), "200 -"),
        case("HTTP/1.0 with a length of its own for Keep-Alive", old("Keep-Alive: timeout=5\r\n"), "200 -"),
        case("an unknown method and close", connection(" close").replace("GET", "BREW"), "501 -"),
    ]
}

fn rows() -> Vec<Case> {
    let (plain, where_b) = (get("/", ""), get("http://b/where/", ""));
    let head = plain.replace("GET", "HEAD");
    let (length, chunked) = (
        post("Content-Length: 5\r\n", "olleh"),
        post("Transfer-Encoding: chunked\r\n", "5\r\nolleh\r\n0\r\n\r\n"),
    );
    vec![
        case("two requests", format!("{plain}{where_b}"), "200 301=http://b/ +"),
        case("three requests", format!("{plain}{where_b}{plain}"), "200 301=http://b/ 200 +"),
        case("ten requests", plain.repeat(10), "200 200 200 200 200 200 200 200 200 200 +"),
        case("a request after a length", format!("{length}{where_b}"), "200=olleh 301=http://b/ +"),
        case("a request after chunks", format!("{chunked}{where_b}"), "200=olleh 301=http://b/ +"),
        case(
            "lengths and chunks by turns",
            format!("{chunked}{length}{chunked}"),
            "200=olleh 200=olleh 200=olleh +",
        ),
        case(
            "a request after unread content",
            format!("{}{where_b}", length.replace("/echo", "/")),
            "405 301=http://b/ +",
        ),
        case("a line end after content", format!("{length}\r\n"), "200=olleh +"),
        case("more content than the length", format!("{length}("), "200=olleh 400 -"),
        case("a request after close", format!("{}{plain}", get("/", "Connection: close\r\n")), "200 -"),
        case("a request after an invalid one", format!("{plain}nonsense\r\n\r\n{plain}"), "200 400 -"),
        case("a request after HTTP/1.0", format!("GET / HTTP/1.0\r\n\r\n{plain}"), "200 -"),
        case(
            "HTTP/1.0 between",
            format!("{plain}GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n{plain}"),
            "200 200 200 +",
        ),
        case("HEAD", &head, "200= +"),
        case("HEAD between", format!("{plain}{head}{plain}"), "200 200= 200 +"),
        case("HEAD with an error", head.replace("/ ", "/%00 "), "400 -").but_hyper("200= +", rules::PATH),
        case("HEAD with content", head.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"), "200= +"),
        case("HEAD of a redirect", where_b.replace("GET", "HEAD"), "301= +"),
    ]
}

fn expectations() -> Vec<Case> {
    let expect = |value: &str, target: &str| {
        post(&format!("Content-Length: 5\r\nExpect:{value}\r\n"), "olleh").replace("/echo", target)
    };
    vec![
        case("100-continue with the content", expect(" 100-continue", "/echo"), "200=olleh +")
            .but_hyper("100 200=olleh +", rules::CONTINUE),
        case("100-continue in other letters", expect(" 100-Continue", "/echo"), "200=olleh +")
            .but_hyper("100 200=olleh +", rules::CONTINUE),
        case("100-continue for content that is not read", expect(" 100-continue", "/"), "405 +")
            .but_hyper("100 405 +", rules::CONTINUE),
        case(
            "100-continue, and no content is sent",
            post("Content-Length: 5\r\nExpect: 100-continue\r\n", "").replace("/echo", "/"),
            "405 -",
        )
        .ended()
        .but_hyper("100 400 -", rules::CONTINUE),
        case("100-continue without content", get("/", "Expect: 100-continue\r\n"), "200 +"),
        case(
            "100-continue in HTTP/1.0",
            expect(" 100-continue", "/echo").replace("1.1", "1.0"),
            "200=olleh -",
        ),
        case("another expectation", expect(" something-else", "/echo"), "417 -")
            .but_hyper("200=olleh +", rules::EXPECTATION),
        case("another expectation in a list", expect(" 100-continue, x", "/echo"), "417 -")
            .but_hyper("200=olleh +", rules::EXPECTATION),
        case("another expectation in a second field", expect(" 100-continue\r\nExpect: x", "/echo"), "417 -")
            .but_hyper("200=olleh +", rules::EXPECTATION),
        case("another expectation in HTTP/1.0", expect(" x", "/echo").replace("1.1", "1.0"), "200=olleh -"),
        case("an empty expectation", expect("", "/echo"), "417 -")
            .but_hyper("200=olleh +", rules::EXPECTATION),
    ]
}
