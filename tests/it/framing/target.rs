//! Request targets: their forms, and the resulting path.

use super::{Case, case, get, rules};

pub fn cases() -> Vec<Case> {
    let mut cases = forms();
    cases.extend(paths());
    cases
}

fn forms() -> Vec<Case> {
    let options = |target: &str| get(target, "").replacen("GET", "OPTIONS", 1);
    vec![
        case("absolute-form", get("http://a/where/x", ""), "301=http://a/x +"),
        case("absolute-form wins over Host", get("http://b/where/x", ""), "301=http://b/x +"),
        case("absolute-form in upper case", get("HTTP://b/where/x", ""), "301=http://b/x +"),
        case("absolute-form with a port", get("http://b:80/where/x", ""), "301=http://b/x +"),
        case("absolute-form with letters for a port", get("http://b:x/where/x", ""), "400 -")
            .but_hyper("301=http://b/x +", rules::AUTHORITY),
        case("absolute-form with a user", get("http://u@b/where/x", ""), "400 -")
            .but_hyper("301=http://b/x +", rules::AUTHORITY),
        case("absolute-form without a path", get("http://b", ""), "200 +"),
        case("absolute-form with a query alone", get("http://b?c", ""), "200 +"),
        case("absolute-form without a host", get("http:///where/x", ""), "400 -"),
        case("absolute-form with nothing else", get("http://", ""), "400 -"),
        case("absolute-form without slashes", get("http:b", ""), "400 -").but_hyper("200 +", rules::FORMS),
        case("absolute-form of https", get("https://b/where/x", ""), "301=http://b/x +"),
        case("absolute-form of another scheme", get("ftp://b/where/x", ""), "400 -")
            .but_hyper("301=http://b/x +", rules::MISDIRECTED),
        case("absolute-form without Host", "GET http://a/ HTTP/1.1\r\n\r\n", "400 -")
            .but_hyper("200 +", rules::HOST),
        case("a query with a URL", get("/where/?http://b/", ""), "301=http://a/?http://b/ +"),
        case("* for OPTIONS", options("*"), "200= +"),
        case("* for GET", get("*", ""), "400 -").but_hyper("200= +", rules::ASTERISK),
        case("more than *", options("*a"), "400 -").but_hyper("204= +", rules::FORMS),
        case("a path for OPTIONS", options("/"), "204= +"),
        case("authority-form for GET", get("a:80", ""), "400 -").but_hyper("200 +", rules::FORMS),
        case("no slash", get("where/x", ""), "400 -"),
        case("a backslash", get("\\where\\x", ""), "400 -"),
        case("a fragment", get("/where/x#y", ""), "400 -").but_hyper("301=http://a/x +", rules::FORMS),
        case("two slashes ahead", get("//b/where/x", ""), "200 +"),
    ]
}

fn paths() -> Vec<Case> {
    vec![
        case("a path", get("/where/x/y", ""), "301=http://a/x/y +"),
        case("a query", get("/where/x?y=z&/../?%zz", ""), "301=http://a/x?y=z&/../?%zz +"),
        case("an empty query", get("/where/x?", ""), "301=http://a/x? +"),
        case("double slashes", get("/where//x///y", ""), "301=http://a/x/y +")
            .but_hyper("301=http://a//x///y +", rules::ONE_SPELLING),
        case("double slashes within the route's path", get("//where//x", ""), "301=http://a/x +")
            .but_hyper("200 +", rules::ONE_SPELLING),
        case("a segment .", get("/where/./x", ""), "301=http://a/x +")
            .but_hyper("301=http://a/./x +", rules::DOTS),
        case("a segment ..", get("/where/x/../y", ""), "301=http://a/y +")
            .but_hyper("301=http://a/x/../y +", rules::DOTS),
        case("a segment .. at the end", get("/where/x/..", ""), "301=http://a/ +")
            .but_hyper("301=http://a/x/.. +", rules::DOTS),
        case("a segment . at the end", get("/where/x/.", ""), "301=http://a/x/ +")
            .but_hyper("301=http://a/x/. +", rules::DOTS),
        case("a segment .. out of a route", get("/where/../x", ""), "200 +")
            .but_hyper("301=http://a/../x +", rules::DOTS),
        case("segments .. into a route", get("/x/../../where/y", ""), "301=http://a/y +")
            .but_hyper("200 +", rules::DOTS),
        case("an encoded segment ..", get("/where/x/%2e%2E/y", ""), "301=http://a/y +")
            .but_hyper("301=http://a/x/%2e%2E/y +", rules::DOTS),
        case("a half encoded segment ..", get("/where/x/.%2e/y", ""), "301=http://a/y +")
            .but_hyper("301=http://a/x/.%2e/y +", rules::DOTS),
        case("a segment .. in absolute-form", get("http://b/x/../where/y", ""), "301=http://b/y +")
            .but_hyper("200 +", rules::DOTS),
        case("a segment .. in a query", get("/where/?x=/../y", ""), "301=http://a/?x=/../y +"),
        case("a segment of three dots", get("/where/.../.x..", ""), "301=http://a/.../.x.. +"),
        case("an escape", get("/where/%78%79", ""), "301=http://a/xy +")
            .but_hyper("301=http://a/%78%79 +", rules::ONE_SPELLING),
        case("an escape in the route's path", get("/%77here/x", ""), "301=http://a/x +")
            .but_hyper("200 +", rules::ONE_SPELLING),
        case("an escaped escape", get("/where/%252e%252e", ""), "301=http://a/%252e%252e +"),
        case("an escape that is needed", get("/where/%20%ff", ""), "301=http://a/%20%FF +")
            .but_hyper("301=http://a/%20%ff +", rules::ONE_SPELLING),
        case("an encoded question mark", get("/where/%3fx", ""), "301=http://a/%3Fx +")
            .but_hyper("301=http://a/%3fx +", rules::ONE_SPELLING),
        case("an encoded line end", get("/where/%0d%0aX:%20y", ""), "301=http://a/%0D%0AX:%20y +")
            .but_hyper("301=http://a/%0d%0aX:%20y +", rules::ONE_SPELLING),
        case("an encoded slash", get("/where/x%2fy", ""), "301=http://a/x%2Fy +")
            .but_hyper("301=http://a/x%2fy +", rules::ONE_SPELLING),
        case("an encoded slash in the route's path", get("/where%2fx", ""), "301=http://a/x +")
            .but_hyper("200 +", rules::ONE_SPELLING),
        case("a segment .. before an encoded slash", get("/where/x/..%2fy", ""), "400 -")
            .but_hyper("301=http://a/x/..%2fy +", rules::PATH),
        case("a segment .. after an encoded slash", get("/where/x%2f..", ""), "400 -")
            .but_hyper("301=http://a/x%2f.. +", rules::PATH),
        case("an encoded segment .. after an encoded slash", get("/where/x%2f%2e%2e/y", ""), "400 -")
            .but_hyper("301=http://a/x%2f%2e%2e/y +", rules::PATH),
        case("a segment .. that removes a part", get("/where/x%2fy/../z", ""), "400 -")
            .but_hyper("301=http://a/x%2fy/../z +", rules::PATH),
        case("an encoded NUL", get("/where/x%00", ""), "400 -").but_hyper("301=http://a/x%00 +", rules::PATH),
        case("a percent sign alone", get("/where/%", ""), "400 -").but_hyper("301=http://a/% +", rules::PATH),
        case("one digit", get("/where/%4", ""), "400 -").but_hyper("301=http://a/%4 +", rules::PATH),
        case("no digits", get("/where/%zz", ""), "400 -").but_hyper("301=http://a/%zz +", rules::PATH),
        case("a sign for a digit", get("/where/%+1", ""), "400 -")
            .but_hyper("301=http://a/%+1 +", rules::PATH),
        case("NUL", get("/where/x\0", ""), "400 -"),
        case("DEL", get("/where/x\x7f", ""), "400 -"),
        case("beyond ASCII", get("/where/\u{e9}", ""), "301=http://a/%C3%A9 +")
            .but_hyper("301=http://a/é +", rules::BEYOND_ASCII),
        case("beyond ASCII in a query", get("/where/?\u{e9}", ""), "301=http://a/?%C3%A9 +")
            .but_hyper("301=http://a/?é +", rules::BEYOND_ASCII),
        case("beyond ASCII in absolute-form", get("http://b/where/\u{e9}", ""), "301=http://b/%C3%A9 +")
            .but_hyper("301=http://b/é +", rules::BEYOND_ASCII),
        case("no UTF-8", b"GET /where/\xff HTTP/1.1\r\nHost: a\r\n\r\n", "301=http://a/%FF +")
            .but_hyper("400 -", rules::BEYOND_ASCII),
        case("beyond ASCII without a slash", get("\u{e9}", ""), "400 -"),
        case("beyond ASCII and a space", get("/where/\u{e9} x", ""), "400 -"),
        case("beyond ASCII and a fragment", get("/where/\u{e9}#x", ""), "400 -")
            .but_hyper("301=http://a/é +", rules::FORMS),
        case("parameters", get("/where/x;y=z,@!$&'()*+", ""), "301=http://a/x;y=z,@!$&'()*+ +"),
        case("what browsers leave in a query", get("/where/?\\^`{|}", ""), "301=http://a/?\\^`{|} +"),
        case(
            "characters that clients encode in a path",
            get("/where/^`<>", ""),
            "301=http://a/%5E%60%3C%3E +",
        )
        .but_hyper("400 -", rules::UNENCODED),
        case("an escape in the host", get("http://%61/where/", ""), "301=http://%61/ +")
            .but_hyper("400 -", rules::REG_NAME),
        case("an encoded slash in the host", get("http://a%2fb/where/", ""), "400 -"),
        case("what should be encoded", get("/where/{x|y}\"", ""), "301=http://a/%7Bx%7Cy%7D%22 +")
            .but_hyper("301=http://a/{x|y}\" +", rules::ONE_SPELLING),
    ]
}
