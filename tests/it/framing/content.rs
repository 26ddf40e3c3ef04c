//! Whether a request has content, and how long it is: Content-Length and Transfer-Encoding.

use super::{Case, case, get, post, rules};

pub fn cases() -> Vec<Case> {
    let mut cases = lengths();
    cases.extend(codings());
    cases.extend(both());
    cases.extend(amounts());
    cases
}

/// Content that must not be parsed as a request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn lengths() -> Vec<Case> {
    let length = |value: &str| post(&format!("Content-Length:{value}\r\n"), "hello");
    vec![
        case("a length", post("Content-Length: 5\r\n", "olleh"), "200=olleh +"),
        case("a length in other letters", post("CONTENT-length: 5\r\n", "olleh"), "200=olleh +"),
        case(
            "a length that covers a request",
            post("Content-Length: 35\r\n", SMUGGLED),
            "200=GET /smuggled HTTP/1.1\r\nHost: a +",
        ),
        case("length 0", post("Content-Length: 0\r\n", ""), "200= +"),
        case("no length", post("", ""), "200= +"),
        case("a length with GET", get("/", "Content-Length: 5\r\n") + "olleh", "200 +"),
        case("spaces and tabs around", length(" \t5\t "), "200 +"),
        case("leading zeros", length(" 0005"), "200 +"),
        case("an empty length", length(" "), "400 -"),
        case("a list", length(" 5, 5"), "400 -"),
        case("a list of different lengths", length(" 5,6"), "400 -"),
        case("a list that ends with a comma", length(" 5,"), "400 -"),
        case("two lengths and a space", length(" 5 5"), "400 -"),
        case("the same length twice", length(" 5\r\nContent-Length: 5"), "400 -")
            .but_hyper("200 +", rules::LENGTH),
        case("different lengths", length(" 5\r\nContent-Length: 6"), "400 -"),
        case("a length of 0 and another", length(" 0\r\nContent-Length: 5"), "400 -"),
        case("a plus", length(" +5"), "400 -"),
        case("a minus", length(" -5"), "400 -"),
        case("hexadecimal", length(" 0x5"), "400 -"),
        case("hexadecimal digits", length(" a"), "400 -"),
        case("a decimal point", length(" 5.0"), "400 -"),
        case("an exponent", length(" 5e0"), "400 -"),
        case("an underscore", length(" 0_5"), "400 -"),
        case("a semicolon", length(" 5;"), "400 -"),
        case("quotes", length(" \"5\""), "400 -"),
        case("digits of another script", length(" \u{ff15}"), "400 -"),
        case("a vertical tab", length(" \x0b5"), "400 -"),
        case("2^63", length(" 9223372036854775808"), "400 -"),
        case("2^64", length(" 18446744073709551616"), "400 -"),
        case("2^64 + 5", length(" 18446744073709551621"), "400 -"),
        case("a length of many digits", length(&format!(" {}", "9".repeat(1000))), "400 -"),
        case("5 with many zeros", length(&format!(" {}5", "0".repeat(1000))), "200 +"),
        case(
            "an underscore in the name",
            get("/", "Content_Length: 37\r\n") + &get("/where/", ""),
            "200 301=http://a/ +",
        ),
        case("a folded length", length("\r\n 5"), "400 -"),
        case("a list in HTTP/1.0", "POST /echo HTTP/1.0\r\nContent-Length: 5, 5\r\n\r\nhello", "400 -"),
        case("content of HTTP/1.0", "POST /echo HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", "200 -"),
    ]
}

fn codings() -> Vec<Case> {
    let coding = |value: &str| post(&format!("Transfer-Encoding:{value}\r\n"), "5\r\nhello\r\n0\r\n\r\n");
    vec![
        case("chunked", coding(" chunked"), "200 +"),
        case("chunked in other letters", coding(" ChunKed"), "200 +"),
        case("chunked among spaces and tabs", coding("\t chunked \t"), "200 +"),
        case("chunked twice in a list", coding(" chunked, chunked"), "400 -")
            .but_hyper("200 +", rules::CODINGS),
        case("chunked in two fields", coding(" chunked\r\nTransfer-Encoding: chunked"), "400 -")
            .but_hyper("200 +", rules::CODINGS),
        case(
            "chunked and identity in two fields",
            coding(" chunked\r\nTransfer-Encoding: identity"),
            "400 -",
        ),
        case("gzip, chunked", coding(" gzip, chunked"), "501 -").but_hyper("200 +", rules::CODING),
        case("gzip with a parameter, chunked", coding(" gzip;a=b , chunked"), "501 -")
            .but_hyper("200 +", rules::CODING),
        case("identity, chunked", coding(" identity, chunked"), "501 -").but_hyper("200 +", rules::CODING),
        case("no coding, but chunked", coding(" a(b, chunked"), "400 -").but_hyper("200 +", rules::CODINGS),
        case("chunked within quotes", coding(" a;b=\"c, chunked\""), "400 -"),
        case("gzip and chunked in two fields", coding(" gzip\r\nTransfer-Encoding: chunked"), "400 -")
            .but_hyper("200 +", rules::CODINGS),
        case("chunked, gzip", coding(" chunked, gzip"), "400 -"),
        case("chunked, identity", coding(" chunked, identity"), "400 -"),
        case("a comma after chunked", coding(" chunked,"), "400 -"),
        case("a comma before chunked", coding(" , chunked"), "400 -").but_hyper("200 +", rules::CODINGS),
        case("identity", coding(" identity"), "400 -"),
        case("gzip", coding(" gzip"), "400 -"),
        case("xchunked", coding(" xchunked"), "400 -"),
        case("chunkedx", coding(" chunkedx"), "400 -"),
        case("chunked with a parameter", coding(" chunked;a=b"), "400 -"),
        case("chunked in quotes", coding(" \"chunked\""), "400 -"),
        case("no coding", coding(""), "400 -"),
        case("a vertical tab before chunked", coding(" \x0bchunked"), "400 -"),
        case("a non-breaking space before chunked", coding(" \u{a0}chunked"), "400 -"),
        case("a space in chunked", coding(" chun ked"), "400 -"),
        case("NUL after chunked", coding(" chunked\0"), "400 -"),
        case("a folded coding", coding("\r\n chunked"), "400 -"),
        case("a coding in a folded value", coding(" x\r\n Transfer-Encoding: chunked"), "400 -"),
        case("chunked in HTTP/1.0", coding(" chunked").replace("1.1", "1.0"), "400 -"),
        case("identity in HTTP/1.0", coding(" identity").replace("1.1", "1.0"), "400 -"),
        case(
            "a coding that GET needs none of",
            get("/echo", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n",
            "200= +",
        ),
        case(
            "an underscore in the name",
            get("/", "Transfer_Encoding: chunked\r\n") + &get("/where/", ""),
            "200 301=http://a/ +",
        ),
    ]
}

fn both() -> Vec<Case> {
    let chunks = "0\r\n\r\n";
    vec![
        case(
            "a length, then chunked",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunks),
            "400 -",
        )
        .but_hyper("200= -", rules::BOTH),
        case(
            "chunked, then a length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunks),
            "400 -",
        )
        .but_hyper("200= -", rules::BOTH),
        case(
            "a length of 0, and chunked",
            post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", chunks),
            "400 -",
        )
        .but_hyper("200= -", rules::BOTH),
        case(
            "a length, and identity",
            post("Content-Length: 5\r\nTransfer-Encoding: identity\r\n", "hello"),
            "400 -",
        ),
        case(
            "a length, and an empty coding",
            post("Content-Length: 5\r\nTransfer-Encoding:\r\n", "hello"),
            "400 -",
        ),
        case(
            "a length, and chunked, in HTTP/1.0",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunks).replace("1.1", "1.0"),
            "400 -",
        ),
    ]
}

fn amounts() -> Vec<Case> {
    let send = |target: &str, count: usize| {
        format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {count}\r\n\r\n{}", "x".repeat(count))
    };
    vec![
        case("content that is not read", send("/", 5), "405 +"),
        case(
            "content that looks like a request and is not read",
            get("/", "Content-Length: 35\r\n") + SMUGGLED,
            "200 +",
        ),
        case("64 KiB that are not read", send("/", 65_536), "405 +"),
        case("more that is not read", send("/", 65_537), "405 -").but_hyper("405 +", rules::UNREAD),
        case("1 MiB", send("/echo", 1 << 20), "200=1048576 bytes +"),
        case("the end within content", post("Content-Length: 6\r\n", "hello"), "400 -").ended(),
        case("the end within content that is not read", &send("/", 5)[..50], "405 -")
            .ended()
            .but_hyper("400 -", rules::INCOMPLETE),
        case("the end before content", post("Content-Length: 6\r\n", ""), "400 -").ended(),
    ]
}
