//! The chunked transfer coding.

use super::{Case, case, get, post, rules};

pub fn cases() -> Vec<Case> {
    let mut cases = sizes();
    cases.extend(extensions());
    cases.extend(ends());
    cases.extend(trailers());
    cases.extend(blind());
    cases
}

fn chunks(content: impl AsRef<str>) -> String {
    post("Transfer-Encoding: chunked\r\n", content.as_ref())
}

fn sizes() -> Vec<Case> {
    let size = |line: &str| chunks(format!("{line}\r\nhello\r\n0\r\n\r\n"));
    vec![
        case("one chunk", size("5"), "200 +"),
        case("two chunks", chunks("3\r\noll\r\n2\r\neh\r\n0\r\n\r\n"), "200=olleh +"),
        case("no chunk", chunks("0\r\n\r\n"), "200= +"),
        case(
            "upper and lower case",
            chunks("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
            "200=01234567890123456789 +",
        ),
        case("leading zeros", size("0005"), "200 +"),
        case("many leading zeros", size(&format!("{}5", "0".repeat(100))), "200 +"),
        case("many zeros at the end", chunks(format!("{}\r\n\r\n", "0".repeat(20))), "200= +"),
        case(
            "a chunk with a request",
            chunks("25\r\nGET /smuggled HTTP/1.1\r\nHost: aaa\r\n\r\n\r\n0\r\n\r\n"),
            "200=GET /smuggled HTTP/1.1\r\nHost: aaa +",
        ),
        case("a chunk with a last chunk", chunks("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), "200=0 +"),
        case("no size", size(""), "400 -"),
        case("0x", size("0x5"), "400 -"),
        case("a plus", size("+5"), "400 -"),
        case("a minus", size("-5"), "400 -"),
        case("a space before", size(" 5"), "400 -"),
        case("a space after", size("5 "), "400 -").but_hyper("200 +", rules::CHUNK),
        case("a tab after", size("5\t"), "400 -").but_hyper("200 +", rules::CHUNK),
        case("a space between", size("0 5"), "400 -"),
        case("letters", size("g"), "400 -"),
        case("an underscore", size("0_5"), "400 -"),
        case("a comma", size("5,"), "400 -"),
        case("NUL", size("5\0"), "400 -"),
        case("2^63", size("8000000000000000"), "400 -"),
        case("2^64", size("10000000000000000"), "400 -"),
        case("2^64 + 5", size("10000000000000005"), "400 -"),
        case("2^64 - 1", size("ffffffffffffffff"), "400 -"),
    ]
}

fn extensions() -> Vec<Case> {
    let size = |line: &str| chunks(format!("{line}\r\nhello\r\n0\r\n\r\n"));
    vec![
        case("an extension", size("5;a=1"), "200 +"),
        case("extensions", size("5;a=\"b;c\";d"), "200 +"),
        case("an extension of the last chunk", chunks("5\r\nhello\r\n0;a\r\n\r\n"), "200 +"),
        case("an empty extension", size("5;"), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("a space for an extension", size("5; "), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("a delimiter for an extension", size("5;["), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("an extension without a name", size("5;=a"), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("an extension without its value", size("5;a="), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("an extension with two values", size("5;a=b=c"), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("a word after an extension", size("5;a b"), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("a space after an extension", size("5;a=b "), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("a semicolon after an extension", size("5;a;"), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("quotes that do not end", size("5;a=\"b"), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("an escaped quote at the end", size("5;a=\"b\\\""), "400 -")
            .but_hyper("200 +", rules::EXTENSION),
        case("a word after quotes", size("5;a=\"b\"c"), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("an extension beyond ASCII", size("5;\u{e9}"), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("beyond ASCII in quotes", size("5;a=\"\u{e9}\\\"\""), "200 +"),
        case("an empty extension of the last chunk", chunks("5\r\nhello\r\n0;\r\n\r\n"), "400 -")
            .but_hyper("200 +", rules::EXTENSION),
        case("spaces around an extension", size("5; a = 1"), "200 +"),
        case("spaces before an extension", size("5 \t;a"), "200 +"),
        case("bare LF in an extension", size("5;a\nb"), "400 -"),
        case("bare CR in an extension", size("5;a\rb"), "400 -"),
        case("a line end in a quoted extension", size("5;a=\"\r\n\""), "400 -"),
        case("NUL in an extension", size("5;\0"), "400 -").but_hyper("200 +", rules::EXTENSION),
        case("a long extension", size(&format!("5;{}", "x".repeat(20_000))), "400 -"),
        case(
            "many extensions",
            chunks(format!("{}0\r\n\r\n", "1;aaaaaaaaaaaaaaaa\r\nx\r\n".repeat(2000))),
            "400 -",
        ),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        case("bare LF after a size", chunks("5\nhello\r\n0\r\n\r\n"), "400 -"),
        case("bare CR after a size", chunks("5\rhello\r\n0\r\n\r\n"), "400 -"),
        case("bare LF after data", chunks("5\r\nhello\n0\r\n\r\n"), "400 -"),
        case("bare CR after data", chunks("5\r\nhello\r0\r\n\r\n"), "400 -"),
        case("nothing after data", chunks("5\r\nhello0\r\n\r\n"), "400 -"),
        case("more data than the size", chunks("5\r\nhello!\r\n0\r\n\r\n"), "400 -"),
        case("less data than the size", chunks("7\r\nhello\r\n0\r\n\r\n"), "400 -"),
        case("an empty line after data", chunks("5\r\nhello\r\n\r\n0\r\n\r\n"), "400 -"),
        case("bare LF after the last size", chunks("0\n\r\n"), "400 -"),
        case("bare LF at the end", chunks("0\r\n\n"), "400 -").but_hyper("200= -", rules::LF),
        case("bare CR at the end", chunks("0\r\n\rG"), "400 -"),
        case("CR twice at the end", chunks("0\r\n\r\r\n"), "400 -"),
        case("the end within a size", chunks("5"), "400 -").ended(),
        case("the end within data", chunks("5\r\nhell"), "400 -").ended(),
        case("the end after data", chunks("5\r\nhello\r\n"), "400 -").ended(),
        case("the end after the last size", chunks("0\r\n"), "400 -").ended(),
        case("the end within trailers", chunks("0\r\nA: b\r\n"), "400 -").ended(),
        case("an empty line after the end", chunks("0\r\n\r\n\r\n"), "200= +"),
        case("chunks that are not read", chunks("5\r\nhello\r\n0\r\n\r\n").replace("/echo", "/"), "405 -")
            .but_hyper("405 +", rules::UNREAD),
    ]
}

fn trailers() -> Vec<Case> {
    let trailer = |lines: &str| chunks(format!("5\r\nhello\r\n0\r\n{lines}\r\n"));
    vec![
        case("a trailer field", trailer("A: b\r\n"), "200 +"),
        case("trailer fields", trailer("A: b\r\nC:\r\nA: b\r\n"), "200 +"),
        case("a length as a trailer field", trailer("Content-Length: 100\r\n"), "200 +"),
        case("a coding as a trailer field", trailer("Transfer-Encoding: chunked\r\n"), "200 +"),
        case("Host and Connection as trailer fields", trailer("Host: b\r\nConnection: close\r\n"), "200 +"),
        case("a request after the end", trailer("") + &get("/where/", ""), "200 301=http://a/ +"),
        case("a request for a trailer field", trailer("GET /where/ HTTP/1.1\r\nHost: a\r\n"), "400 -"),
        case("a trailer field without a colon", trailer("A\r\n"), "400 -"),
        case("a trailer field without a name", trailer(": b\r\n"), "400 -"),
        case("a folded trailer field", trailer("A: b\r\n c\r\n"), "400 -"),
        case("a fold before any trailer field", trailer(" A: b\r\n"), "400 -"),
        case("a space before the colon of a trailer field", trailer("A : b\r\n"), "400 -"),
        case("NUL in a trailer field", trailer("A: \0\r\n"), "400 -"),
        case("bare LF after a trailer field", trailer("A: b\n"), "400 -").but_hyper("200 -", rules::LF),
        case("bare CR in a trailer field", trailer("A: b\rC: d\r\n"), "400 -"),
        case("bare LF in a trailer field's name", trailer("A\nB: c\r\n"), "400 -"),
        case("100 trailer fields", trailer(&"A: b\r\n".repeat(100)), "200 +"),
        case("too many trailer fields", trailer(&"A: b\r\n".repeat(5000)), "400 -"),
        case("a long trailer field", trailer(&format!("A: {}\r\n", "x".repeat(20_000))), "400 -"),
    ]
}

/// Content that the program does not read must be valid as well.
fn blind() -> Vec<Case> {
    let chunks = |content: &str| chunks(content).replace("/echo", "/blind");
    vec![
        case("unread chunks", chunks("5\r\nhello\r\n0\r\n\r\n"), "200 +"),
        case("the end after the last size, unread", chunks("5\r\nhello\r\n0\r\n"), "400 -").ended(),
        case("the end within the last line end, unread", chunks("5\r\nhello\r\n0\r\n\r"), "400 -").ended(),
        case("the end after data, unread", chunks("5\r\nhello\r\n"), "400 -").ended(),
        case("a request after the last size, unread", chunks("0\r\n") + &get("/where/", ""), "400 -"),
        case("an empty extension, unread", chunks("5;\r\nhello\r\n0\r\n\r\n"), "400 -")
            .but_hyper("200 +", rules::EXTENSION),
        case("an extension of the last chunk, unread", chunks("5\r\nhello\r\n0;[\r\n\r\n"), "400 -")
            .but_hyper("200 +", rules::EXTENSION),
    ]
}
